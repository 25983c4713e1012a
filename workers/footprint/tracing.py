"""What a frozen base keeps of a forward pass until the backward pass, found by a pass without values.

The model is built on torch's meta device, where tensors have shapes and no memory, and run with gradients
at its input. Whatever autograd saves is written down. Attention counts as a fused kernel keeps it: queries,
keys, values, result, one number for each place and head, and its mask; models that need another attention
run it.

Bytes of a row grow with its places and with pairs of them, so a few short passes tell those of any length.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from workers.models.facts import ModelFacts, attends_by_sdpa, model_class, read_config
from workers.models.location import ModelLocation

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ROWS = ((8, 16), (8, 24), (16, 8), (16, 24), (24, 40))
"""Places in encoder and decoder of the passes; without an encoder, the first two decoders' are enough."""

Bytes = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Places:
    """How long a row is: its places in the encoder, 0 where there is none, and in the decoder."""

    encoder: int
    decoder: int

    @property
    def terms(self) -> Bytes:
        """What bytes grow with."""
        encoder, decoder = float(self.encoder), float(self.decoder)
        return np.array([encoder, decoder, encoder**2, encoder * decoder, decoder**2])


@dataclass(frozen=True, slots=True)
class TracedLayer:
    """A linear layer as the pass met it."""

    name: str
    in_encoder: bool
    """Whether its rows are the encoder's places."""
    input_number: int
    """Layers fed by the same tensor have the same number."""
    input_is_kept: bool
    """Whether something else keeps its input anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What one forward pass keeps."""

    layers: tuple[TracedLayer, ...]
    """In the order in which they were run."""
    _growth: Bytes
    """Shape ``(layers + 1, terms)``: what is kept before each layer and, last, altogether."""

    def kept_bytes(self, places: Places, before: int) -> float:
        """Return what a row keeps before a layer is run; past the last layer: altogether."""
        return float(self._growth[before] @ places.terms)


@lru_cache(maxsize=16)
def trace_base(location: ModelLocation, dtype: str, *, trains_weights: bool = False) -> Trace:
    """Trace a base; done once for each model and type in a process.

    Args:
        location: The model's files, of which config.json is read.
        dtype: ``float32`` or ``bfloat16``: of the activations.
        trains_weights: Whether the base's own weights take gradients, as in full finetuning.

    Returns:
        The trace. A model that can't be read is refused as by ``read_config``.
    """
    config = read_config(location)
    with torch.device("meta"):
        attention = "sdpa" if attends_by_sdpa(config) else "eager"
        model = model_class(config).from_config(config, dtype=_DTYPES[dtype], attn_implementation=attention)
    model.requires_grad_(trains_weights)
    rows = [Places(0, decoder) for _, decoder in _ROWS[:2]]
    if config.is_encoder_decoder:
        rows = [Places(encoder, decoder) for encoder, decoder in _ROWS]
    passes = [_Pass(model, ModelFacts.of(location).linear_layers, row) for row in rows]
    terms = np.array([row.terms for row in rows])
    growth = np.linalg.lstsq(terms, np.array([one.kept for one in passes], dtype=float), rcond=None)[0]
    return Trace(passes[0].layers(), growth.T)


class _Pass:
    """One forward pass without values."""

    def __init__(self, model: Any, layers: Iterable[str], row: Places) -> None:
        self.kept: list[int] = []
        """Bytes kept before each linear layer and, last, altogether."""
        self._row = row
        self._total = 0
        self._kept_addresses: set[int] = set()
        self._weights = {_address(weight) for weight in (*model.parameters(), *model.buffers())}
        self._inputs: list[tuple[str, torch.Tensor]] = []
        self._alive: list[torch.Tensor] = []
        hooks = [
            model.get_submodule(name).register_forward_pre_hook(partial(self._enter, name)) for name in layers
        ]
        with _FusedAttention(), torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
            self._alive.append(_run(model, row))
        for hook in hooks:
            hook.remove()
        self.kept.append(self._total)

    def layers(self) -> tuple[TracedLayer, ...]:
        """Return the linear layers in the order in which they were run."""
        numbers: dict[int, int] = {}
        return tuple(
            TracedLayer(
                name=name,
                in_encoder=taken.shape[-2] == self._row.encoder,
                input_number=numbers.setdefault(_address(taken), len(numbers)),
                input_is_kept=_address(taken) in self._kept_addresses,
            )
            for name, taken in self._inputs
        )

    def _enter(self, name: str, _layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.kept.append(self._total)
        self._inputs.append((name, inputs[0]))

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        address = _address(tensor)
        if address not in self._weights and address not in self._kept_addresses:
            self._kept_addresses.add(address)
            self._total += tensor.untyped_storage().nbytes()
            self._alive.append(tensor)  # or another tensor takes its address
        return tensor


def _run(model: Any, row: Places) -> torch.Tensor:
    """Run a model up to its last hidden states over one row, with gradients at the embeddings."""
    hidden = model.get_input_embeddings().embedding_dim

    def embedded(places: int) -> torch.Tensor:
        return torch.empty(1, places, hidden, dtype=model.dtype, device="meta", requires_grad=True)

    def mask(queries: int, keys: int) -> torch.Tensor:
        is_fused = model.config._attn_implementation == "sdpa"
        dtype = torch.bool if is_fused else model.dtype
        return torch.zeros(1, 1, queries, keys, dtype=dtype, device="meta")

    with torch.device("meta"):
        if not row.encoder:
            inner = model.base_model
            options = {"attention_mask": mask(row.decoder, row.decoder), "use_cache": False}
            return inner(inputs_embeds=embedded(row.decoder), **options)[0]  # type: ignore[no-any-return]
        read = model.get_encoder()(
            inputs_embeds=embedded(row.encoder), attention_mask=mask(row.encoder, row.encoder)
        )[0]
        return model.get_decoder()(  # type: ignore[no-any-return]
            inputs_embeds=embedded(row.decoder),
            attention_mask=mask(row.decoder, row.decoder),
            encoder_hidden_states=read,
            encoder_attention_mask=mask(row.decoder, row.encoder),
            use_cache=False,
        )[0]


class _FusedAttention(TorchFunctionMode):
    """Replaces torch's attention by one that keeps what its fused kernels keep."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass on every other function, and attention with dropout: CPUs have no fused kernel for it."""
        options = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention and not options.get("dropout_p"):
            return _KeptByAttention.apply(*args[:3], options.get("attn_mask"))  # type: ignore[no-untyped-call]
        return func(*args, **options)


class _KeptByAttention(torch.autograd.Function):
    """Attention's shapes, and what a fused kernel keeps for its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return a tensor of the result's shape, which kernels lay out as the queries are."""
        result = torch.empty_like(query)
        normalisers = query.new_empty(query.shape[:-1], dtype=torch.float32)
        kept = [query, key, value, result, normalisers]
        if mask is not None:  # one of bits is made into numbers, layer by layer
            kept.append(mask.new_empty(mask.shape, dtype=query.dtype) if mask.dtype == torch.bool else mask)
        ctx.save_for_backward(*kept)
        return result


def _address(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
