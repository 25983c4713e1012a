"""Quick-Tune's three arms at work, and the faults that its first implementation has."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import torch

from orchestrator.contracts import Config, InputError, NothingLearnedError
from surrogates.data.normalisation import Array, Direction
from surrogates.deepkernel.cost import CostNetwork
from surrogates.deepkernel.methods import QuickTune
from surrogates.deepkernel.search import Learned, Search
from surrogates.metadataset import MetaDataset
from surrogates.stepwise import Point, Problem, Start, Step
from tests.surrogates.synthetic import SPACE, World, frames, make

ARMS = ("transfer", "condition", "refit")
WORLD = World(tasks=6, configs=14, epochs=4, strength=0.3, seed=7)
STEPS = 25


@lru_cache
def start(arm: str) -> Start:
    meta = make(WORLD)
    return QuickTune(arm=arm, most_steps=STEPS).learn(meta.without([meta.tasks[0].task_id]), seed=0)


@lru_cache
def curves() -> Mapping[int, list[tuple[float, float]]]:
    """Candidate to loss and seconds by epoch, on the task left out."""
    points = frames(WORLD)[0]
    mine = points[points["task_id"] == "t0"]
    return {
        int(str(key)[1:]): list(zip(rows["loss"], rows["seconds"], strict=True))
        for key, rows in mine.groupby("config_id")
    }


def problem(direction: Direction = Direction.MINIMISE) -> Problem:
    meta = make(WORLD)
    return Problem(
        features=meta.tasks[0].features,
        candidates=tuple(meta.configs[f"c{place}"] for place in range(WORLD.configs)),
        budget_s=1e9,
        max_epochs=WORLD.epochs,
        direction=direction,
    )


def work(
    search: Search, value: Callable[[float], float] = float, *, most: int = 1000, failing: bool = False
) -> list[Step]:
    """Ask and tell until nothing is left."""
    done: dict[int, int] = {}
    steps: list[Step] = []
    while len(steps) < most and (step := search.ask()) is not None:
        begun = done.get(step.candidate, 0)
        assert step.epochs > begun
        curve = curves()[step.candidate][begun : step.epochs]
        points = [
            Point(epoch=begun + number, value=value(loss), cost_s=seconds)
            for number, (loss, seconds) in enumerate(curve, start=1)
        ]
        failed = failing or not points or not all(np.isfinite(point.value) for point in points)
        search.tell(step, points[:1] if failing else points, failed=failed)
        done[step.candidate] = step.epochs
        steps.append(step)
    return steps


def opened(arm: str, asked: Problem | None = None) -> Search:
    search = start(arm)(asked or problem())
    assert isinstance(search, Search)
    return search


@pytest.mark.parametrize("arm", ["transfer", "condition"])
def test_every_candidate_is_run_to_the_end_or_to_its_failure(arm: str) -> None:
    search = opened(arm)
    steps = work(search)
    last = {step.candidate: step.epochs for step in steps}
    assert sorted(last) == list(range(WORLD.configs))
    for candidate, curve in curves().items():
        broken = [epoch for epoch, (loss, _) in enumerate(curve, start=1) if not np.isfinite(loss)]
        assert last[candidate] == (broken[0] if broken else WORLD.epochs)
    assert search.ask() is None


def test_the_best_config_is_found_sooner_than_in_the_order_given() -> None:
    finals = {place: min(loss for loss, _ in curve) for place, curve in curves().items()}
    best = sorted(finals, key=lambda place: finals[place])[:3]
    for arm in ARMS:
        first = [step.candidate for step in work(opened(arm), most=6)]
        assert set(first) & set(best), f"{arm} began with {first}, the best are {best}"


@pytest.mark.parametrize("arm", ["transfer", "condition"])
def test_every_trial_failing_ends_when_all_were_tried(arm: str) -> None:
    steps = work(opened(arm), failing=True)
    assert sorted(step.candidate for step in steps) == list(range(WORLD.configs))


@pytest.mark.parametrize("arm", ARMS)
def test_a_single_candidate_is_run_step_by_step(arm: str) -> None:
    asked = problem()
    search = opened(arm, replace(asked, candidates=asked.candidates[:1]))
    assert [step.epochs for step in work(search)] in ([1, 2, 3, 4], [1, 2])


@pytest.mark.parametrize("arm", ["transfer", "condition"])
def test_sign_location_and_direction_of_the_metric_change_no_choice(arm: str) -> None:
    plain = work(opened(arm), most=12)
    maximised = opened(arm, problem(Direction.MAXIMISE))
    assert work(maximised, lambda loss: -loss, most=12) == plain
    assert work(opened(arm), lambda loss: loss - 1000.0, most=12) == plain


@pytest.mark.parametrize("arm", ARMS)
def test_a_metric_in_quite_other_units_is_worked_through(arm: str) -> None:
    steps = work(opened(arm), lambda loss: 1e5 * loss - 3e7, most=4)
    assert len(steps) == 4


def test_outcomes_move_the_choices_of_the_arms_that_look() -> None:
    for arm in ("transfer", "condition"):
        good = work(opened(arm), most=20)
        bad = work(opened(arm), lambda loss: -loss, most=20)
        assert good != bad


@pytest.mark.parametrize("arm", ARMS)
def test_the_same_seed_gives_the_same_steps(arm: str) -> None:
    assert work(opened(arm), most=3) == work(opened(arm), most=3)


def test_what_is_asked_must_be_told_before_the_next() -> None:
    search = opened("transfer")
    step = search.ask()
    assert step is not None
    with pytest.raises(InputError, match="tell before asking again"):
        search.ask()
    with pytest.raises(InputError, match="tell what was asked"):
        search.tell(Step(candidate=step.candidate, epochs=step.epochs + 1), [], failed=False)
    search.tell(step, [Point(epoch=1, value=1.0, cost_s=1.0)], failed=False)
    with pytest.raises(InputError, match="nothing was asked"):
        search.tell(step, [Point(epoch=1, value=1.0, cost_s=1.0)], failed=False)


def test_a_candidate_told_to_be_dear_comes_later() -> None:
    learned = Learned.from_tasks(make(replace(WORLD, tasks=3)), seed=0, most_steps=5)
    asked = problem()
    first = Search(learned, asked, conditions=False, refits=False).ask()
    assert first is not None
    dear = first.candidate

    class Dear(CostNetwork):
        def __init__(self) -> None:
            self.ratios = learned.costs.ratios

        def full_s(self, configs: Array, features: Array | None) -> Array:
            seconds = learned.costs.full_s(configs, features)
            seconds[dear] *= 1e9
            return seconds

    search = Search(replace(learned, costs=Dear()), asked, conditions=False, refits=False)
    order = [step.candidate for step in work(search)]
    assert order.index(dear) > WORLD.configs / 2


def test_a_failed_candidate_is_never_asked_again() -> None:
    search = opened("condition")
    step = search.ask()
    assert step is not None
    search.tell(step, [Point(epoch=1, value=float("nan"), cost_s=1.0)], failed=True)
    assert step.candidate not in {later.candidate for later in work(search)}


def test_no_candidate_is_refused() -> None:
    with pytest.raises(InputError, match="at least one config"):
        start("transfer")(replace(problem(), candidates=()))


def test_an_arm_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="transfer, condition, refit"):
        QuickTune(arm="guess")


def test_without_gpytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surrogates.deepkernel.methods.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'foretune\[gp\]'"):
        QuickTune(arm="refit").learn(make(WORLD), seed=0)


def test_importing_the_methods_costs_neither_torch_nor_gpytorch() -> None:
    look = "import sys, surrogates.deepkernel.methods; print({'torch', 'gpytorch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_names_tell_the_arms_apart() -> None:
    assert len({QuickTune(arm=arm).name for arm in ARMS}) == 3
    assert not any(QuickTune(arm=arm).uses_budget for arm in ARMS)


def _table(values: list[list[float]], configs: list[Config]) -> MetaDataset:
    """Tasks x configs, one epoch each; no meta-features."""
    rows = [
        {"task_id": f"t{t}", "config_id": f"c{c}", "epoch": 1, "loss": value, "s": 1.0}
        for t, row in enumerate(values)
        for c, value in enumerate(row)
    ]
    return MetaDataset.from_frames(
        pd.DataFrame(rows),
        pd.DataFrame([{"config_id": f"c{c}", **config} for c, config in enumerate(configs)]),
        pd.DataFrame({"task_id": [f"t{t}" for t in range(len(values))]}),
        space=SPACE,
        metric="loss",
        direction="minimise",
        cost="s",
    )


@pytest.mark.parametrize("values", [[[0.5]], [[1.0, 1.0], [2.0, 2.0]], [[-3.0, float("nan")], [-1.0, -2.0]]])
@pytest.mark.parametrize("arm", ARMS)
def test_a_handful_of_rows_equal_columns_and_negative_losses_are_learned_from(
    arm: str, values: list[list[float]]
) -> None:
    config: Config = {"lr": 1e-3, "rank": 8, "optim": "adamw", "rslora": False, "dropout": 0.0, "version": 3}
    meta = _table(values, [config] * len(values[0]))
    search = QuickTune(arm=arm, most_steps=3).learn(meta, seed=0)(
        Problem(features={}, candidates=(config,), budget_s=1.0, max_epochs=1, direction=Direction.MINIMISE)
    )
    step = search.ask()
    assert step == Step(candidate=0, epochs=1)
    search.tell(step, [Point(epoch=1, value=-5.0, cost_s=1.0)], failed=False)
    assert search.ask() is None


def test_tasks_on_which_nothing_worked_are_left_out_and_nothing_else_is_refused() -> None:
    config: Config = {"lr": 1e-3, "rank": 8, "optim": "adamw", "rslora": False, "dropout": 0.0, "version": 3}
    meta = _table([[float("nan")], [1.0]], [config])
    QuickTune(arm="transfer", most_steps=2).learn(meta, seed=0)
    with pytest.raises(NothingLearnedError, match="no trial without failure"):
        QuickTune(arm="transfer", most_steps=2).learn(meta.without(["t1"]), seed=0)


def test_torch_is_left_as_it_was_found() -> None:
    meta = make(replace(WORLD, tasks=3, configs=6))
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(2)
    state = torch.random.get_rng_state()
    try:
        search = QuickTune(arm="refit", most_steps=2).learn(meta, seed=0)(problem())
        assert isinstance(search, Search)
        work(search, most=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.get_default_dtype() == dtype
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_default_dtype_changes_nothing() -> None:
    meta = make(replace(WORLD, tasks=3, configs=6))

    def steps() -> list[Step]:
        search = QuickTune(arm="refit", most_steps=2).learn(meta, seed=0)(problem())
        assert isinstance(search, Search)
        return work(search, most=3)

    plain = steps()
    found = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        other = steps()
    finally:
        torch.set_default_dtype(found)
    assert other == plain
