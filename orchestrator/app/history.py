"""What a root already holds of a plan: the state from which a scheduler continues it."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from orchestrator.app.driver import POINT_COLUMNS, point_landed
from orchestrator.contracts import CurvePoint, Outcome, Trial, TrialId
from orchestrator.metadataset.index import TrialProgress
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.scheduling import Past, PointLanded


def past_of(trials: Sequence[Trial], ledger: Ledger, *, runs_all: bool) -> dict[TrialId, Past]:
    """Return what the scheduler must know of each trial.

    Args:
        trials: The plan.
        ledger: The open ledger of the root.
        runs_all: Whether every trial is to run to its planned epochs; otherwise a rule may stop some.

    Returns:
        By trial; without an outcome also where a finished trial is to be trained further.
    """
    past: dict[TrialId, Past] = {}
    for trial in trials:
        progress = ledger.progress(trial.trial_id)
        outcome = None if goes_on(trial, progress, runs_all=runs_all) else progress.outcome
        past[trial.trial_id] = Past(progress.epochs, progress.attempt, outcome)
    return past


def goes_on(trial: Trial, progress: TrialProgress, *, runs_all: bool) -> bool:
    """Return whether a finished trial is to be trained further, to the epochs that the plan gives it now.

    A completed trial is where more epochs are planned than it has; one that a rule stopped stays stopped,
    unless every trial is to run to its end.
    """
    if progress.epochs >= trial.max_epochs:
        return False
    if progress.outcome is Outcome.COMPLETED:
        return True
    return progress.outcome is Outcome.STOPPED and runs_all


def points_on_record(trials: Sequence[Trial], layout: RootLayout) -> Iterator[PointLanded]:
    """Yield the points of planned trials in the order in which they landed; all must be published."""
    for row in planned_rows(trials, layout, POINT_COLUMNS):
        yield point_landed(cast(CurvePoint, row))


def planned_rows(trials: Sequence[Trial], layout: RootLayout, columns: Sequence[str]) -> Iterator[Any]:
    """Yield the curve rows of planned trials in the order in which they landed; all must be published.

    Args:
        trials: The plan.
        layout: Of the root.
        columns: Of the curves table, ``trial_id`` among them.

    Yields:
        Rows with the columns as attributes.
    """
    planned = {trial.trial_id for trial in trials}
    curves = MetaDatasetReader(layout.root).curves(columns=columns)
    yield from (row for row in curves.itertuples(index=False) if row.trial_id in planned)
