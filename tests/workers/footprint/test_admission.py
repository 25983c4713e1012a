"""What a device can't train is refused before anything is loaded onto it."""

from pathlib import Path

import pytest
import torch

from orchestrator.contracts import InvalidConfigError, Outcome
from tests.support.control import RecordingControl
from tests.support.tiny import make_lease, make_task, make_trial
from workers.footprint import admission
from workers.footprint.admission import Admission
from workers.footprint.lengths import Lengths
from workers.models.base import BaseCache
from workers.models.location import ModelLocation, locate
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import MICRO_BATCH_TOKENS
from workers.training.trainer import Trainer

GIB = 2**30
TASK = make_task()
LENGTHS = Lengths(prompt_tokens=40, answer_tokens=10, example_tokens=50, held_out=8)
HYPER = Hyperparameters()


@pytest.fixture
def tiny() -> ModelLocation:
    return locate("tiny-phi3")


def a_gpu_of(monkeypatch: pytest.MonkeyPatch, size_bytes: int, processes: int = 1) -> Admission:
    monkeypatch.setattr(admission, "device_memory_bytes", lambda device: size_bytes)
    return Admission(torch.device("cuda"), processes)


def test_memory_that_can_not_suffice_is_a_reason_with_both_figures(
    monkeypatch: pytest.MonkeyPatch, tiny: ModelLocation
) -> None:
    cramped = a_gpu_of(monkeypatch, round(1.09 * GIB))
    with pytest.raises(InvalidConfigError, match=r"needs about .* of memory even with .* device has"):
        cramped.check(HYPER, tiny, "float32", LENGTHS)
    a_gpu_of(monkeypatch, 8 * GIB).check(HYPER, tiny, "float32", LENGTHS)


def test_workers_that_share_a_gpu_have_a_part_of_it_each(
    monkeypatch: pytest.MonkeyPatch, tiny: ModelLocation
) -> None:
    a_gpu_of(monkeypatch, 8 * GIB, processes=2).check(HYPER, tiny, "float32", LENGTHS)
    with pytest.raises(InvalidConfigError, match="of memory"):
        a_gpu_of(monkeypatch, 8 * GIB, processes=8).check(HYPER, tiny, "float32", LENGTHS)


def test_little_memory_makes_smaller_micro_batches_and_a_cpu_never(
    monkeypatch: pytest.MonkeyPatch, tiny: ModelLocation, caplog: pytest.LogCaptureFixture
) -> None:
    long = Lengths(prompt_tokens=400, answer_tokens=100, example_tokens=500, held_out=8)
    wide = Hyperparameters(batch_size=64)
    fits = a_gpu_of(monkeypatch, 2 * GIB).micro_batch_tokens(wide, tiny, "float32", long)
    small = a_gpu_of(monkeypatch, round(1.25 * GIB)).micro_batch_tokens(wide, tiny, "float32", long)
    assert fits == MICRO_BATCH_TOKENS > small
    assert f"tokens={small}" in caplog.text
    monkeypatch.setattr(admission, "device_memory_bytes", lambda device: 1)
    on_cpu = Admission(torch.device("cpu"), 1)
    assert on_cpu.micro_batch_tokens(wide, tiny, "float32", long) == MICRO_BATCH_TOKENS


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_method": "oft", "oft_block_size": 7}, "oft_block_size = 7 does not divide"),
        ({"peft_method": "full", "quant": "nf4"}, "quantised weights take no gradient"),
    ],
)
def test_an_invalid_config_ends_without_a_base_being_loaded(
    random_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, int], reason: str
) -> None:
    def load(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a base was loaded")

    monkeypatch.setattr(BaseCache, "get", load)
    control = RecordingControl()
    trial = make_trial(random_base, TASK, config={**config, "learning_rate": 1e-3})
    Trainer(tmp_path, load_task=lambda _: TASK).train([make_lease(trial)], control)
    assert control.ended.outcome is Outcome.INVALID
    assert reason in (control.ended.error or "")
