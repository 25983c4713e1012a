"""Probes agree with plain passes through the model, and are a function of task and base alone."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from orchestrator.contracts import InputError, TrainingSettings
from tests.support.tiny import make_task
from workers.metafeatures.probes import (
    PROBE_STEPS,
    first_gradient_norm,
    probe,
    probe_learning_rate,
    probe_run,
)
from workers.metafeatures.samples import chosen_by_content
from workers.models.base import BaseModel
from workers.tasks.loading import load_task
from workers.tasks.records import Example, Task
from workers.training.adapters import add_adapter
from workers.training.encoding import EncodedExample, EncodedTask, encode_task
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import DivergedError, TrialRun

SETTINGS = TrainingSettings(horizon_epochs=1, max_eval_examples=5, max_new_tokens=8, max_length_tokens=64)


def encoded_of(task: Task, base: BaseModel) -> EncodedTask:
    return encode_task(base.tokenizer, task, max_length_tokens=SETTINGS.max_length_tokens)


def example_loss(model: torch.nn.Module, tokens: tuple[int, ...], prompt_tokens: int) -> torch.Tensor:
    """Sum of the answer tokens' losses of one example, by the plain forward pass."""
    logits = model(input_ids=torch.tensor([tokens])).logits[0, prompt_tokens - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[prompt_tokens:]), reduction="sum")


def test_zero_shot_losses_agree_with_a_plain_forward_pass(loaded_base: BaseModel) -> None:
    task = make_task(5)
    encoded = encoded_of(task, loaded_base)
    with torch.no_grad():
        nats = [float(example_loss(loaded_base.model, e.tokens, e.prompt_tokens)) for e in encoded.validation]
    counts = [len(example.tokens) - example.prompt_tokens for example in encoded.validation]
    means = torch.tensor(
        [total / count for total, count in zip(nats, counts, strict=True)], dtype=torch.float64
    )
    measured = probe(task, encoded, loaded_base, SETTINGS)
    assert measured["zero_shot_loss"] == pytest.approx(sum(nats) / sum(counts), rel=1e-5)
    assert measured["zero_shot_loss_sd"] == pytest.approx(float(means.std(correction=0)), rel=1e-4)


def test_gradient_norm_agrees_with_a_plain_backward_pass(loaded_base: BaseModel) -> None:
    chosen = encoded_of(make_task(8), loaded_base).train
    adapted = add_adapter(loaded_base, Hyperparameters(lora_dropout=0.0), "meta-features")
    losses = torch.stack([example_loss(adapted.model, e.tokens, e.prompt_tokens) for e in chosen])
    tokens = sum(len(e.answer_tokens) for e in chosen)
    gradients = torch.autograd.grad(losses.sum() / tokens, list(adapted.parameters.values()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm > 0
    assert first_gradient_norm(loaded_base, chosen) == pytest.approx(float(norm), rel=1e-4)


def test_probe_run_draws_from_no_global_stream_and_leaves_them_alone(loaded_base: BaseModel) -> None:
    task = make_task()
    encoded = encoded_of(task, loaded_base)
    losses = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), random.getstate()
        losses.append(probe_run(task, encoded, loaded_base, encoded.validation).loss)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
    assert losses[0] == losses[1]


def test_probe_run_learns_what_it_is_shown(loaded_base: BaseModel) -> None:
    task = make_task()
    encoded = encoded_of(task, loaded_base)
    measured = probe(task, encoded, loaded_base, SETTINGS)
    assert measured["probe_loss_drop"] > 1
    wrong = replace(task, train=tuple(replace(e, answer="not so") for e in task.train))
    misled = probe(wrong, encoded_of(wrong, loaded_base), loaded_base, SETTINGS)
    assert misled["probe_loss_drop"] < measured["probe_loss_drop"]


def test_probe_run_takes_as_many_steps_whatever_the_length(
    loaded_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    step = TrialRun._train_step

    def count(self: TrialRun, examples: Sequence[EncodedExample]) -> float:
        steps.append(len(examples))
        return step(self, examples)

    monkeypatch.setattr(TrialRun, "_train_step", count)
    for answer, expected in (
        ("a", 16),
        ("ten tokens more " * 3, 5),
        ("a long answer of many words " * 15, 1),
    ):
        steps.clear()
        task = replace(make_task(), train=(Example("q", answer), Example("p", answer)))
        encoded = encode_task(loaded_base.tokenizer, task, max_length_tokens=512)
        probe_run(task, encoded, loaded_base, encoded.validation)
        assert steps == [expected] * PROBE_STEPS


def test_probe_run_that_diverges_is_refused_with_its_learning_rate(
    loaded_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(self: TrialRun) -> None:
        raise DivergedError("the gradient was not finite at step 3")

    monkeypatch.setattr(TrialRun, "train_epoch", diverge)
    task = make_task()
    with pytest.raises(InputError, match=r"not finite at step 3, in .* 50 steps at learning rate 0\.0126"):
        probe(task, encoded_of(task, loaded_base), loaded_base, SETTINGS)


def test_learning_rate_falls_with_width_and_fits_phi3_mini() -> None:
    assert probe_learning_rate(2000) == 5e-4
    assert probe_learning_rate(3072) == pytest.approx(3.58e-4, rel=1e-2)
    assert probe_learning_rate(128) > probe_learning_rate(256)


def test_sample_depends_on_content_alone() -> None:
    task = load_task("worlds:towns")
    chosen = [task.train[index] for index in chosen_by_content(task.train, 20)]
    assert [task.train[::-1][i] for i in chosen_by_content(task.train[::-1], 20)] == chosen
    assert len(set(chosen)) == 20


def test_what_others_take_of_the_cores_does_not_slow_a_probe(
    loaded_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(5)
    encoded = encoded_of(task, loaded_base)
    walls = iter([0.0, 1e6])
    monkeypatch.setattr("time.perf_counter", lambda: next(walls, 2e6))
    quiet = probe_run(task, encoded, loaded_base, encoded.validation)
    assert quiet.tokens_per_s > 1.0  # a million seconds would be a thousandth
