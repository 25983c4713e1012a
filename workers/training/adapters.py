"""LoRA adapters around a structure copy of the base: where they go, how they start, what they drop.

PEFT defines the modules, their initialisation and the file format; the forward pass is ours. The
initialisation is keyed by the trial, the dropout masks by trial, step, micro-batch and layer.
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
from workers.training.lora import DropoutClock, LoraForward

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A base model's structure copy with one trial's adapter in it."""

    peft_model: PeftModel
    parameters: dict[str, torch.nn.Parameter]
    """The adapter's trainable weights by name, in the order of the model."""
    clock: DropoutClock
    layers: list[LoraForward]
    """The forward passes of the adapted layers."""

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
    layers = []
    for name, module in peft_model.named_modules():
        if isinstance(module, LoraLayer):
            module.forward = LoraForward(
                module.base_layer,
                module.lora_A[_ADAPTER].weight,
                module.lora_B[_ADAPTER].weight,
                scale=module.scaling[_ADAPTER],
                dropout=hyper.lora_dropout,
                name=name,
                clock=clock,
            )
            layers.append(module.forward)
    peft_model.train()
    parameters = {name: weight for name, weight in peft_model.named_parameters() if weight.requires_grad}
    return Adapted(peft_model=peft_model, parameters=parameters, clock=clock, layers=layers)
