"""All that is learned from a meta-dataset: models, how far to trust them, a standing pool of candidates."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from surrogates.data.encoding import ConfigEncoder, FeatureEncoder
from surrogates.data.normalisation import Array
from surrogates.data.readings import Readings
from surrogates.data.score_table import build_table
from surrogates.data.workload import Workloads
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
        self.workloads = Workloads.of(meta.workload, told)
        past = self.features.encode(told)
        encoded = encoder.encode([meta.configs[key] for key in self.table.config_ids])
        self.neighbourhood = Neighbourhood(features=past, bandwidth=learn_bandwidth(past, self.table.scores))
        # LightGBM lets Python work meanwhile, and so do numpy's larger sums: two cores help.
        with ThreadPoolExecutor(max_workers=1) as beside:
            trees = beside.submit(self._learn_trees, encoded, past)
            self.kernel = KernelModel(encoder, encoded, past, self.table.scores, seed=seed)
            self.costs = self._learn_costs(encoder, encoded, past)
            self.model, self.failures = trees.result()
        self.blend, self.unknown_blend = self._learn_blends(past)
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

    def _learn_trees(self, encoded: Array, past: Array) -> tuple[PerformanceModel, FailureModel]:
        model = PerformanceModel(encoded, past, self.table, seed=self.seed)
        return model, FailureModel(encoded, past, self.table.failure_shares, seed=self.seed)

    def _learn_costs(self, encoder: ConfigEncoder, encoded: Array, past: Array) -> CostModel:
        seconds = self.table.full_cost_s
        if Part.COST in self.without:
            seconds = np.where(np.isnan(seconds), np.nan, _row_means(seconds))
        return CostModel(encoder, encoded, past, seconds, self.table.cost_shape, seed=self.seed)

    def _learn_margin(self, blend: Blend, carried: Array) -> float:
        """Learn how wide intervals have to be with a blend's predictions."""
        return learn_margin(
            self.table.scales,
            self.table.scores[:, :, -1],
            (self.table.scores - blend.deviations)[:, :, -1],
            carried[:, :, -1],
            nominal=INTERVAL,
        )

    def _learn_blends(self, past: Array) -> tuple[Blend, Blend]:
        """Set what every model would have said of past tasks against what they turned out to be.

        Args:
            past: Their encoded meta-features.

        Returns:
            The blend, and that for tasks whose meta-features are not believed: as if nothing had been known
            of each task left out.
        """
        rows, table = self.model.left_out, self.table
        asked = np.zeros(table.is_run.shape, dtype=bool)
        asked[rows.task[rows.is_fresh], rows.config[rows.is_fresh]] = True
        fresh, seen = self.kernel.left_out_fresh(asked), self.kernel.left_out(table.is_run)
        self.kernel.settle()
        nowhere = np.full((len(table.task_ids),) * 2, np.nan)
        return (
            self._learn_blend(
                task_distances(past, past), rows.with_features, fresh.with_features, seen.with_features
            ),
            self._learn_blend(nowhere, rows.without_features, fresh.without_features, seen.without_features),
        )

    def _learn_blend(self, between: Array, trees: Array, fresh: Array, seen: Array) -> Blend:
        """Learn one blend.

        Args:
            between: Distances of the past tasks, NaN where unknown, shape ``(T, T)``.
            trees: What the trees told of the rows, each task left out, shape ``(n,)``.
            fresh: What the kernel model told, each task and the configs asked left out, shape ``(T, C, F)``.
            seen: What it told, each task left out, in the same shape.

        Returns:
            The blend.
        """
        rows, table = self.model.left_out, self.table
        at = (rows.task, rows.config, rows.fidelity)
        weights = leave_one_out_weights(between, self.neighbourhood.bandwidth)
        means, counts = weighted_scores(weights, table.scores)
        told = Told(
            kernel=np.where(rows.is_fresh, fresh[at], seen[at]),
            with_features=trees,
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
