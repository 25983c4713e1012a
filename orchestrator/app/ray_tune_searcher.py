"""A recommended plan for people who run their trials with Ray Tune.

    plan = Recommender.fit(meta).plan(features, budget_s=3600)
    searcher = ForetuneSearcher(plan, meta.space)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=len(searcher), max_concurrent_trials=2),
        run_config=tune.RunConfig(stop=PlannedEpochs()),
    )

The searcher is transfer-only: no result changes what it suggests, and it needs none of the reported metrics.
Tune can't continue a trial that has ended, so a config that the plan names again with more epochs comes once,
where it first stands, with the most.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cluster.connection  # noqa: F401  Ray, once imported, no longer asks how it is to authenticate

# isort: split
from ray.tune import Stopper
from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Uniform

from orchestrator.contracts import Config, ConfigId, InputError, Scalar, config_id
from orchestrator.metadataset.durable import write_durably
from surrogates.data.space import Parameter, Space
from surrogates.plan import Plan

_FORMAT = 1


class ForetuneSearcher(Searcher):
    """Suggests a plan's configs in their order, each with its epochs beside the hyperparameters.

    Args:
        plan: What a recommender answered.
        space: The space that it was learned in.
        epochs_name: Key of a suggestion that holds how far to train; ``PlannedEpochs`` stops trials there.

    Raises:
        InputError: A hyperparameter of the space bears that name.
    """

    def __init__(self, plan: Plan, space: Space, *, epochs_name: str = "epochs") -> None:
        super().__init__()
        if epochs_name in space.names:
            raise InputError(
                f"the space has a hyperparameter {epochs_name!r}; give the planned epochs another epochs_name"
            )
        self._space, self._epochs_name = space, epochs_name
        self._suggestions = _suggestions(plan, epochs_name)
        self._trials: dict[str, int] = {}
        """Which suggestion each trial of Tune's was given."""

    def __len__(self) -> int:
        """Return how many trials there are: Tune's ``num_samples``."""
        return len(self._suggestions)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take what the user told Tune; a search space must be the one that was learned in.

        Args:
            metric: What the user optimises; kept for Tune.
            mode: ``min`` or ``max``; likewise.
            config: Tune's ``param_space``; names outside the learned space may be constants.
            **spec: Ignored.

        Returns:
            True.

        Raises:
            InputError: The search space is another one.
        """
        problems = _differences(config, self._space)
        if problems:
            raise InputError(
                "param_space is not the space that was learned in; leave it out, or make it the same",
                *problems,
            )
        # The configs hold their values: what Tune would sample itself must not be left in its own copy.
        for name in [name for name, value in config.items() if isinstance(value, Domain)]:
            del config[name]
        self._metric, self._mode = metric, mode
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next config with its epochs; ``FINISHED`` after the last."""
        if len(self._trials) >= len(self._suggestions):
            return str(Searcher.FINISHED)
        self._trials[trial_id] = len(self._trials)
        return dict(self._suggestions[self._trials[trial_id]])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Ignore what came of a trial."""

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON, whole or not at all.

        Args:
            checkpoint_path: The file; Tune gives it a ``.pkl`` ending, which it is not.
        """
        content = {
            "format": _FORMAT,
            "epochs_name": self._epochs_name,
            "suggestions": self._suggestions,
            "trials": self._trials,
        }
        write_durably(Path(checkpoint_path).absolute(), json.dumps(content).encode())

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a saved state, with the plan that stood in it.

        Args:
            checkpoint_path: The file that ``save`` wrote.

        Raises:
            InputError: It can't be read, or was written in another space.
        """
        try:
            content = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']} is not {_FORMAT}")
            suggestions = [dict(suggestion) for suggestion in content["suggestions"]]
            trials = {str(name): int(place) for name, place in content["trials"].items()}
            name = str(content["epochs_name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise InputError(f"{checkpoint_path} is no state of this searcher ({err!r})") from err
        for suggestion in suggestions:
            self._space.restore({key: value for key, value in suggestion.items() if key != name})
        self._suggestions, self._trials, self._epochs_name = suggestions, trials, name


class PlannedEpochs(Stopper):
    """Stops a trial when it has reported as many results as the plan gives it epochs.

    Args:
        epochs_name: As the searcher's.
    """

    def __init__(self, epochs_name: str = "epochs") -> None:
        self._epochs_name = epochs_name

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether the trial has come as far as it is to go."""
        return bool(result["training_iteration"] >= result["config"][self._epochs_name])

    def stop_all(self) -> bool:
        """Return False: the others go on."""
        return False


def _suggestions(plan: Plan, epochs_name: str) -> list[dict[str, Scalar]]:
    epochs: dict[ConfigId, int] = {}
    configs: dict[ConfigId, Config] = {}
    for choice in plan.choices:
        key = config_id(choice.config)
        configs.setdefault(key, choice.config)
        epochs[key] = max(choice.epochs, epochs.get(key, 0))
    return [{**config, epochs_name: epochs[key]} for key, config in configs.items()]


def _differences(config: Mapping[str, Any], space: Space) -> list[str]:
    """Return how a search space of Tune's is not the declared one; none where it searches nothing."""
    declared = {parameter.name: parameter for parameter in space.parameters}
    searched = {name: value for name, value in config.items() if isinstance(value, Domain)}
    nested = [name for name, value in config.items() if isinstance(value, Mapping)]
    problems = [f"{name}: a nested or grid search is not known here" for name in nested]
    fixed = [name for name in config if name in declared and name not in searched]
    problems += [
        f"{name}: is fixed to {config[name]!r}; plan with candidates that have this value instead"
        for name in fixed
        if declared[name].choices != (config[name],)
    ]
    problems += [f"{name}: was not learned" for name in searched if name not in declared]
    if searched:
        free = [name for name, parameter in declared.items() if len(parameter.choices) != 1]
        problems += [f"{name}: is missing" for name in free if name not in config]
    for name, value in searched.items():
        if name in declared and not _is_same(value, declared[name]):
            problems.append(f"{name}: is {value.domain_str} here and {_told(declared[name])} there")
    return problems


def _is_same(domain: Domain, parameter: Parameter) -> bool:
    if isinstance(domain, Categorical):
        return len(domain.categories) == len(parameter.choices) and all(
            any(choice == category and type(choice) is type(category) for choice in parameter.choices)
            for category in domain.categories
        )
    if not isinstance(domain, Float | Integer) or parameter.choices:
        return False
    sampler = domain.get_sampler()  # type: ignore[no-untyped-call]
    if not isinstance(sampler, Uniform | LogUniform):  # quantised, or normal
        return False
    # Tune's integers end before their upper bound, ours with it.
    upper = domain.upper - 1 if isinstance(domain, Integer) else domain.upper
    return (
        (domain.lower, upper) == (parameter.low, parameter.high)
        and isinstance(sampler, LogUniform) == parameter.is_log
        and isinstance(domain, Integer) == parameter.is_integer
    )


def _told(parameter: Parameter) -> str:
    if parameter.choices:
        return str(list(parameter.choices))
    kind = ", integer" if parameter.is_integer else ""
    return f"({parameter.low:g}, {parameter.high:g}){', log' if parameter.is_log else ''}{kind}"
