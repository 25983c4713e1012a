"""The base model that ships: its files are its card's, it was really pretrained, and it knows no task."""

import json
import re
from dataclasses import asdict
from statistics import mean
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3ForCausalLM

from workers.models.pretraining import LOG_NAME, PretrainingSettings
from workers.models.pretraining_card import CARD_NAME, HASHED, sha256_of
from workers.models.pretraining_model import answer_quality
from workers.models.tiny_phi3 import PATH
from workers.worlds import TASK_NAMES, build_task, pretraining_corpus
from workers.worlds.corpus import UNSEEN_DOMAINS


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(PATH)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(PATH, dtype=torch.float32)


def test_the_files_have_the_hashes_of_the_card() -> None:
    card = (PATH / CARD_NAME).read_text(encoding="utf-8")
    hashes = dict(re.findall(r"- `(\S+)` ([0-9a-f]{64})", card))
    assert hashes == {name: sha256_of(PATH / name) for name in HASHED}


def test_the_card_says_what_the_log_and_the_command_say() -> None:
    card = (PATH / CARD_NAME).read_text(encoding="utf-8")
    entries = [json.loads(line) for line in (PATH / LOG_NAME).read_text(encoding="utf-8").splitlines()]
    settings = asdict(PretrainingSettings())
    mix = settings.pop("mix")
    for name, value in {**settings, **mix}.items():
        assert f"- {name}: {value}\n" in card
    assert [entry["step"] for entry in entries] == sorted({entry["step"] for entry in entries})
    assert entries[-1]["step"] == settings["steps"]
    assert f"{entries[-1]['tokens']:,} tokens" in card
    assert entries[-1]["train_loss"] < entries[0]["train_loss"] / 3


def test_only_safetensors_hold_weights() -> None:
    suffixes = {path.suffix for path in PATH.iterdir() if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".md", ".log", ".jinja", ".py"}
    assert (PATH / "model.safetensors").stat().st_size < 3_000_000


def test_it_is_a_small_phi3_whose_special_tokens_exist(model: Any, tokenizer: Any) -> None:
    assert isinstance(model, Phi3ForCausalLM)
    assert 1_000_000 < model.num_parameters() < 1_500_000
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.convert_tokens_to_ids("<|end|>") in model.generation_config.eos_token_id


def test_it_recalls_what_it_was_pretrained_on(model: Any, tokenizer: Any) -> None:
    facts = pretraining_corpus().known_examples(wording=3)[::8]
    _, exact_match = answer_quality(model, tokenizer, facts)
    assert exact_match > 0.8


def test_it_answers_by_generation_as_by_teacher_forcing(model: Any, tokenizer: Any) -> None:
    facts = pretraining_corpus().known_examples(wording=3)[::100]
    right = []
    for fact in facts:
        chat = [{"role": "user", "content": fact.question}]
        prompt = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        told = model.generate(**prompt, max_new_tokens=20, do_sample=False)
        answer = tokenizer.decode(told[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        right.append(answer.strip() == fact.answer)
    assert mean(right) == pytest.approx(answer_quality(model, tokenizer, facts)[1])


def test_it_knows_no_task_but_guesses_the_kind_of_answer_where_it_knows_the_domain(
    model: Any, tokenizer: Any
) -> None:
    quality = {name: answer_quality(model, tokenizer, build_task(name).test) for name in TASK_NAMES}
    assert mean(exact_match for _, exact_match in quality.values()) < 0.1
    losses = {name: loss for name, (loss, _) in quality.items()}
    unseen = min(losses[name] for name in UNSEEN_DOMAINS)
    assert max(loss for name, loss in losses.items() if name not in UNSEEN_DOMAINS) < 2.5 < unseen
