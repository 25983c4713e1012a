"""Full finetuning: a model whose weights are all its own, in float32 whatever type it computes in."""

import torch
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from workers.models.base import BaseModel


def own_model(base: BaseModel) -> tuple[PreTrainedModel, dict[str, torch.nn.Parameter]]:
    """Return a trainable copy of a base.

    Small steps would be lost in bfloat16. So the weights that are trained are in float32, and where the base
    computes in another type, the modules see them cast to it: as autocast does, for every operation.

    Args:
        base: Unquantised; it is not changed.

    Returns:
        The model, and its weights by name; tied ones stay tied and are listed once.
    """
    model = base.structure_copy()
    parameters: dict[str, torch.nn.Parameter] = {}
    own: dict[int, torch.nn.Parameter] = {}
    for name, weight in model.named_parameters():
        own[id(weight)] = parameters[name] = torch.nn.Parameter(weight.detach().float().clone())
    for module in list(model.modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, own[id(weight)])
            if weight.dtype != torch.float32:
                parametrize.register_parametrization(module, name, _Cast(weight.dtype), unsafe=True)
    return model, parameters


def finished_model(base: BaseModel, parameters: dict[str, torch.nn.Parameter]) -> PreTrainedModel:
    """Return a model with trained weights in the base's type, as it is saved.

    Args:
        base: That they began as.
        parameters: As ``own_model`` named them.

    Returns:
        The model, without anything of the training in it.
    """
    model = base.structure_copy()
    trained = {
        id(weight): torch.nn.Parameter(parameters[name].detach().to(weight.dtype), requires_grad=False)
        for name, weight in model.named_parameters()
    }
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, trained[id(weight)])
    return model


class _Cast(torch.nn.Module):
    """A weight as its module sees it."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight in another type."""
        return weight.to(self._dtype)
