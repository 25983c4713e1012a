"""What all callers of a surrogate have in common, whichever way their questions go."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.contracts import Config, Scalar
from surrogates.plan import Plan
from surrogates.serving.questions import Answer, question


class Caller(ABC):
    """Somebody who asks a surrogate."""

    @abstractmethod
    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Put a question that ``questions.question`` put together; raises as ``recommend``."""

    def recommend(
        self,
        features: Mapping[str, float],
        budget_s: float,
        *,
        candidates: Sequence[Config] | None = None,
        k: int | None = None,
        task_id: str | None = None,
        base_fingerprint: str | None = None,
        fixed: Mapping[str, Scalar] | None = None,
        excluded: Mapping[str, Sequence[Scalar]] | None = None,
    ) -> Plan:
        """Ask for a plan; the arguments are those of ``Recommender.plan``.

        Args:
            features: The task's meta-features.
            budget_s: Seconds, above 0.
            candidates: Configs to choose from; None: the surrogate's own.
            k: At most so many choices.
            task_id: The task's id, to leave its own results out.
            base_fingerprint: The base model asked for.
            fixed: Values that every choice must have.
            excluded: Values, by name, that no choice may have.

        Returns:
            The plan.

        Raises:
            InputError: The question can't be answered, or the token of a caller by HTTP is wrong.
            NothingLearnedError: There is nothing to answer from.
            SurrogateUnavailableError: Nobody answered.
        """
        asked = question(
            features,
            budget_s,
            candidates=candidates,
            k=k,
            task_id=task_id,
            base_fingerprint=base_fingerprint,
            fixed=fixed,
            excluded=excluded,
        )
        return self.ask(asked).plan
