"""The plan that a tuning folder holds, and how it is cut into sweeps.

OUT/plan.json         the plan as it was answered, with what it was asked and the sweep it is like
OUT/sweep/            the small sweep that runs it, with a ledger of its own
OUT/best-adapter/     the best so far, as a folder to load
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.app.roots import learnable_spec
from orchestrator.app.spec import SweepSpec, parse_spec
from orchestrator.contracts import Config, ConfigId, InputError, config_id
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from surrogates.plan import Choice, Plan

if TYPE_CHECKING:
    from orchestrator.app.advice import Advice

_FORMAT = 1


class TuningLayout:
    """Names the files of a tuning folder; touches none.

    Args:
        out: The folder; need not exist.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.plan_json = out / "plan.json"
        self.sweep = out / "sweep"
        self.best_adapter = out / "best-adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How far one config is to be trained."""

    config: Config
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """A plan, and what it was asked for."""

    task_source: str
    task_id: str
    task_name: str
    budget_s: float
    root: Path
    """The sweep that was learned from."""
    like: SweepSpec
    """Its spec at that time: base model, space and training settings are taken from there."""
    default_config: Config
    plan: Plan

    @classmethod
    def of(cls, advice: "Advice", task_source: str) -> "StoredPlan":
        """Take down what the surrogate advised."""
        root = advice.root.absolute()
        return cls(
            task_source=task_source,
            task_id=advice.task.task_id,
            task_name=advice.task.name,
            budget_s=advice.plan.budget_s,
            root=root,
            like=learnable_spec(root),
            default_config=advice.default_config,
            plan=advice.plan,
        )

    def write(self, layout: TuningLayout) -> None:
        """Keep the plan in its folder.

        Args:
            layout: Of the folder.

        Raises:
            InputError: The folder can't be written.
        """
        content = {
            "format": _FORMAT,
            "task_source": self.task_source,
            "task_id": self.task_id,
            "task_name": self.task_name,
            "budget_s": self.budget_s,
            "root": str(self.root),
            "like": self.like.to_yaml(),
            "default_config": dict(self.default_config),
            "plan": self.plan.as_dict(),
        }
        try:
            make_folder_durably(layout.out.absolute())
            write_durably(layout.plan_json, json.dumps(content, indent=1).encode())
        except OSError as err:
            raise InputError(f"{layout.plan_json} can't be written: {err.strerror}") from err

    @classmethod
    def read(cls, layout: TuningLayout) -> "StoredPlan | None":
        """Return the plan that a folder holds; None if it is new or empty.

        Args:
            layout: Of the folder.

        Returns:
            The plan.

        Raises:
            InputError: The folder holds something else, or a plan that can't be read.
        """
        try:
            text = layout.plan_json.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            _refuse_foreign(layout.out)
            return None
        except (OSError, UnicodeDecodeError) as err:
            raise InputError(f"{layout.plan_json} can't be read: {err}") from err
        try:
            return _parsed(json.loads(text), str(layout.plan_json))
        except (ValueError, KeyError, TypeError) as err:
            raise InputError(
                f"{layout.plan_json} is not a plan that this release wrote ({err!r}); name another --out"
            ) from err


def _parsed(content: Mapping[str, Any], where: str) -> StoredPlan:
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']} is not {_FORMAT}")
    return StoredPlan(
        task_source=content["task_source"],
        task_id=content["task_id"],
        task_name=content["task_name"],
        budget_s=float(content["budget_s"]),
        root=Path(content["root"]),
        like=parse_spec(yaml.safe_load(content["like"]), where=where, folder=Path(content["root"])),
        default_config=content["default_config"],
        plan=Plan.from_dict(content["plan"]),
    )


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, but {out} is a file")
    if out.is_dir() and any(path.name[0] != "." for path in out.iterdir()):
        raise InputError(
            f"{out} is not empty and holds no plan of `foretune tune`; name a new or empty folder as --out"
        )


def phases(choices: Sequence[Choice]) -> list[tuple[Target, ...]]:
    """Cut a plan where it comes back to a config that it began before.

    A sweep runs its trials in the order of the plan, those that are continued first: a new phase begins where
    that would not be the order of the choices. A choice that continues the one before it is one with it.

    Args:
        choices: In running order.

    Returns:
        For each phase how far every config is to be trained by its end, those of earlier phases included, in
        the order in which they were asked for last.
    """
    found: list[tuple[Target, ...]] = []
    targets: dict[ConfigId, Target] = {}
    in_phase: list[ConfigId] = []
    begins_new = False
    for choice in choices:
        key = config_id(choice.config)
        known = targets.get(key)
        if known is not None and in_phase[-1:] != [key] and (begins_new or key in in_phase):
            found.append(tuple(targets.values()))
            in_phase, begins_new = [], False
        in_phase.append(key)
        begins_new = begins_new or known is None
        epochs = choice.epochs if known is None else max(choice.epochs, known.epochs)
        targets.pop(key, None)
        targets[key] = Target(config=choice.config, epochs=epochs)
    return [*found, tuple(targets.values())]
