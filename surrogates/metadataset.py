"""A meta-dataset as the surrogates see it: numbers of tasks, configs, trials and their curves."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from orchestrator.contracts import Config, InputError, NothingLearnedError, Outcome
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.data.normalisation import Direction
from surrogates.data.space import Space, SpaceDeclaration
from surrogates.data.tables import (
    FAILURES,
    PastTask,
    curve_points,
    curve_trials,
    curveless_trials,
    learned_features,
    past_tasks,
    refuse_unknown,
    require_columns,
    root_seconds,
    root_tasks,
    root_trials,
)
from surrogates.data.workload import Workload

_CURVES = frozenset({Outcome.COMPLETED, Outcome.STOPPED, Outcome.TIMED_OUT})
"""Outcomes whose curve counts, as far as it goes."""
ROOT_REPORTS = ("eval_exact_match",)
"""What is reported beside the main metric of a sweep's root."""
ROOT_FEATURES = (
    "train_examples",
    "wordings_per_fact",
    "prompt_tokens_mean",
    "answer_tokens_mean",
    "distinct_answers_share",
    "compression_ratio",
    "answer_overlap",
    "answer_disagreement",
    "zero_shot_loss",
    "zero_shot_loss_sd",
    "zero_shot_exact_match",
    "gradient_norm",
)
"""Meta-features of a sweep's root that are learned from. Many more are measured; with seven or eight past
tasks, each one more is one more by which they are told apart by chance."""
ROOT_MACHINE_FEATURES = (
    "model_parameters",
    "model_hidden_size",
    "model_layers",
    "model_weight_bits",
    "device_is_gpu",
    "probe_tokens_per_s",
)
"""Meta-features of a sweep's root that tell with what a task was measured, and nothing of the task."""
ROOT_WORKLOAD = Workload(
    amounts=(("steps_per_epoch",), ("prompt_tokens_mean", "answer_tokens_mean")), speed="probe_tokens_per_s"
)
"""What the seconds of a sweep's epochs are proportional to."""
_LOSSES = ("train_loss", "eval_loss", "test_loss")


@dataclass(frozen=True, kw_only=True)
class MetaDataset:
    """What a recommender learns from. Nothing in it is changed once made.

    Build it with ``from_frames`` or ``from_root``.
    """

    space: Space
    metric: str
    """Name of the metric that decides."""
    direction: Direction
    reports: tuple[str, ...]
    """Further metrics that predictions are also given in."""
    tasks: tuple[PastTask, ...]
    """In the order of their ids."""
    configs: Mapping[str, Config]
    """Config id to config, as declared."""
    trials: pd.DataFrame
    """One row a trial: trial_id, task_id, config_id, seed, outcome, is_failure, cost_s (all of it)."""
    points: pd.DataFrame
    """One row a point: trial_id, epoch, value, cost_s (of this epoch alone), and the reports."""
    base_fingerprints: tuple[str, ...] = ()
    """Base models the trials ran on; empty where that means nothing."""
    learned_features: tuple[str, ...] | None = None
    """Meta-features that predictions are made from; None: all. The tasks hold all that was measured."""
    machine_features: tuple[str, ...] = ()
    """Meta-features that tell with what a task was measured: no sign of a strange task."""
    workload: Workload | None = None
    """Meta-features that seconds are proportional to, beyond what the past tasks tell; None: not known."""
    max_epochs: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_epochs", int(self.points["epoch"].max()) if len(self.points) else 1)

    @classmethod
    def from_frames(
        cls,
        curves: pd.DataFrame,
        configs: pd.DataFrame,
        tasks: pd.DataFrame,
        *,
        space: SpaceDeclaration,
        metric: str,
        direction: str,
        cost: str,
        reports: Sequence[str] = (),
        failures: pd.DataFrame | None = None,
        workload: Workload | None = None,
    ) -> "MetaDataset":
        """Take any table of learning curves.

        Args:
            curves: Columns task_id, config_id, epoch (from 1), the metric, the cost, optionally seed,
                trial_id and the reports. A metric that is not finite makes its trial a failure.
            configs: Column config_id and one column a hyperparameter; missing where inactive.
            tasks: Column task_id, optionally name; every other numeric column is a meta-feature.
            space: The declared space.
            metric: Column that decides.
            direction: ``minimise`` or ``maximise``.
            cost: Column with the seconds of this epoch alone.
            reports: Columns that predictions are also given in.
            failures: Trials that left no curve: task_id, config_id, cost, optionally seed, trial_id, outcome.
            workload: Columns of the tasks that seconds are proportional to.

        Returns:
            The meta-dataset.

        Raises:
            InputError: A column is missing, a row refers to what is not there, or a value can't be.
        """
        if direction not in tuple(Direction):
            raise InputError(f"direction must be {' or '.join(Direction)}, got {direction!r}")
        declared = Space(space)
        require_columns(curves, "curves", ["task_id", "config_id", "epoch", metric, cost, *reports])
        require_columns(configs, "configs", ["config_id"])
        require_columns(tasks, "tasks", ["task_id"])
        points = curve_points(curves, metric, cost, tuple(reports))
        trials = curve_trials(points)
        if failures is not None and len(failures):
            require_columns(failures, "failures", ["task_id", "config_id", cost])
            extra = curveless_trials(failures, cost)
            trials = pd.concat(
                [trials, extra[~extra["trial_id"].isin(trials["trial_id"])]], ignore_index=True
            )
        return cls._checked(
            points=points[["trial_id", "epoch", "value", "cost_s", *reports]],
            trials=trials,
            configs={
                str(row.pop("config_id")): declared.restore({str(name): value for name, value in row.items()})
                for row in configs.to_dict(orient="records")
            },
            tasks=past_tasks(tasks),
            space=declared,
            metric=metric,
            direction=Direction(direction),
            reports=tuple(reports),
            workload=workload,
        )

    @classmethod
    def from_root(
        cls,
        root: Path | str,
        metric: str = "eval_loss",
        *,
        features: Collection[str] | None = ROOT_FEATURES,
        reports: Sequence[str] = ROOT_REPORTS,
    ) -> "MetaDataset":
        """Read a sweep's root, also while it is running: finished trials only.

        Args:
            root: The root's folder.
            metric: Column of the curves that decides; the losses are minimised, everything else maximised.
            features: Meta-features to learn from; None: all that its tasks have. A root that has none of
                those named, since others measured it, is learned from by all that it has. The tasks hold all
                of them in any case.
            reports: Further columns of the curves that predictions are also given in; those that the root
                lacks are left out.

        Returns:
            The meta-dataset.

        Raises:
            InputError: The folder is no sweep's root, or has no such metric.
            NothingLearnedError: No trial has finished yet.
        """
        layout = RootLayout(Path(root))
        if not layout.space_json.is_file():
            raise InputError(
                f"{root} is no sweep's root: {layout.space_json.name} is missing; run a sweep there first"
            )
        reader = MetaDatasetReader(layout.root)
        # A trial's row lands after its points: read in this order, every finished trial has its whole curve.
        trials, tasks, curves = reader.trials(), reader.tasks(), reader.curves()
        trials = trials[trials["outcome"].isin([outcome.value for outcome in FAILURES | _CURVES])]
        if trials.empty:
            raise NothingLearnedError(
                f"no trial under {root} has finished yet; let `foretune run` go on, then ask again"
            )
        if metric not in curves.columns:
            raise InputError(f"the curves have no column {metric!r}; known are {', '.join(curves.columns)}")
        reports = tuple(name for name in reports if name in curves.columns and name != metric)
        finished = curves[curves["trial_id"].isin(trials["trial_id"])]
        past = root_tasks(tasks, trials)
        points = pd.DataFrame(
            {
                "trial_id": finished["trial_id"],
                "epoch": finished["epoch"],
                "value": finished[metric],
                "cost_s": root_seconds(finished, past),
                **{name: finished[name] for name in reports},
            }
        )
        rows = trials.drop_duplicates(["task_id", "config_id"])
        return cls._checked(
            points=points,
            trials=root_trials(trials, points, finished["train_s"] + finished["eval_s"]),
            configs={
                str(key): json.loads(text)
                for key, text in zip(rows["config_id"], rows["config"], strict=True)
            },
            tasks=past,
            space=Space.from_json(layout.space_json.read_text()),
            metric=metric,
            direction=Direction.MINIMISE if metric in _LOSSES else Direction.MAXIMISE,
            reports=reports,
            base_fingerprints=tuple(sorted(trials["base_fingerprint"].unique())),
            learned_features=learned_features(past, features),
            machine_features=ROOT_MACHINE_FEATURES,
            workload=ROOT_WORKLOAD,
        )

    @classmethod
    def _checked(
        cls,
        *,
        points: pd.DataFrame,
        trials: pd.DataFrame,
        configs: Mapping[str, Config],
        tasks: tuple[PastTask, ...],
        space: Space,
        metric: str,
        direction: Direction,
        reports: tuple[str, ...],
        base_fingerprints: tuple[str, ...] = (),
        learned_features: tuple[str, ...] | None = None,
        machine_features: tuple[str, ...] = (),
        workload: Workload | None = None,
    ) -> "MetaDataset":
        known = {task.task_id for task in tasks}
        refuse_unknown("task", sorted(set(trials["task_id"]) - known), "tasks")
        refuse_unknown("config", sorted(set(trials["config_id"]) - set(configs)), "configs")
        used = set(trials["task_id"])
        outside = sorted({name for config in configs.values() for name in config} - set(space.names))
        if outside:
            raise InputError(f"configs use {', '.join(outside)}, which the declared space lacks; declare it")
        return cls(
            points=points.sort_values(["trial_id", "epoch"], ignore_index=True),
            trials=trials.sort_values(["task_id", "config_id", "seed", "trial_id"], ignore_index=True),
            configs=dict(configs),
            tasks=tuple(
                sorted((task for task in tasks if task.task_id in used), key=lambda task: task.task_id)
            ),
            space=space,
            metric=metric,
            direction=direction,
            reports=reports,
            base_fingerprints=base_fingerprints,
            learned_features=learned_features,
            machine_features=machine_features,
            workload=workload,
        )

    def barren_tasks(self) -> tuple[PastTask, ...]:
        """Return the tasks on which no trial has a point and did not fail: nothing can be ranked there."""
        usable = self.trials[
            ~self.trials["is_failure"] & self.trials["trial_id"].isin(self.points["trial_id"].unique())
        ]
        fruitful = set(usable["task_id"])
        return tuple(task for task in self.tasks if task.task_id not in fruitful)

    def without_failures(self) -> "MetaDataset":
        """Return the meta-dataset as if the trials that failed had never been run."""
        trials = self.trials[~self.trials["is_failure"]].reset_index(drop=True)
        points = self.points[self.points["trial_id"].isin(trials["trial_id"])].reset_index(drop=True)
        return replace(self, trials=trials, points=points)

    def without(self, task_ids: Collection[str]) -> "MetaDataset":
        """Return the meta-dataset as if these tasks had never been tried."""
        trials = self.trials[~self.trials["task_id"].isin(list(task_ids))].reset_index(drop=True)
        points = self.points[self.points["trial_id"].isin(trials["trial_id"])].reset_index(drop=True)
        used = set(trials["config_id"])
        return replace(
            self,
            tasks=tuple(task for task in self.tasks if task.task_id not in task_ids),
            configs={key: config for key, config in self.configs.items() if key in used},
            trials=trials,
            points=points,
        )
