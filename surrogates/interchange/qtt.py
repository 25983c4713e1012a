"""The CSV tables of Quick-Tune's tool (qtt) as a meta-dataset.

A row of config.csv (or pipeline.csv), curve.csv and cost.csv is a trial, the same in all three. meta.csv has
a row a trial as well, or a row a task when it and the configs share the column ``dataset``. The curve's
columns are fidelities, its values scores that are maximised, unless told otherwise.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator.contracts import Config, InputError, Scalar, config_id
from surrogates.data.normalisation import Array, Direction
from surrogates.data.space import Parameter, Space
from surrogates.interchange import curves as curves_of
from surrogates.interchange.qtt_export import CONFIG, COST, CURVE, META, SUPPLEMENT, from_score
from surrogates.interchange.records import CostKind, Imported, Reading
from surrogates.interchange.spaces import declare, guess, guess_conditions
from surrogates.interchange.supplement import Supplement

_DATASET = "dataset"
_SCORE = "score"


def import_qtt(folder: Path | str, reading: Reading) -> Imported:
    """Read the tables.

    Args:
        folder: Holds config.csv (or pipeline.csv), curve.csv, cost.csv and meta.csv.
        reading: What the tables don't say. Left out: the metric is ``score``, maximised; the cost is that of
            the whole trial; the space is guessed from the values.

    Returns:
        The meta-dataset. A trial with a cost and no value is a failure.

    Raises:
        InputError: A table is missing or damaged, or they don't fit together.
    """
    folder = Path(folder)
    configs = _table(folder / (CONFIG if (folder / CONFIG).is_file() else "pipeline.csv"))
    curve, cost = _table(folder / CURVE), _table(folder / COST)
    for name, table in ((CURVE, curve), (COST, cost)):
        if not table.index.equals(configs.index):
            raise InputError(f"the rows of {name} are not those of the configs; number them alike")
    points = _points(curve)
    seconds = _numbers(cost, COST)[:, _cost_column(cost, reading)]
    if (folder / SUPPLEMENT).is_file():
        return _own(folder, configs, points, seconds)
    return _foreign(folder, configs, points, seconds, reading)


def _own(folder: Path, configs: pd.DataFrame, points: pd.DataFrame, seconds: Array) -> Imported:
    try:
        said = Supplement.parse(json.loads((folder / SUPPLEMENT).read_text()))
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{folder / SUPPLEMENT} is damaged: {err}; export the tables anew") from err
    rows = said.rest["rows"]
    if len(rows) != len(configs):
        raise InputError(f"{SUPPLEMENT} describes {len(rows)} trials, the tables {len(configs)}; export anew")
    parsed = _parsed(configs, said.space, set(said.rest["texts"]))
    keys = said.trials.set_index("trial_id")["config_id"].loc[rows]
    if said.description.direction is Direction.MINIMISE:
        points["score"] = from_score(points["score"].to_numpy())
    each = seconds / np.bincount(points["row"], minlength=len(rows)).clip(1)
    placed = points.assign(
        trial_id=np.array(rows, dtype=object)[points["row"]],
        epoch=points["fidelity"].astype(int),
        value=points["score"],
        cost_s=each[points["row"]],
    ).astype({"trial_id": "str"})
    notes = ["the seconds of a trial are spread evenly over its epochs"]
    if said.description.reports:
        notes.append(f"{', '.join(said.description.reports)} are not in the tables")
    meta = said.without_reports().meta(placed, dict(zip(keys, parsed, strict=True)))
    return Imported(meta=meta, notes=tuple(notes))


def _foreign(
    folder: Path, configs: pd.DataFrame, points: pd.DataFrame, seconds: Array, reading: Reading
) -> Imported:
    tasks, features = _tasks(folder, configs)
    configs = configs.drop(columns=_DATASET, errors="ignore")
    declared = reading.space
    notes: list[str] = []
    if declared is None:
        declared, notes = _guessed(configs)
    parsed = _parsed(configs, declared, set())
    ids = [config_id(config) for config in parsed]
    trials = pd.DataFrame({"task_id": tasks, "config_id": ids, "cost": seconds})
    trials["seed"] = trials.groupby(["task_id", "config_id"]).cumcount()
    metric = reading.metric or _SCORE
    kind = reading.cost_kind or CostKind.TOTAL
    if kind is CostKind.CUMULATIVE:
        raise InputError("qtt's cost is one number a trial; say --cost-kind total or epoch")
    points = points.join(trials, on="row").rename(columns={_SCORE: metric})
    points, numbering = curves_of.numbered(points, "fidelity")
    points, costing = curves_of.costed(points, "cost", kind)
    points, broken = curves_of.unmeasured_left_out(points, metric)
    notes += [*numbering, *costing, *broken]
    if kind is CostKind.TOTAL:
        notes.append("the seconds of a trial are spread evenly over its epochs")
    bare = trials[~trials.index.isin(points["row"]) & trials["cost"].notna()]
    if len(bare):
        notes.append(f"{len(bare)} trials with a cost and no value are taken for failures")
    told = Reading(
        metric=metric,
        direction=reading.direction or Direction.MAXIMISE.value,
        features=reading.features,
    )
    by_id: dict[str, Config] = dict(zip(ids, parsed, strict=True))
    return curves_of.from_strangers(
        points,
        by_id,
        curves_of.decide_space(reading, declared, by_id),
        told,
        metric=metric,
        tasks=list(dict.fromkeys(tasks)),
        failures=bare.rename(columns={"cost": "cost_s"}),
        features=features,
        notes=notes,
    )


def _tasks(folder: Path, configs: pd.DataFrame) -> tuple[list[str], pd.DataFrame | None]:
    """Return every row's task, and the tasks' meta-features."""
    path = folder / META
    if not path.is_file() and _DATASET not in configs.columns:
        raise InputError(f"{folder} doesn't tell tasks apart: add {META}, or a column {_DATASET} to {CONFIG}")
    if not path.is_file():
        return configs[_DATASET].tolist(), None
    if _DATASET in configs.columns:
        table = _table(path, indexed=False)
        if _DATASET not in table.columns:
            raise InputError(f"{path} has no column {_DATASET}, by which the configs name their task")
        names, tasks = table[_DATASET].tolist(), configs[_DATASET].tolist()
        unnamed = [name for name in table.columns if name.startswith("Unnamed: ")]
        described = table.drop(columns=[_DATASET, *unnamed])
    else:
        table = _table(path)
        if not table.index.equals(configs.index):
            raise InputError(f"the rows of {META} are not those of the configs; number them alike")
        groups = table.groupby(list(table.columns), sort=False).ngroup() if len(table.columns) else 0
        tasks = [f"task-{number + 1}" for number in np.broadcast_to(groups, len(table))]
        names, described = tasks, table
    numbers = described.apply(pd.to_numeric, errors="coerce").dropna(axis=1, how="all")
    features = numbers.assign(task_id=names).drop_duplicates("task_id")
    return tasks, features if len(numbers.columns) else None


def _points(curve: pd.DataFrame) -> pd.DataFrame:
    """Return one row a point: row (from 0), fidelity, score; an empty cell is no point."""
    fidelities = pd.to_numeric(pd.Series(list(curve.columns), dtype=object), errors="coerce").to_numpy(float)
    if np.isnan(fidelities).any():
        raise InputError(f"the columns of {CURVE} must be fidelities, got {', '.join(curve.columns[:5])}")
    rows, places = np.nonzero((curve != "").to_numpy())
    return pd.DataFrame(
        {"row": rows, "fidelity": fidelities[places], _SCORE: _numbers(curve, CURVE)[rows, places]}
    )


def _cost_column(cost: pd.DataFrame, reading: Reading) -> int:
    name = reading.cost or ("cost" if "cost" in cost.columns or len(cost.columns) != 1 else cost.columns[0])
    if name not in cost.columns:
        raise InputError(f"{COST} has no column {name}; it has {', '.join(cost.columns)}")
    return list(cost.columns).index(name)


def _numbers(table: pd.DataFrame, name: str) -> Array:
    """Return a table's cells as numbers, NaN where empty."""
    try:
        return table.replace("", "nan").to_numpy(dtype=float)
    except ValueError as err:
        raise InputError(f"{name} has a cell that is no number: {err}") from err


def _guessed(configs: pd.DataFrame) -> tuple[Space, list[str]]:
    cells = {
        str(name): [_guess_cell(text) for text in configs[name] if text != ""] for name in configs.columns
    }
    parameters = [guess(name, values) for name, values in cells.items() if values]
    rows = [
        {str(name): _guess_cell(text) for name, text in row.items() if text != ""}
        for row in configs.to_dict(orient="records")
    ]
    space = declare(parameters, guess_conditions(rows, parameters))
    return space, ["the space is guessed from the values; give the declared one (--space) for wider ranges"]


def _parsed(configs: pd.DataFrame, space: Space, texts: set[str]) -> list[Config]:
    known = {item.name: item for item in space.parameters}
    outside = [name for name in configs.columns if name not in known and (configs[name] != "").any()]
    if outside:
        raise InputError(f"{CONFIG} has {', '.join(outside)}, which the declared space lacks; declare it")
    parsed: list[Config] = []
    for row in configs.to_dict(orient="records"):
        config: dict[str, Scalar] = {}
        for name, text in row.items():
            if text != "":
                parameter = known[str(name)]
                config[str(name)] = json.loads(text) if name in texts else _parse(text, parameter)
        parsed.append(config)
    return parsed


def _parse(text: str, parameter: Parameter) -> Scalar:
    """Return the choice that is written so, or the number."""
    guessed = _guess_cell(text)
    for choice in parameter.choices:
        if str(choice) == text:
            return choice
    for choice in parameter.choices:
        if type(choice) in (int, float) and type(guessed) in (int, float) and choice == guessed:
            return choice
    return float(text) if not parameter.choices and not parameter.is_integer else guessed


def _guess_cell(text: str) -> Scalar:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _table(path: Path, *, indexed: bool = True) -> pd.DataFrame:
    """Read a CSV file as it is written, cell by cell."""
    try:
        table = pd.read_csv(path, index_col=0 if indexed else None, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as err:
        raise InputError(f"{path} can't be read as a CSV table: {err}") from err
    if indexed and table.index.duplicated().any():
        raise InputError(f"{path} has the row {table.index[table.index.duplicated()][0]!r} twice")
    return table
