"""docs/space.md says what the declarations say."""

from pathlib import Path

import pytest
import yaml

from orchestrator.contracts import InputError
from workers.space import SearchSpace
from workers.spaces.combinations import FORBIDDEN, Combination
from workers.spaces.parameters import shown
from workers.spaces.presets import PRESETS
from workers.training.hyperparameters import LEARNING_RATE_OF

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "space.md").read_text()


@pytest.mark.parametrize("combination", FORBIDDEN, ids=str)
def test_every_combination_stands_there_with_its_reason(combination: Combination) -> None:
    assert f"| {combination} | {combination.reason} |\n" in PAGE


@pytest.mark.parametrize("name", dict.fromkeys(LEARNING_RATE_OF.values()))
def test_every_learning_rate_stands_there_with_its_methods_ranges_and_defaults(name: str) -> None:
    methods = ", ".join(method for method, rate in LEARNING_RATE_OF.items() if rate == name)
    cells = [
        f"{parameter.domain} | {shown(parameter.default)}"
        for preset in ("phi3", "tiny")
        for parameter in PRESETS[preset].parameters
        if parameter.name == name
    ]
    assert f"| `{name}` | {methods} | {' | '.join(cells)} |\n" in PAGE


def test_every_preset_stands_there() -> None:
    assert all(f"| `{preset}` |" in PAGE for preset in PRESETS)


def test_change_that_is_shown_can_be_made() -> None:
    shown_change = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])
    space = SearchSpace.from_spec(shown_change["preset"], shown_change["space"])
    names = {parameter.name for parameter in space.parameters}
    assert {"use_dora", "vector_learning_rate"} <= names
    with pytest.raises(InputError, match="lora_r has no effect unless peft_method is lora"):
        SearchSpace.from_spec("phi3", {"peft_method": "full", "lora_r": 8})
