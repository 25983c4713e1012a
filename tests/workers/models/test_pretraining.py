"""Pretraining: it learns, it is a function of its seed, and an interrupted run ends with the same bits."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.contracts import InputError
from workers.models.pretraining import (
    LOG_NAME,
    STATE_NAME,
    PretrainingSettings,
    learning_rate_at,
    pretrain,
)
from workers.models.pretraining_batches import STEPS_PER_BLOCK, BatchSource, encode_text, pad_batch
from workers.models.pretraining_card import CARD_NAME
from workers.models.tokenizer import train_tokenizer
from workers.worlds import CorpusMix, pretraining_corpus

SMALL = PretrainingSettings(
    steps=10,
    examples_per_step=12,
    learning_rate=1e-2,
    warmup_steps=2,
    hidden_size=16,
    intermediate_size=32,
    layers=1,
    heads=2,
    log_every=1,
    state_every=4,
    tokenizer_lines=400,
    mix=CorpusMix(entities=2),
)


class KilledError(Exception):
    """What a test cuts a run with."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """A saved model's weights."""
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return tensors


def log_without_times(folder: Path) -> list[dict[str, Any]]:
    """A log's lines but for what the clock says."""
    lines = (folder / LOG_NAME).read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "cpu_s"} for line in lines]


def same_bits(first: Path, second: Path) -> bool:
    """Whether two folders hold the same weights, bit for bit."""
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("pretraining") / "whole"
    pretrain(folder, settings=SMALL)
    return folder


def test_the_loss_falls_and_the_model_loads(whole: Path) -> None:
    entries = log_without_times(whole)
    assert [entry["step"] for entry in entries] == list(range(1, SMALL.steps + 1))
    assert entries[-1]["train_loss"] < entries[0]["train_loss"] - 0.5
    assert "fresh_loss" in entries[-1]
    model = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(whole))
    assert not (whole / STATE_NAME).exists()
    assert {weight.dtype for weight in weights(whole).values()} == {torch.bfloat16}


@pytest.mark.parametrize("killed_at", [2, 4, 7, 8, 10])
def test_a_run_killed_and_continued_ends_with_the_same_bits(
    whole: Path, tmp_path: Path, killed_at: int
) -> None:
    def kill(line: str) -> None:
        if json.loads(line)["step"] == killed_at:
            raise KilledError

    with pytest.raises(KilledError):
        pretrain(tmp_path, settings=SMALL, log=kill)
    assert not (tmp_path / "model.safetensors").exists()
    lines: list[str] = []
    pretrain(tmp_path, settings=SMALL, log=lines.append)
    kept = (killed_at - 1) // SMALL.state_every * SMALL.state_every
    assert json.loads(lines[0])["step"] == kept + 1
    assert same_bits(whole, tmp_path)
    assert log_without_times(whole) == log_without_times(tmp_path)


def test_a_run_killed_while_it_writes_its_state_keeps_the_state_before(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file = Path.replace

    def kill_second(self: Path, target: Path) -> Path:
        if target.exists():
            raise KilledError
        return replace_file(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill_second)
        with pytest.raises(KilledError):
            pretrain(tmp_path, settings=SMALL)
    lines: list[str] = []
    pretrain(tmp_path, settings=SMALL, log=lines.append)
    assert json.loads(lines[0])["step"] == SMALL.state_every + 1
    assert same_bits(whole, tmp_path)
    assert log_without_times(whole) == log_without_times(tmp_path)


def test_a_torn_log_is_written_anew_from_the_state(whole: Path, tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if json.loads(line)["step"] == SMALL.state_every + 1:
            raise KilledError

    with pytest.raises(KilledError):
        pretrain(tmp_path, settings=SMALL, log=kill)
    (tmp_path / LOG_NAME).write_text('{"step": 1, "tok')
    pretrain(tmp_path, settings=SMALL)
    assert log_without_times(whole) == log_without_times(tmp_path)


def test_a_run_killed_while_it_exports_is_exported_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("workers.models.pretraining.write_card", kill)
        with pytest.raises(KilledError):
            pretrain(tmp_path, settings=SMALL)
    assert not (tmp_path / CARD_NAME).exists()
    pretrain(tmp_path, settings=SMALL)
    assert (tmp_path / CARD_NAME).exists()
    assert same_bits(whole, tmp_path)


def test_another_seed_gives_another_model(whole: Path, tmp_path: Path) -> None:
    pretrain(tmp_path, seed=1, settings=SMALL)
    assert not same_bits(whole, tmp_path)


def test_a_finished_model_is_not_overwritten(whole: Path) -> None:
    with pytest.raises(InputError, match="already holds a model"):
        pretrain(whole, settings=SMALL)


def test_another_runs_state_and_a_torn_one_are_refused(tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if json.loads(line)["step"] == SMALL.state_every + 1:
            raise KilledError

    with pytest.raises(KilledError):
        pretrain(tmp_path, settings=SMALL, log=kill)
    with pytest.raises(InputError, match="another seed or other settings"):
        pretrain(tmp_path, seed=1, settings=SMALL)
    with pytest.raises(InputError, match="another seed or other settings"):
        pretrain(tmp_path, settings=replace(SMALL, steps=11))
    state = tmp_path / STATE_NAME
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match="can't be read as a pretraining state"):
        pretrain(tmp_path, settings=SMALL)


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be made"):
        pretrain(tmp_path / "file", settings=SMALL)


def test_impossible_settings_are_refused_together() -> None:
    with pytest.raises(InputError, match=r"(?s)steps must be at least 1, got 0.*learning_rate .* got nan"):
        PretrainingSettings(steps=0, learning_rate=float("nan"))
    with pytest.raises(InputError, match="architecture must be phi3 or t5, got 'rnn'"):
        PretrainingSettings(architecture="rnn")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"hidden_size must be a multiple of 8, .* got 60"):
        PretrainingSettings(hidden_size=60)


@given(st.integers(1, 400), st.integers(1, 400))
def test_the_learning_rate_rises_to_its_highest_and_falls_to_a_tenth(warmup: int, falling: int) -> None:
    settings = PretrainingSettings(steps=warmup + falling, warmup_steps=warmup)
    rates = [learning_rate_at(step, settings) for step in range(settings.steps)]
    assert max(rates) == pytest.approx(settings.learning_rate)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert min(rates[warmup:]) >= settings.learning_rate / 10


def test_a_block_of_batches_holds_its_examples_once_with_weights_on_their_own_tokens() -> None:
    tokenizer = train_tokenizer(lines=400)
    corpus = pretraining_corpus(mix=CorpusMix(entities=2))
    parts = (
        corpus,
        partial(encode_text, tokenizer),
        partial(pad_batch, pad_token_id=tokenizer.pad_token_id, prompt_weight=0.25),
    )
    source = BatchSource(*parts, examples_per_step=10)
    batches = [source.batch(STEPS_PER_BLOCK + place) for place in range(STEPS_PER_BLOCK)]
    shown = sorted(
        row[row != tokenizer.pad_token_id].tolist() for batch in batches for row in batch.input_ids
    )
    encoded = encode_text(tokenizer, corpus.examples(1, 10 * STEPS_PER_BLOCK))
    assert shown == sorted([*prompt, *answer] for prompt, answer in encoded)
    answers = sum(len(answer) for _, answer in encoded)
    prompts = sum(len(prompt) - 1 for prompt, _ in encoded)
    total = sum(batch.weights.sum().item() for batch in batches)
    assert total == pytest.approx(answers + 0.25 * prompts)
    assert sum(batch.tokens for batch in batches) == sum(len(p) + len(a) for p, a in encoded)
    again = BatchSource(*parts, examples_per_step=10).batch(STEPS_PER_BLOCK + 3)
    assert torch.equal(again.input_ids, batches[3].input_ids)
