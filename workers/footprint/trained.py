"""What a method trains: the shapes of its tensors, exactly, and the frozen ones it brings along.

Notation: a layer takes ``n`` numbers in and gives ``m`` out; ``r`` is a rank, ``b`` the width of a block.
Whatever is trained is in float32, whatever the base computes in.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import prod
from types import MappingProxyType

from workers.methods.initialisation import REWRITES_BASE
from workers.methods.roles import targeted
from workers.methods.support import scaled_inputs, target_names
from workers.models.facts import ModelFacts
from workers.training.hyperparameters import Hyperparameters

TRAINED_BYTES = 4
"""Of a trained number, and of its gradient."""

Shape = tuple[int, ...]
Layers = tuple[tuple[str, int, int], ...]
"""Linear layers by full name, with what they take in and give out."""


def adapted_layers(hyper: Hyperparameters, facts: ModelFacts) -> Layers:
    """Return the linear layers that get an adapter, with their features in and out.

    Args:
        hyper: Method and role.
        facts: Of the base model.

    Returns:
        The layers in the model's order; none for methods that change none. A role that the model lacks is
        refused by ``target_names``.
    """
    return _named(tuple(facts.linear_layers.items()), tuple(target_names(hyper, facts)))


def trained_shapes(hyper: Hyperparameters, facts: ModelFacts) -> Counter[Shape]:
    """Count the tensors that a method trains.

    Args:
        hyper: Method and sizes.
        facts: Of the base model.

    Returns:
        Shape to how many there are. Those of ``full`` are in sum exact, and by shape for the linear layers
        and the embeddings; the rest, norms and biases, stands as one.
    """
    if hyper.peft_method == "full":
        return _all_weights(facts)
    if hyper.peft_method == "prompt":
        return Counter({(hyper.num_virtual_tokens, facts.hidden_size): 1})
    if hyper.peft_method == "prefix":
        return Counter({(hyper.num_virtual_tokens, 2 * facts.layers * facts.kv_heads * facts.head_dim): 1})
    shapes: Counter[Shape] = Counter()
    layers = adapted_layers(hyper, facts)
    if hyper.peft_method == "ia3":
        scaled = targeted(facts.linear_layers, scaled_inputs(facts))
        return Counter((n if name in scaled else m,) for name, n, m in layers)
    for (n, m), count in Counter((n, m) for _, n, m in layers).items():
        for shape in _OF_LAYER[hyper.peft_method](hyper, n, m):
            shapes[shape] += count
    return shapes


def size(shapes: Mapping[Shape, int]) -> int:
    """Return how many numbers the tensors hold together."""
    return sum(prod(shape) * count for shape, count in shapes.items())


def frozen_extra_bytes(hyper: Hyperparameters, facts: ModelFacts, element_bytes: int) -> int:
    """Return the bytes of what a method adds to the base and does not train.

    Args:
        hyper: Method, initialisation and sizes.
        facts: Of the base model.
        element_bytes: Of an unquantised weight of the base.

    Returns:
        Tables of OFT, VeRA's shared matrices, or the trial's own copies of weights that its initialisation
        changes.
    """
    layers = adapted_layers(hyper, facts)
    if hyper.peft_method == "vera":
        widest = max(n for _, n, _ in layers) + max(m for _, _, m in layers)
        return widest * hyper.vera_r * TRAINED_BYTES
    if hyper.peft_method == "oft":  # two tables of a skew matrix's places, in 64 bits
        return len(layers) * 8 * hyper.oft_block_size * (hyper.oft_block_size - 1)
    if hyper.peft_method == "lora" and hyper.init_lora_weights in REWRITES_BASE:
        return sum(n * m for _, n, m in layers) * element_bytes
    return 0


def _lora(hyper: Hyperparameters, n: int, m: int) -> Iterable[Shape]:
    norms: list[Shape] = [(m,)] if hyper.use_dora else []
    return [(hyper.lora_r, n), (m, hyper.lora_r), *norms]


def _miss(hyper: Hyperparameters, n: int, m: int) -> Iterable[Shape]:
    return [(hyper.miss_r, m)]


def _oft(hyper: Hyperparameters, n: int, m: int) -> Iterable[Shape]:
    b = hyper.oft_block_size
    return [(n // b, b * (b - 1) // 2)]


def _vera(hyper: Hyperparameters, n: int, m: int) -> Iterable[Shape]:
    return [(m,), (hyper.vera_r,)]


_OF_LAYER: Mapping[str, Callable[[Hyperparameters, int, int], Iterable[Shape]]] = MappingProxyType(
    {"lora": _lora, "miss": _miss, "oft": _oft, "vera": _vera}
)


def _all_weights(facts: ModelFacts) -> Counter[Shape]:
    shapes: Counter[Shape] = Counter(facts.linear_layers.values())
    if not facts.tied_embeddings:
        shapes[facts.vocabulary, facts.hidden_size] += 1
    shapes[(facts.parameters - size(shapes),)] += 1
    return shapes


@lru_cache(maxsize=256)
def _named(linear_layers: tuple[tuple[str, tuple[int, int]], ...], names: tuple[str, ...]) -> Layers:
    return tuple((name, n, m) for name, (n, m) in targeted(dict(linear_layers), names).items())
