"""Optuna studies that others made: their steps, seconds, states and distributions as ours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from orchestrator.contracts import Config, InputError, Outcome, Scalar, config_id, digest
from surrogates.data.normalisation import Direction
from surrogates.data.space import Parameter, Space, is_number, matching_choice
from surrogates.data.tables import FAILURES
from surrogates.interchange import curves as curves_of
from surrogates.interchange.optuna_export import COST
from surrogates.interchange.records import CostKind, Imported, Reading
from surrogates.interchange.spaces import declare, guess_conditions
from surrogates.metadataset import MetaDataset

_DIRECTIONS = {"MINIMIZE": Direction.MINIMISE, "MAXIMIZE": Direction.MAXIMISE}
_OUTCOMES = {"COMPLETE": Outcome.COMPLETED, "PRUNED": Outcome.STOPPED, "FAIL": Outcome.DIVERGED}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A trial that has ended."""

    task_id: str
    trial_id: str
    outcome: Outcome
    config: Config
    points: tuple[tuple[int, float], ...]
    """Step and value."""
    seconds: tuple[float, ...]
    """One a point."""
    total_s: float
    """NaN where not known."""


def import_strangers(studies: Sequence[Any], trials: Sequence[Sequence[Any]], reading: Reading) -> Imported:
    """Read studies that no export of ours made.

    Args:
        studies: Of one objective each.
        trials: Those of each study.
        reading: What the studies don't say.

    Returns:
        The meta-dataset.

    Raises:
        InputError: The studies differ in what they optimise, or a value can't be.
    """
    direction = _direction(studies, reading)
    metric = reading.metric or _metric_name(studies)
    ended = [
        (str(study.study_name), trial)
        for study, held in zip(studies, trials, strict=True)
        for trial in held
        if trial.state.name in _OUTCOMES
    ]
    if not ended:
        raise InputError("no trial of the studies has ended; let one end, then ask again")
    notes = _count(sum(map(len, trials)) - len(ended), "trials that have not ended were left out")
    attribute = reading.cost or (COST if all(COST in trial.user_attrs for _, trial in ended) else None)
    kind = _kind(attribute, [trial for _, trial in ended], reading)
    parameters = _parameters([trial.distributions for _, trial in ended])
    configs = [trial.params for _, trial in ended]
    declared = declare(parameters, guess_conditions(configs, parameters))
    space = curves_of.decide_space(
        reading, declared, {str(place): item for place, item in enumerate(configs)}
    )
    has_steps = any(trial.intermediate_values for _, trial in ended)
    runs = [_run(name, trial, has_steps, attribute, space) for name, trial in ended]
    if attribute is None:
        notes.append("the seconds of a trial are its duration, spread evenly over its epochs")
    bare = [run for run in runs if not run.points and run.outcome in FAILURES and math.isfinite(run.total_s)]
    lost = sum(not run.points for run in runs) - len(bare)
    notes += _count(
        lost, "trials without an intermediate value, or failed ones without a duration, were left out"
    )
    seeds = _seeds(runs)
    points, more = _points(runs, seeds, metric, kind)
    imported = curves_of.from_strangers(
        points,
        {config_id(run.config): run.config for run in runs},
        space,
        replace(reading, direction=direction.value),
        metric=metric,
        tasks=list(dict.fromkeys(str(study.study_name) for study in studies)),
        failures=pd.DataFrame([_keys(run, seeds) | {"cost_s": run.total_s} for run in bare]),
        features=_features(studies),
        notes=[*notes, *more],
    )
    return replace(imported, meta=_labelled(imported.meta, runs))


def _run(name: str, trial: Any, has_steps: bool, attribute: str | None, space: Space) -> _Run:
    points = sorted((int(step), float(value)) for step, value in trial.intermediate_values.items())
    if not has_steps and trial.state.name == "COMPLETE":
        points = [(1, float(trial.value))]
    told = trial.user_attrs.get(attribute) if attribute else None
    if attribute is None and trial.duration is not None:
        told = trial.duration.total_seconds()
    if isinstance(told, Mapping):
        told = [told.get(str(step), math.nan) for step, _ in points]
    if isinstance(told, list) and len(told) != len(points):
        raise InputError(
            f"trial {trial.number} of {name} has {len(points)} steps and {len(told)} values of {attribute}"
        )
    if isinstance(told, list):
        seconds = [float(value) for value in told]
        total_s = sum(seconds)
    else:
        total_s = float(told) if is_number(told) else math.nan
        seconds = [total_s / max(len(points), 1)] * len(points)
    said = trial.user_attrs.get("outcome")
    outcome = _OUTCOMES[trial.state.name]
    return _Run(
        task_id=name,
        trial_id=digest([name, trial.number]),
        outcome=Outcome(said) if outcome in FAILURES and said in tuple(FAILURES) else outcome,
        config=space.restore(trial.params),
        points=tuple(points),
        seconds=tuple(seconds),
        total_s=total_s,
    )


def _kind(attribute: str | None, trials: Sequence[Any], reading: Reading) -> CostKind:
    """Return what the seconds of single points count; those spread over a trial are of an epoch alone."""
    listed = [trial for trial in trials if isinstance(trial.user_attrs.get(attribute), list | Mapping)]
    if attribute in (None, COST) or not listed:
        return CostKind.EPOCH
    if reading.cost_kind in (CostKind.EPOCH, CostKind.CUMULATIVE):
        return reading.cost_kind
    raise InputError(
        f"the studies don't say what {attribute} counts; add --cost-kind cumulative (since the trial began) "
        "or epoch (of this step alone)"
    )


def _points(
    runs: Sequence[_Run], seeds: Mapping[str, int], metric: str, kind: CostKind
) -> tuple[pd.DataFrame, list[str]]:
    rows = [
        _keys(run, seeds) | {"fidelity": step, metric: value, "seconds": seconds}
        for run in runs
        for (step, value), seconds in zip(run.points, run.seconds, strict=True)
    ]
    if not rows:
        raise InputError("no trial of the studies has a value; there is nothing to read")
    points, notes = curves_of.numbered(pd.DataFrame(rows), "fidelity")
    points, costing = curves_of.costed(points, "seconds", kind)
    points, broken = curves_of.unmeasured_left_out(points, metric)
    return points, [*notes, *costing, *broken]


def _keys(run: _Run, seeds: Mapping[str, int]) -> dict[str, Any]:
    return {
        "trial_id": run.trial_id,
        "task_id": run.task_id,
        "config_id": config_id(run.config),
        "seed": seeds[run.trial_id],
        "outcome": run.outcome.value,
    }


def _seeds(runs: Sequence[_Run]) -> dict[str, int]:
    """Count the trials of one config on one task."""
    counts: dict[tuple[str, str], int] = {}
    seeds = {}
    for run in runs:
        key = (run.task_id, config_id(run.config))
        seeds[run.trial_id] = counts.get(key, 0)
        counts[key] = seeds[run.trial_id] + 1
    return seeds


def _labelled(meta: MetaDataset, runs: Sequence[_Run]) -> MetaDataset:
    """Return a meta-dataset whose trials say how Optuna's ended."""
    ends = {run.trial_id: run.outcome for run in runs}
    said = [
        Outcome.DIVERGED if is_failure and ends[key] not in FAILURES else ends[key]
        for key, is_failure in zip(meta.trials["trial_id"], meta.trials["is_failure"], strict=True)
    ]
    outcomes = pd.Series([outcome.value for outcome in said], index=meta.trials.index)
    failed = [outcome in FAILURES for outcome in said]
    return replace(meta, trials=meta.trials.assign(outcome=outcomes, is_failure=failed))


def _direction(studies: Sequence[Any], reading: Reading) -> Direction:
    found = {_DIRECTIONS.get(study.direction.name) for study in studies}
    direction = found.pop()
    if found or direction is None:
        raise InputError("some studies minimise and some maximise; name those of one direction with --study")
    if reading.direction not in (None, direction.value):
        raise InputError(f"the studies {direction}, not {reading.direction}; leave --direction out")
    return direction


def _metric_name(studies: Sequence[Any]) -> str:
    names = {study.metric_names[0] if study.metric_names else "value" for study in studies}
    if len(names) > 1:
        raise InputError(f"the studies are about {', '.join(sorted(names))}; name those of one with --study")
    return str(names.pop())


def _features(studies: Sequence[Any]) -> pd.DataFrame | None:
    rows: list[dict[str, Any]] = [
        {name: value for name, value in study.user_attrs.items() if is_number(value)} for study in studies
    ]
    if not any(rows):
        return None
    return pd.DataFrame(rows).assign(task_id=[str(study.study_name) for study in studies])


def _parameters(declared: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """Return the widest of what the trials were drawn from."""
    by_name: dict[str, list[Any]] = {}
    for distributions in declared:
        for name, distribution in distributions.items():
            held = by_name.setdefault(name, [])
            if distribution not in held:
                held.append(distribution)
    return [_parameter(name, held) for name, held in by_name.items()]


def _parameter(name: str, held: Sequence[Any]) -> Parameter:
    listed = [hasattr(distribution, "choices") for distribution in held]
    if any(listed) and not all(listed):
        raise InputError(f"{name} is a range in some studies and choices in others; name studies that agree")
    if all(listed):
        choices: list[Scalar] = []
        for choice in (choice for distribution in held for choice in distribution.choices):
            if matching_choice(choice, choices) is None:
                choices.append(choice)
        numbers = sorted(choice for choice in choices if is_number(choice))
        ordered = 1 < len(numbers) == len(choices)
        return Parameter(name=name, choices=tuple(numbers if ordered else choices), is_ordered=ordered)
    return Parameter(
        name=name,
        low=float(min(distribution.low for distribution in held)),
        high=float(max(distribution.high for distribution in held)),
        is_log=all(distribution.log for distribution in held),
        is_integer=all(isinstance(distribution.low, int) for distribution in held),
    )


def _count(count: int, what: str) -> list[str]:
    return [f"{count} {what}"] if count else []
