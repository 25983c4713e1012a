"""``foretune pretrain``: its options are settings, and what can't be is refused before anything is made."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.exits import Exit
from orchestrator.cli.main import main
from workers.models.pretraining_card import PretrainingReport
from workers.models.pretraining_settings import PretrainingSettings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PretrainingSettings]:
    """What would be pretrained; the pretraining itself takes minutes."""
    found: list[PretrainingSettings] = []

    def take(out: Path, *, seed: int, settings: PretrainingSettings, log: Any) -> PretrainingReport:
        found.append(settings)
        return PretrainingReport(seed=seed, settings={}, parameters=1, cpu_s=0.0, last_entry={})

    monkeypatch.setattr("orchestrator.app.pretrain.pretrain_model", take)
    return found


def test_without_options_it_is_the_model_that_ships(asked: list[PretrainingSettings], tmp_path: Path) -> None:
    assert main(["pretrain", "--out", str(tmp_path / "m")]) == Exit.DONE
    assert asked == [PretrainingSettings()]


def test_every_option_is_the_setting_of_its_name(
    asked: list[PretrainingSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"steps": 9, "hidden_size": 64, "intermediate_size": 100, "layers": 3, "heads": 2}
    options = [part for name, value in sizes.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = ["pretrain", "--out", str(tmp_path / "m"), "--architecture", "t5", "--seed", "3", "--json"]
    assert main([*command, *options]) == Exit.DONE
    (settings,) = asked
    assert settings.architecture == "t5"
    assert {name: getattr(settings, name) for name in sizes} == sizes
    assert json.loads(capsys.readouterr().out)["seed"] == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--architecture", "rnn"], "architecture must be phi3 or t5, got 'rnn'"),
        (["--hidden-size", "60"], "hidden_size must be a multiple of 8"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", "--out", str(tmp_path / "m"), *options]) == Exit.BAD_INPUT
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
