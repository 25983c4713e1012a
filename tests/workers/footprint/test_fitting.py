"""Micro-batches and trials that share a GPU, chosen from the memory there is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.footprint.geometry import phi3_mini
from workers.footprint.estimate import Footprint, estimate
from workers.footprint.fitting import (
    CONTEXT_BYTES,
    MOST_TRIALS_PER_GPU,
    device_memory_bytes,
    micro_batch_tokens,
    trials_per_gpu,
    usable_bytes,
)
from workers.footprint.lengths import Lengths
from workers.models.location import ModelLocation
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import MICRO_BATCH_TOKENS

GIB = 2**30
HYPER = Hyperparameters(batch_size=64, lora_dropout=0.0)
LENGTHS = Lengths(prompt_tokens=96, answer_tokens=32, example_tokens=128, held_out=40)
FOOTPRINT = Footprint(
    weights_bytes=7 * GIB,
    adapter_bytes=GIB,
    optimizer_bytes=GIB,
    gradients_bytes=GIB,
    updates_bytes=0,
    activations_bytes=5 * GIB,
    loss_bytes=GIB,
    workspace_bytes=GIB,
    evaluation_bytes=GIB,
    gradients_wait=True,
)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> ModelLocation:
    folder: Path = tmp_path_factory.mktemp("phi3-mini")
    return phi3_mini(folder)


def _chosen(mini: ModelLocation, memory_gib: float, processes: int = 1) -> int:
    memory = round(memory_gib * GIB)
    return micro_batch_tokens(HYPER, mini, "bfloat16", LENGTHS, memory, processes=processes)


def test_a_cpu_keeps_the_usual_micro_batch(mini: ModelLocation) -> None:
    assert micro_batch_tokens(HYPER, mini, "bfloat16", LENGTHS, None) == MICRO_BATCH_TOKENS


def test_gpus_that_are_large_enough_all_get_the_usual_micro_batch(mini: ModelLocation) -> None:
    assert {_chosen(mini, memory_gib) for memory_gib in (48, 80, 141)} == {MICRO_BATCH_TOKENS}


@pytest.mark.parametrize("memory_gib", [12, 16, 24, 39.5, 40])
def test_a_micro_batch_on_a_smaller_gpu_is_the_largest_that_fits(
    mini: ModelLocation, memory_gib: float
) -> None:
    tokens = _chosen(mini, memory_gib)
    room = usable_bytes(round(memory_gib * GIB))

    def needed(micro_batch: int) -> int:
        whole = estimate(HYPER, mini, "bfloat16", LENGTHS, micro_batch_tokens=micro_batch, on_gpu=True)
        return whole.total_bytes

    assert needed(tokens) <= room
    assert tokens == MICRO_BATCH_TOKENS or needed(2 * tokens) > room


def test_trials_that_share_a_gpu_get_smaller_micro_batches(mini: ModelLocation) -> None:
    assert _chosen(mini, 48, processes=3) < _chosen(mini, 48)


def test_a_micro_batch_goes_down_to_one_example_and_no_further(mini: ModelLocation) -> None:
    assert LENGTHS.example_tokens // 2 < _chosen(mini, 1) <= LENGTHS.example_tokens


@given(st.integers(1, 200), st.integers(0, 60))
def test_trials_on_a_gpu_fit_together(gpu_gib: int, more_gib: int) -> None:
    larger = replace(FOOTPRINT, weights_bytes=more_gib * GIB)
    count = trials_per_gpu([FOOTPRINT, larger], gpu_gib * GIB)
    largest = max(FOOTPRINT.total_bytes, larger.total_bytes)
    assert 1 <= count <= MOST_TRIALS_PER_GPU
    assert count == 1 or count * (largest + CONTEXT_BYTES) <= gpu_gib * GIB


def test_the_total_is_the_highest_of_the_phases() -> None:
    assert FOOTPRINT.total_bytes == (9 + 5 + 1 + 1) * GIB
    assert replace(FOOTPRINT, evaluation_bytes=20 * GIB).total_bytes == (9 + 20) * GIB
    assert replace(FOOTPRINT, gradients_wait=False).total_bytes == (9 + 5 + 1) * GIB
    assert replace(FOOTPRINT, updates_bytes=9 * GIB).total_bytes == (9 + 1 + 9) * GIB


def test_a_machines_memory_is_known() -> None:
    assert device_memory_bytes(torch.device("cpu")) > 2**28
