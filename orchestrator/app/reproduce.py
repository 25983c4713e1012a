"""Running one trial of a root again, from what the root says of it, and comparing what it measures.

The second run goes the way of every sweep, in a root of its own, and runs the very same trial: same task
rows, config, seed, base model, settings, and the same id, from which all its random numbers come.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from orchestrator.app.plan import SweepPlan
from orchestrator.app.reproduction import TOLERANCE, Reproduction, compare_curves, compare_facts
from orchestrator.app.roots import existing_spec, planned_trials
from orchestrator.app.scheduler_entry import SchedulerEntry
from orchestrator.app.spec import SweepSpec, TaskEntry
from orchestrator.app.sweep import run_sweep
from orchestrator.contracts import InputError, Outcome, SweepInterruptedError, Trial
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.rows import trial_of
from workers.models.location import locate
from workers.space import SearchSpace
from workers.tasks.loading import load_task

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CANDIDATES_SHOWN = 5


def reproduce(
    root: Path,
    trial: str,
    *,
    address: str | None = None,
    epochs: int | None = None,
    keep: Path | None = None,
    tolerance: float = TOLERANCE,
    console: Console | None = None,
) -> Reproduction:
    """Run a trial again and compare.

    Args:
        root: The sweep's folder; it is only read.
        trial: The trial's id, or the beginning of it.
        address: A running Ray cluster; None: in this process, without Ray.
        epochs: Train and compare so many epochs, from the first; None: all there are.
        keep: Where the second run's root is to stay, new or empty; None: it is removed.
        tolerance: Largest difference that counts as equal, in nats or points of a score.
        console: Where progress is shown; None shows nothing.

    Returns:
        The comparison.

    Raises:
        InputError: There is no such trial, or its task or base model is no longer what it was.
        SweepInterruptedError: The second run was stopped before its end.
    """
    if address is not None and keep is None:
        raise InputError(
            f"on the cluster {address} the second run needs a folder that all nodes see; name one with --keep"
        )
    spec = existing_spec(root)
    row = _find_row(root, trial)
    then = Outcome(row["outcome"])
    on_record = int(row["epochs"])
    if epochs is not None and not 1 <= epochs <= on_record:
        raise InputError(
            f"--epochs must be in [1, {on_record}], the epochs that trial {row['trial_id']} has on record, "
            f"got {epochs}"
        )
    compares_outcome = epochs is None and not then.is_success
    again = _same_trial(root, row)
    # One that ended well is run to where it ended; one that did not is run until it ends likewise.
    again = replace(again, max_epochs=again.max_epochs if compares_outcome else epochs or on_record)
    with _second_root(keep) as second:
        report = run_sweep(
            _spec_of(spec, again, then),
            second,
            address=address,
            in_process=address is None,
            console=console,
            plan=SweepPlan(
                trials=(again,),
                tasks=(),
                space=SearchSpace.from_spec(spec.preset, spec.space),
                base=locate(again.base_model),
            ),
        )
        if not report.is_done:
            raise SweepInterruptedError(f"trial {again.trial_id} was not run to its end; nothing is compared")
        now = _only_row(MetaDatasetReader(second).trials())
        compared = on_record if compares_outcome else again.max_epochs
        curves = [MetaDatasetReader(folder).curves() for folder in (root, second)]
    first, rerun = (curve[curve["trial_id"] == again.trial_id] for curve in curves)
    differences, lacking = compare_curves(first, rerun, max(compared, len(rerun)))
    return Reproduction(
        trial_id=again.trial_id,
        root=str(root),
        rerun_root=None if keep is None else str(keep),
        epochs=compared,
        outcome_then=then if compares_outcome else Outcome.COMPLETED,
        outcome_now=Outcome(now["outcome"]),
        error_now=None if pd.isna(now["error"]) else str(now["error"]),
        differences=differences,
        not_compared=lacking,
        changes=compare_facts(_facts(row), _facts(now)),
        tolerance=tolerance,
        notes=tuple(_notes(spec, row, again)),
    )


def _find_row(root: Path, beginning: str) -> Mapping[str, Any]:
    """Return the row of the one finished trial whose id begins so."""
    trials = MetaDatasetReader(root).trials()
    found = trials[trials["trial_id"].str.startswith(beginning)] if len(trials) else trials
    if len(found) == 1:
        return _only_row(found)
    if len(found):
        names = ", ".join(found["trial_id"].head(_CANDIDATES_SHOWN))
        more = "" if len(found) <= _CANDIDATES_SHOWN else ", ..."
        raise InputError(f"{len(found)} trials of {root} have ids that begin with {beginning}: {names}{more}")
    planned = [name for name in planned_trials(root) if name.startswith(beginning)]
    if planned:
        raise InputError(
            f"trial {planned[0]} of {root} has not ended, so there is nothing to compare with; continue the "
            f"sweep with `foretune resume {root}`"
        )
    raise InputError(
        f"{root} has no trial whose id begins with {beginning!r}; the ids of its {len(trials)} finished "
        f"trials are the column trial_id of {root}/trials"
    )


def _only_row(trials: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in trials.iloc[0].items()}


def _same_trial(root: Path, row: Mapping[str, Any]) -> Trial:
    """Return the trial of a row, reading its task and base from where they are now."""
    name = row["trial_id"]
    try:
        trial = trial_of(row)
    except (TypeError, ValueError) as err:
        raise InputError(f"trial {name} can't be run by this version: {err}") from err
    if trial.trial_id != name:
        raise InputError(
            f"trial {name}: its row describes another trial, {trial.trial_id}; the row was altered, or "
            "written by a version that counts other things into an id"
        )
    revision = json.loads(row["provenance"]).get("data_revision")
    return replace(
        trial,
        task_source=_find_task(trial, RootLayout(root.absolute()), revision),
        base_model=_find_base(trial),
    )


def _find_task(trial: Trial, layout: RootLayout, revision: str | None) -> str:
    """Return a source that holds the rows the trial was trained on."""
    source = trial.task_source
    places = [source]
    if source.startswith("hf:"):
        places += [] if revision is None else [re.sub(r"^(hf:[^@:]+)", rf"\1@{revision}", source)]
    elif Path(source).is_absolute():
        places.append(str(layout.inputs_dir / Path(source).name))  # a root with its copies, moved
    problems = []
    for place in dict.fromkeys(places):
        try:
            task = load_task(place)
        except InputError as err:
            problems.append(str(err))
            continue
        if task.task_id == trial.task_id:
            return place
        problems.append(f"{place} holds other rows now ({task.task_id})")
    raise InputError(
        f"trial {trial.trial_id} was trained on the rows {trial.task_id} of task {trial.task_name}, which "
        f"are not there any more: {'; '.join(problems)}; put them back, and try again"
    )


def _find_base(trial: Trial) -> str:
    """Return a name under which the base model is what the trial was trained from."""
    wanted = trial.base_fingerprint
    repository = trial.base_model.partition("@")[0]
    found = locate(trial.base_model).fingerprint
    if found == wanted:
        return trial.base_model
    if _COMMIT.fullmatch(wanted) and _COMMIT.fullmatch(found):
        return f"{repository}@{wanted}"
    raise InputError(
        f"trial {trial.trial_id} was trained from base model {trial.base_model} with fingerprint {wanted}; "
        f"what lies there now has {found}; put the old files back, and try again"
    )


def _spec_of(spec: SweepSpec, trial: Trial, then: Outcome) -> SweepSpec:
    """Return the spec of a sweep of this trial alone."""
    training = spec.training.model_copy(update={"horizon_epochs": trial.settings.horizon_epochs})
    return spec.model_copy(
        update={
            "base_model": trial.base_model,
            "tasks": (TaskEntry(source=trial.task_source, name=trial.task_name),),
            "configs": (dict(trial.config),),
            "seeds": (trial.seed,),
            "epochs": trial.max_epochs,
            "training": training,
            "scheduler": SchedulerEntry(name="fifo"),
            "keep_adapters": 0,
            "trial_timeout_s": spec.trial_timeout_s if then is Outcome.TIMED_OUT else None,
            "mirror": None,
        }
    )


@contextmanager
def _second_root(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="foretune-reproduce-") as folder:
        yield Path(folder) / "root"


def _facts(row: Mapping[str, Any]) -> dict[str, str]:
    facts: dict[str, str] = json.loads(row["provenance"])
    return {"device": str(row["device"]), **facts}


def _notes(spec: SweepSpec, row: Mapping[str, Any], trial: Trial) -> Iterator[str]:
    if spec.is_rehearsal:
        yield "a rehearsal: its numbers are made up, and were made up again"
    if row["outcome"] == Outcome.STOPPED:
        yield f"it was stopped by the sweep's rule after epoch {row['epochs']}, and is run to there"
    if row["outcome"] in (Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY):
        yield f"it was {row['outcome']}, which depends on the machine as well"
    if trial.task_source != row["task_source"]:
        yield f"its task is read from {trial.task_source}, where the same rows lie"
