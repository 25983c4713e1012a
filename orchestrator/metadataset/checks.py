"""The claims that ``verify`` examines, each a function of the tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from orchestrator.contracts import Outcome, TrialId, config_id
from orchestrator.metadataset.certificate import Check, check
from orchestrator.metadataset.index import AttemptEvent
from orchestrator.metadataset.reader import newest_results
from orchestrator.metadataset.rows import trial_of
from orchestrator.metadataset.schema import Table

COST_TOLERANCE = 1e-9
"""Relative; sums of the same seconds taken in another order differ by round-off."""


@dataclass(frozen=True, slots=True)
class Tables:
    """A root's tables, rows in the order of their commits."""

    frames: dict[Table, pd.DataFrame]

    @property
    def attempts(self) -> pd.DataFrame:
        """The journal of attempts."""
        return self.frames[Table.ATTEMPTS]

    @property
    def curves(self) -> pd.DataFrame:
        """Curve points."""
        return self.frames[Table.CURVES]

    @property
    def trials(self) -> pd.DataFrame:
        """Finished trials, superseded rows included."""
        return self.frames[Table.TRIALS]

    @property
    def results(self) -> pd.DataFrame:
        """Finished trials: the newest row of each, unless it was reopened since."""
        newest = newest_results(self.trials)
        last = self.granted().groupby("trial_id", sort=False)["attempt"].max()
        return newest[newest["attempt"] >= _of_trials(newest, last).fillna(0)]

    def granted(self) -> pd.DataFrame:
        """Grants, in the order in which they were made."""
        return self.attempts[self.attempts["event"] == AttemptEvent.GRANTED]


def check_tables(tables: Tables, planned: Mapping[TrialId, int] | None) -> list[Check]:
    """Examine every claim about the rows of a root.

    Args:
        tables: The rows.
        planned: Epochs planned for each trial; None: not known.

    Returns:
        One check a claim.
    """
    checks = [check_keys(table, tables.frames[table]) for table in Table]
    checks += [
        _check_epochs(tables),
        _check_known(tables),
        _check_labels(tables),
        _check_hashes(tables),
        _check_fences(tables),
        _check_attempts(tables),
        _check_lengths(tables),
        _check_costs(tables),
        _check_outcomes(tables),
    ]
    if planned is not None:
        checks.append(_check_planned(tables, planned))
    return checks


def check_keys(table: Table, frame: pd.DataFrame) -> Check:
    """Examine that no key stands twice in a table."""
    key = list(table.key)
    return check(f"no row of {table} stands twice", len(frame), _rows(frame[frame.duplicated(key)], key))


def _check_epochs(tables: Tables) -> Check:
    curves = tables.curves
    expected = curves.groupby("trial_id", sort=False).cumcount() + 1
    wrong = curves.assign(expected=expected)[curves["epoch"] != expected]
    claim = "the epochs of every trial follow one another from 1"
    return check(claim, len(curves), _rows(wrong, ["trial_id", "epoch", "expected"]))


def _check_known(tables: Tables) -> Check:
    granted = set(tables.granted()["trial_id"])
    parts = [
        frame.loc[~frame["trial_id"].isin(granted), ["trial_id"]].assign(table=name)
        for name, frame in (("curves", tables.curves), ("trials", tables.trials))
    ]
    claim = "every row is of a trial that was granted to a worker"
    unknown = pd.concat(parts, ignore_index=True)
    return check(claim, len(tables.curves) + len(tables.trials), _rows(unknown, ["table", "trial_id"]))


def _check_labels(tables: Tables) -> Check:
    """Compare with the trial's row or, of a trial without one, with its first point."""
    labels = ["task_id", "config_id", "seed"]
    known = pd.concat([tables.trials[["trial_id", *labels]], tables.curves[["trial_id", *labels]]])
    first = known.drop_duplicates("trial_id").set_index("trial_id")
    curves = tables.curves
    due = first.reindex(curves["trial_id"]).set_index(curves.index)
    wrong = curves.join(due.add_prefix("expected_"))[(curves[labels] != due).any(axis=1)]
    shown = ["trial_id", "epoch", *labels, *(f"expected_{name}" for name in labels)]
    return check("every curve row bears the labels of its trial", len(curves), _rows(wrong, shown))


def _check_hashes(tables: Tables) -> Check:
    claim = "every config hashes to its config_id and every trial to its trial_id"
    return check(claim, len(tables.trials), _wrong_hashes(tables.trials))


def _wrong_hashes(trials: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in trials.to_dict("records"):
        try:
            trial = trial_of({str(name): value for name, value in row.items()})
        except (ValueError, TypeError) as err:
            yield {"trial_id": row["trial_id"], "reason": str(err)}
            continue
        if config_id(trial.config) != row["config_id"]:
            yield {
                "trial_id": row["trial_id"],
                "config_id": row["config_id"],
                "computed": config_id(trial.config),
            }
        elif trial.trial_id != row["trial_id"]:
            yield {"trial_id": row["trial_id"], "computed": trial.trial_id}


def _check_fences(tables: Tables) -> Check:
    """Rows of granted attempts only, and none of an older attempt after one of a newer."""
    curves = tables.curves
    grants = pd.MultiIndex.from_frame(tables.granted()[["trial_id", "attempt"]])
    was_granted = pd.MultiIndex.from_frame(curves[["trial_id", "attempt"]]).isin(grants)
    newest = curves.groupby("trial_id", sort=False)["attempt"].cummax()
    wrong = curves[~was_granted | (curves["attempt"] < newest)]
    claim = "every curve row was written by an attempt that held its trial"
    return check(claim, len(curves), _rows(wrong, ["trial_id", "epoch", "attempt"]))


def _check_attempts(tables: Tables) -> Check:
    """Grants count up from 0; the last granted attempt, and no other, finished the trial."""
    granted = tables.granted()
    expected = granted.groupby("trial_id", sort=False).cumcount()
    out_of_turn = granted.assign(expected=expected)[granted["attempt"] != expected]
    last = granted.groupby("trial_id", sort=False)["attempt"].max()
    trials = tables.trials
    due = _of_trials(trials, last)
    # Only a trial that ended well is reopened; then a later attempt follows the one that had finished it.
    may_go_on = trials["outcome"].isin([outcome.value for outcome in Outcome if outcome.is_success])
    not_last = trials.assign(expected=due)[
        ~((trials["attempt"] == due) | (may_go_on & (trials["attempt"] < due)))
    ]
    finished = tables.attempts[tables.attempts["event"] == AttemptEvent.FINISHED]
    pairs = pd.MultiIndex.from_frame(finished[["trial_id", "attempt"]])
    results = pd.MultiIndex.from_frame(trials[["trial_id", "attempt"]])
    unfinished, resultless = trials[~results.isin(pairs)], finished[~pairs.isin(results)]
    found = [
        out_of_turn.assign(reason="granted out of turn"),
        not_last.assign(reason="not finished by the last attempt granted"),
        unfinished.assign(reason="its attempt was not journalled as finished"),
        resultless.assign(reason="finished without a row in trials"),
    ]
    wrong = pd.concat(
        [frame.reindex(columns=["trial_id", "attempt", "expected", "reason"]) for frame in found]
    )
    claim = "attempts were granted in turn, and each trial was finished by its last"
    return check(claim, len(granted), _rows(wrong, ["trial_id", "attempt", "expected", "reason"]))


def _check_lengths(tables: Tables) -> Check:
    trials = tables.results
    lengths = _of_trials(trials, tables.curves.groupby("trial_id").size()).fillna(0)
    wrong = trials.assign(curve_rows=lengths.astype("int64"))[trials["epochs"] != lengths]
    claim = "trials and curves agree on every trial's epochs"
    return check(claim, len(trials), _rows(wrong, ["trial_id", "epochs", "curve_rows"]))


def _check_costs(tables: Tables) -> Check:
    trials = tables.results
    due = _of_trials(trials, tables.curves.groupby("trial_id")["train_s"].sum()).fillna(0.0)
    wrong = trials.assign(curve_train_s=due)[trials["train_s"] < due * (1 - COST_TOLERANCE)]
    claim = "every trial's training seconds cover those of its curve"
    return check(claim, len(trials), _rows(wrong, ["trial_id", "train_s", "curve_train_s"]))


def _check_outcomes(tables: Tables) -> Check:
    results = {outcome.value for outcome in Outcome if outcome.is_final}
    wrong = tables.trials[~tables.trials["outcome"].isin(results)]
    return check("every outcome is a result", len(tables.trials), _rows(wrong, ["trial_id", "outcome"]))


def _check_planned(tables: Tables, planned: Mapping[TrialId, int]) -> Check:
    """A trial that completed has all the epochs that the newest plan gives it."""
    results = tables.results
    completed = results["outcome"] == Outcome.COMPLETED
    wanted_epochs = _of_trials(results, pd.Series(planned, dtype="float64")).fillna(0)
    is_short = completed & (results["epochs"] < wanted_epochs)
    finished = set(results["trial_id"][~is_short])
    epochs = tables.curves.groupby("trial_id").size()
    missing = (
        {"trial_id": t, "epochs": int(epochs.get(t, 0)), "planned_epochs": wanted}
        for t, wanted in planned.items()
        if t not in finished
    )
    return check("every planned trial has its outcome", len(planned), missing)


def _of_trials(trials: pd.DataFrame, numbers: "pd.Series[Any]") -> "pd.Series[float]":
    """Look a number up for every trial; NaN where there is none."""
    return trials["trial_id"].map(numbers).astype("float64")


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame[list(columns)].to_dict("records")]
