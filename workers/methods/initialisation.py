"""How LoRA's matrices begin where that takes more than PEFT's config: examples, or what nf4 took away.

Cost: ``eva`` and ``corda`` run ``INITIALISATION_EXAMPLES`` examples forward, one at a time, and decompose one
matrix a layer (for ``eva`` of tokens by inputs, for ``corda`` three of inputs by inputs); ``loftq`` reads the
layers' unquantised weights from disk and decomposes one of outputs by inputs a layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.utils.incremental_pca import IncrementalPCA
from transformers import PreTrainedModel

from orchestrator.contracts import InvalidConfigError
from workers.models.location import ModelLocation
from workers.models.weights import read_weights
from workers.training.encoding import EncodedExample
from workers.training.keys import keyed_order

INITIALISATION_EXAMPLES = 64
"""Training examples, at most, that ``eva`` and ``corda`` look at."""
NEEDS_EXAMPLES = frozenset({"eva", "corda"})
REWRITES_BASE = frozenset({"pissa_niter_16", "olora", "corda"})
"""Initialisations that move a part of the base's weights into the adapter."""

_PCA_TOKENS = 512
"""Inputs of a layer that are decomposed at once, at least."""


def own_weights(model: PreTrainedModel, layers: Iterable[str]) -> None:
    """Give layers weights of their own, equal to the shared ones, for PEFT to write into."""
    for layer in layers:
        module: Any = model.get_submodule(layer)
        module.weight = torch.nn.Parameter(module.weight.detach().clone(), requires_grad=False)


def choose_examples(examples: Sequence[EncodedExample], trial_id: str) -> list[EncodedExample]:
    """Return the training examples that an initialisation looks at: a keyed choice."""
    order = keyed_order(len(examples), trial_id, "initialisation")
    return [examples[index] for index in order[:INITIALISATION_EXAMPLES]]


def decompose_by_covariance(
    model: PreTrainedModel, config: LoraConfig, examples: Sequence[EncodedExample]
) -> None:
    """Leave with the layers what PEFT's ``corda`` begins with (in its instruction-previewed mode).

    Args:
        model: A structure copy of the base, not yet wrapped.
        config: Names the layers and the rank.
        examples: At least one.
    """
    with torch.no_grad():
        preprocess_corda(model, config, run_model=partial(_run, model, examples))


def principal_inputs(
    model: PreTrainedModel, layers: Iterable[str], rank: int, examples: Sequence[EncodedExample]
) -> dict[str, torch.Tensor]:
    """Return the directions in which the layers' inputs vary most: what ``eva`` begins with.

    PEFT's own search runs until its directions stand still, which those of equal variance never do, and moves
    ranks from layer to layer; this one is a single pass and keeps the rank of every layer.

    Args:
        model: A structure copy of the base, not yet wrapped.
        layers: Full names.
        rank: Directions wanted.
        examples: At least one; all their tokens count.

    Returns:
        Layer to a matrix of shape ``(rank, inputs)`` with orthonormal rows.

    Raises:
        InvalidConfigError: The examples have fewer tokens than directions are wanted.
    """
    searches = {layer: _InputSearch(rank) for layer in layers}
    handles = [
        model.get_submodule(layer).register_forward_pre_hook(search.see) for layer, search in searches.items()
    ]
    try:
        with torch.no_grad():
            _run(model, examples)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: search.directions() for layer, search in searches.items()}


class _InputSearch:
    """Incremental principal components of one layer's inputs."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._search = IncrementalPCA(n_components=rank, lowrank=False)
        self._seen: list[torch.Tensor] = []

    def see(self, _layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Take the inputs of a forward pass; once there are enough, add them to the decomposition."""
        self._seen.append(inputs[0].detach().reshape(-1, inputs[0].shape[-1]).float())
        if sum(len(seen) for seen in self._seen) >= max(_PCA_TOKENS, self._rank):
            self._add()

    def directions(self) -> torch.Tensor:
        """Return the first directions, shape ``(rank, inputs)``."""
        waiting = sum(len(seen) for seen in self._seen)
        is_first = not hasattr(self._search, "components_")
        if is_first and waiting < self._rank:
            raise InvalidConfigError(
                f"init_lora_weights = eva with lora_r = {self._rank}: the task's first examples have only "
                f"{waiting} tokens to find directions in; take a lower rank or another initialisation"
            )
        if waiting >= self._rank:
            self._add()
        components: torch.Tensor = self._search.components_
        return components.float()

    def _add(self) -> None:
        self._search.partial_fit(torch.cat(self._seen))
        self._seen.clear()


def decompose_quantisation_error(
    location: ModelLocation, layers: Mapping[str, torch.nn.Module], rank: int, scale: float
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return adapters that give back most of what nf4 took from weights: what ``loftq`` begins with.

    Args:
        location: Of the unquantised weights.
        layers: Full names to layers; those that transformers left unquantised, as T5's ``wo``, lost nothing.
        rank: Of the adapters.
        scale: That the adapters' product will be multiplied with.

    Returns:
        Quantised layer to A, shape ``(rank, inputs)``, and B, shape ``(outputs, rank)``, in float32:
        ``scale * B @ A`` is the best approximation of its rank to the error.
    """
    from bitsandbytes.functional import dequantize_4bit

    quantised: dict[str, Any] = {
        f"{name}.weight": layer.weight
        for name, layer in layers.items()
        if hasattr(layer.weight, "quant_state")
    }
    found = {}
    for name, weight in read_weights(location, quantised):
        coarse = quantised[name]
        kept = dequantize_4bit(coarse.data, coarse.quant_state).float()
        error = weight.to(kept.device, torch.float32) - kept
        left, sizes, right = torch.linalg.svd(error, full_matrices=False)
        roots = sizes[:rank].sqrt()
        found[name.removesuffix(".weight")] = (roots[:, None] * right[:rank], left[:, :rank] * roots / scale)
    return found


def _run(model: PreTrainedModel, examples: Sequence[EncodedExample]) -> None:
    """Run examples through a model one at a time, without padding and without dropout."""
    forward = _encoded_apart if model.config.is_encoder_decoder else _in_one
    was_training = model.training
    model.train(False)
    for example in examples:
        model(**forward(example, model.device))
    model.train(was_training)


def _in_one(example: EncodedExample, device: torch.device) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.tensor([example.tokens], device=device)}


def _encoded_apart(example: EncodedExample, device: torch.device) -> dict[str, torch.Tensor]:
    prompt = example.tokens[: example.prompt_tokens]
    return {
        "input_ids": torch.tensor([prompt], device=device),
        "labels": torch.tensor([example.answer_tokens], device=device),
    }
