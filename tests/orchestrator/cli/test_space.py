"""The space command shows any preset, and the space of a sweep, on 120 columns."""

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.cli.main import main
from workers.space import SearchSpace
from workers.spaces.presets import PRESETS

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.parametrize("preset", PRESETS)
def test_table_fits_120_columns_and_shows_every_name_whole(
    preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", "--preset", preset]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 120
    space = SearchSpace.preset(preset)
    assert all(f"\n{parameter.name} " in said for parameter in space.parameters)
    words = " ".join(said.split())
    assert all(combination.reason in words for combination in space.combinations)
    assert f"version {space.version}, infinitely many configs" in words
    assert ("Not searched" in said) == bool(PRESETS[preset].left_out)


def test_space_of_a_sweep_is_shown_with_its_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "--sweep", str(EXAMPLES / "methods.yaml"), "--json"]) == 0
    shown = SearchSpace.from_json(capsys.readouterr().out)
    spec = yaml.safe_load((EXAMPLES / "methods.yaml").read_text())
    assert shown.version == SearchSpace.from_spec(spec["preset"], spec["space"]).version
    assert {row.name for row in shown.describe()} >= {"use_dora", "vera_r", "full_learning_rate"}


def test_configs_are_counted_where_they_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = {name: value for name, value in SearchSpace.preset("tiny").default().items() if name != "lora_r"}
    spec = {"name": "s", "base_model": "tiny-phi3", "tasks": ["worlds:towns"], "configs": 2, "epochs": 1}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**spec, "preset": "tiny", "space": fixed}))
    assert main(["space", "--sweep", str(path)]) == 0
    assert ", 5 configs\n" in capsys.readouterr().out


def test_wrong_name_is_answered_with_the_presets_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "--preset", "huge"]) == 2
    assert "there are tiny, tiny-extended, phi3, phi3-extended" in capsys.readouterr().err


def test_two_spaces_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "--preset", "tiny", "--sweep", "s.yaml"]) == 2
    assert "name two spaces" in capsys.readouterr().err


def test_json_is_a_space_that_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "--preset", "phi3-extended", "--json"]) == 0
    text = capsys.readouterr().out
    assert SearchSpace.from_json(text).version == SearchSpace.preset("phi3-extended").version
    assert len(json.loads(text)["configspace"]["forbiddens"]) == 4
