"""What a dry run foretells of a sweep's trials."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.app.preview import Preview, preview
from orchestrator.app.spec import parse_spec


def _preview(tmp_path: Path, **changes: Any) -> Preview:
    content: dict[str, Any] = {
        "name": "methods",
        "base_model": "tiny-phi3",
        "tasks": ["worlds:towns"],
        "epochs": 2,
        "configs": [
            {"lora_r": 8, "learning_rate": 1e-3},
            {"lora_r": 64, "learning_rate": 2e-3},
        ],
    }
    return preview(parse_spec(content | changes, where="spec", folder=tmp_path), tmp_path / "root")


def _shown(found: Preview) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(found.render())
    return stream.getvalue()


def test_memory_of_the_trials_is_foretold(tmp_path: Path) -> None:
    found = _preview(tmp_path)
    assert found.survey is not None
    assert found.survey.refused_trials == 0
    assert found.survey.largest_bytes is not None
    assert 2**20 < found.survey.largest_bytes < 2**30
    assert "memory of a trial: at most about" in _shown(found)
    assert not (tmp_path / "root").exists()


def test_configs_that_cannot_run_on_the_model_are_named_with_the_reason(tmp_path: Path) -> None:
    found = _preview(
        tmp_path,
        preset="tiny-extended",
        space={"miss_r": [7, 32]},
        configs=[{"peft_method": "miss", "miss_r": 7}, {"peft_method": "miss", "miss_r": 32}],
    )
    assert found.survey is not None
    (refusal,) = found.survey.refusals
    assert refusal.trials == 1
    assert refusal.reason.startswith("miss_r = 7 does not divide")
    said = _shown(found)
    assert "1 trials can't run on this model" in said
    assert '"miss_r": 7' in said


def test_nothing_is_foretold_of_a_rehearsal(tmp_path: Path) -> None:
    found = _preview(tmp_path, base_model="rehearsal")
    assert found.survey is None
    assert "memory of a trial" not in _shown(found)
