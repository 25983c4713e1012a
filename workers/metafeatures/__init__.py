"""Meta-features: numbers that describe a task, from no search on it, so that past tasks tell of a new one.

``measure`` and ``measure_encoded`` measure, ``FeatureCache`` measures once and remembers, ``FEATURES`` names
and explains. Imports the contracts, ``orchestrator.metadataset.durable``, tasks and metrics; torch only where
there is a base model to measure on.
"""

from workers.metafeatures.cache import FeatureCache
from workers.metafeatures.measure import measure, measure_encoded
from workers.metafeatures.names import FEATURES, Feature, When

__all__ = ["FEATURES", "Feature", "FeatureCache", "When", "measure", "measure_encoded"]
