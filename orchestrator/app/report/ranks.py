"""Average ranks of methods, and which can be told apart: Friedman's test, Nemenyi's critical difference.

| symbol | meaning |
|---|---|
| k, N | methods, tasks |
| rank | of a method's mean regret over seeds among all methods of a task; 1 is best, ties share their mean |
| CD | q(0.05, k) · √(k (k + 1) / 6N): average ranks that differ by more differ indeed, with 5 % error |

Source: Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

SURE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Methods by average rank, the best first."""

    ranks: Mapping[str, float]
    tasks: int
    critical_difference: float
    p: float
    """Of Friedman's test that all methods are alike; 1 where it can't be done."""
    groups: tuple[tuple[str, ...], ...]
    """Methods that can't be told apart, as large as can be; a method may be in several."""


def ranking(measured: pd.DataFrame) -> Ranking:
    """Rank methods within tasks.

    Args:
        measured: Columns method, task_id and regret (lower is better), of one budget and clock; every
            method on the same
            tasks, any number of seeds.

    Returns:
        The ranking.
    """
    table = measured.pivot_table(index="task_id", columns="method", values="regret", aggfunc="mean").dropna(
        axis=1
    )
    means = table.rank(axis=1, method="average").mean().sort_values(kind="stable")
    ranks = {str(name): float(rank) for name, rank in means.items()}
    difference = critical_difference(len(ranks), len(table))
    return Ranking(
        ranks=ranks,
        tasks=len(table),
        critical_difference=difference,
        p=_friedman_p(table),
        groups=groups(ranks, difference),
    )


def critical_difference(methods: int, tasks: int) -> float:
    """Return Nemenyi's critical difference of average ranks at 5 %.

    Args:
        methods: How many are compared.
        tasks: On how many tasks.

    Returns:
        In ranks; ``inf`` where there is nothing to compare.
    """
    if methods < 2 or tasks < 1:
        return math.inf
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1.0 - SURE, methods, math.inf)) / math.sqrt(2.0)
    return q * math.sqrt(methods * (methods + 1) / (6.0 * tasks))


def groups(ranks: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Return the largest runs of methods whose average ranks differ by no more than the critical difference.

    Args:
        ranks: Average ranks, rising.
        difference: The critical difference.

    Returns:
        Each run once; one of a single method only where that differs from all others.
    """
    names, values = list(ranks), list(ranks.values())
    runs: list[tuple[int, int]] = []
    for start in range(len(names)):
        end = max(at for at in range(start, len(names)) if values[at] - values[start] <= difference)
        if not runs or end > runs[-1][1]:
            runs.append((start, end))
    return tuple(tuple(names[start : end + 1]) for start, end in runs)


def letters(ranked: Ranking) -> dict[str, str]:
    """Return for each method the letters of its groups: who shares a letter can't be told apart."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return {
        name: "".join(alphabet[at % 26] for at, members in enumerate(ranked.groups) if name in members)
        for name in ranked.ranks
    }


def _friedman_p(table: pd.DataFrame) -> float:
    from scipy.stats import friedmanchisquare

    columns: Sequence[pd.Series[float]] = [table[name] for name in table.columns]
    if len(columns) < 3 or len(table) < 2 or (table.nunique(axis=1) == 1).all():
        return 1.0
    return float(friedmanchisquare(*columns).pvalue)
