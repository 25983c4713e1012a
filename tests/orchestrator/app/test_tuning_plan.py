import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.app.tuning_plan import StoredPlan, Target, TuningLayout, phases
from orchestrator.contracts import InputError, config_id
from tests.support.tuning import CONFIGS, make_plan, write_plan


def growing(draws: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Steps in which every config comes again with more epochs only."""
    epochs = dict.fromkeys(range(len(CONFIGS)), 0)
    steps = []
    for number, more in draws:
        epochs[number] += more
        steps.append((number, epochs[number]))
    return steps


def merged(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Steps, those that continue the one before them as one with it."""
    found: list[tuple[int, int]] = []
    for step in steps:
        if found and found[-1][0] == step[0]:
            found.pop()
        found.append(step)
    return found


def as_a_sweep_runs_them(found: list[tuple[Target, ...]]) -> list[tuple[int, int]]:
    """What is trained, in the order of a sweep: begun trials before new ones, each in plan order."""
    numbers = {config_id(config): number for number, config in enumerate(CONFIGS)}
    done: dict[int, int] = {}
    order = []
    for targets in found:
        asked = [(numbers[config_id(target.config)], target.epochs) for target in targets]
        fresh = [step for step in asked if step[1] > done.get(step[0], 0)]
        order += sorted(fresh, key=lambda step: step[0] not in done)
        done |= dict(asked)
    return order


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=10))
def test_phases_run_the_choices_in_the_order_of_the_plan(draws: list[tuple[int, int]]) -> None:
    steps = growing(draws)
    found = phases(make_plan(steps).choices)
    assert as_a_sweep_runs_them(found) == merged(steps)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=10))
def test_plan_that_never_comes_back_to_a_config_is_one_phase(draws: list[tuple[int, int]]) -> None:
    steps = [step for place, step in enumerate(draws) if step[0] not in {s[0] for s in draws[:place]}]
    assert len(phases(make_plan(steps).choices)) == 1


def test_stored_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    stored = write_plan(tmp_path / "out", [(0, 2), (1, 3)], budget_s=12.5)
    assert StoredPlan.read(TuningLayout(tmp_path / "out")) == stored


def test_new_or_empty_folder_holds_no_plan(tmp_path: Path) -> None:
    assert StoredPlan.read(TuningLayout(tmp_path)) is None
    assert StoredPlan.read(TuningLayout(tmp_path / "new")) is None


def test_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and holds no plan of `foretune tune`"):
        StoredPlan.read(TuningLayout(tmp_path))
    with pytest.raises(InputError, match=r"thesis\.tex is a file"):
        StoredPlan.read(TuningLayout(tmp_path / "thesis.tex"))


@pytest.mark.parametrize("damage", ["cut", "empty", "other format", "no choices"])
def test_plan_that_this_release_did_not_write_is_refused(tmp_path: Path, damage: str) -> None:
    write_plan(tmp_path, [(0, 2)])
    path = TuningLayout(tmp_path).plan_json
    content = json.loads(path.read_text())
    text = {
        "cut": path.read_text()[:100],
        "empty": "{}",
        "other format": json.dumps(content | {"format": 99}),
        "no choices": json.dumps(content | {"plan": {}}),
    }[damage]
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.json is not a plan that this release wrote"):
        StoredPlan.read(TuningLayout(tmp_path))
