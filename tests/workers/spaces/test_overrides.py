"""A person's changes: names join and leave a space with all that belongs to them."""

from typing import Any

import pytest

from orchestrator.contracts import InputError
from workers.space import SearchSpace
from workers.spaces.parameters import Choices
from workers.spaces.presets import PRESETS


def names(space: SearchSpace) -> set[str]:
    return {parameter.name for parameter in space.parameters}


@pytest.mark.parametrize("preset", ["tiny", "phi3"])
def test_name_that_the_preset_leaves_out_joins_alone(preset: str) -> None:
    before = SearchSpace.preset(preset)
    space = SearchSpace.from_spec(preset, {"use_dora": [False, True], "neftune_noise_alpha": 5})
    assert names(space) - names(before) == {"use_dora", "neftune_noise_alpha"}
    assert space.default() == {**before.default(), "use_dora": False, "neftune_noise_alpha": 5.0}
    assert {config["use_dora"] for config in space.sample(20, seed=0)} == {False, True}


def test_method_brings_its_learning_rate_and_size_and_makes_the_others_conditional() -> None:
    space = SearchSpace.from_spec("phi3", {"peft_method": ["lora", "ia3", "oft"]})
    rows = {row.name: row for row in space.describe()}
    assert names(space) - names(SearchSpace.preset("phi3")) == {
        "vector_learning_rate",
        "oft_learning_rate",
        "oft_block_size",
    }
    assert rows["learning_rate"].condition == "peft_method is lora"
    assert rows["vector_learning_rate"].range == "[0.0005, 0.01] log"
    for config in space.sample(60, seed=0):
        rates = {name for name in config if name.endswith("learning_rate")}
        own = {"lora": "learning_rate", "ia3": "vector_learning_rate", "oft": "oft_learning_rate"}
        assert rates == {own[str(config["peft_method"])]}


def test_fixed_method_drops_what_can_not_matter() -> None:
    space = SearchSpace.from_spec("tiny-extended", {"peft_method": "full"})
    gone = names(SearchSpace.preset("tiny-extended")) - names(space)
    assert {"lora_r", "use_dora", "init_lora_weights", "quant", "target_modules", "vera_r"} <= gone
    assert {"full_learning_rate", "packing", "optim"} <= names(space)
    assert all(row.condition == "" for row in space.describe() if row.name == "full_learning_rate")


def test_value_that_nothing_can_stand_beside_leaves_with_its_combinations() -> None:
    space = SearchSpace.from_spec("phi3-extended", {"quant": "nf4"})
    inits = next(item.domain for item in space.parameters if item.name == "init_lora_weights")
    assert inits == Choices(("default", "eva", "loftq"))
    assert [str(combination) for combination in space.combinations] == [
        "use_dora = true with init_lora_weights = loftq"
    ]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            {"lora_r": [5, 7], "init_lora_weights": "orthogonal"},
            "lora_r = 5 or 7 can't be while init_lora_weights is orthogonal: .* must be even",
        ),
        (
            {"use_dora": True, "init_lora_weights": ["default", "pissa_niter_16"]},
            "init_lora_weights = pissa_niter_16 can't be while use_dora is true",
        ),
        (
            {"peft_method": "full", "quant": "nf4"},
            "quant has no effect unless peft_method is lora or .*; leave it out",
        ),
        ({"peft_method": ["prefix", "prompt"], "packing": True}, "packing has no effect unless peft_method"),
    ],
    ids=str,
)
def test_wanted_value_that_no_config_can_have_is_refused(overrides: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=f"^space: {reason}"):
        SearchSpace.from_spec("tiny-extended", overrides)


def test_defaults_move_until_they_may_stand_together() -> None:
    space = SearchSpace.from_spec(
        "tiny-extended",
        {"peft_method": "lora", "init_lora_weights": "orthogonal", "lora_r": {"min": 3, "max": 15}},
    )
    assert (space.default()["lora_r"], space.default()["quant"]) == (14, "none")
    assert all(config["lora_r"] % 2 == 0 for config in space.sample(50, seed=0))  # type: ignore[operator]
    space.to_configspace()


def test_written_config_with_what_can_not_be_together_is_refused_with_the_reason() -> None:
    space = SearchSpace.preset("phi3-extended")
    with pytest.raises(InputError, match="loftq with quant = none can't be: LoftQ begins with what nf4 took"):
        space.check({"init_lora_weights": "loftq"})
    assert space.check({"init_lora_weights": "loftq", "quant": "nf4"})["quant"] == "nf4"
    with pytest.raises(InputError, match="quant has no effect unless peft_method is lora or"):
        space.check({"peft_method": "full", "quant": "nf4"})


@pytest.mark.parametrize("core", ["tiny", "phi3"])
def test_extended_preset_holds_the_core_preset(core: str) -> None:
    extended = SearchSpace.preset(f"{core}-extended")
    assert PRESETS[core].left_out
    assert not PRESETS[f"{core}-extended"].left_out
    for config in [SearchSpace.preset(core).default(), *SearchSpace.preset(core).sample(50, seed=0)]:
        assert config.items() <= extended.check(config).items()


@pytest.mark.parametrize(
    ("preset", "version"), [("tiny", "tiny-b774b3477326"), ("phi3", "phi3-36949f7b75ed")]
)
def test_core_presets_are_those_of_the_meta_datasets_there_are(preset: str, version: str) -> None:
    """Trial ids hang on the version: another one would make known trials unknown."""
    assert SearchSpace.preset(preset).version == version
