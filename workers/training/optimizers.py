"""Optimizers by transformers' names, with LoRA+'s learning rates; their state as plain tensors and numbers.

What a name means is what transformers' ``Trainer`` makes of it, but for two: ``sgd`` has a momentum, and the
Lions keep the second beta of their paper, 0.99, whatever AdamW's is. Weight decay is decoupled from the
gradient everywhere but in ``sgd``.

The 8-bit optimizers keep the state of weights of 4,096 numbers or more in 8 bits, of smaller ones in 32. All
of them run on CPUs too. Paging is a matter of GPUs: on a CPU a paged optimizer is the same optimizer without
paging, and gives the same numbers.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from typing import Any

import torch

from workers.training.hyperparameters import Hyperparameters

SGD_MOMENTUM = 0.9
BETA1 = 0.9
LION_BETAS = (0.9, 0.99)

_NEVER_DECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Weights that transformers' ``Trainer`` leaves out of the decay, by name in lower case."""
_CONSTANTS = frozenset({"qmap1", "qmap2"})
"""What bitsandbytes keeps in a state and is the same for every weight: its tables of 8-bit values."""

_Groups = list[dict[str, Any]]


class Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum, with decoupled weight decay.

    Source: Chen et al., Symbolic Discovery of Optimization Algorithms (arXiv 2302.06675), algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = LION_BETAS,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the weights that have a gradient; ``closure`` is not supported."""
        if closure is not None:
            raise ValueError("Lion does not evaluate a closure; call backward before step")
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["exp_avg"] = torch.zeros_like(weight)
            averages = [self.state[weight]["exp_avg"] for weight in weights]
            beta1, beta2 = group["betas"]
            updates = torch._foreach_mul(averages, beta1)
            torch._foreach_add_(updates, gradients, alpha=1 - beta1)
            torch._foreach_sign_(updates)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, updates, alpha=-group["lr"])
            torch._foreach_mul_(averages, beta2)
            torch._foreach_add_(averages, gradients, alpha=1 - beta2)


def _fused_adamw(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups,
        lr=hyper.peak_learning_rate,
        betas=(BETA1, hyper.adam_beta2),
        weight_decay=hyper.weight_decay,
        fused=True,
    )


def _bitsandbytes_adamw(
    groups: _Groups, hyper: Hyperparameters, *, bits: int, paged: bool = False
) -> torch.optim.Optimizer:
    from workers.training.paging import PagedAdamW

    made: torch.optim.Optimizer = PagedAdamW(
        groups,
        lr=hyper.peak_learning_rate,
        betas=(BETA1, hyper.adam_beta2),
        weight_decay=hyper.weight_decay,
        optim_bits=bits,
        is_paged=paged and _on_gpu(groups),
    )
    return made


def _bitsandbytes_lion(
    groups: _Groups, hyper: Hyperparameters, *, bits: int, paged: bool = False
) -> torch.optim.Optimizer:
    from workers.training.paging import PagedLion

    made: torch.optim.Optimizer = PagedLion(
        groups,
        lr=hyper.peak_learning_rate,
        betas=LION_BETAS,
        weight_decay=hyper.weight_decay,
        optim_bits=bits,
        is_paged=paged and _on_gpu(groups),
    )
    return made


def _lion(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    return Lion(groups, lr=hyper.peak_learning_rate, weight_decay=hyper.weight_decay)


def _adafactor(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    # Scaling by the weights' size, the usual form, all but stops LoRA: its B matrices start at zero.
    return Adafactor(  # type: ignore[no-untyped-call]
        groups,
        lr=hyper.peak_learning_rate,
        weight_decay=hyper.weight_decay,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )


def _sgd(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, lr=hyper.peak_learning_rate, momentum=SGD_MOMENTUM, weight_decay=hyper.weight_decay
    )


_BUILDERS: dict[str, Callable[[_Groups, Hyperparameters], torch.optim.Optimizer]] = {
    "adamw_torch_fused": _fused_adamw,
    "adamw_8bit": partial(_bitsandbytes_adamw, bits=8),
    "paged_adamw_32bit": partial(_bitsandbytes_adamw, bits=32, paged=True),
    "paged_adamw_8bit": partial(_bitsandbytes_adamw, bits=8, paged=True),
    "lion": _lion,
    "lion_8bit": partial(_bitsandbytes_lion, bits=8),
    "paged_lion_8bit": partial(_bitsandbytes_lion, bits=8, paged=True),
    "adafactor": _adafactor,
    "sgd": _sgd,
}


def build_optimizer(
    parameters: Mapping[str, torch.nn.Parameter],
    hyper: Hyperparameters,
    *,
    undecayed: Set[str] = frozenset(),
) -> torch.optim.Optimizer:
    """Build a trial's optimizer.

    Args:
        parameters: The trained weights by name.
        hyper: Optimizer, learning rate, LoRA+ ratio, weight decay and AdamW's second beta.
        undecayed: Names of weights that are not decayed; see ``undecayed_names``.

    Returns:
        An optimizer whose groups carry ``peak_lr``, which a schedule's factor multiplies.
    """
    members: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for name, weight in parameters.items():
        ratio = hyper.loraplus_lr_ratio if ".lora_B." in name else 1.0
        members.setdefault((ratio, name not in undecayed), []).append(weight)
    groups: _Groups = []
    for (ratio, is_decayed), weights in members.items():
        peak_lr = hyper.peak_learning_rate * ratio
        decay = hyper.weight_decay if is_decayed else 0.0
        groups.append({"params": weights, "lr": peak_lr, "peak_lr": peak_lr, "weight_decay": decay})
    return _BUILDERS[hyper.optim](groups, hyper)


def undecayed_names(model: torch.nn.Module, parameters: Mapping[str, torch.nn.Parameter]) -> Set[str]:
    """Find the weights that transformers' ``Trainer`` does not decay: biases, and those of norms.

    Args:
        model: What the weights belong to.
        parameters: The trained weights by name.

    Returns:
        The names among them.
    """
    norms = {
        id(weight)
        for module in model.modules()
        if isinstance(module, torch.nn.LayerNorm)
        for weight in module.parameters()
    }
    return {
        name
        for name, weight in parameters.items()
        if id(weight) in norms or _NEVER_DECAYED.search(name.lower())
    }


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to its peak times a schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def export_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.nn.Parameter]
) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """Take an optimizer's state apart.

    Args:
        optimizer: Of these parameters.
        parameters: The trained weights by name.

    Returns:
        Tensors under ``NAME|KEY``, shared with the optimizer, and JSON values under NAME and KEY.
    """
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for name, weight in parameters.items():
        for key, value in optimizer.state.get(weight, {}).items():
            if key in _CONSTANTS:
                continue
            if isinstance(value, torch.Tensor):
                tensors[f"{name}|{key}"] = value
            else:
                numbers.setdefault(name, {})[key] = value
    return tensors, numbers


def import_state(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    tensors: Mapping[str, torch.Tensor],
    numbers: Mapping[str, Mapping[str, Any]],
) -> None:
    """Put back what ``export_state`` took apart, into an optimizer that has done no step.

    Args:
        optimizer: Built as the one whose state it was.
        parameters: The trained weights by name.
        tensors: As ``export_state`` returned them; they are copied.
        numbers: As ``export_state`` returned them.
    """
    known = {place.rpartition("|")[0] for place in tensors} | set(numbers)
    _make_buffers(optimizer, {id(parameters[name]) for name in known})
    for name, values in numbers.items():
        optimizer.state[parameters[name]].update(values)
    for place, tensor in tensors.items():
        name, _, key = place.rpartition("|")
        state = optimizer.state[parameters[name]]
        if key in state:
            state[key].copy_(tensor)
        else:
            state[key] = tensor.to(parameters[name].device, copy=True)


def _make_buffers(optimizer: torch.optim.Optimizer, weights: Set[int]) -> None:
    """Let an optimizer of bitsandbytes make the state of these weights: it alone can make what is paged."""
    make: Callable[..., None] | None = getattr(optimizer, "init_state", None)
    if make is None:
        return
    for group_place, group in enumerate(optimizer.param_groups):
        for place, weight in enumerate(group["params"]):
            if id(weight) in weights:
                make(group, weight, group_place, place)


def _on_gpu(groups: _Groups) -> bool:
    return any(weight.device.type != "cpu" for group in groups for weight in group["params"])
