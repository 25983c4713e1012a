"""Which method, precision and kind of model go together; read from plain facts, before weights are loaded."""

from typing import TYPE_CHECKING

from orchestrator.contracts import InvalidConfigError
from workers.training.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from workers.models.facts import ModelFacts


def refusals(hyper: Hyperparameters, facts: "ModelFacts") -> list[str]:
    """Say why a config can't run on a model.

    Args:
        hyper: Method, targets, initialisation and precision.
        facts: Of the base model.

    Returns:
        One sentence a reason, with the value and what would do; none where the config is valid.
    """
    return []


def check_support(hyper: Hyperparameters, facts: "ModelFacts") -> None:
    """Refuse a config that can't run on a model.

    Args:
        hyper: Method, targets, initialisation and precision.
        facts: Of the base model.

    Raises:
        InvalidConfigError: With all reasons together.
    """
    problems = refusals(hyper, facts)
    if problems:
        raise InvalidConfigError("; ".join(problems))
