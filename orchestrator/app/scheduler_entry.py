"""The spec's ``scheduler:`` entry: which rule stops trials early, by the names Ray Tune gives its schedulers.

    scheduler: asha
    scheduler: {name: asha, metric: eval_loss, grace_period: 1, reduction_factor: 3}

Options have Tune's names, and units of our epochs. They are checked here against tables of our own, so that
reading a spec imports no Ray; a test holds the tables to Tune's signatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

Mode = Literal["min", "max"]
METRIC_MODES: Mapping[str, Mode] = {
    "eval_loss": "min",
    "train_loss": "min",
    "eval_exact_match": "max",
    "eval_token_f1": "max",
}
"""What trials may be judged by, and which way it is better."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A whole number, at least this."""

    least: int

    def problem(self, value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and value >= self.least:
            return None
        return f"must be a whole number, at least {self.least}"


@dataclass(frozen=True, slots=True)
class _Factor:
    """A factor by which a rung's trials are reduced."""

    least: float
    is_open: bool = False

    def problem(self, value: Any) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and (self.least < value < 1e6 or (value == self.least and not self.is_open)):
            return None
        return f"must be a number {'above' if self.is_open else 'of at least'} {self.least:g}"


@dataclass(frozen=True, slots=True)
class _Flag:
    """True or false."""

    def problem(self, value: object) -> str | None:
        return None if isinstance(value, bool) else "must be true or false"


OPTIONS: Mapping[str, Mapping[str, _Whole | _Factor | _Flag]] = {
    "fifo": {},
    "asha": {
        "max_t": _Whole(1),
        "grace_period": _Whole(1),
        "reduction_factor": _Factor(1, is_open=True),
        "brackets": _Whole(1),
        "stop_last_trials": _Flag(),
    },
    "median_stopping_rule": {
        "grace_period": _Whole(1),
        "min_samples_required": _Whole(1),
        "min_time_slice": _Whole(0),
        "hard_stop": _Flag(),
    },
    "hyperband": {
        "max_t": _Whole(1),
        # Below 2, rungs rounded down to whole epochs coincide.
        "reduction_factor": _Factor(2),
        "stop_last_trials": _Flag(),
    },
}
"""What may be set, by scheduler."""
ALIASES: Mapping[str, str] = {
    "async_hyperband": "asha",
    "asynchyperband": "asha",
    "medianstopping": "median_stopping_rule",
}
"""Tune's other names for the same."""
_CHANGES_CONFIGS = "it changes the configs of trials that run, and a trial here is one config"
REFUSED: Mapping[str, str] = {
    "pbt": _CHANGES_CONFIGS,
    "pbt_replay": _CHANGES_CONFIGS,
    "pb2": _CHANGES_CONFIGS,
    "hb_bohb": "it needs a searcher that draws configs as results come in, and a sweep's configs are planned",
    "resource_changing": "it changes the resources of trials that run; set what a worker takes in `workers`",
}
"""Tune's schedulers that can't drive a sweep, and why."""


class SchedulerEntry(BaseModel):
    """Which rule stops trials early; other keys are options of that scheduler, under their Tune names."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    metric: str = "eval_loss"
    """What trials are judged by."""
    mode: Mode = "min"
    """Which way the metric is better; told by the metric unless given."""

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_name(cls, value: object) -> object:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            return value
        content = dict(value)
        if isinstance(name := content.get("name"), str):
            content["name"] = ALIASES.get(name.lower(), name.lower())
        if isinstance(metric := content.get("metric"), str) and metric in METRIC_MODES:
            content.setdefault("mode", METRIC_MODES[metric])
        return content

    @model_validator(mode="after")
    def _check(self) -> "SchedulerEntry":
        if problems := self._problems():
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> list[str]:
        known = f"known: {', '.join([*OPTIONS, *ALIASES])}"
        if self.name in REFUSED:
            return [f"scheduler {self.name!r} can't be used: {REFUSED[self.name]}; {known}"]
        if self.name not in OPTIONS:
            return [f"unknown scheduler {self.name!r}; {known}"]
        problems = []
        if self.name == "fifo" and self.model_fields_set - {"name"}:
            problems.append(
                f"fifo takes no options, got {', '.join(sorted(self.model_fields_set - {'name'}))}"
            )
        if self.metric not in METRIC_MODES:
            problems.append(f"unknown metric {self.metric!r}; known: {', '.join(METRIC_MODES)}")
        elif self.mode != METRIC_MODES[self.metric]:
            problems.append(f"mode of {self.metric} is {METRIC_MODES[self.metric]}, got {self.mode}")
        return problems + self._option_problems()

    def _option_problems(self) -> list[str]:
        table = OPTIONS[self.name]
        problems = []
        for key, value in self.options.items():
            if key == "time_attr":
                problems.append("time_attr can't be set: time is counted in epochs")
            elif key in table:
                problem = table[key].problem(value)
                problems += [f"{key} {problem}, got {value!r}"] if problem else []
            elif self.name != "fifo":
                problems.append(f"unknown option {key!r} of {self.name}; known: {', '.join(table)}")
        return problems

    @model_serializer
    def _write_short(self) -> Any:
        if self.name == "fifo":
            return self.name
        return {"name": self.name, "metric": self.metric, "mode": self.mode, **self.options}

    @property
    def options(self) -> dict[str, Any]:
        """The options that are set, by their Tune names."""
        return dict(self.model_extra or {})

    def tune_arguments(self, max_epochs: int) -> dict[str, Any]:
        """Return all that Tune's scheduler is built with.

        Args:
            max_epochs: Epochs every trial of the sweep is planned for.

        Returns:
            Keyword arguments; ``max_t`` is the sweep's epochs unless set, and median stopping judges from the
            first epoch on (Tune's own default is 60 units of time).

        Raises:
            ValueError: The grace period is longer than a trial may train.
        """
        arguments = {"metric": self.metric, "mode": self.mode, "time_attr": "training_iteration"}
        defaults: dict[str, Any] = {"grace_period": 1} if self.name == "median_stopping_rule" else {}
        if "max_t" in OPTIONS[self.name]:
            defaults["max_t"] = max_epochs
        options = {**defaults, **self.options}
        longest = options.get("max_t", max_epochs)
        if options.get("grace_period", 1) > longest:
            raise ValueError(
                f"grace_period must be at most the {longest} epochs a trial may train, "
                f"got {options['grace_period']}"
            )
        return {**arguments, **options}
