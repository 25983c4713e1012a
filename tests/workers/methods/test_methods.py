"""What every method promises: keyed, resumable, exact about what it changes, and gone when dropped."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.methods import VARIANTS
from tests.support.tiny import make_task, make_trial
from tests.workers.methods.conftest import LoadFamily
from workers.models.base import BaseModel
from workers.training.adapters import Adapted, add_adapter
from workers.training.encoding import EncodedTask, encode_task
from workers.training.forward import make_batch, target_logits
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import TrialRun

TASK = make_task()


def quant_of(name: str) -> str:
    return "nf4" if name == "loftq" else "none"


def hyper_of(name: str, **more: Any) -> Hyperparameters:
    return Hyperparameters.from_config({**VARIANTS[name], "quant": quant_of(name), **more})


def encoded_for(base: BaseModel) -> EncodedTask:
    return encode_task(base.tokenizer, TASK, max_length_tokens=64)


def make(base: BaseModel, name: str, trial_id: str = "trial", **more: Any) -> Adapted:
    return add_adapter(base, hyper_of(name, **more), trial_id, encoded_for(base).train)


def make_run(base: BaseModel, name: str) -> TrialRun:
    config = {**VARIANTS[name], "quant": quant_of(name), "batch_size": 4}
    trial = make_trial(Path(base.location.path_or_id), TASK, config=config)
    return TrialRun(trial, Hyperparameters.from_config(trial.config), base, encoded_for(base))


@torch.no_grad()
def logits_of(adapted: Adapted) -> torch.Tensor:
    """What it makes of the validation split, in evaluation."""
    was_training = adapted.model.training
    adapted.model.train(False)
    batch = make_batch(adapted.model, encoded_for(adapted.base).validation)
    logits = target_logits(adapted.model, batch, virtual=adapted.virtual)
    adapted.model.train(was_training)
    return logits


def snapshot(base: BaseModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in base.model.state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_trial_is_a_function_of_its_key_and_leaves_base_and_generator_alone(
    load_family: LoadFamily, name: str
) -> None:
    base = load_family("phi3", quant_of(name))
    before, structure = snapshot(base), [type(module) for module in base.model.modules()]
    trained = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        state = torch.random.get_rng_state()
        run = make_run(base, name)
        run.train_epoch()
        assert torch.equal(torch.random.get_rng_state(), state)
        trained.append(run.adapted.parameters)
    for weight_name, weight in trained[0].items():
        assert torch.equal(weight, trained[1][weight_name])
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.model.state_dict().items())
    assert [type(module) for module in base.model.modules()] == structure
    assert not any(weight.requires_grad for weight in base.model.parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_the_trained_weights_alone_bring_a_trial_back(load_family: LoadFamily, name: str) -> None:
    run = make_run(load_family("phi3", quant_of(name)), name)
    run.train_epoch()
    again = make_run(run.adapted.base, name)
    assert not torch.equal(logits_of(again.adapted), logits_of(run.adapted))
    again.load_weights({key: weight.detach().clone() for key, weight in run.adapted.parameters.items()})
    assert torch.equal(logits_of(again.adapted), logits_of(run.adapted))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_dropped_model_is_freed_at_once(load_family: LoadFamily, name: str) -> None:
    adapted = make(load_family("phi3", quant_of(name)), name)
    gone = [weakref.ref(weight) for weight in adapted.parameters.values()]
    gc.disable()
    try:
        del adapted
        assert all(reference() is None for reference in gone)
    finally:
        gc.enable()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("prefix", "prompt", "loftq")])
def test_training_begins_at_the_base(load_family: LoadFamily, name: str) -> None:
    base = load_family("phi3")
    start = logits_of(make(base, name))
    plain = target_logits(base.model, make_batch(base.model, encoded_for(base).validation))
    torch.testing.assert_close(start, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lora", "vera", "prompt", "prefix", "pissa", "eva"])
def test_another_trial_begins_elsewhere(load_family: LoadFamily, name: str) -> None:
    base = load_family("phi3")
    one, other = (make(base, name, trial_id) for trial_id in ("one", "other"))
    assert not torch.equal(first_random_of(one), first_random_of(other))


def first_random_of(adapted: Adapted) -> torch.Tensor:
    """The first weights that are drawn: of VeRA those that are not trained."""
    tensors: dict[str, torch.Tensor] = {**adapted.parameters, **dict(adapted.model.named_buffers())}
    return next(
        (tensor for name, tensor in tensors.items() if "vera_A" in name), next(iter(tensors.values()))
    )


@pytest.mark.parametrize(("family", "name"), [("phi3", "dora"), ("t5", "lora"), ("t5", "full")])
def test_dropout_that_is_not_ours_is_keyed_by_step_and_micro_batch(
    load_family: LoadFamily, family: str, name: str
) -> None:
    base = load_family(family)
    more: dict[str, Any] = {} if name == "full" else {"lora_dropout": 0.5}
    adapted = make(base, name, **more)
    if name == "dora":
        with torch.no_grad():
            for weight in adapted.parameters.values():
                weight.add_(0.1)
    batch = make_batch(adapted.model, encoded_for(base).validation)

    def logits(step: int, number: int) -> torch.Tensor:
        with torch.no_grad(), adapted.micro_batch(step, number):
            return target_logits(adapted.model, batch)

    assert torch.equal(logits(3, 1), logits(3, 1))
    assert not torch.equal(logits(3, 1), logits(3, 2))
    assert not torch.equal(logits(3, 1), logits(4, 1))
