"""A meta-dataset as Optuna studies, one a task, in one journal file.

A SQLite file would take ten times as long to write: Optuna looks up every value of a trial before it adds it.
``optuna.copy_study`` turns the one into the other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.contracts import InputError, Outcome, Scalar
from surrogates.data.folders import whole_folder
from surrogates.data.normalisation import Direction
from surrogates.data.space import Parameter, is_number, matching_choice
from surrogates.interchange.extras import peer
from surrogates.interchange.records import Exported
from surrogates.interchange.supplement import KEY, supplement
from surrogates.metadataset import MetaDataset

STUDIES = "studies.journal"
COST = "epoch_cost_s"
"""Attribute of a trial with the seconds of every step alone, in order."""
_EPOCH_ZERO = datetime(2000, 1, 1)
"""When every trial is said to have begun; it ended as many seconds later as it cost."""
_DIRECTIONS = {Direction.MINIMISE: "minimize", Direction.MAXIMISE: "maximize"}


def export_optuna(meta: MetaDataset, folder: Path | str, *, replace: bool = False) -> Exported:
    """Write studies.journal: a study a task, a trial a trial, a step an epoch.

    Meta-features are attributes of the study; a completed trial has the value of its last epoch; stopped ones
    are pruned, failures failed.

    Args:
        meta: The meta-dataset.
        folder: Missing or empty; with ``replace`` also an earlier export.
        replace: Whether an earlier export may be replaced.

    Returns:
        What was written, and what the format has no place for.

    Raises:
        InputError: Optuna is not installed, or the folder can't be written.
    """
    distributions = _distributions(meta)
    names = [task.name for task in meta.tasks]
    names = names if len(set(names)) == len(names) else [task.task_id for task in meta.tasks]
    storages = peer("optuna.storages")
    with whole_folder(Path(folder), names=[STUDIES], replace=replace) as aside, quiet():
        backend = storages.journal.JournalFileBackend(str(aside / STUDIES))
        storage = storages.JournalStorage(backend)
        for name, task in zip(names, meta.tasks, strict=True):
            one = meta.without([other.task_id for other in meta.tasks if other is not task])
            _write_study(one, name, distributions, storage)
    return Exported(
        files=(STUDIES,),
        notes=("conditions of the space stand in each study's attribute 'foretune'; Optuna has none",),
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from writing lines about every study and trial."""
    logging = peer("optuna.logging")
    level = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _write_study(meta: MetaDataset, name: str, distributions: dict[str, Any], storage: Any) -> None:
    optuna = peer("optuna")
    study = optuna.create_study(study_name=name, storage=storage, direction=_DIRECTIONS[meta.direction])
    (task,) = meta.tasks
    for key, value in task.features.items():
        study.set_user_attr(key, value)
    described = supplement(meta)
    del described["trials"]
    study.set_user_attr(KEY, described)
    points = {str(key): held for key, held in meta.points.groupby("trial_id")}
    none = meta.points.iloc[:0]
    for row in meta.trials.itertuples(index=False):
        study.add_trial(_trial(meta, row, points.get(str(row.trial_id), none), distributions))


def _trial(meta: MetaDataset, row: Any, points: pd.DataFrame, distributions: dict[str, Any]) -> Any:
    optuna = peer("optuna")
    config = meta.configs[row.config_id]
    states = optuna.trial.TrialState
    if row.is_failure:
        state = states.FAIL
    elif row.outcome == Outcome.COMPLETED and len(points):
        state = states.COMPLETE
    else:
        state = states.PRUNED
    trial = optuna.trial.create_trial(
        state=state,
        value=float(points["value"].iloc[-1]) if state is states.COMPLETE else None,
        params=dict(config),
        distributions={name: distributions[name] for name in config},
        intermediate_values=dict(zip(points["epoch"].tolist(), points["value"].tolist(), strict=True)),
        user_attrs={
            "trial_id": row.trial_id,
            "config_id": row.config_id,
            "seed": int(row.seed),
            "outcome": str(row.outcome),
            "cost_s": float(row.cost_s),
            COST: points["cost_s"].tolist(),
            "reports": {name: points[name].tolist() for name in meta.reports},
        },
    )
    trial.datetime_start = _EPOCH_ZERO
    trial.datetime_complete = _EPOCH_ZERO + timedelta(seconds=float(row.cost_s))
    return trial


def _distributions(meta: MetaDataset) -> dict[str, Any]:
    return {
        item.name: _distribution(
            item, [config[item.name] for config in meta.configs.values() if item.name in config]
        )
        for item in meta.space.parameters
    }


def _distribution(parameter: Parameter, used: Sequence[Scalar]) -> Any:
    """Return Optuna's distribution; values that lie outside the declared ones widen it."""
    kinds = peer("optuna.distributions")
    if parameter.choices:
        choices = list(parameter.choices)
        for value in used:
            if matching_choice(value, choices) is None:
                choices.append(value)
        return kinds.CategoricalDistribution(choices)
    strange = [value for value in used if not is_number(value)]
    if strange:
        raise InputError(f"{parameter.name} is declared as a range and has the value {strange[0]!r}")
    numbers = [float(value) for value in used if is_number(value)]
    low, high = min([parameter.low, *numbers]), max([parameter.high, *numbers])
    is_log = parameter.is_log and low > 0
    if parameter.is_integer and all(value.is_integer() for value in numbers):
        return kinds.IntDistribution(int(low), int(high), log=is_log)
    return kinds.FloatDistribution(low, high, log=is_log)
