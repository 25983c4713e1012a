"""Spaces draw configs that differ and run; a person's changes and configs are checked whole."""

import itertools
import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from ConfigSpace import Configuration, ConfigurationSpace
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError, Scalar, config_id
from workers.space import SearchSpace
from workers.spaces.combinations import refusals
from workers.spaces.names import NAMES
from workers.spaces.parameters import Choices, Range, active_values
from workers.spaces.presets import PRESETS
from workers.spaces.settling import settle
from workers.training.hyperparameters import Hyperparameters

SPACES = [SearchSpace.preset(name) for name in PRESETS]


def overrides_of(name: str) -> st.SearchStrategy[Any]:
    """Changes to one name that are allowed."""
    known = NAMES[name]
    if known.kind is bool:
        return st.booleans() | st.lists(st.booleans(), min_size=1, max_size=2, unique=True)
    if known.kind is str:
        words = st.sampled_from(known.words)
        return words | st.lists(words, min_size=1, unique=True)
    low, high = max(known.low, 1e-3), min(known.high, 500.0)
    # Ends of a range are kept to six digits, where two numbers that differ beyond them would be one.
    reals = st.floats(low, high).map(lambda value: float(f"{value:.6g}"))
    whole = st.integers(math.ceil(low), int(high))
    number: st.SearchStrategy[Any] = reals if known.kind is float else whole
    pair = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    ranged = st.builds(lambda ends, log: {"min": ends[0], "max": ends[1], "log": log}, pair, st.booleans())
    return number | st.lists(number, min_size=1, max_size=5, unique=True) | ranged


@st.composite
def changed_spaces(draw: st.DrawFn) -> SearchSpace:
    preset = draw(st.sampled_from(list(PRESETS)))
    declared = {parameter.name: parameter for parameter in PRESETS[preset].parameters}
    names = draw(st.lists(st.sampled_from(list(NAMES)), unique=True, max_size=6))
    overrides = {name: draw(overrides_of(name)) for name in names}
    for name in names:
        condition = declared[name].condition
        if condition is not None:
            domain = declared[condition.parent].domain
            assert isinstance(domain, Choices)
            parents = overrides.get(condition.parent, list(domain.values))
            if not set(condition.values) & set(parents if isinstance(parents, list) else [parents]):
                overrides.pop(name)
    try:
        return SearchSpace.from_spec(preset, overrides)
    except InputError as refusal:
        assume("can't be" not in str(refusal))
        raise


spaces = st.sampled_from(SPACES) | changed_spaces()


@given(spaces, st.integers(0, 5))
def test_every_drawn_config_is_in_its_space_and_runs_on_the_trainer(space: SearchSpace, seed: int) -> None:
    for config in [space.default(), *space.sample(min(20, int(min(space.size, 20))), seed=seed)]:
        assert space.check(config) == config
        assert config_id(space.check(config)) == config_id(config)
        assert Hyperparameters.from_config(config).batch_size == config["batch_size"]
        assert all(type(value) in (bool, int, float, str) for value in config.values())
        assert set(config) == {item.name for item in space.parameters if item.is_active(config)}
        assert not refusals(config)


@given(spaces, st.integers(0, 5))
def test_drawn_config_keeps_its_id_through_json(space: SearchSpace, seed: int) -> None:
    for config in space.sample(int(min(space.size, 10)), seed=seed):
        back = json.loads(json.dumps(config))
        assert back == config
        assert config_id(back) == config_id(config)
        for parameter in space.parameters:
            if isinstance(parameter.domain, Range) and parameter.name in config:
                value = float(str(config[parameter.name]))
                assert value == float(f"{value:.6g}")
                assert parameter.domain.low <= value <= parameter.domain.high


@given(spaces, st.integers(0, 3), st.integers(1, 30), st.integers(0, 30))
def test_more_draws_begin_with_the_same_configs_and_none_is_drawn_twice(
    space: SearchSpace, seed: int, few: int, more: int
) -> None:
    few, many = int(min(few, space.size)), int(min(few + more, space.size))
    drawn = space.sample(many, seed=seed)
    assert space.sample(few, seed=seed) == drawn[:few]
    assert len({config_id(config) for config in drawn}) == many


def test_draws_are_the_same_in_another_process() -> None:
    code = (
        "from workers.space import SearchSpace; import json\n"
        "print(json.dumps(SearchSpace.preset('tiny').sample(30, seed=7)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "3"}
    )
    assert json.loads(done.stdout) == SearchSpace.preset("tiny").sample(30, seed=7)
    assert SearchSpace.preset("tiny").sample(30, seed=8) != SearchSpace.preset("tiny").sample(30, seed=7)


@pytest.mark.parametrize("preset", PRESETS)
def test_changing_one_name_leaves_what_is_drawn_for_the_others(preset: str) -> None:
    """Also where values that can't be together are drawn again."""
    narrowed = SearchSpace.from_spec(preset, {"learning_rate": {"min": 1e-3, "max": 2e-3, "log": True}})
    drawn = zip(SearchSpace.preset(preset).sample(150, seed=0), narrowed.sample(150, seed=0), strict=True)
    for before, after in drawn:
        assert {**before, "learning_rate": None} == {**after, "learning_rate": None}
        assert 1e-3 <= float(str(after.get("learning_rate", 1e-3))) <= 2e-3


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_draws_spread_evenly_over_choices_and_over_the_log_range(space: SearchSpace) -> None:
    count = 4000
    drawn = space.sample(count, seed=1)
    redrawn = {name for combination in space.combinations for name in combination.values}
    for parameter in (parameter for parameter in space.parameters if parameter.name not in redrawn):
        values = [config[parameter.name] for config in drawn if parameter.name in config]
        if isinstance(parameter.domain, Choices):
            share = 1 / len(parameter.domain.values)
            counts = Counter(values)
            assert set(counts) == set(parameter.domain.values)
        else:
            low, high = math.log(parameter.domain.low), math.log(parameter.domain.high)
            counts = Counter(
                int(4 * (math.log(float(str(v))) - low) / (high - low) * 0.999999) for v in values
            )
            share = 1 / 4
        spread = math.sqrt(len(values) * share * (1 - share))
        assert all(abs(seen - len(values) * share) <= 5 * spread for seen in counts.values())


def test_space_is_drawn_empty_and_then_refuses() -> None:
    fixed = dict(SearchSpace.preset("tiny").default())
    small = SearchSpace.from_spec(
        "tiny",
        fixed
        | {
            "lr_scheduler_type": ["linear", "constant_with_warmup"],
            "warmup_steps": [0.0, 0.1],
            "lora_r": [4, 8],
        },
    )
    assert small.size == 6
    assert len({config_id(config) for config in small.sample(6, seed=0)}) == 6
    with pytest.raises(InputError, match="holds 6 different configs, 7 are asked for"):
        small.sample(7, seed=0)
    narrow = SearchSpace.from_spec("tiny", fixed | {"learning_rate": {"min": 0.001, "max": 0.00100001}})
    with pytest.raises(InputError, match="holds 2 different configs, 5 are asked for"):
        narrow.sample(5, seed=0)


SMALL: dict[str, list[tuple[Scalar, ...]]] = {
    "peft_method": [("lora", "miss", "prefix", "full"), ("lora", "ia3"), ("lora",), ("full",)],
    "lora_r": [(4, 5), (8,)],
    "use_dora": [(False, True), (False,)],
    "init_lora_weights": [("default", "orthogonal", "loftq", "olora"), ("default", "eva"), ("default",)],
    "quant": [("none", "int8", "nf4"), ("none",)],
    "optim": [("adamw_torch_fused", "lion"), ("lion",)],
    "adam_beta2": [(0.9, 0.99)],
    "lr_scheduler_type": [("linear", "constant_with_warmup"), ("constant_with_warmup",)],
    "warmup_steps": [(0.0, 0.1, 0.2)],
    "packing": [(False, True), (False,)],
}


@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SMALL.items()}))
@settings(max_examples=20, deadline=None)
def test_size_counts_what_can_be_drawn(chosen: dict[str, tuple[Scalar, ...]]) -> None:
    """Against an enumeration of all values, of which the configs that can be are kept."""
    by_name = {parameter.name: parameter for parameter in PRESETS["tiny-extended"].parameters}
    parameters = [replace(by_name[name], domain=Choices(chosen[name])) for name in by_name if name in chosen]
    left, combinations = settle(parameters, wanted=frozenset())
    listed = [item.domain.values for item in left if isinstance(item.domain, Choices)]
    configs = [
        active_values(left, dict(zip((item.name for item in left), values, strict=True)))
        for values in itertools.product(*listed)
    ]
    allowed = {config_id(config) for config in configs if not refusals(config)}
    space = SearchSpace("small", left, combinations)
    assert space.size == len(allowed)
    assert {config_id(config) for config in space.sample(len(allowed), seed=0)} == allowed


@given(spaces)
@settings(max_examples=60, deadline=None)
def test_space_is_the_same_after_json(space: SearchSpace) -> None:
    back = SearchSpace.from_json(space.to_json())
    assert back.version == space.version
    assert back.parameters == space.parameters
    few = int(min(space.size, 5))
    assert back.sample(few, seed=0) == space.sample(few, seed=0)


@given(spaces, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_configspace_accepts_what_is_drawn_and_draws_what_is_accepted(space: SearchSpace, seed: int) -> None:
    exchanged = space.to_configspace()
    exchanged.seed(seed)
    for config in [space.default(), *space.sample(int(min(space.size, 5)), seed=seed)]:
        Configuration(exchanged, values=dict(config)).check_valid_configuration()
    for foreign in exchanged.sample_configuration(3):
        plain = {name: getattr(value, "item", lambda v=value: v)() for name, value in dict(foreign).items()}
        assert space.check(plain) == plain
    default = {
        name: getattr(v, "item", lambda v=v: v)()
        for name, v in dict(exchanged.get_default_configuration()).items()
    }
    assert default == space.default()


@pytest.mark.parametrize(
    "overrides",
    [
        {"learning_rate": {"min": 1e-4, "max": 4e-2, "log": True}},
        {"learning_rate": {"min": 1e-4, "max": 5e-2}},
        {"learning_rate": {"min": 2e-4, "max": 5e-2, "log": True}},
        {"lora_r": [4, 8, 16, 32]},
        {"lora_r": {"min": 4, "max": 64}},
        {"alpha_over_r": [0.5, 1, 2]},
        {"lora_r": [4, 8, 32, 64]},
        {"quant": ["none", "nf4"]},
        {"use_rslora": False},
        {"lr_scheduler_type": ["linear", "cosine"]},
    ],
    ids=str,
)
def test_version_tells_every_change_apart(overrides: dict[str, Any]) -> None:
    versions = {space.version for space in SPACES}
    changed = SearchSpace.from_spec("tiny", overrides)
    assert changed.version not in versions
    assert changed.version.startswith("tiny-")


def test_version_is_the_same_for_the_same_declaration_however_it_is_written() -> None:
    written = SearchSpace.from_spec(
        "tiny",
        {
            "lora_r": [64, 4, 8.0, 32, 16],
            "optim": ["lion", "adafactor", "adamw_torch_fused"],
            "alpha_over_r": [1, 2, 4, 0.5],
        },
    )
    assert written.version == SearchSpace.preset("tiny").version
    assert SearchSpace.from_spec("tiny", {}).version == SearchSpace.preset("tiny").version


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            {"learning_rte": 1e-3},
            "'learning_rte' is no hyperparameter; there are peft_method, learning_rate",
        ),
        (
            {"learning_rate": "1e-3"},
            r"learning_rate must be a number in \[1e-08, 1\], got '1e-3', .* write 0\.001",
        ),
        ({"learning_rate": [1e-3, 5.0]}, r"learning_rate must be a number in \[1e-08, 1\], got 5\.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number .* got nan"),
        ({"learning_rate": True}, "learning_rate must be a number .* got True"),
        ({"learning_rate": None}, "learning_rate must be a number .* got None"),
        (
            {"learning_rate": {"min": 0.01, "max": 0.001}},
            "learning_rate must have min below max, got min 0.01 and max",
        ),
        ({"learning_rate": {"min": 0.01, "max": 0.01}}, "learning_rate must have min below max"),
        ({"learning_rate": {"min": 0.01}}, r"learning_rate lacks max; write \{min: \.\.\., max"),
        ({"learning_rate": {"low": 0.01, "max": 1}}, "learning_rate has unknown 'low'"),
        (
            {"learning_rate": {"min": 0.01, "max": 0.1, "log": "yes"}},
            "learning_rate must have log true or false, got 'yes'",
        ),
        (
            {"lora_dropout": {"min": 0, "max": 0.1, "log": True}},
            "lora_dropout must have min above 0 on a logarithmic",
        ),
        ({"lora_r": []}, "lora_r has no values; each must be a whole number"),
        ({"lora_r": 8.5}, "lora_r must be a whole number in .* got 8.5"),
        ({"lora_r": [8, 8.0]}, "lora_r names 8.0 twice"),
        ({"lora_r": [[8]]}, r"lora_r must be a whole number in .* got \[8\]"),
        ({"optim": "adam"}, "optim must be one of adamw_torch_fused, .* got 'adam'"),
        ({"optim": {"min": 1, "max": 2}}, "optim can't be a range"),
        ({"use_rslora": "yes"}, "use_rslora must be true or false, got 'yes'"),
        ({"peft_method": "dora"}, "peft_method must be one of lora, miss, .* got 'dora'"),
        ({"vera_r": 64}, "vera_r has no effect unless peft_method is vera; leave it out"),
        (
            {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0.1},
            "warmup_steps has no effect unless lr_scheduler_type is linear or cosine or warmup_stable_decay",
        ),
        (
            {"init_lora_weights": ["default", "olora"], "quant": "nf4"},
            "init_lora_weights = olora can't be while quant is nf4: the initialisation moves",
        ),
        (
            {"init_lora_weights": "loftq"},
            "init_lora_weights = loftq can't be while quant is none: LoftQ begins with",
        ),
    ],
)
def test_change_that_can_not_be_is_refused_with_value_and_what_is_allowed(
    overrides: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=f"^space: {reason}"):
        SearchSpace.from_spec("tiny", overrides)


def test_all_faults_of_a_change_are_shown_together() -> None:
    with pytest.raises(InputError) as refusal:
        SearchSpace.from_spec(
            "tiny", {"lora_r": [], "nope": 1, "optim": 7, "batch_size": {"min": 8, "max": 4}}
        )
    assert [problem.split()[1] for problem in refusal.value.problems] == [
        "lora_r",
        "'nope'",
        "optim",
        "batch_size",
    ]


def test_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="'huge'; there are tiny, tiny-extended, phi3, phi3-extended"):
        SearchSpace.preset("huge")


def test_default_moves_to_the_closest_value_left() -> None:
    changed = SearchSpace.from_spec(
        "tiny",
        {
            "lora_r": [4, 32],
            "learning_rate": {"min": 5e-3, "max": 1e-2},
            "optim": ["lion", "sgd"],
            "lora_dropout": [0.0, 0.1, 0.2],
        },
    ).default()
    assert (changed["lora_r"], changed["learning_rate"], changed["optim"]) == (4, 5e-3, "lion")
    assert changed["lora_dropout"] in (0.0, 0.1)


def test_parameter_that_can_not_matter_any_more_leaves_the_space() -> None:
    constant = SearchSpace.from_spec("tiny", {"lr_scheduler_type": "constant_with_warmup"})
    assert "warmup_steps" not in {row.name for row in constant.describe()}
    always = SearchSpace.from_spec("tiny", {"lr_scheduler_type": ["linear", "cosine"]})
    assert {row.name: row.condition for row in always.describe()}["warmup_steps"] == ""


def test_written_config_is_completed_and_typed_as_drawn_ones_are() -> None:
    space = SearchSpace.preset("tiny")
    assert space.check({}) == space.default()
    checked = space.check({"alpha_over_r": 4, "batch_size": 8.0, "lr_scheduler_type": "constant_with_warmup"})
    assert (type(checked["alpha_over_r"]), type(checked["batch_size"])) == (float, int)
    assert "warmup_steps" not in checked
    assert space.check(checked) == checked


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"learning_rate": 0.5}, r"learning_rate must be in \[0\.0001, 0\.05\], got 0\.5"),
        ({"learning_rate": 9.99e-5}, r"learning_rate must be in \[0\.0001, 0\.05\], got 9\.99e-05"),
        (
            {"learning_rate": "1e-3"},
            r"learning_rate must be in .* got '1e-3', which YAML takes for text; write 0\.001",
        ),
        ({"learning_rate": math.inf}, "learning_rate must be in .* got inf"),
        ({"lora_r": 5}, "lora_r must be one of 4, 8, 16, 32, 64, got 5"),
        ({"use_rslora": 1}, "use_rslora must be one of false, true, got 1"),
        ({"lora_r": True}, "lora_r must be one of .* got True"),
        ({"optim": "sgd"}, "optim must be one of adamw_torch_fused, lion, adafactor, got 'sgd'"),
        ({"peft_method": "ia3"}, "peft_method must be lora, got 'ia3'"),
        ({"alpha": 2}, "alpha is no name of this space"),
        (
            {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0.1},
            "warmup_steps has no effect unless lr_scheduler_type is",
        ),
    ],
)
def test_config_outside_its_space_is_refused_with_name_value_and_range(
    config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        SearchSpace.preset("tiny").check(config)


def test_all_faults_of_a_config_are_shown_together() -> None:
    with pytest.raises(InputError) as refusal:
        SearchSpace.preset("tiny").check({"nope": 1, "learning_rate": 1.0, "lora_r": 3})
    assert len(refusal.value.problems) == 3


def test_every_word_and_limit_of_a_name_is_understood_by_the_trainer() -> None:
    assert set(NAMES) == set(Hyperparameters.__dataclass_fields__)
    for name, known in NAMES.items():
        ends = [known.low, known.high] if known.kind in (int, float) else known.words or [False, True]
        for value in ends:
            read = Hyperparameters.from_config({name: known.read(value)})
            assert getattr(read, name) == value


def test_space_json_that_was_changed_or_is_none_is_refused() -> None:
    text = SearchSpace.preset("tiny").to_json()
    with pytest.raises(InputError, match=r"says it is tiny-.*, but what it declares is tiny-"):
        SearchSpace.from_json(text.replace("0.0001", "0.001"))
    content = json.loads(text)
    content["configspace"]["hyperparameters"][0]["name"] = "beta"
    for bad in (
        "",
        "[]",
        "{}",
        "null",
        text[:-20],
        '{"name": "a", "version": "b", "configspace": {}}',
        json.dumps(content),
    ):
        with pytest.raises(InputError, match=r"not a search space|unknown here|says it is b, but"):
            SearchSpace.from_json(bad)
    with pytest.raises(InputError, match="not a search space"):
        SearchSpace.from_json('{"name": "a", "version": "b", "configspace": "c"}')


def test_table_shows_every_name_with_its_meaning() -> None:
    rows = {row.name: row for row in SearchSpace.preset("phi3-extended").describe()}
    assert list(rows) == list(NAMES)
    assert all(row.meaning and row.range and row.default for row in rows.values())
    assert rows["learning_rate"].range == "[2e-05, 0.002] log"
    assert rows["use_rslora"].default == "false"
    assert rows["warmup_steps"].condition == "lr_scheduler_type is not constant_with_warmup"
    assert rows["num_virtual_tokens"].condition == "peft_method is prefix or prompt"


def test_exported_json_is_configspaces_own() -> None:
    content = json.loads(SearchSpace.preset("tiny-extended").to_json())
    space = ConfigurationSpace.from_serialized_dict(content["configspace"])
    assert set(space) == set(NAMES)
    assert space["learning_rate"].meta == {"meaning": NAMES["learning_rate"].meaning}


def test_import_and_draw_need_neither_torch_nor_configspace() -> None:
    code = (
        "import sys; from workers.space import SearchSpace; SearchSpace.preset('tiny').sample(3, seed=0)\n"
        "print(sorted({'torch', 'transformers', 'ray', 'ConfigSpace', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
