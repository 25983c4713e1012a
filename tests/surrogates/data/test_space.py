import json

import numpy as np
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float

from orchestrator.contracts import InputError
from surrogates.data.space import Space
from tests.surrogates.synthetic import SPACE


def test_draws_repeat_with_the_seed_and_keep_inactive_names_out() -> None:
    space = Space(SPACE)
    drawn = space.sample(200, seed=4)
    assert drawn == space.sample(200, seed=4)
    assert drawn != space.sample(200, seed=5)
    assert all(("momentum" in config) == (config["optim"] == "sgd") for config in drawn)
    assert {type(config["rank"]) for config in drawn} == {int}
    assert {type(config["rslora"]) for config in drawn} == {bool}
    assert space.default()["lr"] == pytest.approx(1e-3)


def test_values_that_pandas_changed_come_back_as_declared() -> None:
    restored = Space(SPACE).restore(
        {
            "rank": np.float64(8.0),
            "rslora": np.bool_(True),
            "momentum": float("nan"),
            "optim": "adamw",
            "version": 3.0,
        }
    )
    assert restored == {"rank": 8, "rslora": True, "optim": "adamw", "version": 3}
    assert [type(value) for value in restored.values()] == [int, bool, str, int]


def test_unknown_name_is_refused_with_those_that_are_declared() -> None:
    with pytest.raises(InputError, match=r"speed is not in the declared space; declared are .*lr"):
        Space(SPACE).restore({"speed": 1})


@pytest.mark.parametrize(
    "declaration", [{"a": {"min": 1}}, {"a": {"min": 1, "max": 0}}, {"a": {"min": 0, "max": 1, "lg": 1}}]
)
def test_wrong_declaration_is_refused_by_name(declaration: dict[str, object]) -> None:
    with pytest.raises(InputError, match="a: "):
        Space(declaration)


@pytest.mark.parametrize("envelope", [False, True])
def test_json_of_configspace_reads_bare_and_enveloped(envelope: bool) -> None:
    declared = ConfigurationSpace(
        space={"lr": Float("lr", (1e-5, 1e-1), log=True), "optim": Categorical("optim", ["a", "b"])}
    )
    declared.add(EqualsCondition(declared["lr"], declared["optim"], "a"))
    content = declared.to_serialized_dict()
    space = Space.from_json(json.dumps({"name": "x", "configspace": content} if envelope else content))
    assert set(space.names) == {"lr", "optim"}
    assert all(("lr" in config) == (config["optim"] == "a") for config in space.sample(50, seed=0))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"name": "x"}'])
def test_json_without_a_space_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="declared space"):
        Space.from_json(text)
