"""The sweep's spec: what a person writes in YAML, checked at the border and handed on as plain records."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from orchestrator.app.scheduler_entry import SchedulerEntry
from orchestrator.contracts import InputError, TrainingSettings
from workers.judge import JudgeSettings
from workers.models.location import rehearsal_epoch_s

PositiveInt = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class TaskEntry(_Strict):
    """One task: where it comes from and, where the source does not say, its name."""

    source: str = Field(min_length=1)
    name: str | None = None

    @field_validator("source")
    @classmethod
    def _take_from_the_files_folder(cls, source: str, info: ValidationInfo) -> str:
        return source if source.startswith(("worlds:", "hf:")) else _absolute(source, info)


class ConfigsEntry(_Strict):
    """Which configs to run: so many drawn from the space, the same for every task unless told otherwise."""

    count: PositiveInt
    seed: int = 0
    include_default: bool = True
    """Whether the space's default config is one of them."""
    shared: bool = True
    """Whether all tasks run the same configs; otherwise each task draws its own."""


class TrainingEntry(_Strict):
    """What is fixed over the sweep; see ``TrainingSettings`` for units."""

    horizon_epochs: PositiveInt | None = None
    examples_per_epoch: PositiveInt | None = None
    max_eval_examples: PositiveInt | None = None
    max_length_tokens: PositiveInt = 512
    max_new_tokens: PositiveInt = 64
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    diverged_loss: Annotated[float, Field(gt=0)] = 50.0
    compute_dtype: Literal["float32", "bfloat16"] = "float32"


class WorkersEntry(_Strict):
    """What one trainer takes of the cluster, and how many there may be; changes speed, never numbers."""

    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: float | Literal["auto"] = 0.0
    """GPUs, or a share of one; ``auto``: as small a share as the sweep's largest trial fits into, 0 where the
    cluster has none."""
    max_count: PositiveInt | None = None
    heartbeat_s: Annotated[float, Field(gt=0)] = 60.0
    """A worker that answers nothing for so long is killed and replaced."""
    stalled_after_s: Annotated[float, Field(gt=0)] = 1800.0
    """So is one whose training makes no step for so long; loading a base model counts as one."""
    start_timeout_s: Annotated[float, Field(ge=0)] = 60.0
    """How long to wait for a node that holds a worker, where the cluster has none yet."""

    @field_validator("gpus", mode="before")
    @classmethod
    def _check_gpus(cls, gpus: object) -> object:
        is_number = isinstance(gpus, int | float) and not isinstance(gpus, bool)
        if gpus != "auto" and not (is_number and 0 <= gpus < math.inf):  # type: ignore[operator]
            raise ValueError("must be auto or a number from 0")
        return gpus


class JudgeEntry(_Strict):
    """A language model that judges answers after every epoch; see ``JudgeSettings``."""

    url: str = Field(min_length=1)
    """Base URL of an OpenAI-compatible endpoint that every worker reaches."""
    model: str = Field(min_length=1)
    api_key_env: str | None = None
    """Environment variable, of driver and workers, that holds the endpoint's key."""
    max_examples: PositiveInt | None = None
    """Judged of each split; the first so many."""
    concurrency: PositiveInt = 4
    timeout_s: Annotated[float, Field(gt=0)] = 60.0

    def settings(self) -> JudgeSettings:
        """Return what workers are given; an ``InputError`` says what can't be."""
        return JudgeSettings(**self.model_dump())


_NOT_IDENTITY = frozenset(
    {"workers", "keep_adapters", "keep_checkpoints", "trial_timeout_s", "mirror", "judge"}
)
"""Keys that may differ when a root is continued: they change neither the trials nor their numbers."""


class SweepSpec(_Strict):
    """A whole sweep; see ``examples/``."""

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    base_model: str = Field(min_length=1)
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)
    preset: str = "tiny"
    """Search space to start from."""
    space: Mapping[str, Any] = Field(default_factory=dict)
    """Changes to the preset: a list of values, ``{min, max, log}``, or one value to fix."""
    configs: Annotated[
        Annotated[ConfigsEntry, Tag("drawn")]
        | Annotated[tuple[Mapping[str, Any], ...], Field(min_length=1), Tag("listed")],
        Discriminator(lambda value: "listed" if isinstance(value, list | tuple) else "drawn"),
    ]
    """How many to draw, or a list that spells them out."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    epochs: PositiveInt
    """Fidelity every trial is planned for."""
    config_epochs: tuple[PositiveInt, ...] | None = None
    """Fewer for some: one number for each listed config, in their order; None: ``epochs`` for all."""
    training: TrainingEntry = TrainingEntry()
    scheduler: SchedulerEntry = SchedulerEntry(name="fifo")
    """What stops trials early: a scheduler of Ray Tune's by its name, or a mapping with its options."""
    workers: WorkersEntry = WorkersEntry()
    keep_adapters: Annotated[int, Field(ge=0)] = 0
    """Adapters kept a task, the best by validation loss; 0 keeps none."""
    keep_checkpoints: bool = False
    """Whether a finished trial's last checkpoint stays, so that more epochs continue it from there."""
    trial_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds of training and evaluation after which a trial ends as ``timed_out``."""
    mirror: str | None = None
    """Where the parts are published as well: ``s3://bucket/prefix``, ``gs://...`` or ``file:///...``."""

    judge: JudgeEntry | None = None
    """Scores answers beside exact match and the like; None asks no one."""

    @field_validator("base_model")
    @classmethod
    def _take_from_the_files_folder(cls, base_model: str, info: ValidationInfo) -> str:
        return _absolute(base_model, info) if base_model.startswith((".", "/", "~")) else base_model

    @field_validator("tasks", mode="before")
    @classmethod
    def _accept_bare_sources(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            return tuple({"source": item} if isinstance(item, str) else item for item in value)
        return value

    @field_validator("configs", mode="before")
    @classmethod
    def _accept_bare_count(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"count": value}
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check_together(self) -> "SweepSpec":
        horizon = self.training.horizon_epochs
        if horizon is not None and horizon < self.epochs:
            raise ValueError(
                f"training.horizon_epochs must be at least epochs = {self.epochs}, got {horizon}: the "
                "schedule can't end before training does"
            )
        self._check_config_epochs()
        self.scheduler.tune_arguments(self.epochs)
        if self.mirror is not None and "@" in self.mirror.partition("://")[2].partition("/")[0]:
            # The spec is kept in the root, and mirrored with it. The value is not said again here.
            raise ValueError("mirror holds credentials, which would be kept; give them by the environment")
        for what, values in (
            ("tasks", [task.source for task in self.tasks]),
            ("seeds", map(str, self.seeds)),
        ):
            twice = sorted(value for value, times in Counter(values).items() if times > 1)
            if twice:
                raise ValueError(f"{what} names {', '.join(twice)} more than once; name each once")
        return self

    def _check_config_epochs(self) -> None:
        if self.config_epochs is None:
            return
        listed = len(self.configs) if isinstance(self.configs, tuple) else None
        if listed != len(self.config_epochs):
            names = "are drawn and not listed" if listed is None else f"are {listed}"
            raise ValueError(
                f"config_epochs names {len(self.config_epochs)} numbers and the configs {names}; name one "
                "for each listed config"
            )
        if max(self.config_epochs) > self.epochs:
            raise ValueError(
                f"config_epochs must be at most epochs = {self.epochs}, got {max(self.config_epochs)}"
            )

    @field_validator("judge")
    @classmethod
    def _check_judge(cls, judge: JudgeEntry | None) -> JudgeEntry | None:
        try:
            if judge is not None:
                judge.settings()
        except InputError as err:
            raise ValueError("; ".join(err.problems)) from err
        return judge

    def training_settings(self) -> TrainingSettings:
        """Return the settings every trial of the sweep shares."""
        fields = self.training.model_dump()
        fields["horizon_epochs"] = fields["horizon_epochs"] or self.epochs
        return TrainingSettings(**fields)

    @property
    def is_rehearsal(self) -> bool:
        """Whether nothing is finetuned and every number is made up."""
        return rehearsal_epoch_s(self.base_model) is not None

    def identity(self) -> dict[str, Any]:
        """Return what must not differ for a root to be continued."""
        content = self.model_dump(mode="json", exclude=set(_NOT_IDENTITY))
        content["training"] = asdict(self.training_settings())
        return content

    def to_yaml(self) -> str:
        """Return the spec as YAML that ``load_spec`` reads back to the same spec."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), sort_keys=False)


def load_spec(path: Path) -> SweepSpec:
    """Read a spec; relative task paths are taken from the file's folder.

    Args:
        path: A YAML file.

    Returns:
        The checked spec, its paths absolute.

    Raises:
        InputError: The file is missing, not YAML, or wrong somewhere; all that is wrong is named at once.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise InputError(f"no sweep spec at {path}; examples lie in examples/") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} can't be read: {err}") from err
    except yaml.YAMLError as err:
        raise InputError(f"{path} is not YAML: {' '.join(str(err).split())}") from err
    if not isinstance(content, dict):
        raise InputError(
            f"{path} must hold a mapping such as examples/quickstart.yaml, got {type(content).__name__}"
        )
    return parse_spec(content, where=str(path), folder=path.parent)


def parse_spec(content: Mapping[str, Any], *, where: str, folder: Path) -> SweepSpec:
    """Check a spec given as a mapping; see ``load_spec``."""
    try:
        return SweepSpec.model_validate(dict(content), context={"folder": folder})
    except ValidationError as err:
        raise InputError(*(_explain(where, problem) for problem in err.errors())) from err


def with_mirror(spec: SweepSpec, uri: str) -> SweepSpec:
    """Return the spec with another mirror; an ``InputError`` says why it can't be."""
    return parse_spec(spec.model_dump() | {"mirror": uri}, where="--mirror", folder=Path())


def _absolute(path: str, info: ValidationInfo) -> str:
    """Return a path absolute, taken from the folder of the file it stands in."""
    folder: Path = (info.context or {}).get("folder", Path())
    return os.path.abspath(folder / Path(path).expanduser())


def _explain(where: str, problem: Mapping[str, Any]) -> str:
    """Turn one of pydantic's findings into a sentence that names the key and the value."""
    parts = [str(part) for part in problem["loc"] if not _is_branch(part)]
    key = ".".join(parts)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(parts[:-1])
        return f"{where}: unknown key `{key}`" + (f"; known here: {', '.join(known)}" if known else "")
    if problem["type"] == "missing":
        return f"{where}: `{key}` is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not key:
        return f"{where}: {message}"
    value = problem.get("input")
    shown = "" if isinstance(value, dict) else f", got {value!r}"
    return f"{where}: `{key}`: {message[0].lower()}{message[1:]}{shown}"


def _is_branch(part: object) -> bool:
    """Whether a location's part is pydantic's name of a union's branch and not a key of the file."""
    return part in ("drawn", "listed")


def _known_keys(parents: list[str]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "": SweepSpec,
        "training": TrainingEntry,
        "workers": WorkersEntry,
        "configs": ConfigsEntry,
        "tasks": TaskEntry,
        "judge": JudgeEntry,
    }
    model = models.get(parents[0] if parents else "")
    return list(model.model_fields) if model else []
