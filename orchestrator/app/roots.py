"""A sweep's root: made once, claimed by one spec, recognised when it is continued."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.app.spec import SweepSpec, load_spec
from orchestrator.contracts import CorruptLedgerError, InputError, Trial, TrialId
from orchestrator.metadataset.durable import make_folder_durably, write_durably
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


def learnable_spec(root: Path) -> SweepSpec:
    """Return the spec of a root whose curves were measured.

    Args:
        root: The sweep's folder.

    Returns:
        The spec, its paths absolute.

    Raises:
        InputError: The root holds no sweep, or one that was only rehearsed.
    """
    spec = existing_spec(root)
    if spec.is_rehearsal:
        raise InputError(
            f"{root} is a rehearsal: its curves are made up, and nothing can be learned from them; name a "
            "sweep with a real base model"
        )
    return spec


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
                f"{root} belongs to another sweep: {_name_differences(theirs, ours, differing)}; choose "
                f"another --root, or change that sweep with `foretune resume {root} --with SWEEP.yaml`"
            )
        return
    if root.exists() and not root.is_dir():
        raise InputError(f"--root must be a folder, but {root} is a file")
    # What a claim that was cut short left behind is no one's.
    ours_alone = (layout.ledger_dir, layout.space_json, layout.inputs_dir, layout.logs_dir)
    leftovers = {path.name for path in ours_alone}
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
    planned = _planned(trials)
    if layout.sweep_yaml.is_file() and planned_trials(root) != planned:
        raise InputError(
            f"{root} was begun with other task contents or another base model under the same names; "
            "restore those files, or start a new sweep in another --root"
        )
    try:
        if not layout.sweep_yaml.is_file():
            make_folder_durably(layout.ledger_dir)
            write_durably(layout.space_json, space_json.encode())
        revise(layout, spec, trials)
    except OSError as err:
        raise InputError(f"{root} can't be written: {os.strerror(err.errno or 0)}") from err
    return layout


def revise(layout: RootLayout, spec: SweepSpec, trials: Sequence[Trial]) -> None:
    """Make a spec and its plan the root's newest revision, unless it is already.

    Args:
        layout: Of the root.
        spec: The checked spec.
        trials: Its plan.

    Raises:
        OSError: The system refused; the revision before stands.
    """
    text = spec.to_yaml()
    current = _current_revision(layout)
    if current is not None and _read_revision(layout.revision(current))["spec"] == text:
        return
    content = {"spec": text, "trials": _planned(trials)}
    make_folder_durably(layout.revisions_dir)
    # The number after the current one also replaces a revision that was cut short before it was adopted.
    number = 0 if current is None else current + 1
    write_durably(layout.revision(number), json.dumps(content).encode())
    # Last: the revision whose spec stands here is the one that holds.
    write_durably(layout.sweep_yaml, text.encode())


def planned_trials(root: Path) -> dict[TrialId, int]:
    """Return the planned trials of a root and the epochs planned for each, in plan order.

    Args:
        root: The sweep's folder.

    Returns:
        Epochs by trial.

    Raises:
        InputError: The root holds no sweep, or its spec was edited in place.
    """
    existing_spec(root)
    layout = RootLayout(root)
    current = _current_revision(layout)
    if current is None:
        raise InputError(
            f"{layout.sweep_yaml} is not the spec that was planned: it was edited in place; put the old one "
            f"back ({layout.revisions_dir} holds all there were), and pass an edited copy with `foretune "
            f"resume {root} --with SWEEP.yaml`"
        )
    return {TrialId(name): int(n) for name, n in _read_revision(layout.revision(current))["trials"].items()}


def _current_revision(layout: RootLayout) -> int | None:
    """Return the number of the newest revision whose spec stands in ``sweep.yaml``."""
    if not layout.sweep_yaml.is_file():
        return None
    text = layout.sweep_yaml.read_text()
    found = [number for number, path in layout.revisions().items() if _read_revision(path)["spec"] == text]
    return max(found, default=None)


def _read_revision(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as err:
        raise CorruptLedgerError(str(path), f"it is not the JSON that was written ({err})") from err
    return content


def _planned(trials: Sequence[Trial]) -> dict[TrialId, int]:
    return {trial.trial_id: trial.max_epochs for trial in trials}


def newest_root(folder: Path) -> Path | None:
    """Return the sweep under a folder that was written last; rehearsals don't count.

    Args:
        folder: Where sweeps lie side by side.

    Returns:
        That sweep's root; None where there is none.
    """
    found = [path for path in folder.glob(f"*/{RootLayout(folder).sweep_yaml.name}") if path.is_file()]
    specs = [path for path in found if not existing_spec(path.parent).is_rehearsal]
    if not specs:
        return None
    return max(specs, key=lambda path: RootLayout(path.parent).ledger_dir.stat().st_mtime).parent
