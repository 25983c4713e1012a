import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from surrogates.data.normalisation import Direction
from surrogates.evaluation.loop import Epoch, Incumbent, run_method
from surrogates.stepwise import Problem, Sequenced, Step


@dataclass
class Listed:
    """Curves of one second an epoch; NaN is a failure, which nobody knows of before it happens."""

    values: Mapping[str, Sequence[float]]
    within: list[float] = field(default_factory=list)

    @property
    def candidates(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def reports(self) -> tuple[str, ...]:
        return ("test",)

    def problem(self, budget_s: float) -> Problem:
        return Problem(
            features={},
            candidates=tuple({"name": name} for name in self.values),
            budget_s=budget_s,
            max_epochs=3,
            direction=Direction.MINIMISE,
        )

    def epochs(self, candidate: int, *, after: int, until: int, within_s: float) -> Iterator[Epoch]:
        self.within.append(within_s)
        curve = list(self.values.values())[candidate]
        for number, value in enumerate(curve[after:until], start=after + 1):
            reports = np.array([10.0 + value])
            yield Epoch(epoch=number, value=value, loss=value, cost_s=1.0, reports=reports)

    def is_over(self, candidate: int, epochs: int) -> bool:
        curve = list(self.values.values())[candidate]
        return epochs > len(curve) or (math.isnan(curve[-1]) and epochs >= len(curve))


def _run(curves: Listed, steps: Sequence[tuple[int, int]], budget_s: float) -> pd.DataFrame:
    asked = [Step(candidate=candidate, epochs=epochs) for candidate, epochs in steps]
    untrained = Incumbent(loss=9.0, reports=np.array([19.0]))
    return run_method(lambda problem: Sequenced(asked), curves, budget_s, untrained=untrained)


def test_a_config_that_fails_hands_the_incumbent_back_to_the_best_of_the_others() -> None:
    curves = Listed({"a": [3.0, 1.0, math.nan], "b": [4.0, 2.0]})
    rows = _run(curves, [(1, 2), (0, 3), (1, 3)], 9.0)
    assert rows["loss"].tolist() == [9.0, 4.0, 2.0, 2.0, 1.0, 2.0]
    assert rows["test"].tolist() == [19.0, 14.0, 12.0, 12.0, 11.0, 12.0]


def test_without_another_that_worked_a_failure_leaves_the_base_model() -> None:
    rows = _run(Listed({"a": [3.0, math.nan]}), [(0, 2)], 9.0)
    assert rows["loss"].tolist() == [9.0, 3.0, 9.0]


def test_a_failure_beyond_the_end_of_the_budget_is_not_known_of() -> None:
    rows = _run(Listed({"a": [3.0, math.nan]}), [(0, 2)], 1.5)
    assert rows["loss"].tolist() == [9.0, 3.0]


def test_curves_are_told_what_is_left_of_the_budget() -> None:
    curves = Listed({"a": [3.0, 2.0, 1.0], "b": [4.0, 3.0, 2.0]})
    _run(curves, [(0, 2), (1, 1), (0, 3)], 3.5)
    assert curves.within == [3.5, 1.5, 0.5]
