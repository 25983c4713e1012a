"""Optimizers by name, with the learning rates of LoRA+ and a state that is plain tensors and numbers."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from workers.training.hyperparameters import Hyperparameters

SGD_MOMENTUM = 0.9

_Groups = list[dict[str, Any]]


class Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum, with decoupled weight decay.

    Source: Chen et al., Symbolic Discovery of Optimization Algorithms (arXiv 2302.06675), algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
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
    return torch.optim.AdamW(groups, lr=hyper.learning_rate, weight_decay=hyper.weight_decay, fused=True)


def _adamw_8bit(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    import bitsandbytes

    made: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        groups, lr=hyper.learning_rate, weight_decay=hyper.weight_decay
    )
    return made


def _lion(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    return Lion(groups, lr=hyper.learning_rate, weight_decay=hyper.weight_decay)


def _adafactor(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    # Scaling by the weights' size, the usual form, all but stops LoRA: its B matrices start at zero.
    return Adafactor(  # type: ignore[no-untyped-call]
        groups,
        lr=hyper.learning_rate,
        weight_decay=hyper.weight_decay,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )


def _sgd(groups: _Groups, hyper: Hyperparameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, lr=hyper.learning_rate, momentum=SGD_MOMENTUM, weight_decay=hyper.weight_decay
    )


_BUILDERS: dict[str, Callable[[_Groups, Hyperparameters], torch.optim.Optimizer]] = {
    "adamw_torch_fused": _fused_adamw,
    "adamw_8bit": _adamw_8bit,
    "lion": _lion,
    "adafactor": _adafactor,
    "sgd": _sgd,
}


def build_optimizer(
    parameters: Mapping[str, torch.nn.Parameter], hyper: Hyperparameters
) -> torch.optim.Optimizer:
    """Build a trial's optimizer.

    Args:
        parameters: The adapter's weights by name.
        hyper: Optimizer, learning rate, LoRA+ ratio and weight decay.

    Returns:
        An optimizer whose groups carry ``peak_lr``, which a schedule's factor multiplies.
    """
    ratios: dict[float, list[torch.nn.Parameter]] = {}
    for name, weight in parameters.items():
        ratio = hyper.loraplus_lr_ratio if ".lora_B." in name else 1.0
        ratios.setdefault(ratio, []).append(weight)
    groups: _Groups = [
        {"params": weights, "lr": hyper.learning_rate * ratio, "peak_lr": hyper.learning_rate * ratio}
        for ratio, weights in ratios.items()
    ]
    return _BUILDERS[hyper.optim](groups, hyper)


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
        parameters: The adapter's weights by name.

    Returns:
        Tensors under ``NAME|KEY``, and JSON values under NAME and KEY.
    """
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for name, weight in parameters.items():
        for key, value in optimizer.state.get(weight, {}).items():
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
    """Put back what ``export_state`` took apart; the arguments are its, and its results."""
    for name, values in numbers.items():
        optimizer.state[parameters[name]].update(values)
    for place, tensor in tensors.items():
        name, _, key = place.rpartition("|")
        weight = parameters[name]
        # Step counters stay where the optimizer made them; all else lies beside its weight.
        optimizer.state[weight][key] = (
            tensor.clone() if tensor.dim() == 0 else tensor.to(weight.device, copy=True)
        )
