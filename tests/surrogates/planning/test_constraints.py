import pytest

from orchestrator.contracts import InputError
from surrogates.recommender import Recommender
from tests.surrogates.synthetic import World, make

FEATURES = {"size": 110.0, "hint": 3.2, "noise": 0.1, "level": 1.0}


@pytest.fixture(scope="module")
def learned() -> Recommender:
    return Recommender.fit(make(World(tasks=5, configs=20, epochs=3)))


def test_fixed_and_excluded_values_hold_in_every_choice(learned: Recommender) -> None:
    plan = learned.plan(FEATURES, 200.0, fixed={"rank": 8}, excluded={"optim": ["sgd", "lion"]})
    assert {(choice.config["rank"], choice.config["optim"]) for choice in plan.choices} == {(8, "adamw")}
    assert any(choice.is_fresh for choice in plan.choices)


def test_fixing_a_conditional_name_leaves_only_configs_that_have_it(learned: Recommender) -> None:
    plan = learned.plan(FEATURES, 200.0, fixed={"momentum": 0.9})
    assert {(choice.config["optim"], choice.config["momentum"]) for choice in plan.choices} == {("sgd", 0.9)}


def test_named_candidates_are_ruled_out_too(learned: Recommender) -> None:
    named = [learned.meta.configs[key] for key in sorted(learned.meta.configs)]
    plan = learned.plan(FEATURES, 200.0, candidates=named, excluded={"rslora": [True]})
    assert all(choice.config in named and choice.config["rslora"] is False for choice in plan.choices)


@pytest.mark.parametrize(
    ("fixed", "excluded", "said"),
    [
        ({"rank": 7}, {}, "rank=7 can't be fixed: the space declares one of 4, 8, 16, 32"),
        ({"lr": 3.0}, {}, "lr=3.0 can't be fixed: the space declares 1e-05 to 0.1"),
        ({"depth": 3}, {}, "depth is not in the declared space"),
        ({}, {"optim": ["adamw", "lion", "sgd"]}, "no config of the space is left under without optim="),
        ({"momentum": 0.5, "optim": "lion"}, {}, "no config of the space is left"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(
    learned: Recommender, fixed: dict[str, object], excluded: dict[str, list[object]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        learned.plan(FEATURES, 200.0, fixed=fixed, excluded=excluded)  # type: ignore[arg-type]


def test_leaving_out_an_unknown_part_is_refused() -> None:
    with pytest.raises(InputError, match="no part luck to do without; there are cost, failures, uncertainty"):
        Recommender.fit(make(World(tasks=2, configs=4, epochs=2)), without={"luck"})
