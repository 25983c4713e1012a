"""Layouts of a batch: the same targets and the same numbers, however the examples lie."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.families import FAMILIES, make_family
from tests.support.tiny import make_task
from workers.models.architectures import PACKABLE
from workers.models.base import load_base
from workers.training.batches import PACKED_ROW_TOKENS, collate, split_by_tokens
from workers.training.encoding import EncodedExample, EncodingCache
from workers.training.forward import make_batch, target_logits, target_losses

CPU = torch.device("cpu")

tokens = st.lists(st.integers(1, 99), min_size=1, max_size=9).map(tuple)
examples = st.lists(
    st.builds(lambda prompt, answer: EncodedExample(prompt + answer, len(prompt), "x"), tokens, tokens),
    min_size=1,
    max_size=6,
)


@given(examples, st.booleans(), st.booleans())
def test_a_target_is_predicted_from_the_place_before_it(
    drawn: list[EncodedExample], with_prompts: bool, packed: bool
) -> None:
    batch = collate(drawn, device=CPU, with_prompts=with_prompts, packed=packed)
    firsts = [1 if with_prompts else example.prompt_tokens for example in drawn]
    pairs = list(zip(drawn, firsts, strict=True))
    assert batch.labels.tolist() == [token for example, first in pairs for token in example.tokens[first:]]
    before = [token for example, first in pairs for token in example.tokens[first - 1 : -1]]
    assert batch.input_ids[batch.rows, batch.columns].tolist() == before
    counts = [len(example.tokens) - first for example, first in pairs]
    assert batch.examples.bincount(minlength=len(drawn)).tolist() == counts
    answers = [example.answer_tokens for example in drawn]
    assert batch.labels[batch.is_answer].tolist() == [token for answer in answers for token in answer]


@given(examples)
def test_a_packed_row_holds_every_token_once_with_its_position(drawn: list[EncodedExample]) -> None:
    batch = collate(drawn, device=CPU, packed=True)
    assert batch.input_ids.tolist() == [[token for example in drawn for token in example.tokens]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[p for example in drawn for p in range(len(example.tokens))]]
    assert batch.attention_mask is None


@given(examples)
def test_a_decoder_is_given_the_answers_one_place_later(drawn: list[EncodedExample]) -> None:
    batch = collate(drawn, device=CPU, decoder_start=0)
    assert batch.decoder_input_ids is not None
    assert batch.attention_mask is not None
    for row, example in enumerate(drawn):
        length = len(example.answer_tokens)
        assert batch.decoder_input_ids[row, :length].tolist() == [0, *example.answer_tokens[:-1]]
        assert batch.input_ids[row][batch.attention_mask[row]].tolist() == list(
            example.tokens[: example.prompt_tokens]
        )
    assert batch.labels.tolist() == [token for example in drawn for token in example.answer_tokens]
    assert batch.columns.tolist() == [place for e in drawn for place in range(len(e.answer_tokens))]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=40), st.integers(1, 5000), st.booleans())
def test_parts_hold_every_example_once_within_the_bound(lengths: list[int], most: int, packed: bool) -> None:
    parts = list(split_by_tokens(lengths, most, packed=packed))
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    for part in parts:
        places = [lengths[index] for index in part]
        size = sum(places) if packed else len(part) * max(places)
        assert len(part) == 1 or size <= (min(most, PACKED_ROW_TOKENS) if packed else most)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("t5", "bart")])
def test_packed_examples_have_the_losses_and_gradients_of_padded_ones(tmp_path: Path, family: str) -> None:
    base = load_base(str(make_family(family, tmp_path)))
    model = base.model.requires_grad_(True)
    assert model.config.model_type in PACKABLE
    shown = EncodingCache().get(base, make_task(4), max_length_tokens=96).train[:7]
    measured = []
    for packed in (False, True):
        model.zero_grad()
        batch = make_batch(model, shown, with_prompts=True, packed=packed)
        losses = target_losses(target_logits(model, batch), batch)
        torch.autograd.backward(losses.mean())
        gradients = {
            name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
        }
        measured.append((losses.detach(), {name: gradient.clone() for name, gradient in gradients.items()}))
    (padded, gradients), (packed_losses, packed_gradients) = measured
    torch.testing.assert_close(packed_losses, padded, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-4, atol=1e-6)
