"""What is left of declared parameters is what can be in a config."""

import pytest

from orchestrator.contracts import InputError
from workers.spaces.parameters import Choices, Condition, Parameter
from workers.spaces.settling import settle


def listed(name: str, *values: str | bool | int, when: Condition | None = None) -> Parameter:
    return Parameter(name=name, domain=Choices(values), default=values[0], condition=when)


def test_child_of_a_conditional_parent_keeps_the_parents_condition() -> None:
    method = Condition("peft_method", ("lora",))
    parameters = [
        listed("peft_method", "lora", "full"),
        listed("init_lora_weights", "eva", when=method),
        listed("lora_r", 8, 16, when=Condition("init_lora_weights", ("eva",))),
    ]
    left, combinations = settle(parameters, wanted=frozenset())
    assert [item.condition for item in left] == [None, method, method]
    assert combinations == ()


def test_children_leave_with_their_parent() -> None:
    parameters = [
        listed("peft_method", "full"),
        listed("init_lora_weights", "eva", when=Condition("peft_method", ("lora",))),
        listed("lora_r", 8, when=Condition("init_lora_weights", ("eva",))),
    ]
    assert [item.name for item in settle(parameters, wanted=frozenset())[0]] == ["peft_method"]


def test_value_stays_where_the_other_name_does_not_matter() -> None:
    """LoftQ forbids an unquantised base, but IA3 has one all the same."""
    parameters = [
        listed("peft_method", "lora", "ia3"),
        listed("init_lora_weights", "loftq", when=Condition("peft_method", ("lora",))),
        listed("quant", "none", "nf4"),
    ]
    left, combinations = settle(parameters, wanted=frozenset())
    assert left[2].domain == Choices(("none", "nf4"))
    assert [str(item) for item in combinations] == ["init_lora_weights = loftq with quant = none"]
    assert left[2].default == "nf4"


def test_names_of_which_nothing_is_left_refuse_the_space() -> None:
    parameters = [listed("init_lora_weights", "loftq"), listed("quant", "none", "int8")]
    with pytest.raises(InputError, match="init_lora_weights = loftq can't be while quant is none or int8"):
        settle(parameters, wanted=frozenset())
    tangled = [
        listed("use_dora", True),
        listed("init_lora_weights", "loftq", "orthogonal"),
        listed("quant", "int8", "nf4"),
    ]
    with pytest.raises(InputError, match="can't be while"):
        settle(tangled, wanted=frozenset())
