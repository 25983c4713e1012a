"""What transfer-only recommendation is compared with: every baseline as a ``surrogates.stepwise.Method``."""

from surrogates.baselines.dehb import Dehb
from surrogates.baselines.fixed import DefaultConfig, RandomSearch, ZeroShot
from surrogates.baselines.halving import Asha, HyperBand
from surrogates.baselines.libraries import EXTRA, missing
from surrogates.baselines.portfolios import AverageRank, GreedyPortfolio, NearestTask, OneEpochTopK
from surrogates.baselines.synetune import SyneTuneQuantile, SyneTuneZeroShot
from surrogates.baselines.tpe import Tpe
from surrogates.stepwise import Method

__all__ = ["available"]


def available() -> tuple[list[Method], list[str]]:
    """Return the baselines that can run here.

    Returns:
        The methods, and a sentence for each one whose libraries are not installed.
    """
    own: list[Method] = [
        ZeroShot(),
        DefaultConfig(),
        RandomSearch(),
        AverageRank(),
        NearestTask(),
        GreedyPortfolio(),
        GreedyPortfolio(name="cost-aware portfolio", per_second=True),
        OneEpochTopK(),
        Asha(),
    ]
    borrowed: list[tuple[Method, tuple[str, ...]]] = [
        (HyperBand(), ("syne_tune",)),
        (Dehb(), ("dehb",)),
        (Tpe(), ("optuna",)),
        (SyneTuneZeroShot(), ("syne_tune", "xgboost")),
        (SyneTuneQuantile(), ("syne_tune", "xgboost")),
    ]
    here = [method for method, packages in borrowed if not missing(*packages)]
    without = [
        f"{method.name} is left out: {', '.join(missing(*packages))} is not installed; {EXTRA}"
        for method, packages in borrowed
        if missing(*packages)
    ]
    return own + here, without
