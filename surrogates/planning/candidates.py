"""Configs that may be recommended, with all that does not depend on the task asked about."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.contracts import Config, InputError
from surrogates.data.encoding import ConfigEncoder
from surrogates.data.normalisation import Array
from surrogates.data.score_table import ScoreTable
from surrogates.metadataset import MetaDataset
from surrogates.models.blend import Blend
from surrogates.models.costs import CostModel
from surrogates.models.deviations import Carrier
from surrogates.models.failures import FailureModel
from surrogates.models.kernel import KernelModel
from surrogates.models.leaves import LeafTable
from surrogates.models.neighbours import weighted_scores
from surrogates.models.performance import PerformanceModel
from surrogates.planning.constraints import Constraints
from surrogates.planning.evidence import Nearest
from surrogates.planning.foresight import Foresight, Voices

_MOST_SEEN = 64
_MOST_CHEAP = 8
_MOST_FRESH = 40
_DRAWS = 512
_CONSTRAINED_DRAWS = 2048
"""Most of them may be ruled out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """P configs in the order of all arrays."""

    configs: tuple[Config, ...]
    encoded: Array
    """Shape ``(P, D)``."""
    places: NDArray[np.int64]
    """Positions among the past configs; -1 where no past task ran it; shape ``(P,)``."""
    usual: Foresight
    """Their scores on a task whose meta-features are believed."""
    unknown: Foresight
    """Their scores on a task of which nothing is believed."""
    cost_parts: Array
    """Log cost of a full run against the task's mean, shape ``(P,)``."""
    failing: LeafTable | None
    """The failure model's trees; None: it is asked itself."""
    nearest: Nearest
    """What each past task ran that is most like them."""


class CandidateMaker:
    """Makes candidates of configs, and the standing pool of them.

    Args:
        meta: What was learned from.
        table: The same, normalised.
        encoder: Of configs.
        encoded: The past configs, shape ``(C, D)``.
        model: Trees that tell performance.
        kernel: The kernel model that tells it.
        blends: Of the two, for tasks whose meta-features are believed, and for the others.
        carriers: Of past tasks' deviations from the one and the other to other configs.
        costs: Of seconds.
        failures: Of failing.
    """

    def __init__(
        self,
        meta: MetaDataset,
        table: ScoreTable,
        encoder: ConfigEncoder,
        encoded: Array,
        model: PerformanceModel,
        kernel: KernelModel,
        blends: tuple[Blend, Blend],
        carriers: tuple[Carrier, Carrier],
        costs: CostModel,
        failures: FailureModel,
    ) -> None:
        self._space, self._table, self._encoder, self._encoded = meta.space, table, encoder, encoded
        self._model, self._kernel, self._costs = model, kernel, costs
        self._blends, self._carriers, self._failures = blends, carriers, failures
        self._past = [meta.configs[key] for key in table.config_ids]
        self._place_of = {_key(self._space.restore(config)): place for place, config in enumerate(self._past)}

    def given(self, configs: Sequence[Config], constraints: Constraints | None = None) -> Candidates:
        """Make candidates of configs that a person names.

        Args:
            configs: At least one; repeated ones count once.
            constraints: What is ruled out beside.

        Returns:
            The candidates, in their order.

        Raises:
            InputError: There is none, or a name is not in the declared space.
        """
        if not configs:
            raise InputError(
                "candidates is empty; name at least one config, or leave it out to draw from the space"
            )
        unique = {_key(restored): restored for restored in map(self._space.restore, configs)}
        allowed = [config for config in unique.values() if constraints is None or constraints.allow(config)]
        if not allowed:
            raise InputError(f"no candidate is left under {constraints}; name others, or rule out less")
        return self._make(allowed, often=False)

    def pool(self, features: Array, *, seed: int, constraints: Constraints | None = None) -> Candidates:
        """Make a pool: the promising ones among the past configs and among fresh draws.

        Args:
            features: The past tasks' encoded meta-features, shape ``(T, M)``.
            seed: Of the draws.
            constraints: What is ruled out; None: nothing.

        Returns:
            The pool.

        Raises:
            InputError: No config is left.
        """
        wanted = np.array([constraints is None or constraints.allow(config) for config in self._past])
        past = [self._past[place] for place in self._promising_past(wanted)] if wanted.any() else []
        fresh = self._fresh(seed, constraints)
        pool = [*past, *(fresh[place] for place in self._promising_fresh(fresh, features))]
        if not pool:
            raise InputError(f"no config of the space is left under {constraints}; rule out less")
        return self._make(pool, often=True)

    def _make(self, configs: Sequence[Config], *, often: bool) -> Candidates:
        """Make candidates; those asked about often are prepared more thoroughly."""
        encoded = self._encoder.encode(configs)
        places = np.array(
            [self._place_of.get(_key(self._space.restore(c)), -1) for c in configs], dtype=np.int64
        )
        across = self._kernel.likeness(encoded, self._encoded)
        voices = Voices.of(self._table, self._kernel, self._model, encoded, places)
        usual, unknown = (
            Foresight.of(voices, blend, carrier.to(across), knows=knows, often=often)
            for blend, carrier, knows in zip(self._blends, self._carriers, (True, False), strict=True)
        )
        return Candidates(
            configs=tuple(configs),
            encoded=encoded,
            places=places,
            usual=usual,
            unknown=unknown,
            cost_parts=self._costs.parts_of(encoded, places),
            failing=self._failures.leaf_table(encoded) if often else None,
            nearest=Nearest.of(self._encoder.distances(encoded, self._encoded), self._table.is_run),
        )

    def _fresh(self, seed: int, constraints: Constraints | None) -> list[Config]:
        """Draw configs that no past task ran."""
        if constraints is None:
            drawn = self._space.sample(_DRAWS, seed=seed)
        else:
            imposed = [constraints.imposed(c) for c in self._space.sample(_CONSTRAINED_DRAWS, seed=seed)]
            drawn = [c for c in imposed if constraints.allow(c) and self._space.accepts(c)][:_DRAWS]
        unique = {_key(config): config for config in drawn}
        return [config for key, config in unique.items() if key not in self._place_of]

    def _promising_past(self, wanted: NDArray[np.bool_]) -> list[int]:
        """Return the best on the whole, every task's best, and the cheap among the better half."""
        places = np.flatnonzero(wanted)
        scores = self._table.scores[:, places]
        even = np.full((1, len(scores)), 1.0 / len(scores))
        final = weighted_scores(even, scores)[0][0, :, -1]
        final = np.where(self._table.is_run[:, places].any(axis=0), final, -np.inf)
        order = np.argsort(-final, kind="stable")
        at_end = np.where(np.isnan(scores[:, :, -1]), -np.inf, scores[:, :, -1])
        bests = np.argsort(-at_end, axis=1, kind="stable")[:, :3].T.ravel()
        half = order[: max(len(order) // 2, 1)]
        parts = self._costs.config_parts[places]
        cheap = half[np.argsort(parts[half], kind="stable")][:_MOST_CHEAP]
        kept = [*bests[:_MOST_SEEN].tolist(), *order[:_MOST_SEEN].tolist(), *cheap.tolist(), np.argmin(parts)]
        return [int(places[place]) for place in dict.fromkeys(kept)]

    def _promising_fresh(self, fresh: Sequence[Config], features: Array) -> list[int]:
        """Return the best for an unknown task, and the best for each past task by its meta-features."""
        if not fresh:
            return []
        encoded = self._encoder.encode(fresh)
        last = [len(self._table.epochs) - 1]
        questions = [None, *features[:_MOST_FRESH]] if features.shape[1] else [None]
        ranks = [
            np.argsort(-self._model.predict(encoded, task, last)[:, 0], kind="stable") for task in questions
        ]
        general = ranks[0][: _MOST_FRESH // 2].tolist()
        special = np.stack(ranks, axis=1).ravel().tolist()
        return list(dict.fromkeys([*general, *special]))[:_MOST_FRESH]


def _key(config: Config) -> str:
    return json.dumps(dict(config), sort_keys=True)
