"""Which adapters of a sweep stay: the best few of each task, by validation loss."""

import logging
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from orchestrator.contracts import Outcome, TaskId, Trial, TrialId

logger = logging.getLogger(__name__)


class AdapterKeeper:
    """Removes adapters that are no longer among the best of their task.

    A trial's adapter is exported by its worker before the trial ends and removed here only after a better
    trial's outcome is on disk, so that at any moment at least the best so far exist.

    Args:
        folder: Where adapters lie, one folder a trial.
        keep: Adapters to keep a task; 0 keeps none.
        best_losses: Lowest validation loss of a trial, filled by whoever reads its curve.
    """

    def __init__(self, folder: Path, *, keep: int, best_losses: Mapping[TrialId, float]) -> None:
        self._folder = folder
        self._keep = keep
        self._best_losses = best_losses
        self._kept: dict[TaskId, list[TrialId]] = defaultdict(list)

    @property
    def keeps_any(self) -> bool:
        """Whether workers need to export adapters at all."""
        return self._keep > 0

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """Take note of a trial whose outcome is on disk, and remove what it displaces."""
        if not self.keeps_any or not (self._folder / trial.trial_id).is_dir():
            return
        ranked = self._kept[trial.task_id]
        ranked.append(trial.trial_id)
        ranked.sort(key=lambda trial_id: (self._best_losses.get(trial_id, float("inf")), trial_id))
        for displaced in ranked[self._keep :]:
            logger.info("adapter removed trial=%s task=%s", displaced, trial.task_name)
            shutil.rmtree(self._folder / displaced, ignore_errors=True)
        del ranked[self._keep :]
