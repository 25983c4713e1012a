"""LoRA adapters around a structure copy of the base: where they go, how they start, what they drop.

PEFT defines the modules, their initialisation and the file format. What it draws from global random streams
is keyed here: the initialisation by the trial, the dropout masks by trial, step, micro-batch and layer.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from orchestrator.contracts import InvalidConfigError
from workers.models.base import BaseModel
from workers.training.hyperparameters import Hyperparameters
from workers.training.keys import keyed_seed

_ADAPTER = "default"

_ROLES: dict[str, tuple[frozenset[str], ...]] = {
    "qv": (frozenset({"qkv_proj"}), frozenset({"q_proj", "v_proj"})),
    "attn": (
        frozenset({"qkv_proj", "o_proj"}),
        frozenset({"q_proj", "k_proj", "v_proj", "o_proj"}),
    ),
    "mlp": (frozenset({"gate_up_proj", "down_proj"}), frozenset({"gate_proj", "up_proj", "down_proj"})),
}
"""Each role's names in the architectures we map: fused as in Phi-3, apart as in Llama and Qwen."""


def target_module_names(model: torch.nn.Module, role: str) -> list[str]:
    """Map a role to the names of this model's linear layers.

    Args:
        model: A causal language model without adapters.
        role: ``qv``, ``attn``, ``mlp`` or ``all-linear`` (attention and MLP; never embeddings or the head).

    Returns:
        The last parts of the modules' names, sorted.

    Raises:
        InvalidConfigError: The model has no such layers under a name we know.
    """
    present = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    chosen: set[str] = set()
    for part in ("attn", "mlp") if role == "all-linear" else (role,):
        names = next((option for option in _ROLES[part] if option <= present), None)
        if names is None:
            raise InvalidConfigError(
                f"target_modules = {role}: this model has no {part} layers under a known name; "
                f"its linear layers are {', '.join(sorted(present))}"
            )
        chosen |= names
    return sorted(chosen)


@dataclass(slots=True)
class DropoutClock:
    """Where in its training a trial is: the key of the next dropout masks."""

    trial_id: str
    step: int = 0
    micro_batch: int = 0


class KeyedDropout(torch.nn.Module):
    """Dropout whose mask is a function of trial, step, micro-batch and layer, and of nothing else."""

    def __init__(self, probability: float, layer: str, clock: DropoutClock) -> None:
        super().__init__()
        self._keep = 1.0 - probability
        self._layer = layer
        self._clock = clock

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Zero values at random and scale up the rest in training; return them unchanged in evaluation."""
        if not self.training:
            return values
        clock = self._clock
        seed = keyed_seed(clock.trial_id, "dropout", clock.step, clock.micro_batch, self._layer)
        generator = torch.Generator(device=values.device).manual_seed(seed)
        mask = torch.empty_like(values, requires_grad=False).bernoulli_(self._keep, generator=generator)
        return values * mask.div_(self._keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A base model's structure copy with one trial's adapter in it."""

    peft_model: PeftModel
    parameters: dict[str, torch.nn.Parameter]
    """The adapter's trainable weights by name, in the order of the model."""
    clock: DropoutClock

    @property
    def model(self) -> PreTrainedModel:
        """The causal language model within, whose linear layers carry the adapter."""
        inner: PreTrainedModel = self.peft_model.base_model.model
        return inner


def add_adapter(base: BaseModel, hyper: Hyperparameters, trial_id: str) -> Adapted:
    """Put a fresh adapter around a structure copy of the base.

    Args:
        base: The shared base; it is not changed.
        hyper: Rank, scale, dropout and targets.
        trial_id: Key of the initialisation and of the dropout.

    Returns:
        The adapted model, in training mode. Targets that the base lacks are refused by
        ``target_module_names``.
    """
    config = LoraConfig(
        r=hyper.lora_r,
        lora_alpha=hyper.lora_alpha,
        lora_dropout=hyper.lora_dropout,
        target_modules=target_module_names(base.model, hyper.target_modules),
        use_rslora=hyper.use_rslora,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base.location.path_or_id,
        revision=base.location.revision,
    )
    model = base.structure_copy()
    devices = [base.device] if base.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        # transformers 5.23 deprecates a property that peft 0.21.2 reads.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        torch.manual_seed(keyed_seed(trial_id, "adapter"))
        peft_model: Any = get_peft_model(model, config, adapter_name=_ADAPTER)
    clock = DropoutClock(trial_id)
    if hyper.lora_dropout > 0:
        for name, module in peft_model.named_modules():
            if isinstance(module, LoraLayer):
                module.lora_dropout[_ADAPTER] = KeyedDropout(hyper.lora_dropout, name, clock)
    peft_model.train()
    parameters = {name: weight for name, weight in peft_model.named_parameters() if weight.requires_grad}
    return Adapted(peft_model=peft_model, parameters=parameters, clock=clock)
