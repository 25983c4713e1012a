"""What a comparison learns from, and whose tasks it is replayed on: one meta-dataset, or two."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.contracts import InputError
from surrogates.data.store import read_meta
from surrogates.data.tables import PastTask
from surrogates.evaluation.replay import judged_tasks
from surrogates.metadataset import ROOT_REPORTS, MetaDataset

_REPORTS = (*ROOT_REPORTS, "test_loss", "test_exact_match", "test_token_f1")
"""Of a sweep's root: what an incumbent is also told in, above all what is measured on the test split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """That a comparison was replayed on another meta-dataset than the one learned from."""

    on: Path
    """Whose tasks were replayed."""
    learned_tasks: int
    learned_trials: int
    shared_tasks: tuple[str, ...]
    """Names of replayed tasks that are among those learned from; each was left out when it was replayed."""
    known_candidates: int
    """Replayed configs that are on record where was learned."""
    candidates: int
    learned_base_fingerprints: tuple[str, ...]
    tested_base_fingerprints: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-like values."""
        return {**asdict(self), "on": str(self.on)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What a comparison stands on. Build it with ``read_ground``."""

    past: MetaDataset
    """What methods learn from, but for the task that is replayed."""
    tested: MetaDataset
    """Whose tasks are replayed; ``past`` itself where one task is left out in turn."""
    tasks: tuple[PastTask, ...]
    """Those that are replayed."""
    elsewhere: Elsewhere | None
    """None where past and tested are the same."""

    @property
    def fewest_learned(self) -> int:
        """How many tasks methods learn from when the task that is replayed is among the past's."""
        return len(self.past.tasks) - int(self.elsewhere is None or bool(self.elsewhere.shared_tasks))

    @property
    def notes(self) -> list[str]:
        """What a reader of the comparison should know about what it stands on."""
        barren = [task.name for task in self.tested.tasks if task not in self.tasks]
        notes = [f"{name} is not judged: no trial there worked" for name in barren]
        if self.elsewhere is None:
            return notes
        strange = self.elsewhere.candidates - self.elsewhere.known_candidates
        if strange:
            notes.append(
                f"{strange} of {self.elsewhere.candidates} candidates are not on record where was learned: "
                "portfolios take the nearest config's results for theirs"
            )
        if self.past.max_epochs != self.tested.max_epochs:
            notes.append(
                f"what was learned goes to epoch {self.past.max_epochs}, what is replayed to epoch "
                f"{self.tested.max_epochs}: no method is asked for more"
            )
        return notes


def read_ground(path: Path, on: Path | None, metric: str | None) -> Ground:
    """Read what a comparison learns from and is replayed on.

    Args:
        path: A sweep's root or a folder of tables, to learn from.
        on: Another whose tasks are replayed; None: those of ``path``, each left out in turn.
        metric: What decides; None: ``eval_loss`` of a root, and what the tables say.

    Returns:
        The ground.

    Raises:
        InputError: A path or the metric can't be used, or the two meta-datasets can't be compared.
        NothingLearnedError: No trial has finished yet.
    """
    past = read_meta(path, metric, reports=_REPORTS)
    if on is None:
        return Ground(past=past, tested=past, tasks=judged_tasks(past), elsewhere=None)
    tested = read_meta(on, past.metric, reports=_REPORTS)
    problems = _faults_between(past, tested, path, on)
    if problems:
        raise InputError(*problems)
    tasks = judged_tasks(tested, least=1)
    known = {task.task_id for task in past.tasks}
    candidates = list(tested.configs.values())
    return Ground(
        past=past,
        tested=tested,
        tasks=tasks,
        elsewhere=Elsewhere(
            on=on,
            learned_tasks=len(past.tasks),
            learned_trials=len(past.trials),
            shared_tasks=tuple(task.name for task in tasks if task.task_id in known),
            known_candidates=sum(config in past.configs.values() for config in candidates),
            candidates=len(candidates),
            learned_base_fingerprints=past.base_fingerprints,
            tested_base_fingerprints=tested.base_fingerprints,
        ),
    )


def _faults_between(past: MetaDataset, tested: MetaDataset, path: Path, on: Path) -> Sequence[str]:
    """Return why what was learned from one says nothing about the other."""
    problems = []
    if past.direction is not tested.direction:
        problems.append(
            f"{past.metric} is {past.direction}d in {path} and {tested.direction}d in {on}; import one of "
            "them anew"
        )
    named = {name for config in tested.configs.values() for name in config}
    strange = sorted(named - set(past.space.names))
    if strange:
        problems.append(
            f"configs of {on} have {', '.join(strange)}, of which the space of {path} knows nothing; known "
            f"are {', '.join(past.space.names)}"
        )
    return problems
