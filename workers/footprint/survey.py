"""What a whole sweep's trials will need: which can't run, how much memory the others take."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.contracts import Config, InvalidConfigError, Scalar, TrainingSettings
from workers.footprint.estimate import Footprint, estimate
from workers.footprint.examination import memory_refusal
from workers.footprint.fitting import micro_batch_tokens, trials_per_gpu
from workers.footprint.lengths import Lengths
from workers.methods import support
from workers.models.facts import ModelFacts
from workers.models.location import ModelLocation
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import MICRO_BATCH_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reason for which some of a sweep's trials can't run."""

    reason: str
    trials: int
    example: Config
    """One of their configs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is foretold of a sweep's trials."""

    refusals: tuple[Refusal, ...]
    """Those of most trials first; a trial with several reasons is counted at each."""
    refused_trials: int
    largest_bytes: int | None
    """Highest peak among the trials that can run; None where there are none."""
    median_bytes: int | None
    trials_per_gpu: int | None
    """How many of them can share a GPU; None where its memory is not known."""


@dataclass(slots=True)
class _Refused:
    """Trials refused for one reason."""

    reason: str
    """In the words of the first of them."""
    example: Config
    trials: int = 0


class _Surveyor:
    """Goes through a sweep's trials one by one."""

    def __init__(
        self,
        location: ModelLocation,
        settings: TrainingSettings,
        *,
        on_gpu: bool,
        memory_bytes: int | None,
        processes: int,
    ) -> None:
        self.refused: dict[str, _Refused] = {}
        self.refused_trials = 0
        self.footprints: list[Footprint] = []
        self._location, self._dtype = location, settings.compute_dtype
        self._on_gpu, self._memory_bytes, self._processes = on_gpu, memory_bytes, processes
        self._read: dict[tuple[tuple[str, Scalar], ...], Hyperparameters | list[str]] = {}

    def see(self, config: Config, lengths: Lengths) -> None:
        """Examine a trial and, if it can run, estimate its memory."""
        hyper = self._hyperparameters(config)
        if isinstance(hyper, list):
            self._refuse(config, {problem: problem for problem in hyper})
            return
        tokens = MICRO_BATCH_TOKENS
        if self._memory_bytes is not None:
            refusal = memory_refusal(
                *(hyper, self._location, self._dtype, lengths),
                memory_bytes=self._memory_bytes // self._processes,
                on_gpu=self._on_gpu,
            )
            if refusal is not None:
                self._refuse(config, {"memory": refusal})
                return
            if self._on_gpu:
                tokens = micro_batch_tokens(
                    *(hyper, self._location, self._dtype, lengths, self._memory_bytes),
                    processes=self._processes,
                )
        self.footprints.append(
            estimate(
                *(hyper, self._location, self._dtype, lengths),
                micro_batch_tokens=tokens,
                on_gpu=self._on_gpu,
            )
        )

    def _hyperparameters(self, config: Config) -> Hyperparameters | list[str]:
        """Return a config read, or why it is not valid on the model: the same for all tasks."""
        key = tuple(sorted(config.items()))
        if key not in self._read:
            try:
                hyper = Hyperparameters.from_config(config)
            except InvalidConfigError as error:
                self._read[key] = [str(error)]
            else:
                self._read[key] = support.refusals(hyper, ModelFacts.of(self._location)) or hyper
        return self._read[key]

    def _refuse(self, config: Config, reasons: dict[str, str]) -> None:
        self.refused_trials += 1
        for kind, reason in reasons.items():
            self.refused.setdefault(kind, _Refused(reason, config)).trials += 1


def survey(
    trials: Iterable[tuple[Config, Lengths]],
    location: ModelLocation,
    settings: TrainingSettings,
    *,
    device_type: str,
    memory_bytes: int | None = None,
    processes: int = 1,
) -> Survey:
    """Examine the trials of a sweep, and estimate their memory.

    Args:
        trials: Each one's config and the lengths of its task.
        location: The base model's files, of which config.json is read.
        settings: Of the sweep.
        device_type: ``cuda`` or ``cpu``.
        memory_bytes: Of the device; None where it is not known.
        processes: Trials that will share the device.

    Returns:
        The survey.
    """
    on_gpu = device_type == "cuda"
    surveyor = _Surveyor(location, settings, on_gpu=on_gpu, memory_bytes=memory_bytes, processes=processes)
    for config, lengths in trials:
        surveyor.see(config, lengths)
    footprints = surveyor.footprints
    totals = [footprint.total_bytes for footprint in footprints]
    sharing = bool(footprints) and on_gpu and memory_bytes is not None
    return Survey(
        refusals=tuple(
            Refusal(reason=refused.reason, trials=refused.trials, example=refused.example)
            for refused in sorted(surveyor.refused.values(), key=lambda refused: -refused.trials)
        ),
        refused_trials=surveyor.refused_trials,
        largest_bytes=max(totals, default=None),
        median_bytes=round(statistics.median(totals)) if totals else None,
        trials_per_gpu=trials_per_gpu(footprints, memory_bytes or 0) if sharing else None,
    )
