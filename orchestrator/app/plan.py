"""From a spec to the trials of a sweep: deterministic, so that a resumed driver plans the same trials."""

from dataclasses import dataclass

from orchestrator.app.spec import ConfigsEntry, SweepSpec
from orchestrator.contracts import Config, InputError, TaskId, Trial, digest
from workers.models.location import ModelLocation, locate
from workers.space import SearchSpace
from workers.tasks.loading import load_task
from workers.tasks.records import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """A task of the sweep and where a worker finds it."""

    source: str
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """All trials of a sweep, and what they refer to."""

    trials: tuple[Trial, ...]
    tasks: tuple[PlannedTask, ...]
    space: SearchSpace
    base: ModelLocation

    @property
    def epochs(self) -> int:
        """Epochs of all trials together."""
        return sum(trial.max_epochs for trial in self.trials)

    @property
    def data_revisions(self) -> dict[TaskId, str]:
        """Commits of the hub data sets among the tasks."""
        tasks = [planned.task for planned in self.tasks]
        return {task.task_id: task.revision for task in tasks if task.revision is not None}


def plan_sweep(spec: SweepSpec) -> SweepPlan:
    """Load the tasks, build the space and lay out the trials, tasks in turn for each config.

    Args:
        spec: The checked spec.

    Returns:
        The plan; the same spec and the same task files give the same plan on every machine.

    Raises:
        InputError: A task, a config or the base model can't be used; all that is found wrong is named at
            once.
    """
    problems: list[str] = []
    space = SearchSpace.from_spec(spec.preset, spec.space)
    tasks: list[PlannedTask] = []
    for entry in spec.tasks:
        try:
            tasks.append(PlannedTask(source=entry.source, task=load_task(entry.source, name=entry.name)))
        except InputError as err:
            problems += err.problems
    try:
        base = locate(spec.base_model)
    except InputError as err:
        problems += err.problems
    listed = _listed_configs(spec, space, problems)
    problems += _faults_of_names(tasks)
    if problems:
        raise InputError(*problems)
    return SweepPlan(
        trials=tuple(_lay_out(spec, space, tasks, listed, base.fingerprint)),
        tasks=tuple(tasks),
        space=space,
        base=base,
    )


def _listed_configs(spec: SweepSpec, space: SearchSpace, problems: list[str]) -> list[Config]:
    """Return the configs that the spec spells out, completed by the space; faults go to ``problems``."""
    listed: list[Config] = []
    for number, config in enumerate(spec.configs if isinstance(spec.configs, tuple) else (), start=1):
        try:
            completed = space.check(config)
        except InputError as err:
            problems += [f"config {number} of `configs`: {problem}" for problem in err.problems]
            continue
        if completed in listed:
            problems.append(f"config {number} of `configs` is the same as one before it; name each once")
        listed.append(completed)
    return listed


def _faults_of_names(tasks: list[PlannedTask]) -> list[str]:
    problems: list[str] = []
    seen: dict[str, str] = {}
    contents: dict[str, str] = {}
    for planned in tasks:
        name, source = planned.task.name, planned.source
        if name in seen:
            problems.append(f"{seen[name]} and {source} are both named {name!r}; give one of them a `name`")
        if planned.task.task_id in contents:
            problems.append(
                f"{contents[planned.task.task_id]} and {source} hold the same rows; name the task once"
            )
        seen[name] = contents[planned.task.task_id] = source
    return problems


def _drawn_configs(entry: ConfigsEntry, space: SearchSpace, task: Task) -> list[Config]:
    seed = entry.seed
    if not entry.shared:
        seed = int(digest([seed, task.task_id])[:8], 16)
    configs: list[Config] = [space.default()] if entry.include_default else []
    for config in space.sample(entry.count, seed=seed):
        if len(configs) < entry.count and config not in configs:
            configs.append(config)
    return configs


def _lay_out(
    spec: SweepSpec, space: SearchSpace, tasks: list[PlannedTask], listed: list[Config], fingerprint: str
) -> list[Trial]:
    settings = spec.training_settings()
    drawn = spec.configs if isinstance(spec.configs, ConfigsEntry) else None
    by_task = [_drawn_configs(drawn, space, planned.task) if drawn else listed for planned in tasks]
    trials: list[Trial] = []
    for index in range(max(len(configs) for configs in by_task)):
        for planned, configs in zip(tasks, by_task, strict=True):
            trials += [
                Trial(
                    task_id=planned.task.task_id,
                    task_source=planned.source,
                    task_name=planned.task.name,
                    config=configs[index],
                    seed=seed,
                    base_model=spec.base_model,
                    base_fingerprint=fingerprint,
                    space_version=space.version,
                    settings=settings,
                    max_epochs=spec.epochs if spec.config_epochs is None else spec.config_epochs[index],
                )
                for seed in (spec.seeds if index < len(configs) else ())
            ]
    return trials
