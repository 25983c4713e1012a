"""All that is learned from a meta-dataset: models, how far to trust them, a standing pool of candidates."""

from collections.abc import Collection, Sequence

import numpy as np

from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array
from surrogates.data.readings import Readings
from surrogates.data.score_table import build_table
from surrogates.metadataset import MetaDataset
from surrogates.models.blend import Blend, Told, learn_blend
from surrogates.models.costs import CostModel
from surrogates.models.deviations import Carrier
from surrogates.models.failures import FailureModel
from surrogates.models.intervals import learn_margin
from surrogates.models.kernel import KernelModel
from surrogates.models.neighbours import (
    Neighbourhood,
    learn_bandwidth,
    leave_one_out_weights,
    task_distances,
    weighted_scores,
)
from surrogates.models.performance import PerformanceModel
from surrogates.models.strangeness import Strangeness
from surrogates.plan import INTERVAL
from surrogates.planning.candidates import CandidateMaker, Candidates
from surrogates.planning.evidence import Evidence
from surrogates.planning.parts import Part


class Knowledge:
    """What was learned, and learns it when made.

    Args:
        meta: With at least one task, and on every task a trial that did not fail.
        seed: The same seed and meta-dataset teach the same.
        notes: What every plan has to say beside its own notes.
        without: Parts to do without.

    Raises:
        InputError: No trial has a cost above 0.
    """

    def __init__(
        self, meta: MetaDataset, *, seed: int, notes: Sequence[str], without: Collection[Part] = ()
    ) -> None:
        self.meta = meta
        self.without = frozenset(without)
        self.notes = tuple(notes)
        self.seed = seed
        encoder = ConfigEncoder(meta.space)
        self.table = build_table(meta)
        told = [task.features for task in meta.tasks]
        self.features = FeatureEncoder.fitted(told, meta.learned_features)
        self.strangeness = Strangeness(told, ignored=meta.machine_features)
        past = self.features.encode(told)
        encoded = encoder.encode([meta.configs[key] for key in self.table.config_ids])
        self.neighbourhood = Neighbourhood(features=past, bandwidth=learn_bandwidth(past, self.table.scores))
        self.model = PerformanceModel(encoded, past, self.table, seed=seed)
        self.kernel = KernelModel(encoder, encoded, past, self.table.scores, seed=seed)
        seconds = self.table.full_cost_s
        if Part.COST in self.without:
            seconds = np.where(np.isnan(seconds), np.nan, _row_means(seconds))
        self.costs = CostModel(encoder, encoded, past, seconds, self.table.cost_shape, seed=seed)
        self.failures = FailureModel(encoded, past, self.table.failure_shares, seed=seed)
        self.blend = self._learn_blend(past)
        self.unknown_blend = self._learn_blend(None)
        alike = self.kernel.likeness(encoded, encoded)
        carrier = Carrier.fitted(self.blend.deviations, alike)
        unknown_carrier = Carrier.fitted(self.unknown_blend.deviations, alike)
        self.maker = CandidateMaker(
            meta,
            self.table,
            encoder,
            encoded,
            self.model,
            self.kernel,
            (self.blend, self.unknown_blend),
            (carrier, unknown_carrier),
            self.costs,
            self.failures,
        )
        self.past_features = past
        self.pool: Candidates = self.maker.pool(past, seed=seed)
        self.margin = self._learn_margin(self.blend, carrier.to(alike))
        """What intervals need at both ends, in quantile scores."""
        self.unknown_margin = self._learn_margin(self.unknown_blend, unknown_carrier.to(alike))
        """The same where meta-features are not believed."""
        self.evidence = Evidence(meta, self.table)
        self.readings = Readings.of(self.table.scales)

    def _learn_margin(self, blend: Blend, carried: Array) -> float:
        """Learn how wide intervals have to be with a blend's predictions."""
        return learn_margin(
            self.table.scales,
            self.table.scores[:, :, -1],
            (self.table.scores - blend.deviations)[:, :, -1],
            carried[:, :, -1],
            nominal=INTERVAL,
        )

    def _learn_blend(self, past: Array | None) -> Blend:
        """Set what every model would have said of past tasks against what they turned out to be.

        Args:
            past: Their encoded meta-features; None: as if nothing had been known of each task left out.

        Returns:
            The blend.
        """
        rows, table = self.model.left_out, self.table
        at = (rows.task, rows.config, rows.fidelity)
        unknown = past is None
        between = np.full((len(table.task_ids),) * 2, np.nan) if past is None else task_distances(past, past)
        weights = leave_one_out_weights(between, self.neighbourhood.bandwidth)
        means, counts = weighted_scores(weights, table.scores)
        asked = np.zeros(table.is_run.shape, dtype=bool)
        asked[rows.task[rows.is_fresh], rows.config[rows.is_fresh]] = True
        as_fresh = self.kernel.left_out_fresh(asked, unknown=unknown)
        as_seen = self.kernel.left_out(table.is_run, unknown=unknown)
        told = Told(
            kernel=np.where(rows.is_fresh, as_fresh[at], as_seen[at]),
            with_features=rows.without_features if unknown else rows.with_features,
            without_features=rows.without_features,
            record=means[at],
            behind=np.where(rows.is_fresh, 0.0, counts[at]),
        )
        return learn_blend(table, rows, told)


def _row_means(values: Array) -> Array:
    """Return each row's mean over what is known, as a column; NaN where nothing is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1, keepdims=True)
    sums = np.where(known, values, 0.0).sum(axis=1, keepdims=True)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))
