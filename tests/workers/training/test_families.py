"""Every family of models learns, and is evaluated as plain transformers would."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.families import FAMILIES, OTHERS, make_family
from tests.support.tiny import SETTINGS, make_task, make_trial
from workers.models.base import BaseModel, load_base
from workers.tasks.records import Example, Task
from workers.training.encoding import EncodedExample, EncodedTask, EncodingCache
from workers.training.evaluation import evaluate_split
from workers.training.forward import make_batch, run_model
from workers.training.generation import greedy_answers
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import TrialRun

ALL = replace(SETTINGS, max_eval_examples=None)
TASK = make_task(8)
NAMED = ("phi3", "llama", "qwen3", "gemma3", "t5")
"""Trained by default; the others are close relatives of these."""


@pytest.fixture(scope="module", params=[*FAMILIES, *OTHERS])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A model whose layers are louder than its embeddings, so that it does not merely repeat itself."""
    base = load_base(str(make_family(request.param, tmp_path_factory.mktemp(request.param))))
    embeddings = {id(weight) for weight in base.model.get_input_embeddings().parameters()}
    for weight in base.model.parameters():
        if weight.dim() > 1 and id(weight) not in embeddings:
            weight.mul_(4)
    return base


@pytest.fixture(scope="module")
def encoded(base: BaseModel) -> EncodedTask:
    return EncodingCache().get(base, TASK, max_length_tokens=96)


def test_losses_are_transformers_own(base: BaseModel, encoded: EncodedTask) -> None:
    metrics = evaluate_split(base.model, base.tokenizer, encoded.validation, ALL)
    for example, loss in zip(encoded.validation, metrics.example_losses, strict=True):
        assert loss == pytest.approx(_own_loss(base.model, example), abs=5e-5)


def test_answers_are_those_of_transformers_own_decoder(base: BaseModel, encoded: EncodedTask) -> None:
    """Random weights talk on to the cap, and part from the gold answers each row at its own place."""
    model, cap = base.model, 20
    prompts = [example.tokens[: example.prompt_tokens] for example in encoded.train[:7]]
    end = encoded.train[0].tokens[-1]
    own = [_own_tokens(model, prompt, cap, end) for prompt in prompts]
    examples = [
        EncodedExample((*prompt, *tokens[: 2 * place], *example.answer_tokens), len(prompt), "x")
        for place, (prompt, tokens, example) in enumerate(zip(prompts, own, encoded.train, strict=False))
    ]
    batch = make_batch(model, examples)
    with torch.inference_mode():
        forced = run_model(model, batch, keep_cache=True)
        found = greedy_answers(
            model, examples, batch, forced, most_tokens=[cap] * 7, end_tokens=frozenset({end})
        )
    assert found == own
    assert len({tuple(tokens) for tokens in own}) > 3


@pytest.mark.parametrize(
    "family", [name if name in NAMED else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_a_trial_learns(family: str, tmp_path: Path) -> None:
    base = load_base(str(make_family(family, tmp_path)))
    encoded = EncodingCache().get(base, TASK, max_length_tokens=96)
    config = {"learning_rate": 2e-2, "lora_r": 8, "lr_scheduler_type": "constant_with_warmup"}
    trial = make_trial(tmp_path, TASK, config=config, settings={"examples_per_epoch": 24})
    run = TrialRun(trial, Hyperparameters.from_config(trial.config), base, encoded)
    untrained = evaluate_split(run.adapted.model, base.tokenizer, encoded.validation, ALL).loss
    for _ in range(3):
        run.train_epoch()
    assert evaluate_split(run.adapted.model, base.tokenizer, encoded.validation, ALL).loss < 0.9 * untrained


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_texts_end_where_a_model_has_no_more_positions(family: str, tmp_path: Path) -> None:
    changes = {"n_positions": 24} if family == "gpt2" else {"max_position_embeddings": 24}
    base = load_base(str(make_family(family, tmp_path, **changes)))
    long = [Example("Who? " * 30, "a smith " * 20), Example("Who? " * 30, "a smith")]
    task = Task(name="long", train=(*TASK.train, *long), validation=(*long,), test=TASK.test)
    encoded = EncodingCache().get(base, task, max_length_tokens=96)
    assert max(len(example.tokens) for example in (*encoded.train, *encoded.test)) == 24
    metrics = evaluate_split(base.model, base.tokenizer, encoded.validation, ALL)
    assert math.isfinite(metrics.loss)


def _own_loss(model: Any, example: EncodedExample) -> float:
    tokens = torch.tensor([example.tokens])
    prompt, answer = tokens[:, : example.prompt_tokens], tokens[:, example.prompt_tokens :]
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            return float(model(input_ids=prompt, labels=answer).loss)
        labels = tokens.clone()
        labels[:, : example.prompt_tokens] = -100
        return float(model(input_ids=tokens, labels=labels).loss)


def _own_tokens(model: Any, prompt: tuple[int, ...], cap: int, end: int) -> list[int]:
    whole = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=cap,
        eos_token_id=end,
        forced_eos_token_id=None,
        pad_token_id=0,
    )
    tokens: list[int] = whole[0, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()
    return tokens[:-1] if tokens[-1] == end else tokens
