"""What a trial trains: an adapter around a structure copy of the shared base, or a copy of all of it.

PEFT defines the modules, their initialisation and the file format; the forward pass of plain LoRA is ours.
All that is random is keyed by the trial: the initialisation, and with step and micro-batch the dropout.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from workers.methods.configs import peft_config
from workers.methods.full import own_model
from workers.methods.initialisation import (
    NEEDS_EXAMPLES,
    REWRITES_BASE,
    choose_examples,
    decompose_by_covariance,
    decompose_quantisation_error,
    own_weights,
    principal_inputs,
)
from workers.methods.roles import targeted
from workers.methods.scaling import replace_scaled_forwards
from workers.methods.support import check_support, target_names
from workers.methods.virtual import PrefixTokens, PromptTokens, begin_prefix_with_words
from workers.models.base import BaseModel
from workers.models.facts import ModelFacts
from workers.training.encoding import EncodedExample
from workers.training.hyperparameters import Hyperparameters
from workers.training.keys import keyed_seed
from workers.training.lora import DropoutClock, LoraForward
from workers.training.virtual import VirtualTokens

ADAPTER = "default"
"""PEFT's name for the one adapter of a model."""
_WRAPPER = "base_model.model."
"""What PEFT puts before the names of a model's modules."""

_VIRTUAL: dict[str, Callable[[PeftModel, int], VirtualTokens]] = {
    "prefix": PrefixTokens,
    "prompt": PromptTokens,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A base model made trainable for one trial; the base itself is not changed."""

    base: BaseModel
    model: PreTrainedModel
    """The language model to run, whose layers carry the adapter."""
    parameters: dict[str, torch.nn.Parameter]
    """The trainable weights by name, in the order of the model: all that a checkpoint needs."""
    clock: DropoutClock
    layers: list[LoraForward] = field(default_factory=list)
    """The forward passes of the adapted layers; none where PEFT's own are used."""
    virtual: VirtualTokens | None = None
    """Places before the text, for prefix and prompt tuning."""
    peft_model: PeftModel | None = None
    """What wraps the model; None for full finetuning."""
    beginnings: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """Of layers whose frozen weights were rewritten: the A and B that were taken out of them."""

    @contextmanager
    def micro_batch(self, step: int, number: int) -> Iterator[None]:
        """Key all dropout while the scope lasts: ours, PEFT's and the base's own.

        Args:
            step: Optimizer steps done before.
            number: Of the micro-batch within the step.

        Yields:
            Nothing; torch's generators are afterwards as they were.
        """
        self.clock.step, self.clock.micro_batch = step, number
        with _keyed(self.base, self.clock.trial_id, "micro-batch", step, number):
            yield


def add_adapter(
    base: BaseModel, hyper: Hyperparameters, trial_id: str, examples: Sequence[EncodedExample] = ()
) -> Adapted:
    """Make a base trainable by a trial's method.

    Args:
        base: The shared base; it is not changed.
        hyper: Method, its options and its targets.
        trial_id: Key of the initialisation and of the dropout.
        examples: The task's training examples; the initialisations ``eva`` and ``corda`` look at some.

    Returns:
        What is trained, in training mode, as a function of the arguments alone. What can't run on this base
        is refused by ``check_support``.
    """
    facts = ModelFacts.of(base.location)
    check_support(hyper, facts)
    clock = DropoutClock(trial_id)
    if hyper.peft_method == "full":
        model, parameters = own_model(base)
        model.train()
        return Adapted(base=base, model=model, parameters=parameters, clock=clock)
    with _keyed(base, trial_id, "adapter"), warnings.catch_warnings():
        # transformers 5.23 deprecates a property that peft 0.21.2 reads.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        peft_model = _wrapped(base, hyper, facts, trial_id, examples)
    peft_model.train()
    if hyper.peft_method == "ia3":
        replace_scaled_forwards(peft_model, ADAPTER)
    begin = _VIRTUAL.get(hyper.peft_method)
    is_plain_lora = hyper.peft_method == "lora" and not hyper.use_dora
    return Adapted(
        base=base,
        model=peft_model.get_base_model(),
        parameters={name: weight for name, weight in peft_model.named_parameters() if weight.requires_grad},
        clock=clock,
        layers=_replace_forwards(peft_model, hyper.lora_dropout, clock) if is_plain_lora else [],
        virtual=begin(peft_model, hyper.num_virtual_tokens) if begin else None,
        peft_model=peft_model,
        beginnings=_beginnings(peft_model) if hyper.init_lora_weights in REWRITES_BASE else {},
    )


def _wrapped(
    base: BaseModel,
    hyper: Hyperparameters,
    facts: ModelFacts,
    trial_id: str,
    examples: Sequence[EncodedExample],
) -> Any:
    """Return a structure copy of the base in PEFT's wrapper, with fresh weights."""
    begins = hyper.init_lora_weights
    if begins in NEEDS_EXAMPLES and not examples:
        raise ValueError(f"init_lora_weights = {begins} looks at examples, and none are given")
    shown = choose_examples(examples, trial_id)
    config = peft_config(
        hyper,
        facts,
        trial_id,
        base_model_name_or_path=base.location.path_or_id,
        revision=base.location.revision,
    )
    layers = list(targeted(facts.linear_layers, target_names(hyper, facts)))
    model = base.structure_copy()
    if begins in REWRITES_BASE:
        own_weights(model, layers)
    if begins == "corda":
        decompose_by_covariance(model, config, shown)
    directions = principal_inputs(model, layers, hyper.lora_r, shown) if begins == "eva" else {}
    peft_model: Any = get_peft_model(model, config, adapter_name=ADAPTER)
    if hyper.peft_method == "prefix":
        begin_prefix_with_words(peft_model, hyper.num_virtual_tokens)
    if hyper.peft_method == "lora":
        # PEFT would begin anew from what these say when the adapter is loaded.
        config.init_lora_weights, config.corda_config = True, None
    adapted: Mapping[str, Any] = dict(_lora_layers(peft_model))
    with torch.no_grad():
        for layer, matrix in directions.items():
            adapted[layer].lora_A[ADAPTER].weight.copy_(matrix)
        if begins == "loftq":
            coarse = {layer: module.base_layer for layer, module in adapted.items()}
            scale = next(iter(adapted.values())).scaling[ADAPTER]
            found = decompose_quantisation_error(base.location, coarse, hyper.lora_r, scale)
            for layer, (a, b) in found.items():
                adapted[layer].lora_A[ADAPTER].weight.copy_(a)
                adapted[layer].lora_B[ADAPTER].weight.copy_(b)
    return peft_model


def _replace_forwards(peft_model: Any, dropout: float, clock: DropoutClock) -> list[LoraForward]:
    """Let LoRA's layers compute their sum our way."""
    layers = []
    for name, module in _lora_layers(peft_model):
        module.forward = LoraForward(
            module.base_layer,
            module.lora_A[ADAPTER].weight,
            module.lora_B[ADAPTER].weight,
            scale=module.scaling[ADAPTER],
            dropout=dropout,
            name=f"{_WRAPPER}{name}",
            clock=clock,
        )
        layers.append(module.forward)
    return layers


def _beginnings(peft_model: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {
        name: (
            module.lora_A[ADAPTER].weight.detach().clone(),
            module.lora_B[ADAPTER].weight.detach().clone(),
        )
        for name, module in _lora_layers(peft_model)
    }


def _lora_layers(peft_model: Any) -> Iterator[tuple[str, Any]]:
    """Yield LoRA's layers under the names that they have in the base."""
    for name, module in peft_model.named_modules():
        if isinstance(module, LoraLayer):
            yield name.removeprefix(_WRAPPER), module


@contextmanager
def _keyed(base: BaseModel, trial_id: str, purpose: str, *where: int) -> Iterator[None]:
    """Seed torch's generators for the scope, and put back what they were."""
    with torch.random.fork_rng(devices=[base.device] if base.device.type == "cuda" else []):
        torch.manual_seed(keyed_seed(trial_id, purpose, *where))
        yield
