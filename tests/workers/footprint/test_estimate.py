"""Whole trials: the peak that is foretold, and what torch's allocator saw."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.footprint import make_base, make_task, measure
from workers.models.base import load_base

CONFIGS: list[dict[str, Any]] = [
    {},
    {"micro_batch_tokens": 256, "optim": "lion"},
    {"quant": "nf4", "target_modules": "mlp"},
    {"peft_method": "ia3"},
    {"peft_method": "full"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("base")
    make_base(made, hidden=128, layers=4, vocabulary=2048)
    return made


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_peaks_are_foretold_within_a_tenth_and_evaluations_are_not_undercounted(
    folder: Path, config: dict[str, Any]
) -> None:
    base = load_base(str(folder), quant=config.get("quant", "none"))
    row = measure(base, make_task(), config)
    foretold, measured = row["training_bytes"]
    assert foretold == pytest.approx(measured, rel=0.1)
    foretold, measured = row["resident_bytes"]
    assert foretold == pytest.approx(measured, rel=0.05)
    foretold, measured = row["evaluation_bytes"]
    assert 0.9 * measured <= foretold <= 2 * measured
