"""A whole sweep's trials, surveyed: refusals by reason, and memory of the rest."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts import Config, TrainingSettings
from tests.support.tiny import make_task, make_tokenizer
from tests.workers.footprint.geometry import phi3_mini
from workers.footprint.lengths import Lengths, foretold_lengths
from workers.footprint.survey import survey
from workers.models.location import ModelLocation, locate
from workers.space import SearchSpace
from workers.training.encoding import encode_task

GIB = 2**30
LENGTHS = Lengths(prompt_tokens=96, answer_tokens=32, example_tokens=128, held_out=40)
SETTINGS = TrainingSettings(horizon_epochs=2, compute_dtype="bfloat16")


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> ModelLocation:
    folder: Path = tmp_path_factory.mktemp("phi3-mini")
    return phi3_mini(folder)


def test_refusals_are_counted_by_reason_with_an_example(family: Callable[[str], str]) -> None:
    odd: Config = {"peft_method": "miss", "miss_r": 7}
    quantised: Config = {"peft_method": "full", "quant": "nf4"}
    configs: list[Config] = [{"lora_r": 4}, odd, quantised, {**odd, "batch_size": 4}, {"lora_r": 8}]
    found = survey(
        ((config, LENGTHS) for config in configs), locate(family("phi3")), SETTINGS, device_type="cpu"
    )
    assert found.refused_trials == 3
    assert [(refusal.trials, refusal.example) for refusal in found.refusals] == [(2, odd), (1, quantised)]
    assert found.largest_bytes is not None
    assert found.median_bytes is not None
    assert found.median_bytes <= found.largest_bytes
    assert found.trials_per_gpu is None


def test_memory_is_one_reason_whatever_the_figures(mini: ModelLocation) -> None:
    trials: list[tuple[Config, Lengths]] = [
        ({"peft_method": "full", "batch_size": size}, LENGTHS) for size in (4, 8, 16)
    ]
    found = survey(trials, mini, SETTINGS, device_type="cuda", memory_bytes=24 * GIB)
    assert [refusal.trials for refusal in found.refusals] == [3]
    assert (found.largest_bytes, found.median_bytes, found.trials_per_gpu) == (None, None, None)


def test_trials_that_share_a_large_gpu_are_counted(mini: ModelLocation) -> None:
    trials: list[tuple[Config, Lengths]] = [({"lora_r": rank}, LENGTHS) for rank in (8, 64)]
    found = survey(trials, mini, SETTINGS, device_type="cuda", memory_bytes=141 * GIB)
    assert found.trials_per_gpu is not None
    assert found.largest_bytes is not None
    assert found.trials_per_gpu > 1
    assert found.trials_per_gpu * found.largest_bytes < 141 * GIB


def test_trials_are_refused_where_their_share_of_a_device_does_not_do(mini: ModelLocation) -> None:
    def refused(processes: int) -> int:
        trials = [({"lora_r": 8}, LENGTHS)]
        return survey(
            trials, mini, SETTINGS, device_type="cuda", memory_bytes=48 * GIB, processes=processes
        ).refused_trials

    assert [refused(processes) for processes in (1, 4, 8)] == [0, 0, 1]


@pytest.mark.parametrize("preset", ["tiny-extended", "phi3-extended"])
def test_every_config_of_a_space_is_either_refused_or_estimated(mini: ModelLocation, preset: str) -> None:
    configs = SearchSpace.preset(preset).sample(100, seed=0)
    found = survey(((config, LENGTHS) for config in configs), mini, SETTINGS, device_type="cpu")
    assert found.refused_trials < len(configs)
    assert all(refusal.reason for refusal in found.refusals)


@pytest.mark.parametrize("seed", [0, 1])
def test_lengths_told_from_few_examples_are_those_of_the_whole_task(seed: int) -> None:
    dice = random.Random(seed)
    task = make_task(12, noise=" ".join(dice.choices(("north", "hill", "a"), k=5)))
    tokenizer: Any = make_tokenizer()
    told = foretold_lengths(tokenizer, task, SETTINGS, is_encoder_decoder=False)
    whole = Lengths.of(encode_task(tokenizer, task, max_length_tokens=SETTINGS.max_length_tokens))
    assert told.held_out == whole.held_out
    assert told.example_tokens == pytest.approx(whole.example_tokens, abs=2)
    assert told.answer_tokens == whole.answer_tokens
