"""What can be pretrained beside the embedded model: an encoder-decoder, shown text as finetuning shows it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import T5ForConditionalGeneration

from tests.workers.models.test_pretraining import (
    SMALL,
    KilledError,
    log_without_times,
    same_bits,
)
from workers.models.base import BaseModel, load_base
from workers.models.pretraining import pretrain
from workers.models.pretraining_batches import pad_pairs
from workers.models.pretraining_card import CARD_NAME
from workers.models.pretraining_model import Reading, answer_quality
from workers.models.pretraining_settings import Architecture
from workers.training.formats import tokenise
from workers.worlds import TASK_NAMES, build_task

PAIR = replace(SMALL, architecture=Architecture.T5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("pretraining") / "t5"
    pretrain(folder, settings=PAIR)
    return folder


@pytest.fixture(scope="module")
def base(whole: Path) -> BaseModel:
    return load_base(str(whole))


def test_an_encoder_decoder_learns_and_is_a_base_model(whole: Path, base: BaseModel) -> None:
    entries = log_without_times(whole)
    assert entries[-1]["train_loss"] < entries[0]["train_loss"] - 0.5
    assert isinstance(base.model, T5ForConditionalGeneration)
    assert base.is_encoder_decoder
    assert base.model.config.decoder_start_token_id == base.tokenizer.pad_token_id
    assert base.model.config.vocab_size == len(base.tokenizer)


def test_an_encoder_decoder_killed_and_continued_ends_with_the_same_bits(whole: Path, tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if '"step": 7,' in line:
            raise KilledError

    with pytest.raises(KilledError):
        pretrain(tmp_path, settings=PAIR, log=kill)
    pretrain(tmp_path, settings=PAIR)
    assert same_bits(whole, tmp_path)
    assert log_without_times(whole) == log_without_times(tmp_path)


def test_it_is_pretrained_on_the_tokens_that_finetuning_shows_it(base: BaseModel) -> None:
    examples = [example for name in TASK_NAMES for example in build_task(name).train[:10]]
    finetuned = tokenise(base.tokenizer, examples, where="here", is_encoder_decoder=True)
    assert Reading(base.model, base.tokenizer).encode(examples) == [(p.prompt, p.answer) for p in finetuned]


def test_the_card_has_the_command_and_the_architecture(whole: Path) -> None:
    card = (whole / CARD_NAME).read_text(encoding="utf-8")
    assert card.startswith(
        "# tiny-t5\n\nA base model beside the one that ships: `T5ForConditionalGeneration`"
    )
    assert "pretrain --out DIR --seed 0 --architecture t5 --steps 10 --hidden-size 16" in card
    assert "- architecture: t5\n" in card
    assert "ANSWER<|endoftext|>`" in card


def test_pairs_begin_with_the_mark_and_count_answers_alone() -> None:
    batch = pad_pairs([([5, 6, 7], [8, 9]), ([5], [8, 4, 3])], pad_token_id=0, decoder_start=1)
    assert batch.input_ids.tolist() == [[5, 6, 7], [5, 0, 0]]
    assert batch.decoder_input_ids is not None
    assert batch.decoder_input_ids.tolist() == [[1, 8, 0], [1, 8, 4]]
    assert batch.targets.tolist() == [[8, 9, 0], [8, 4, 3]]
    assert batch.weights.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.tokens == 9


def test_answers_are_measured_as_transformers_measures_each_alone(base: BaseModel) -> None:
    examples = build_task("people").train[:6]
    reading = Reading(base.model, base.tokenizer)
    encoded = reading.encode(examples)
    total = 0.0
    for prompt, answer in encoded:
        told: Any = base.model(input_ids=torch.tensor([prompt]), labels=torch.tensor([answer]))
        total += told.loss.item() * len(answer)
    loss, _ = answer_quality(base.model, base.tokenizer, examples)
    assert loss == pytest.approx(total / sum(len(answer) for _, answer in encoded), rel=1e-5)


@pytest.mark.parametrize("architecture", list(Architecture))
def test_counted_logits_are_those_of_the_targets_with_a_weight(
    architecture: Architecture, base: BaseModel
) -> None:
    if architecture is Architecture.PHI3:
        base = load_base("tiny-phi3")
    reading = Reading(base.model, base.tokenizer)
    batch = reading.pad(reading.encode(build_task("towns").train[:5]), prompt_weight=0.3)
    with torch.no_grad():
        counted, all_of_them = reading.counted_logits(batch), reading.logits(batch)
    is_counted = batch.weights > 0
    assert torch.allclose(counted, all_of_them[is_counted], atol=1e-4)
    assert cross_entropy(counted, batch.targets[is_counted]).isfinite()
    assert (batch.weights > 0.0).logical_and(batch.weights < 1.0).any() == (architecture is Architecture.PHI3)
