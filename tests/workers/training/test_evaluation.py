"""Evaluation against plain transformers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.support.tiny import SETTINGS, make_task, make_trial
from workers.metrics import exact_match, token_f1
from workers.models.base import BaseModel
from workers.training import evaluation
from workers.training.encoding import EncodedExample, EncodedTask, encode_task
from workers.training.evaluation import ANSWER_MARGIN_TOKENS, evaluate_split, evaluate_splits
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import TrialRun

ALL = replace(SETTINGS, max_eval_examples=None)


@pytest.fixture(scope="module")
def encoded(loaded_base: BaseModel) -> EncodedTask:
    return encode_task(loaded_base.tokenizer, make_task(10), max_length_tokens=64)


@pytest.fixture(scope="module")
def half_trained(random_base: Path, loaded_base: BaseModel, encoded: EncodedTask) -> TrialRun:
    """A model that answers some questions right, some in part and some not at all.

    When that is differs from one kind of CPU to another.
    """
    config = {"learning_rate": 2e-2, "lora_r": 16, "lr_scheduler_type": "constant_with_warmup"}
    settings = {"horizon_epochs": 60, "examples_per_epoch": 40}
    trial = make_trial(random_base, make_task(10), config=config, settings=settings)
    run = TrialRun(trial, Hyperparameters.from_config(trial.config), loaded_base, encoded)
    for _ in range(60):
        run.train_epoch()
        right = evaluate_split(run.adapted.model, loaded_base.tokenizer, encoded.train[::3], ALL).exact_match
        if 0 < right < 1:
            break
    return run


def _generated(
    model: PreTrainedModel, base: BaseModel, examples: tuple[EncodedExample, ...], cap: int
) -> list[str]:
    """The answers of transformers' own greedy decoder, one question at a time."""
    answers = []
    generate: Any = model.generate
    was_training = model.training
    model.train(False)
    for example in examples:
        prompt = torch.tensor([example.tokens[: example.prompt_tokens]])
        whole = generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=cap,
            eos_token_id=[example.tokens[-1], base.tokenizer.eos_token_id],
            pad_token_id=base.tokenizer.pad_token_id,
        )
        answer = base.tokenizer.decode(whole[0, example.prompt_tokens :], skip_special_tokens=True)
        answers.append(str(answer).strip())
    model.train(was_training)
    return answers


@pytest.mark.parametrize("batch_tokens", [4096, 100])
@pytest.mark.parametrize("max_new_tokens", [64, 3])
def test_answers_are_those_of_plain_greedy_generation(
    half_trained: TrialRun,
    loaded_base: BaseModel,
    encoded: EncodedTask,
    monkeypatch: pytest.MonkeyPatch,
    batch_tokens: int,
    max_new_tokens: int,
) -> None:
    monkeypatch.setattr(evaluation, "EVAL_BATCH_TOKENS", batch_tokens)
    settings = replace(ALL, max_new_tokens=max_new_tokens)
    examples = encoded.train[::3]
    metrics = evaluate_split(half_trained.adapted.model, loaded_base.tokenizer, examples, settings)
    longest = max(len(example.answer_tokens) for example in examples)
    cap = min(max_new_tokens, longest + ANSWER_MARGIN_TOKENS)
    expected = _generated(half_trained.adapted.model, loaded_base, examples, cap)
    assert list(metrics.answers) == expected
    pairs = list(zip(expected, (example.answer for example in examples), strict=True))
    assert metrics.exact_match == pytest.approx(sum(exact_match(*pair) for pair in pairs) / len(pairs))
    assert metrics.token_f1 == pytest.approx(sum(token_f1(*pair) for pair in pairs) / len(pairs))
    if max_new_tokens == 64:
        assert 0 < metrics.exact_match < 1, "the fixture should be half trained, or this test shows little"


def test_long_answers_are_those_of_plain_greedy_generation(
    loaded_base: BaseModel, encoded: EncodedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights talk on to the cap, and a token at a wrong place would lead them elsewhere."""
    monkeypatch.setattr(evaluation, "ANSWER_MARGIN_TOKENS", 15)
    question = encoded.validation[0].tokens[: encoded.validation[0].prompt_tokens]
    long = EncodedExample((*question, *range(10, 21), encoded.train[0].tokens[-1]), len(question), "x")
    # The shorter cap of the first split ends most rows early, the others have to go on undisturbed.
    splits = [encoded.train[:24], (*encoded.validation, long)]
    found = evaluate_splits(loaded_base.model, loaded_base.tokenizer, splits, ALL)
    for metrics, split in zip(found, splits, strict=True):
        cap = max(len(example.answer_tokens) for example in split) + 15
        expected = _generated(loaded_base.model, loaded_base, split, cap)
        assert len(set(expected)) > 5
        assert list(metrics.answers) == expected


def test_losses_are_those_of_the_full_logits(
    half_trained: TrialRun, loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    model = half_trained.adapted.model
    metrics = evaluate_split(model, loaded_base.tokenizer, encoded.validation, ALL)
    nats, count = 0.0, 0
    model.train(False)
    for example, loss in zip(encoded.validation, metrics.example_losses, strict=True):
        with torch.no_grad():
            scores = model(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
        places = range(example.prompt_tokens, len(example.tokens))
        each = [-scores[place - 1, example.tokens[place]].item() for place in places]
        assert loss == pytest.approx(sum(each) / len(each), abs=2e-5)
        nats, count = nats + sum(each), count + len(each)
    model.train()
    assert metrics.loss == pytest.approx(nats / count, abs=2e-5)


def test_splits_together_are_the_splits_apart(
    half_trained: TrialRun, loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    model, tokenizer = half_trained.adapted.model, loaded_base.tokenizer
    both = evaluate_splits(model, tokenizer, [encoded.validation, encoded.test], ALL)
    for together, split in zip(both, (encoded.validation, encoded.test), strict=True):
        apart = evaluate_split(model, tokenizer, split, ALL)
        assert together.answers == apart.answers
        assert together.loss == pytest.approx(apart.loss, abs=1e-5)


def test_only_the_first_examples_count_under_a_cap(
    half_trained: TrialRun, loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    capped = evaluate_split(half_trained.adapted.model, loaded_base.tokenizer, encoded.validation, SETTINGS)
    first = evaluate_split(half_trained.adapted.model, loaded_base.tokenizer, encoded.validation[:4], ALL)
    assert capped == first


def test_evaluation_leaves_the_model_in_its_mode(
    half_trained: TrialRun, loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    assert half_trained.adapted.model.training
    evaluate_split(half_trained.adapted.model, loaded_base.tokenizer, encoded.test, ALL)
    assert half_trained.adapted.model.training
    evaluate_split(loaded_base.model, loaded_base.tokenizer, encoded.test, ALL)
    assert not loaded_base.model.training


def test_an_empty_split_is_refused(loaded_base: BaseModel) -> None:
    with pytest.raises(ValueError, match="at least one example"):
        evaluate_split(loaded_base.model, loaded_base.tokenizer, (), ALL)
