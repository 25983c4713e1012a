"""What one micro-batch keeps for its backward pass: of the base, of the adapters, of the loss.

Notation: a layer takes ``n`` numbers a place and gives ``m``; ``e`` is the bytes of an activation, 4 or 2;
``r`` is a rank. Adapters compute in float32, whatever the base computes in.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from workers.footprint.tracing import Places, Trace
from workers.footprint.trained import Layers, adapted_layers
from workers.footprint.weights import quantised_layers
from workers.methods.roles import targeted
from workers.methods.support import scaled_inputs
from workers.models.architectures import PLAIN_LAYERS, SANDWICHED_LAYERS
from workers.models.facts import ModelFacts
from workers.training.hyperparameters import Hyperparameters

FLOAT = 4
"""Bytes of a number in float32."""
_CAPPED_LOGITS = frozenset({"gemma2"})
"""Model types that bound their logits by a tangent, and keep its results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The shape of a micro-batch."""

    rows: int
    places: Places
    """Of every row, padding and virtual tokens included."""
    targets: int
    """Places whose next token is learned, of all rows."""


@dataclass(frozen=True, slots=True)
class _Use:
    """A linear layer's part in a micro-batch."""

    n: int
    m: int
    places: int
    """Of all rows together."""
    keeps_input: bool
    """Whether its input, if kept as it is, is kept for this layer's sake alone."""


def kept_bytes(hyper: Hyperparameters, facts: ModelFacts, trace: Trace, e: int, batch: Rows) -> int:
    """Return what a forward pass in training keeps, the loss left out.

    Gradients begin at the first layer that is trained: nothing is kept before it. Behind the last attention,
    the forward pass leaves all but the targets where the architecture is known to allow it.

    Args:
        hyper: The config.
        facts: Of the base model.
        trace: Of the base model in its compute type, with trained weights for ``full``.
        e: Bytes of an activation.
        batch: The micro-batch.

    Returns:
        Bytes.
    """
    layers = adapted_layers(hyper, facts)
    kept = [batch.rows * before for before in trace.kept_bytes(batch.places)]
    first = next((place for place, layer in enumerate(trace.layers) if layer.name in layers), None)
    tail = _tail(trace, facts)
    whole = kept[-1] - (kept[first] if first is not None else 0.0)
    whole -= (kept[-1] - kept[tail]) * (1 - batch.targets / (batch.rows * batch.places.decoder))
    whole += sum(
        _adapter_bytes(hyper, use, name, facts, e) for name, use in _uses(trace, layers, batch, tail)
    )
    if hyper.quant == "int8":
        whole += _int8_bytes(hyper, facts, trace, e, batch, first, tail)
    if hyper.peft_method == "prefix":  # keys and values are kept joined to the text's, and by themselves
        heads = 2 * (facts.heads + facts.kv_heads) * facts.head_dim
        whole += batch.rows * hyper.num_virtual_tokens * facts.layers * heads * e
    if hyper.peft_method == "full" and e < FLOAT:  # each weight as the base's type sees it
        whole += e * sum(n * m for n, m in facts.linear_layers.values())
    return round(whole)


def loss_bytes(hyper: Hyperparameters, facts: ModelFacts, e: int, batch: Rows) -> int:
    """Return what stands at the height of the loss beside what is kept below it.

    Args:
        hyper: The config.
        facts: Of the base model.
        e: Bytes of an activation.
        batch: The micro-batch.

    Returns:
        Bytes of the logits in float32, their logarithms, and the gradients of both.
    """
    numbers = facts.vocabulary * batch.targets
    whole = 4 * FLOAT * numbers
    if facts.model_type in _CAPPED_LOGITS:
        whole += 2 * e * numbers
    if hyper.label_smoothing_factor > 0:
        whole += FLOAT * numbers
    if not leaves_all_but_targets(facts):
        whole += facts.vocabulary * batch.rows * batch.places.decoder * e
    return whole


def leaves_all_but_targets(facts: ModelFacts) -> bool:
    """Whether the forward pass runs the last MLP and the head for the targets only."""
    return facts.model_type in PLAIN_LAYERS | SANDWICHED_LAYERS


def _tail(trace: Trace, facts: ModelFacts) -> int:
    """Return which layer is the last that all places go through; one past the end if all go through all."""
    if not leaves_all_but_targets(facts):
        return len(trace.layers)
    return max(place for place, layer in enumerate(trace.layers) if layer.name.endswith(".o_proj"))


def _uses(trace: Trace, layers: Layers, batch: Rows, tail: int) -> Iterator[tuple[str, _Use]]:
    """Yield the parts that some layers have in a micro-batch, in their order."""
    seen: set[int] = set()
    for place, layer in enumerate(trace.layers):
        if layer.name not in layers:
            continue
        n, m = layers[layer.name]
        per_row = batch.places.encoder if layer.in_encoder else batch.places.decoder
        places = batch.targets if place > tail else batch.rows * per_row
        is_first = layer.input_number not in seen and not layer.input_is_kept
        seen.add(layer.input_number)
        yield layer.name, _Use(n, m, places, is_first)


def _int8_bytes(
    hyper: Hyperparameters, facts: ModelFacts, trace: Trace, e: int, batch: Rows, first: int | None, tail: int
) -> int:
    """Return what LLM.int8 keeps beside all else: every layer's input, even where its weights are frozen."""
    behind = {layer.name for layer in trace.layers[first or 0 :]}
    layers = {name: shape for name, shape in quantised_layers(facts).items() if name in behind}
    adapted = adapted_layers(hyper, facts)
    whole = 0
    for name, use in _uses(trace, layers, batch, tail):
        is_adapted = name in adapted
        rotates_input = is_adapted and hyper.peft_method == "oft"  # and each layer its own
        if rotates_input or (use.keeps_input and not (is_adapted and _keeps_plain_input(hyper, e))):
            whole += e * use.n * use.places
    return whole


def _keeps_plain_input(hyper: Hyperparameters, e: int) -> bool:
    """Whether an adapter keeps its layer's input itself, neither cast nor thinned out."""
    return hyper.peft_method == "lora" and hyper.lora_dropout == 0 and e == FLOAT


def _adapter_bytes(hyper: Hyperparameters, use: _Use, name: str, facts: ModelFacts, e: int) -> int:
    """Return what one adapted layer keeps beside the base."""
    if hyper.peft_method == "ia3":
        kept = 0 if not targeted({name: (use.n, use.m)}, scaled_inputs(facts)) else use.n
        return e * use.places * ((kept if use.keeps_input else 0) if kept else use.m)
    return _OF_LAYER[hyper.peft_method](hyper, use, e)


def _lora(hyper: Hyperparameters, use: _Use, e: int) -> int:
    if hyper.use_dora:
        return _dora(hyper, use, e)
    return use.places * (_input(use, e, has_dropout=hyper.lora_dropout > 0) + FLOAT * hyper.lora_r)


def _dora(hyper: Hyperparameters, use: _Use, e: int) -> int:
    """Return what PEFT's DoRA keeps; with dropout it multiplies the base's weights once more, in float32."""
    has_dropout = hyper.lora_dropout > 0
    frozen_output = FLOAT if has_dropout else e
    whole = _input(use, e, has_dropout=has_dropout) + FLOAT * hyper.lora_r + (frozen_output + FLOAT) * use.m
    copies = has_dropout and (e < FLOAT or hyper.quant != "none")
    return use.places * whole + (FLOAT * use.n * use.m if copies else 0)


def _miss(hyper: Hyperparameters, use: _Use, e: int) -> int:
    return use.places * FLOAT * hyper.miss_r


def _oft(hyper: Hyperparameters, use: _Use, e: int) -> int:
    rotations = 4 * FLOAT * use.n * hyper.oft_block_size  # a skew matrix, its powers and their sum
    return use.places * _input(use, e, has_dropout=False) + rotations


def _vera(hyper: Hyperparameters, use: _Use, e: int) -> int:
    return use.places * FLOAT * (hyper.vera_r + use.m)


def _input(use: _Use, e: int, *, has_dropout: bool) -> int:
    """Return the bytes a place of a layer's input in float32, with the dropout's mask if there is one."""
    if has_dropout:
        return 2 * FLOAT * use.n
    return FLOAT * use.n if e < FLOAT or use.keeps_input else 0


_OF_LAYER: Mapping[str, Callable[[Hyperparameters, _Use, int], int]] = MappingProxyType(
    {"lora": _lora, "miss": _miss, "oft": _oft, "vera": _vera}
)
