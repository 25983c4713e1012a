"""Records that cross the borders between packages and processes: plain, frozen, standard library only."""

import enum
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from orchestrator.contracts.ids import ConfigId, TaskId, TrialId, config_id, digest

Scalar = bool | int | float | str | None
"""A hyperparameter's value."""
Config = Mapping[str, Scalar]
"""One point of the search space: name to value; inactive conditional names are absent."""


class Outcome(enum.StrEnum):
    """How a trial ended, or did not."""

    COMPLETED = "completed"
    """Reached the fidelity it was planned for."""
    STOPPED = "stopped"
    """Ended by the scheduler at a rung."""
    DIVERGED = "diverged"
    """Loss not finite, or beyond the bound."""
    OUT_OF_MEMORY = "out_of_memory"
    """The config does not fit the device it was given."""
    TIMED_OUT = "timed_out"
    """Longer than the sweep's limit for one trial."""
    INVALID = "invalid"
    """The config can't run on this base model."""
    FAILED = "failed"
    """An error in our or the user's code; the record holds the traceback's tail."""
    LOST = "lost"
    """Infrastructure died under it: retried, never a result."""

    @property
    def is_final(self) -> bool:
        """Whether the trial is not run again."""
        return self is not Outcome.LOST

    @property
    def is_success(self) -> bool:
        """Whether the trial's curve is whole up to where it was meant to go."""
        return self in (Outcome.COMPLETED, Outcome.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What a sweep fixes for all its configs and what changes a trial's numbers; part of every trial's id."""

    horizon_epochs: int
    """Epoch at which the learning-rate schedule ends; a curve stopped earlier is a prefix of the full one."""
    examples_per_epoch: int | None = None
    """Training examples in one epoch, drawn in turn from the train split; None: the whole split."""
    max_eval_examples: int | None = None
    """Examples of the validation and of the test split used at every epoch; None: all."""
    max_length_tokens: int = 512
    """Longest example, prompt and answer with chat marks."""
    max_new_tokens: int = 64
    """Cap on generated answer tokens in evaluation."""
    max_grad_norm: float = 1.0
    """Gradient norm above which a trial's gradient is scaled down."""
    diverged_loss: float = 50.0
    """Validation loss in nats per answer token above which a trial counts as diverged."""
    compute_dtype: str = "float32"
    """``float32`` or ``bfloat16``: of activations and of the unquantised base weights."""

    def __post_init__(self) -> None:
        for name in ("horizon_epochs", "max_length_tokens", "max_new_tokens"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("examples_per_epoch", "max_eval_examples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or left out, got {value}")
        for name in ("max_grad_norm", "diverged_loss"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value}")
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"compute_dtype must be float32 or bfloat16, got {self.compute_dtype!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One config on one task: the unit that is planned, run, retried and counted once."""

    task_id: TaskId
    task_source: str
    """What the task loader is given on the worker: ``worlds:NAME...``, a path or a hub data set."""
    task_name: str
    config: Config
    seed: int
    base_model: str
    """What the model loader is given: ``tiny-phi3``, a local folder, or ``ID@REVISION``."""
    base_fingerprint: str
    """Hash of the base model's files, or the resolved revision."""
    space_version: str
    settings: TrainingSettings
    max_epochs: int
    """Planned fidelity; not part of the id: a longer plan continues the same trial."""
    config_id: ConfigId = field(init=False)
    trial_id: TrialId = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.max_epochs <= self.settings.horizon_epochs:
            raise ValueError(
                f"max_epochs must be in [1, horizon_epochs = {self.settings.horizon_epochs}], "
                f"got {self.max_epochs}"
            )
        object.__setattr__(self, "config_id", config_id(self.config))
        identity = {
            "task": self.task_id,
            "config": dict(self.config),
            "seed": self.seed,
            "base": self.base_fingerprint,
            "space": self.space_version,
            "settings": asdict(self.settings),
        }
        object.__setattr__(self, "trial_id", TrialId(digest(identity)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One row of a learning curve; it stands alone.

    Losses are mean cross-entropies in nats per answer token (end mark included) and are minimised. Scores are
    means over examples in [0, 1], after SQuAD's normaliser, and are maximised. ``eval_`` is the validation
    split.
    """

    trial_id: TrialId
    attempt: int
    """Counts from 0; the attempt that committed the row."""
    task_id: TaskId
    config_id: ConfigId
    seed: int
    epoch: int
    """Epochs done when measured, from 1."""
    step: int
    """Optimizer steps done, over all epochs."""
    tokens: int
    """Training tokens seen, prompt and answer without padding, over all epochs."""
    train_loss: float
    eval_loss: float
    eval_exact_match: float
    eval_token_f1: float
    test_loss: float
    test_exact_match: float
    test_token_f1: float
    train_s: float
    """Wall seconds of training in this epoch alone; an increment, so that cost adds up over attempts."""
    eval_s: float
    """Wall seconds of evaluation after this epoch alone, both splits."""
    cpu_s: float
    """CPU seconds of this epoch's training and evaluation in the worker's process."""
    peak_memory_bytes: int
    """Device memory at its highest in this attempt so far; on a CPU the process's resident set."""
    device: str
    """Device name, as the driver prints it."""
    eval_rouge_l: float | None = None
    """ROUGE-L F-measure; None in rows written before it was measured, as with ``test_rouge_l``."""
    test_rouge_l: float | None = None
    eval_judge: float | None = None
    """Mean verdict of the sweep's LLM judge; None where there is none, or it gave none."""
    test_judge: float | None = None
    generation_s: float | None = None
    """Wall seconds of generating answers, a part of ``eval_s``."""
    judge_s: float | None = None
    """Wall seconds spent on the judge, no part of ``eval_s``."""


METRIC_COLUMNS = (
    "step",
    "tokens",
    "train_loss",
    "eval_loss",
    "eval_exact_match",
    "eval_token_f1",
    "test_loss",
    "test_exact_match",
    "test_token_f1",
    "eval_rouge_l",
    "test_rouge_l",
)
"""Columns that depend on the trial alone: equal, bit for bit, however often it was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One row of the trials table: a finished trial, once."""

    trial: Trial
    attempt: int
    """The attempt that finished it; attempts before it were lost."""
    outcome: Outcome
    epochs: int
    """Epochs on record, the curve's length."""
    train_s: float
    """Training seconds over all epochs, those that left no row (a diverged last epoch) included."""
    eval_s: float
    peak_memory_bytes: int
    device: str
    error: str | None
    """Why it did not complete: one line, or the tail of a traceback."""
    finished_at: str
    """UTC, ISO 8601 with seconds."""
    provenance: Mapping[str, str]
    """Code version and digest, package versions, host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One row of the tasks table."""

    task_id: TaskId
    name: str
    source: str
    base_fingerprint: str
    """The base model under which the model-dependent meta-features were measured."""
    train_examples: int
    eval_examples: int
    test_examples: int
    meta_features: Mapping[str, float]
    """Numbers that describe the task, from no search on it."""
    truncated_prompts: int | None = None
    """Examples whose prompt lost its beginning to ``max_length_tokens``; None where that was not counted."""
    truncated_answers: int | None = None
    """Examples whose answer lost its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One row of the journal of attempts: a lease granted, or given back."""

    trial_id: TrialId
    attempt: int
    event: str
    """``granted``, ``started``, ``lost`` or ``finished``."""
    worker: str
    detail: str
    at: str
    """UTC, ISO 8601 with milliseconds; for people, nothing is decided by it."""
