"""Whether what was learned anew is better than what answers now: both asked about the same new trials.

The new trials' tasks are left out on both sides, so that neither has seen what it is asked about; the one
side learns from the other tasks as they were, the other from them as they are now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.contracts import InputError, NothingLearnedError, config_id
from surrogates.data.normalisation import Array, to_loss
from surrogates.data.tables import PastTask
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender

_MOST_TASKS = 3
"""Tasks that are left out; each costs two fits."""
_MOST_TRIALS = 48
_FEWEST_TRIALS = 8
"""New trials below which a difference can't be told from chance."""
_CHANCE = 2.0
"""Standard errors by which the new must be worse; by chance that is so once in forty times."""
_UNLIMITED_S = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether to answer from what was learned anew, and why."""

    accepted: bool
    reason: str
    tasks: tuple[str, ...] = ()
    """Names of those that were left out."""
    trials: int = 0
    """New trials that both sides were asked about."""
    error_before: float | None = None
    """Root mean squared error of a trial's rank on its task, as a share of the ranks."""
    error_after: float | None = None


def judge(old: MetaDataset, new: MetaDataset, *, seed: int = 0) -> Verdict:
    """Compare what can be learned from a meta-dataset before and after it grew.

    Args:
        old: As it was learned from by whoever answers now.
        new: As it is.
        seed: Of the fits.

    Returns:
        The verdict: never less knowledge, and not worse on tasks left out by more than chance.
    """
    fewer = [
        f"{what} {after}, were {before}"
        for what, before, after in (
            ("tasks", len(old.tasks), len(new.tasks)),
            ("trials", len(old.trials), len(new.trials)),
        )
        if after < before
    ]
    if fewer:
        return Verdict(accepted=False, reason=f"it would know less than before: {'; '.join(fewer)}")
    added = new.trials[~new.trials["trial_id"].isin(old.trials["trial_id"])]
    errors: list[Array] = []
    names = []
    for task_id in added["task_id"].value_counts().index[:_MOST_TASKS]:
        task = next(task for task in new.tasks if task.task_id == task_id)
        asked = _asked(added[added["task_id"] == task_id], new)
        try:
            pair = [_errors(meta, task, asked, new, seed) for meta in (old, new)]
        except (NothingLearnedError, InputError):
            continue  # the old knows no other task, or not this space: there is nothing to compare
        errors.append(np.stack(pair))
        names.append(task.name)
    told = np.concatenate([np.zeros((2, 0)), *errors], axis=1)
    if told.shape[1] < _FEWEST_TRIALS:
        reason = f"{len(added)} new trials, too few that both can be asked about to compare errors"
        return Verdict(accepted=True, reason=reason, tasks=tuple(names), trials=told.shape[1])
    worse = told[1] - told[0]
    standard_error = float(worse.std(ddof=1) / np.sqrt(len(worse)))
    accepted = float(worse.mean()) <= _CHANCE * standard_error
    before, after = (float(np.sqrt(side.mean())) for side in told)
    return Verdict(
        accepted=accepted,
        reason=f"its error on {len(names)} tasks left out ({told.shape[1]} new trials) is {after:.3f}, was "
        f"{before:.3f}: {'not worse' if accepted else 'worse'} by more than chance",
        tasks=tuple(names),
        trials=told.shape[1],
        error_before=before,
        error_after=after,
    )


def _asked(added: pd.DataFrame, meta: MetaDataset) -> Mapping[str, str]:
    """Return one of a task's new trials for each config, by the config's id as it is answered."""
    rows = added.sort_values("trial_id").drop_duplicates("config_id").head(_MOST_TRIALS)
    return {
        str(config_id(meta.space.restore(meta.configs[key]))): trial
        for key, trial in zip(rows["config_id"], rows["trial_id"], strict=True)
    }


def _errors(
    learned: MetaDataset, task: PastTask, asked: Mapping[str, str], meta: MetaDataset, seed: int
) -> Array:
    """Return squared errors of the ranks of trials on a task that is left out; shape ``(trials,)``."""
    rows = meta.trials[meta.trials["trial_id"].isin(asked.values())]
    configs = [meta.space.restore(meta.configs[key]) for key in rows["config_id"]]
    recommender = Recommender.fit(learned, seed=seed, exclude_task_ids=[task.task_id])
    plan = recommender.plan(task.features, _UNLIMITED_S, candidates=configs, k=len(configs))
    foretold = {str(config_id(choice.config)): choice for choice in plan.choices}
    predicted, measured = [], []
    for key, trial_id in asked.items():
        choice = foretold.get(key)
        value = np.inf if choice is None else to_loss(np.array(choice.score.value), meta.direction)
        predicted.append(float(value))
        measured.append(_measured(trial_id, meta, meta.max_epochs if choice is None else choice.epochs))
    return np.asarray((_ranks(predicted) - _ranks(measured)) ** 2)


def _measured(trial_id: str, meta: MetaDataset, epochs: int) -> float:
    """Return a trial's lowest loss up to an epoch; infinite where it failed."""
    if meta.trials.loc[meta.trials["trial_id"] == trial_id, "is_failure"].any():
        return np.inf
    points = meta.points[(meta.points["trial_id"] == trial_id) & (meta.points["epoch"] <= epochs)]
    losses = to_loss(points["value"].to_numpy(float), meta.direction)
    return float(losses.min()) if len(losses) else np.inf


def _ranks(values: Sequence[float]) -> Array:
    """Return mean ranks as shares, in (0, 1]."""
    return np.asarray(pd.Series(values).rank(method="average") / len(values))
