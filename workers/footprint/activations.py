"""What one micro-batch keeps for its backward pass: of the base, of the adapters, of the loss.

Notation: a layer takes ``n`` numbers a place and gives ``m``; ``e`` is the bytes of an activation, 4 or 2;
``r`` is a rank. Adapters compute in float32, whatever the base computes in.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
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
    """A linear layer's part in a forward pass, the same for all layers of a kind."""

    end: str
    """The end of its name."""
    n: int
    m: int
    in_encoder: bool
    is_behind: bool
    """Whether it is run for the targets only."""
    keeps_input: bool
    """Whether its input, if kept as it is, is kept for this layer's sake alone."""

    def places(self, batch: Rows) -> int:
        """Return its places, of all rows together."""
        if self.is_behind:
            return batch.targets
        return batch.rows * (batch.places.encoder if self.in_encoder else batch.places.decoder)


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
    names = {name for name, _, _ in layers}
    first = next((place for place, layer in enumerate(trace.layers) if layer.name in names), None)
    tail = _tail(trace, facts)
    whole = trace.kept_bytes(batch.places, len(trace.layers))
    behind = whole - trace.kept_bytes(batch.places, tail)
    whole -= trace.kept_bytes(batch.places, first) if first is not None else 0.0
    whole *= batch.rows
    whole -= behind * (batch.rows - batch.targets / batch.places.decoder)
    for use, count in _uses(trace, layers, tail):
        whole += count * _adapter_bytes(hyper, facts, use, use.places(batch), e)
    if hyper.quant == "int8":
        reached = {layer.name for layer in trace.layers[first or 0 :]}
        eights = tuple(layer for layer in quantised_layers(facts) if layer[0] in reached)
        ends = {_end(name) for name in names}
        for use, count in _uses(trace, eights, tail):
            whole += count * _int8_bytes(hyper, use, use.places(batch), e, is_adapted=use.end in ends)
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


@lru_cache(maxsize=256)
def _uses(trace: Trace, layers: Layers, tail: int) -> tuple[tuple[_Use, int], ...]:
    """Count the parts that some layers have in a forward pass, by kind."""
    shapes = {name: (n, m) for name, n, m in layers}
    seen: set[int] = set()
    uses: Counter[_Use] = Counter()
    for place, layer in enumerate(trace.layers):
        if layer.name not in shapes:
            continue
        use = _Use(
            _end(layer.name),
            *shapes[layer.name],
            in_encoder=layer.in_encoder,
            is_behind=place > tail,
            keeps_input=layer.input_number not in seen and not layer.input_is_kept,
        )
        uses[use] += 1
        seen.add(layer.input_number)
    return tuple(uses.items())


def _end(name: str) -> str:
    """Return as much of a layer's name as roles tell layers apart by."""
    return ".".join(name.split(".")[-2:])


def _int8_bytes(hyper: Hyperparameters, use: _Use, places: int, e: int, *, is_adapted: bool) -> int:
    """Return what LLM.int8 keeps beside all else: a layer's input, even where its weights are frozen."""
    rotates_input = is_adapted and hyper.peft_method == "oft"  # and each layer its own
    if rotates_input or (use.keeps_input and not (is_adapted and _keeps_plain_input(hyper, e))):
        return places * e * use.n
    return 0


def _keeps_plain_input(hyper: Hyperparameters, e: int) -> bool:
    """Whether an adapter keeps its layer's input itself, neither cast nor thinned out."""
    return hyper.peft_method == "lora" and hyper.lora_dropout == 0 and e == FLOAT


def _adapter_bytes(hyper: Hyperparameters, facts: ModelFacts, use: _Use, places: int, e: int) -> int:
    """Return what one adapted layer keeps beside the base."""
    if hyper.peft_method == "ia3":
        if not targeted({use.end: (use.n, use.m)}, scaled_inputs(facts)):
            return places * e * use.m
        return places * e * use.n if use.keeps_input else 0
    return _OF_LAYER[hyper.peft_method](hyper, use, places, e)


def _lora(hyper: Hyperparameters, use: _Use, places: int, e: int) -> int:
    if hyper.use_dora:
        return _dora(hyper, use, places, e)
    return places * (_input(use, e, has_dropout=hyper.lora_dropout > 0) + FLOAT * hyper.lora_r)


def _dora(hyper: Hyperparameters, use: _Use, places: int, e: int) -> int:
    """Return what PEFT's DoRA keeps; with dropout it multiplies the base's weights once more, in float32."""
    has_dropout = hyper.lora_dropout > 0
    outputs = ((FLOAT if has_dropout else e) + FLOAT) * use.m  # the frozen layer's, and the adapter's
    whole = places * (_input(use, e, has_dropout=has_dropout) + FLOAT * hyper.lora_r + outputs)
    copies_weights = has_dropout and (e < FLOAT or hyper.quant != "none")
    return whole + (FLOAT * use.n * use.m if copies_weights else 0)


def _miss(hyper: Hyperparameters, use: _Use, places: int, e: int) -> int:
    return places * FLOAT * hyper.miss_r


def _oft(hyper: Hyperparameters, use: _Use, places: int, e: int) -> int:
    rotations = 4 * FLOAT * use.n * hyper.oft_block_size  # a skew matrix, its powers and their sum
    return places * _input(use, e, has_dropout=False) + rotations


def _vera(hyper: Hyperparameters, use: _Use, places: int, e: int) -> int:
    return places * FLOAT * (hyper.vera_r + use.m)


def _input(use: _Use, e: int, *, has_dropout: bool) -> int:
    """Return the bytes a place of a layer's input in float32, with the dropout's mask if there is one."""
    if has_dropout:
        return 2 * FLOAT * use.n
    return FLOAT * use.n if e < FLOAT or use.keeps_input else 0


_OF_LAYER: Mapping[str, Callable[[Hyperparameters, _Use, int, int], int]] = MappingProxyType(
    {"lora": _lora, "miss": _miss, "oft": _oft, "vera": _vera}
)
