"""Optuna studies as a meta-dataset: each study a task, each trial a trial, each step an epoch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.contracts import InputError
from surrogates.interchange.extras import peer
from surrogates.interchange.optuna_export import COST, STUDIES, quiet
from surrogates.interchange.optuna_strangers import import_strangers
from surrogates.interchange.records import Imported, Reading
from surrogates.interchange.supplement import KEY, Supplement

_SQLITE = b"SQLite format 3\x00"


def import_optuna(
    source: str | Path | list[Any], reading: Reading, *, studies: Sequence[str] = ()
) -> Imported:
    """Read studies.

    Args:
        source: A storage's URL, a SQLite or journal file, a folder with studies.journal, or study objects.
        reading: What the studies don't say. Left out: the metric has its name in the study, or ``value``; the
            seconds are the attribute ``epoch_cost_s`` of the trials where all have it, and otherwise the
            trial's duration, spread evenly over its steps.
        studies: Names of the studies to read; none: all.

    Returns:
        The meta-dataset. Pruned trials are stopped ones; failed ones are failures; trials that have not ended
        are left out.

    Raises:
        InputError: Optuna is not installed, there is no such storage or study, or the studies differ in what
            they optimise.
    """
    if not isinstance(source, str | Path):
        return _read([study for study in source if not studies or study.study_name in studies], reading)
    with quiet(), _storage(source) as storage:
        optuna = peer("optuna")
        known = optuna.get_all_study_names(storage)
        missing = sorted(set(studies) - set(known))
        if missing or not known:
            raise InputError(f"no study {', '.join(missing) or 'at all'} in {source}; there are {known}")
        names = studies or sorted(known)
        return _read([optuna.load_study(study_name=name, storage=storage) for name in names], reading)


@contextmanager
def _storage(source: str | Path) -> Iterator[Any]:
    optuna = peer("optuna")
    text = str(source)
    if "://" in text:
        if text.startswith(("redis", "rediss", "unix")):
            raise InputError(f"{text} is a Redis storage, which unpickles what it reads; copy them first")
        url = text
    else:
        path = Path(source) / STUDIES if Path(source).is_dir() else Path(source)
        if not path.is_file():
            raise InputError(f"there are no studies at {path}; name a storage's URL or file")
        with open(path, "rb") as file:
            is_sqlite = file.read(len(_SQLITE)) == _SQLITE
        if not is_sqlite:
            backend = optuna.storages.journal.JournalFileBackend(str(path))
            try:
                yield optuna.storages.JournalStorage(backend)
            except ValueError as err:
                raise InputError(f"{path} is neither a SQLite nor a journal file of Optuna: {err}") from err
            return
        url = f"sqlite:///{path}"
    errors = peer("sqlalchemy.exc").SQLAlchemyError
    try:
        with _database(url) as storage:
            yield storage
    except (errors, RuntimeError) as err:
        raise InputError(f"{text} can't be read as a storage of Optuna: {err}") from err


@contextmanager
def _database(url: str) -> Iterator[Any]:
    """Open a database of studies, and close it again."""
    storages = peer("optuna.storages")
    storage = storages.RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _read(studies: Sequence[Any], reading: Reading) -> Imported:
    if not studies:
        raise InputError("there is no study to read")
    several = [study.study_name for study in studies if len(study.directions) != 1]
    if several:
        raise InputError(f"{several[0]} has several objectives, and so no curves; name studies of one")
    described = [study.user_attrs.get(KEY) for study in studies]
    trials = [study.get_trials(deepcopy=False) for study in studies]
    if all(isinstance(item, dict) for item in described):
        return _own(described, trials)
    return import_strangers(studies, trials, reading)


def _own(described: Sequence[Mapping[str, Any]], held: Sequence[Sequence[Any]]) -> Imported:
    alike = [{name: value for name, value in item.items() if name != "tasks"} for item in described]
    if any(item != alike[0] for item in alike):
        raise InputError("the studies come from different meta-datasets; name those of one with --study")
    try:
        rows = [
            {
                "trial_id": trial.user_attrs["trial_id"],
                "task_id": item["tasks"][0]["task_id"],
                **{name: trial.user_attrs[name] for name in ("config_id", "seed", "outcome", "cost_s")},
                "is_failure": trial.state.name == "FAIL",
            }
            for item, trials in zip(described, held, strict=True)
            for trial in trials
        ]
    except (KeyError, IndexError, TypeError) as err:
        raise InputError(f"a trial lacks the attribute {err}; export the studies anew") from err
    columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    tasks = [task for item in described for task in item["tasks"]]
    said = Supplement.parse({**described[0], "tasks": tasks, "trials": columns})
    every = [trial for trials in held for trial in trials]
    params = [said.space.restore(trial.params) for trial in every]
    configs = {row["config_id"]: config for row, config in zip(rows, params, strict=True)}
    points = [
        (
            trial.user_attrs["trial_id"],
            epoch,
            value,
            trial.user_attrs[COST][place],
            *(trial.user_attrs["reports"][name][place] for name in said.description.reports),
        )
        for trial in every
        for place, (epoch, value) in enumerate(sorted(trial.intermediate_values.items()))
    ]
    names = ["trial_id", "epoch", "value", "cost_s", *said.description.reports]
    kinds = {name: "float64" for name in names} | {"trial_id": "str", "epoch": "int64"}
    return Imported(meta=said.meta(pd.DataFrame(points, columns=names).astype(kinds), configs), notes=())
