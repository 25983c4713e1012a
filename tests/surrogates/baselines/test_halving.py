import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates.baselines.halving import ETA, Asha, HyperBand, rungs
from surrogates.data.normalisation import Array, Direction
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Point, Problem, Start, Step
from tests.surrogates.baselines.driver import recording, run
from tests.surrogates.synthetic import World, make


@pytest.fixture(scope="module")
def past() -> MetaDataset:
    return make(World(tasks=2, configs=4, epochs=2))


@settings(deadline=None)
@given(st.integers(1, 5_000))
def test_rungs_rise_by_the_factor_and_end_at_the_largest_fidelity(max_epochs: int) -> None:
    found = rungs(max_epochs)
    assert found[0] == 1
    assert found[-1] == max_epochs
    assert list(found[:-1]) == [ETA**power for power in range(len(found) - 1)]
    assert len(found) == 1 or found[-2] < found[-1] <= ETA * found[-2]


@pytest.mark.parametrize("failures", [0.0, 0.3])
def test_asha_begins_a_config_only_when_none_is_in_the_best_third_of_its_rung(
    failures: float, past: MetaDataset
) -> None:
    configs = tuple({"lr": 1e-3} for _ in range(40))
    recorded = recording(configs=configs, max_epochs=12, failures=failures)
    losses = np.minimum.accumulate(np.where(np.isnan(recorded.values), np.inf, recorded.values), axis=1)
    reached: dict[int, list[int]] = {rung: [] for rung in rungs(12)}
    failed: set[int] = set()
    begun = 0
    for step in run(Asha().learn(past, seed=0), recorded):
        promotable = {
            rung: [
                place
                for place in sorted(found, key=lambda place: _told(losses, place, rung, failed))[
                    : len(found) // ETA
                ]
                if place not in failed and not any(place in reached[r] for r in reached if r > rung)
            ]
            for rung, found in reached.items()
            if rung < 12
        }
        highest = max((rung for rung, places in promotable.items() if places), default=0)
        below = max((rung for rung in (0, *rungs(12)) if rung < step.epochs), default=0)
        if begun < 40:
            assert below == highest
            assert below == 0 or step.candidate in promotable[below]
        else:
            waiting = {
                rung
                for rung, found in reached.items()
                for place in found
                if rung < 12
                and place not in failed
                and not any(place in found for found in _above(reached, rung))
            }
            assert below == (highest or max(waiting))
        begun += below == 0
        reached[step.epochs].append(step.candidate)
        if np.isnan(recorded.values[step.candidate, : step.epochs]).any():
            failed.add(step.candidate)
    assert begun == 40


def _above(reached: dict[int, list[int]], rung: int) -> list[set[int]]:
    return [set(found) for other, found in reached.items() if other > rung]


def _told(losses: Array, place: int, rung: int, failed: set[int]) -> float:
    """What ASHA knows: a failure counts once it has happened."""
    return float("inf") if place in failed else float(losses[place, rung - 1])


def _told_steps(start: Start, losses: list[float], max_epochs: int) -> list[Step]:
    """Flat curves: a candidate's loss is the same in every epoch."""
    problem = Problem(
        features={},
        candidates=tuple({"lr": 1e-3} for _ in losses),
        budget_s=1.0,
        max_epochs=max_epochs,
        direction=Direction.MINIMISE,
    )
    optimiser = start(problem)
    steps = []
    while (step := optimiser.ask()) is not None:
        steps.append(step)
        optimiser.tell(
            step, [Point(epoch=step.epochs, value=losses[step.candidate], cost_s=1.0)], failed=False
        )
    return steps


def test_hyperband_runs_the_best_to_the_end_and_stops_most_of_the_others(past: MetaDataset) -> None:
    losses = [float(loss) for loss in np.random.default_rng(0).permutation(60)]
    steps = _told_steps(HyperBand().learn(past, seed=0), losses, 9)
    last: dict[int, int] = {}
    for step in steps:
        assert step.epochs == last.get(step.candidate, 0) + 1
        last[step.candidate] = step.epochs
    assert len(last) == 60
    full = [place for place, epochs in last.items() if epochs == 9]
    assert losses.index(0.0) in full
    assert len(full) < 30
    stopped = [place for place in last if place not in full]
    assert np.mean([losses[place] for place in full]) < np.mean([losses[place] for place in stopped])
    assert {last[place] for place in stopped} <= {1, 3}
    assert 3 in {last[place] for place in stopped}
