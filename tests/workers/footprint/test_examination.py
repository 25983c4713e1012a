"""Configs that can't run are refused with the reason, and those that can are not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.footprint.geometry import phi3_mini
from workers.footprint.examination import examine
from workers.footprint.lengths import Lengths
from workers.models.location import ModelLocation, locate
from workers.training.hyperparameters import Hyperparameters

GIB = 2**30
LENGTHS = Lengths(prompt_tokens=480, answer_tokens=32, example_tokens=512, held_out=40)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> ModelLocation:
    folder: Path = tmp_path_factory.mktemp("phi3-mini")
    return phi3_mini(folder)


def _reasons(location: ModelLocation, memory_gib: int | None, **values: object) -> list[str]:
    return examine(
        Hyperparameters(**values),  # type: ignore[arg-type]
        location,
        "bfloat16",
        device_type="cuda",
        memory_bytes=None if memory_gib is None else memory_gib * GIB,
        lengths=LENGTHS,
    )


@pytest.mark.parametrize("method", ["lora", "ia3", "vera", "prefix", "prompt", "miss", "oft"])
def test_phi3_mini_is_finetuned_on_a_usual_gpu(mini: ModelLocation, method: str) -> None:
    assert _reasons(mini, 24, peft_method=method) == []


def test_full_finetuning_of_phi3_mini_is_hopeless_on_a_usual_gpu(mini: ModelLocation) -> None:
    (reason,) = _reasons(mini, 24, peft_method="full")
    assert "even with micro-batches of one example" in reason
    assert "the device has 24 GiB" in reason
    assert "optimizer 28.5 GiB, gradients 14.2 GiB, adapter 14.2 GiB" in reason


def test_full_finetuning_fits_a_large_gpu(mini: ModelLocation) -> None:
    assert _reasons(mini, 141, peft_method="full") == []


def test_memory_that_is_not_known_is_no_reason(mini: ModelLocation) -> None:
    assert _reasons(mini, None, peft_method="full") == []


def test_nf4_fits_where_the_unquantised_base_does_not(mini: ModelLocation) -> None:
    assert _reasons(mini, 7, quant="none")
    assert _reasons(mini, 7, quant="nf4") == []


def test_a_task_that_is_not_known_counts_next_to_nothing(mini: ModelLocation) -> None:
    known = {"device_type": "cuda", "memory_bytes": round(8.5 * GIB)}
    hyper = Hyperparameters(peft_method="ia3")
    assert examine(hyper, mini, "bfloat16", lengths=LENGTHS, **known)  # type: ignore[arg-type]
    assert examine(hyper, mini, "bfloat16", **known) == []  # type: ignore[arg-type]


def test_what_the_model_does_not_allow_is_said_before_memory(family: Callable[[str], str]) -> None:
    reasons = examine(
        Hyperparameters(peft_method="miss", miss_r=7),
        locate(family("phi3")),
        "float32",
        device_type="cpu",
        memory_bytes=1,
    )
    assert len(reasons) == 1
    assert reasons[0].startswith("miss_r = 7 does not divide")
