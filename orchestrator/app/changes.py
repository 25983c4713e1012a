"""Continuing a sweep with a changed spec: what differs, what becomes of every trial, what can't be merged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.app.history import goes_on
from orchestrator.app.plan import SweepPlan, plan_sweep
from orchestrator.app.roots import existing_spec, planned_trials, revise
from orchestrator.app.spec import SweepSpec
from orchestrator.contracts import InputError, Trial, TrialId
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger

_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key of the spec that differs."""

    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGroup:
    """Trials to which the change means the same."""

    what: str
    trials: int
    epochs: int
    """Epochs that are to be trained for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecChange:
    """A changed spec beside the one that a root has, and what continuing with it would do."""

    root: Path
    spec: SweepSpec
    plan: SweepPlan
    keys: tuple[KeyChange, ...]
    groups: tuple[TrialGroup, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the spec is the one that the root has."""
        return not self.keys

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON-like values."""
        return {
            "root": str(self.root),
            "keys": [asdict(item) for item in self.keys],
            "trials": [asdict(item) for item in self.groups],
        }

    def render(self) -> RenderableType:
        """Return the change as two tables for people."""
        if self.is_empty:
            return Text(f"{self.root} has this spec already: nothing changes")
        keys = Table(box=None, padding=(0, 2), header_style="bold")
        for column in ("key", "was", "will be"):
            keys.add_column(column)
        for item in self.keys:
            keys.add_row(item.key, item.before, item.after)
        groups = Table(box=None, padding=(0, 2), header_style="bold")
        for column in ("trials", "epochs to train", ""):
            groups.add_column(column, justify="right" if column else "left")
        for group in self.groups:
            groups.add_row(str(group.trials), str(group.epochs), group.what)
        return Group(keys, Text(), groups)


def spec_change(root: Path, spec: SweepSpec) -> SpecChange:
    """Compare a spec with that of a root; settles what the last driver left, and writes nothing else.

    Args:
        root: The sweep's folder.
        spec: The changed spec.

    Returns:
        The change.

    Raises:
        InputError: The root holds no sweep, or the specs can't be merged; the text gives the reasons.
        RootInUseError: A driver is at work there.
    """
    root = root.absolute()
    old = existing_spec(root)
    before = planned_trials(root)
    plan = plan_sweep(spec)
    reasons = _obstacles(old, spec, plan, RootLayout(root))
    if reasons:
        head = f"{root} can't be continued with this spec"
        raise InputError(*(f"{head}: {reason}" for reason in reasons))
    with Ledger.open(root) as ledger:
        groups = _groups(plan.trials, before, ledger, RootLayout(root), spec)
    return SpecChange(root=root, spec=spec, plan=plan, keys=_key_changes(old, spec), groups=groups)


def adopt(change: SpecChange) -> None:
    """Make the changed spec the root's own; the ones before it stay on record.

    Args:
        change: As ``spec_change`` found it.

    Raises:
        InputError: The root can't be written.
        RootInUseError: A driver is at work there.
    """
    with Ledger.open(change.root):
        try:
            revise(RootLayout(change.root), change.spec, change.plan.trials)
        except OSError as err:
            raise InputError(f"{change.root} can't be written: {err.strerror}") from err


def _obstacles(old: SweepSpec, new: SweepSpec, plan: SweepPlan, layout: RootLayout) -> list[str]:
    """Return why the trials of the two specs don't belong into one meta-dataset."""
    reasons: list[str] = []
    if old.base_model != new.base_model:
        reasons.append(
            f"base_model is {old.base_model} there and {new.base_model} here, and curves of two base models "
            "don't compare; start another sweep"
        )
    if f'"version": "{plan.space.version}"' not in layout.space_json.read_text():
        reasons.append(
            f"the search space is another one ({plan.space.version} here), and what is learned from a root "
            "needs one space; start another sweep"
        )
    before, after = old.training_settings(), new.training_settings()
    if before.horizon_epochs != after.horizon_epochs:
        reasons.append(
            f"the learning-rate schedules end at epoch {before.horizon_epochs} there and "
            f"{after.horizon_epochs} here, so that every curve would be another; up to "
            f"{before.horizon_epochs} epochs continue the curves there, with `training: {{horizon_epochs: "
            f"{before.horizon_epochs}}}`"
        )
    differing = [
        name
        for name, value in asdict(before).items()
        if name != "horizon_epochs" and getattr(after, name) != value
    ]
    if differing:
        reasons.append(
            f"training.{', training.'.join(differing)} differ, and every trial's numbers depend on them; "
            "start another sweep"
        )
    return reasons


def _key_changes(old: SweepSpec, new: SweepSpec) -> tuple[KeyChange, ...]:
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    changed = [key for key in before | after if before.get(key) != after.get(key)]
    return tuple(KeyChange(key, *_shown(before.get(key), after.get(key))) for key in changed)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and key != "space":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(before: Any, after: Any) -> tuple[str, str]:
    """Return two values as text; of two lists only what one of them lacks."""
    if isinstance(before, list) and isinstance(after, list):
        gone = [_name(item) for item in before if item not in after]
        new = [_name(item) for item in after if item not in before]
        return (
            f"{len(before)}" + (f", with {_brief(', '.join(gone))}" if gone else ""),
            f"{len(after)}" + (f", with {_brief(', '.join(new))}" if new else ""),
        )
    return tuple("-" if value is None else _brief(str(value)) for value in (before, after))  # type: ignore[return-value]


def _name(item: Any) -> str:
    return str(item["source"]) if isinstance(item, Mapping) and "source" in item else str(item)


def _brief(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _groups(
    trials: Sequence[Trial],
    before: Mapping[TrialId, int],
    ledger: Ledger,
    layout: RootLayout,
    spec: SweepSpec,
) -> tuple[TrialGroup, ...]:
    """Sort the trials of both plans by what becomes of them."""
    runs_all = spec.scheduler.name == "fifo"
    found: dict[str, list[int]] = {
        "are finished and stay as they are": [],
        "are finished and trained further, from their kept checkpoints": [],
        "are finished and trained further, from the start: no checkpoint was kept (their rows stay)": [],
        "are under way and go on": [],
        "were planned before and not begun": [],
        "are new": [],
        "are no longer planned; what is on record of them stays": [],
    }
    stay, thawed, rerun, begun, waiting, new, dropped = found.values()
    for trial in trials:
        progress = ledger.progress(trial.trial_id)
        left = max(0, trial.max_epochs - progress.epochs)
        has_state = any(layout.checkpoint_dir(trial.trial_id).glob("attempt-*/*"))
        if progress.outcome is not None and not goes_on(trial, progress, runs_all=runs_all):
            stay.append(0)
        elif progress.outcome is not None:
            (thawed if has_state else rerun).append(left if has_state else trial.max_epochs)
        elif progress.epochs > 0:
            begun.append(left if has_state else trial.max_epochs)
        else:
            (waiting if trial.trial_id in before else new).append(trial.max_epochs)
    planned = {trial.trial_id for trial in trials}
    dropped += [0 for trial_id in before if trial_id not in planned]
    return tuple(
        TrialGroup(what=what, trials=len(epochs), epochs=sum(epochs))
        for what, epochs in found.items()
        if epochs
    )
