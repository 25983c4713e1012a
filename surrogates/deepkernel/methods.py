"""Quick-Tune as a method of comparison, in three arms: how much of what happened on the new task it uses."""

import enum
from dataclasses import dataclass
from importlib.util import find_spec

from orchestrator.contracts import InputError, NothingLearnedError
from surrogates.deepkernel import MOST_STEPS
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Start


class Arm(enum.StrEnum):
    """What a new task's points may change."""

    TRANSFER = "transfer"
    """The prefix of their own config, and the incumbent."""
    CONDITION = "condition"
    """Also what the process is conditioned on; its weights stay."""
    REFIT = "refit"
    """Also its weights, from the meta-trained ones, after every observation: Quick-Tune's own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickTune:
    """Quick-Tune: expected improvement at the next fidelity over its predicted seconds, step by step."""

    arm: Arm | str
    most_steps: int = MOST_STEPS
    """Of the optimiser in meta-training."""

    def __post_init__(self) -> None:
        if self.arm not in tuple(Arm):
            raise InputError(f"arm must be {', '.join(Arm)}, got {self.arm!r}")
        if self.most_steps < 1:
            raise InputError(f"most_steps must be at least 1, got {self.most_steps}")

    @property
    def name(self) -> str:
        """Name in tables and plots."""
        return f"Quick-Tune {self.arm}"

    @property
    def uses_budget(self) -> bool:
        """Always False: the next step does not depend on what is left."""
        return False

    def learn(self, others: MetaDataset, *, seed: int) -> Start:
        """Meta-train both networks.

        Args:
            others: The past tasks.
            seed: The same seed gives the same choices.

        Returns:
            What starts the arm on a task.

        Raises:
            InputError: gpytorch is missing, or no epoch has a cost above 0.
            NothingLearnedError: No trial is left to learn from.
        """
        if find_spec("gpytorch") is None:
            raise InputError(f"{self.name} needs gpytorch; install it with pip install 'foretune[gp]'")
        from surrogates.deepkernel.search import Learned, Search

        left = others.without([task.task_id for task in others.barren_tasks()])
        if not left.tasks:
            raise NothingLearnedError(
                f"{self.name} has no trial without failure to learn from; run a sweep over other tasks first"
            )
        learned, arm = Learned.from_tasks(left, seed=seed, most_steps=self.most_steps), Arm(self.arm)
        return lambda problem: Search(
            learned, problem, conditions=arm is not Arm.TRANSFER, refits=arm is Arm.REFIT
        )
