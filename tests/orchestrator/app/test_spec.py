from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app.plan import plan_sweep
from orchestrator.app.spec import load_spec, parse_spec
from orchestrator.contracts import InputError

GOOD: dict[str, Any] = {
    "name": "s",
    "base_model": "tiny-phi3",
    "tasks": ["worlds:towns"],
    "configs": 3,
    "epochs": 4,
}
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


def parse(**changes: Any) -> Any:
    return parse_spec(GOOD | changes, where="s.yaml", folder=Path("/specs"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epoch": 3}, r"unknown key `epoch`; known here: .*epochs"),
        ({"training": {"horizon": 3}}, r"unknown key `training.horizon`; known here: horizon_epochs"),
        ({"configs": {"count": 2, "sead": 1}}, r"unknown key `configs.sead`; known here: count, seed"),
        ({"epochs": 0}, r"`epochs`: .* greater than or equal to 1, got 0"),
        (
            {"epochs": 5, "training": {"horizon_epochs": 4}},
            r"horizon_epochs must be at least epochs = 5, got 4",
        ),
        ({"tasks": []}, r"`tasks`: .*at least 1 item"),
        ({"tasks": ["worlds:a", "worlds:a"]}, r"tasks names worlds:a more than once"),
        ({"seeds": [0, 1, 0]}, r"seeds names 0 more than once"),
        ({"configs": []}, r"`configs`: .*at least 1 item"),
        ({"config_epochs": [1, 2]}, r"config_epochs names 2 numbers and the configs are drawn"),
        ({"configs": [{}], "config_epochs": [1, 2]}, r"names 2 numbers and the configs are 1; name one for"),
        ({"configs": [{}], "config_epochs": [5]}, r"config_epochs must be at most epochs = 4, got 5"),
        ({"configs": [{}], "config_epochs": [0]}, r"`config_epochs.0`: .* or equal to 1, got 0"),
        ({"workers": {"cpus": 0}}, r"`workers.cpus`: .*greater than 0, got 0"),
        ({"workers": {"gpus": -1}}, r"`workers.gpus`: must be auto or a number from 0, got -1"),
        ({"workers": {"gpus": "all"}}, r"`workers.gpus`: must be auto or a number from 0, got 'all'"),
        ({"scheduler": "magic"}, r"`scheduler`: unknown scheduler 'magic'; known: fifo, asha"),
        ({"scheduler": {"name": "asha", "grace": 1}}, r"`scheduler`: unknown option 'grace' of asha"),
        ({"scheduler": {"name": "asha", "grace_period": 9}}, r"grace_period must be at most the"),
        (
            {"mirror": "s3://me:secret@bucket/x"},
            r"mirror holds credentials, which would be kept; [^:@]*the environment$",
        ),
        ({"judge": {"url": "http://a/v1"}}, r"`judge.model` is missing"),
        (
            {"judge": {"url": "http://a/v1", "model": "m", "key": "k"}},
            r"unknown key `judge.key`; known.* url",
        ),
        ({"judge": {"url": "ftp://a", "model": "m"}}, r"`judge`: 'ftp://a' is no URL of an endpoint"),
        ({"trial_timeout_s": 0}, r"`trial_timeout_s`: .*greater than 0, got 0"),
        ({"name": "a/b"}, r"`name`: .*got 'a/b'"),
    ],
)
def test_fault_is_one_sentence_with_key_and_value(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        parse(**changes)
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith("s.yaml: ")


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse(epochs=0, seeds=[], bogus=1)
    assert len(caught.value.problems) == 3


def test_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="`epochs` is missing"):
        parse_spec({key: value for key, value in GOOD.items() if key != "epochs"}, where="s", folder=Path())


def test_relative_paths_are_taken_from_the_specs_folder() -> None:
    spec = parse(tasks=["data/faq.jsonl", "worlds:towns", "hf:squad"], base_model="./models/mine")
    assert [task.source for task in spec.tasks] == ["/specs/data/faq.jsonl", "worlds:towns", "hf:squad"]
    assert spec.base_model == "/specs/models/mine"


@given(
    tasks=st.lists(st.text("abc/.", min_size=1, max_size=8).map("x".__add__), min_size=1, unique=True),
    configs=st.integers(1, 99) | st.lists(st.dictionaries(st.text("ab"), st.floats(0, 1)), min_size=1),
    epochs=st.integers(1, 9),
    extra=st.integers(0, 5),
    keep=st.integers(0, 3),
)
def test_spec_survives_being_written_and_read_back(
    tasks: list[str], configs: object, epochs: int, extra: int, keep: int
) -> None:
    training = {"horizon_epochs": epochs + extra}
    try:
        spec = parse(tasks=tasks, configs=configs, epochs=epochs, training=training, keep_adapters=keep)
    except InputError:  # two spellings of one path
        return
    again = parse_spec(yaml.safe_load(spec.to_yaml()), where="again", folder=Path("/elsewhere"))
    assert again == spec
    assert again.identity() == spec.identity()


@pytest.mark.parametrize(
    "scheduler", ["fifo", "hyperband", {"name": "asha", "metric": "eval_token_f1", "reduction_factor": 2}]
)
def test_scheduler_survives_being_written_and_read_back(scheduler: object) -> None:
    spec = parse(scheduler=scheduler)
    assert parse_spec(yaml.safe_load(spec.to_yaml()), where="again", folder=Path("/")) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": {"cpus": 2, "heartbeat_s": 5}},
        {"workers": {"gpus": "auto"}},
        {"keep_adapters": 3},
        {"keep_checkpoints": True},
        {"trial_timeout_s": 60},
        {"mirror": "s3://bucket/prefix"},
        {"judge": {"url": "http://localhost:8000/v1", "model": "m", "max_examples": 8}},
    ],
)
def test_what_changes_no_numbers_does_not_make_another_sweep(changes: dict[str, Any]) -> None:
    assert parse(**changes).identity() == parse().identity()
    assert parse(epochs=5).identity() != parse().identity()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("a: [", "is not YAML"), ("- a", "must hold a mapping .* got list"), ("", "must hold a mapping")],
)
def test_file_that_is_no_spec_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        load_spec(path)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep spec at"):
        load_spec(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_shipped_example_is_a_valid_spec(path: Path) -> None:
    name = load_spec(path).name
    assert name == path.stem.removesuffix("-more")


@pytest.mark.parametrize("epochs", [[4], [1, 4], [3, 1, 1, 2]])
def test_listed_configs_are_planned_for_their_own_epochs_in_their_order(epochs: list[int]) -> None:
    listed = [{"lora_r": rank} for rank in (4, 8, 16, 32)][: len(epochs)]
    spec = parse(configs=listed, config_epochs=epochs, tasks=["worlds:towns", "worlds:laws"])
    trials = plan_sweep(spec).trials
    assert [trial.max_epochs for trial in trials] == [number for number in epochs for _ in spec.tasks]
    assert {trial.settings.horizon_epochs for trial in trials} == {4}
    assert parse_spec(yaml.safe_load(spec.to_yaml()), where="again", folder=Path("/")) == spec
