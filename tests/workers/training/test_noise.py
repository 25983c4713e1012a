"""NEFTune's noise: how large, where, and that it does not depend on how examples are put together."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from tests.support.families import make_family
from workers.models.base import BaseModel
from workers.training.encoding import EncodedExample
from workers.training.noise import EmbeddingNoise

_WIDTH = 32


def _example(prompt: int, answer: int) -> EncodedExample:
    return EncodedExample(tuple(range(1, 1 + prompt + answer)), prompt, "")


def _noise(model: Any, ids: torch.Tensor, examples: list[EncodedExample], **key: Any) -> torch.Tensor:
    """What is added to the embeddings of one micro-batch."""
    alpha, step, trial = key.get("alpha", 5.0), key.get("step", 3), key.get("trial", "trial")
    places = key.get("places", list(range(len(examples))))
    embed: torch.nn.Module = model.get_input_embeddings()
    still: torch.Tensor = embed(ids)
    with EmbeddingNoise(model, trial, alpha).on(step, places, examples):
        noisy: torch.Tensor = embed(ids)
    assert torch.equal(embed(ids), still)
    return (noisy - still).detach()


@pytest.fixture(scope="module")
def model(loaded_base: BaseModel) -> Any:
    return loaded_base.model


@given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.floats(1.0, 20.0))
def test_noise_is_uniform_within_its_bound_and_absent_at_padding(
    model: Any, lengths: list[int], alpha: float
) -> None:
    examples = [_example(1, length - 1) for length in lengths]
    ids = torch.ones(len(lengths), max(lengths), dtype=torch.long)
    noise = _noise(model, ids, examples, alpha=alpha)
    for row, length in zip(noise, lengths, strict=True):
        bound = alpha / math.sqrt(length * _WIDTH)
        real = row[:length]
        assert real.abs().max() <= bound * (1 + 1e-4)
        # The deviation of a uniform distribution, within five of its own standard errors.
        count = real.numel()
        assert float(real.square().mean()) == pytest.approx(bound**2 / 3, rel=5 * math.sqrt(0.8 / count))
        assert not row[length:].any()


def test_noise_does_not_depend_on_micro_batches_padding_or_packing(model: Any) -> None:
    examples = [_example(2, 3), _example(4, 4), _example(1, 1)]
    padded = _noise(model, torch.ones(3, 8, dtype=torch.long), examples)
    alone = _noise(model, torch.ones(1, 8, dtype=torch.long), examples[1:2], places=[1])
    packed = _noise(model, torch.ones(1, 15, dtype=torch.long), examples)
    torch.testing.assert_close(alone[0], padded[1])
    own = torch.cat([padded[0, :5], padded[1, :8], padded[2, :2]])
    torch.testing.assert_close(packed[0], own)


@pytest.mark.parametrize("other", [{"step": 4}, {"trial": "another"}, {"places": [1]}], ids=str)
def test_noise_is_another_at_another_step_trial_or_place(model: Any, other: dict[str, Any]) -> None:
    ids, examples = torch.ones(1, 6, dtype=torch.long), [_example(3, 3)]
    assert torch.equal(_noise(model, ids, examples), _noise(model, ids, examples))
    assert not torch.equal(_noise(model, ids, examples), _noise(model, ids, examples, **other))


@pytest.mark.parametrize("family", ["t5", "bart", "gpt2"])
def test_noise_reaches_what_a_model_reads_and_what_it_has_written(tmp_path: Path, family: str) -> None:
    loader: Any = AutoModelForSeq2SeqLM if family in ("t5", "bart") else AutoModelForCausalLM
    model = loader.from_pretrained(make_family(family, tmp_path)).train(False)
    examples = [_example(5, 3)]
    read, written = torch.tensor([[7, 8, 9, 10, 11]]), torch.tensor([[7, 8, 9]])
    if model.config.is_encoder_decoder:
        inputs = {"input_ids": read, "decoder_input_ids": written}
    else:
        inputs = {"input_ids": torch.cat([read, written], dim=1)}
    seen: list[torch.Tensor] = []

    def watch(module: Any, arguments: Any, embedded: torch.Tensor) -> None:
        seen.append(embedded)

    noise = EmbeddingNoise(model, "trial", 20.0)
    still = model(**inputs).logits
    with noise.on(0, [0], examples):
        handles = [module.register_forward_hook(watch) for module in noise._embedding_modules()]
        noisy = model(**inputs).logits
    for handle in handles:
        handle.remove()
    assert not torch.allclose(still, noisy, atol=1e-3)
    assert torch.equal(model(**inputs).logits, still)
    assert [text.shape[1] for text in seen] == ([5, 3] if model.config.is_encoder_decoder else [8])
    table = model.get_input_embeddings().weight
    for text, ids in zip(seen, [read, written] if len(seen) == 2 else [inputs["input_ids"]], strict=True):
        assert not torch.isclose(text[0], table[ids[0]]).all(dim=1).any()
