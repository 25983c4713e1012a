"""A trial's steps: what is trained on, what is minimised, and what does not depend on how a batch is cut."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from orchestrator.contracts import Config
from tests.support.tiny import make_task, make_trial
from workers.models.base import BaseModel
from workers.training.checkpoints import CheckpointStore
from workers.training.encoding import EncodedExample, EncodedTask, encode_task
from workers.training.evaluation import evaluate_split
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import MICRO_BATCH_TOKENS, TrialRun

TASK = make_task()


@pytest.fixture(scope="module")
def encoded(loaded_base: BaseModel) -> EncodedTask:
    return encode_task(loaded_base.tokenizer, TASK, max_length_tokens=64)


def make_run(
    base: BaseModel, encoded: EncodedTask, config: Config, *, micro_batch_tokens: int = MICRO_BATCH_TOKENS
) -> TrialRun:
    """A fresh run; whatever its config, the trial's id, and with it all that is keyed, is the same."""
    trial = make_trial(Path(base.location.path_or_id), TASK)
    hyper = Hyperparameters.from_config({**trial.config, "lora_dropout": 0.0, **config})
    return TrialRun(trial, hyper, base, encoded, micro_batch_tokens=micro_batch_tokens)


def weights_of(run: TrialRun) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in run.adapted.parameters.values()])


def trained(
    base: BaseModel, encoded: EncodedTask, config: Config, *, micro_batch_tokens: int = MICRO_BATCH_TOKENS
) -> torch.Tensor:
    """The weights after an epoch."""
    run = make_run(base, encoded, config, micro_batch_tokens=micro_batch_tokens)
    run.train_epoch()
    return weights_of(run)


# Micro-batches and clipping


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"prompt_loss_weight": 0.3, "label_smoothing_factor": 0.1},
        {"neftune_noise_alpha": 5.0},
        {"hard_candidates": 3},
    ],
    ids=str,
)
def test_accumulated_micro_batches_train_as_whole_batches_do(
    loaded_base: BaseModel, encoded: EncodedTask, config: Config
) -> None:
    config = {"batch_size": 8, **config}
    whole = trained(loaded_base, encoded, config)
    cut = trained(loaded_base, encoded, config, micro_batch_tokens=40)
    assert not torch.equal(whole, cut)
    torch.testing.assert_close(whole, cut, atol=1e-4, rtol=0)


def test_a_config_clips_by_its_own_norm_and_otherwise_by_the_sweeps(
    loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    """Of SGD without momentum's past, a first step is the rate times the clipped gradient."""
    config: Config = {"optim": "sgd", "learning_rate": 1.0, "warmup_steps": 0.0, "batch_size": 10}
    steps = {}
    for norm in (None, 0.01, 0.02):
        given = {} if norm is None else {"max_grad_norm": norm}
        run = make_run(loaded_base, encoded, {**config, **given})
        before = weights_of(run)
        run.train_epoch()
        steps[norm] = (weights_of(run) - before).norm().item()
    assert steps[0.01] == pytest.approx(0.01, rel=1e-3)
    assert steps[0.02] == pytest.approx(0.02, rel=1e-3)
    assert steps[None] == pytest.approx(1.0, rel=1e-3)


# Label smoothing


def test_smoothing_changes_what_is_minimised_and_not_what_is_recorded(
    loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    plain = make_run(loaded_base, encoded, {"batch_size": 10, "warmup_steps": 0.0})
    smoothed = make_run(
        loaded_base, encoded, {"batch_size": 10, "warmup_steps": 0.0, "label_smoothing_factor": 0.1}
    )
    assert plain.train_epoch() == smoothed.train_epoch()
    assert not torch.equal(weights_of(plain), weights_of(smoothed))


# NEFTune


def test_noise_is_of_training_alone(loaded_base: BaseModel, encoded: EncodedTask) -> None:
    run = make_run(loaded_base, encoded, {"neftune_noise_alpha": 50.0})
    still = make_run(loaded_base, encoded, {})
    assert run.train_epoch().loss != still.train_epoch().loss
    still.load_weights(run.adapted.parameters)
    measured = [
        evaluate_split(
            each.adapted.model, loaded_base.tokenizer, encoded.validation, run.trial.settings
        ).example_losses
        for each in (run, still)
    ]
    assert measured[0] == measured[1]


def test_noise_is_keyed_and_leaves_the_global_stream_alone(
    loaded_base: BaseModel, encoded: EncodedTask
) -> None:
    torch.manual_seed(1)
    first = trained(loaded_base, encoded, {"neftune_noise_alpha": 5.0})
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(trained(loaded_base, encoded, {"neftune_noise_alpha": 5.0}), first)
    assert torch.equal(torch.get_rng_state(), state)


# Hard examples


def test_the_wording_with_the_highest_loss_is_trained_on(
    loaded_base: BaseModel, encoded: EncodedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(loaded_base, encoded, {"hard_candidates": 4, "batch_size": 6})
    losses = evaluate_split(
        run.adapted.model,
        loaded_base.tokenizer,
        encoded.train,
        replace(run.trial.settings, max_eval_examples=None),
    ).example_losses
    steps: list[list[int]] = []
    train_step = run._train_step

    def watched(examples: Sequence[EncodedExample]) -> float:
        steps.append([encoded.train.index(example) for example in examples])
        return train_step(examples)

    monkeypatch.setattr(run, "_train_step", watched)
    tokens = run.tokens
    run.train_epoch()
    hardest = {
        fact: max((index for index, of in enumerate(encoded.facts) if of == fact), key=losses.__getitem__)
        for fact in encoded.facts
    }
    assert steps[0] == [hardest[encoded.facts[index]] for index in steps[0]]
    assert run.tokens - tokens == sum(len(encoded.train[index].tokens) for step in steps for index in step)


def test_one_candidate_or_one_wording_a_fact_selects_nothing(loaded_base: BaseModel) -> None:
    single = make_task(train_wordings=1)
    encoded = encode_task(loaded_base.tokenizer, single, max_length_tokens=64)
    plain = trained(loaded_base, encoded, {})
    assert torch.equal(trained(loaded_base, encoded, {"hard_candidates": 1}), plain)
    assert torch.equal(trained(loaded_base, encoded, {"hard_candidates": 4}), plain)


def test_selection_changes_training_and_sees_no_dropout(loaded_base: BaseModel, encoded: EncodedTask) -> None:
    assert not torch.equal(
        trained(loaded_base, encoded, {"hard_candidates": 4}), trained(loaded_base, encoded, {})
    )
    run = make_run(loaded_base, encoded, {"hard_candidates": 4, "lora_dropout": 0.5})
    with torch.no_grad():
        for weight in run.adapted.parameters.values():
            weight.add_(0.1)
    measured = [run._mean_losses(encoded.train) for _ in range(2)]
    run.step += 1
    assert torch.equal(measured[0], measured[1])
    assert torch.equal(measured[0], run._mean_losses(encoded.train))
    assert run.adapted.model.training


# Interruptions


_OPTIONS: dict[str, Config] = {
    "options": {
        "neftune_noise_alpha": 5.0,
        "label_smoothing_factor": 0.1,
        "prompt_loss_weight": 0.3,
        "hard_candidates": 3,
        "max_grad_norm": 0.3,
        "weight_decay": 0.1,
        "lora_dropout": 0.2,
    },
    # Large enough weights that their state is really kept in 8 bits.
    "adamw_8bit": {"peft_method": "full", "optim": "adamw_8bit", "weight_decay": 0.1},
    "paged_lion_8bit": {"peft_method": "full", "optim": "paged_lion_8bit", "weight_decay": 0.1},
}


@pytest.mark.parametrize("name", _OPTIONS)
def test_a_run_continues_from_a_checkpoint_on_disk_bit_for_bit(
    loaded_base: BaseModel, encoded: EncodedTask, tmp_path: Path, name: str
) -> None:
    config, store = _OPTIONS[name], CheckpointStore(tmp_path)
    whole = make_run(loaded_base, encoded, config)
    first = whole.train_epoch()
    store.save(whole.checkpoint(), attempt=0)
    second = whole.train_epoch()
    resumed = make_run(loaded_base, encoded, config)
    kept = store.newest(resumed.trial.trial_id, 0)
    assert kept is not None
    has_8bit_state = any(tensor.dtype == torch.uint8 for tensor in kept.optimizer_tensors.values())
    assert has_8bit_state == name.endswith("8bit")
    resumed.restore(kept)
    assert resumed.train_epoch() == second != first
    assert torch.equal(weights_of(resumed), weights_of(whole))
