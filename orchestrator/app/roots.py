"""A sweep's root: made once, claimed by one spec, recognised when it is continued."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.app.spec import SweepSpec, load_spec
from orchestrator.contracts import InputError, Trial, TrialId
from orchestrator.metadataset.durable import write_durably
from orchestrator.metadataset.layout import RootLayout


def existing_spec(root: Path) -> SweepSpec:
    """Return the spec a root was made for.

    Args:
        root: The sweep's folder.

    Returns:
        The spec, its paths absolute.

    Raises:
        InputError: The root holds no sweep.
    """
    layout = RootLayout(root)
    if not layout.sweep_yaml.is_file():
        what = "does not exist" if not root.exists() else "holds no sweep"
        raise InputError(f"{root} {what}; start one with `foretune run SWEEP.yaml --root {root}`")
    return load_spec(layout.sweep_yaml)


def check_claim(root: Path, spec: SweepSpec) -> None:
    """Refuse a root that the spec may not write to; writes nothing.

    Args:
        root: The folder; need not exist.
        spec: The checked spec.

    Raises:
        InputError: The root belongs to another sweep, or holds something else.
    """
    layout = RootLayout(root)
    if layout.sweep_yaml.is_file():
        theirs, ours = existing_spec(root).identity(), spec.identity()
        differing = sorted(key for key in theirs | ours if theirs.get(key) != ours.get(key))
        if differing:
            raise InputError(
                f"{root} belongs to another sweep: {_name_differences(theirs, ours, differing)}; "
                "choose another --root, or continue that sweep with `foretune resume`"
            )
        return
    if root.exists() and not root.is_dir():
        raise InputError(f"--root must be a folder, but {root} is a file")
    # What a claim that was cut short left behind is no one's.
    leftovers = {layout.ledger_dir.name, layout.space_json.name}
    if root.is_dir() and any(path.name not in leftovers and path.name[0] != "." for path in root.iterdir()):
        raise InputError(f"{root} is not empty and holds no sweep; choose a new or empty folder as --root")


def _name_differences(theirs: dict[str, object], ours: dict[str, object], keys: Sequence[str]) -> str:
    def brief(value: object) -> str:
        text = json.dumps(value)
        return text if len(text) <= 60 else text[:57] + "..."

    return "; ".join(
        f"`{key}` is {brief(theirs.get(key))} there and {brief(ours.get(key))} here" for key in keys
    )


def claim(root: Path, spec: SweepSpec, trials: Sequence[Trial], space_json: str) -> RootLayout:
    """Make the root, or recognise it, and keep spec, space and plan in it.

    Args:
        root: The folder.
        spec: The checked spec.
        trials: Its plan.
        space_json: The declared search space.

    Returns:
        The root's file names.

    Raises:
        InputError: The root may not be written, or was planned from other task files or another base model.
    """
    check_claim(root, spec)
    layout = RootLayout(root)
    planned = [trial.trial_id for trial in trials]
    if layout.sweep_yaml.is_file() and layout.plan_json.is_file():
        if planned_trials(root) != planned:
            raise InputError(
                f"{root} was begun with other task contents or another base model under the same names; "
                "restore those files, or start a new sweep in another --root"
            )
        return layout
    try:
        layout.ledger_dir.mkdir(parents=True, exist_ok=True)
        write_durably(layout.space_json, space_json.encode())
        write_durably(layout.plan_json, json.dumps({"trials": planned}).encode())
        # Last: a root is a sweep's from the moment its spec stands in it.
        write_durably(layout.sweep_yaml, spec.to_yaml().encode())
    except OSError as err:
        raise InputError(f"{root} can't be written: {os.strerror(err.errno or 0)}") from err
    return layout


def planned_trials(root: Path) -> list[TrialId]:
    """Return the ids of all planned trials of a root, in plan order."""
    content = json.loads(RootLayout(root).plan_json.read_text())
    return [TrialId(trial_id) for trial_id in content["trials"]]


def newest_root(folder: Path) -> Path:
    """Return the sweep under a folder that was written last.

    Args:
        folder: Where sweeps lie side by side.

    Returns:
        That sweep's root.

    Raises:
        InputError: There is none.
    """
    specs = [path for path in folder.glob(f"*/{RootLayout(folder).sweep_yaml.name}") if path.is_file()]
    if not specs:
        raise InputError(
            f"there is nothing to learn from: no sweep under ./{folder}; run `foretune quickstart`, or name "
            "a sweep with --root"
        )
    return max(specs, key=lambda path: RootLayout(path.parent).ledger_dir.stat().st_mtime).parent
