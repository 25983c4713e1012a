"""Which layers of a model a role means: the families' names for attention, MLP and what lies within.

A name here is the end of a module's full name, as PEFT matches it: ``attn.c_proj`` is not ``mlp.c_proj``.
"""

from collections.abc import Iterable, Mapping

from orchestrator.contracts import InvalidConfigError

_ROLES: Mapping[str, tuple[frozenset[str], ...]] = {
    "qv": (
        frozenset({"qkv_proj"}),
        frozenset({"q_proj", "v_proj"}),
        frozenset({"q", "v"}),
        frozenset({"c_attn"}),
        frozenset({"query_key_value"}),
    ),
    "attn": (
        frozenset({"qkv_proj", "o_proj"}),
        frozenset({"q_proj", "k_proj", "v_proj", "o_proj"}),
        frozenset({"q_proj", "k_proj", "v_proj", "out_proj"}),
        frozenset({"q_proj", "k_proj", "v_proj", "dense"}),
        frozenset({"q", "k", "v", "o"}),
        frozenset({"c_attn", "attn.c_proj"}),
        frozenset({"query_key_value", "dense"}),
    ),
    "mlp": (
        frozenset({"gate_up_proj", "down_proj"}),
        frozenset({"gate_proj", "up_proj", "down_proj"}),
        frozenset({"wi_0", "wi_1", "wo"}),
        frozenset({"wi", "wo"}),
        frozenset({"fc1", "fc2"}),
        frozenset({"c_fc", "mlp.c_proj"}),
        frozenset({"dense_h_to_4h", "dense_4h_to_h"}),
    ),
    "key and value": (
        frozenset({"qkv_proj"}),
        frozenset({"k_proj", "v_proj"}),
        frozenset({"k", "v"}),
        frozenset({"c_attn"}),
        frozenset({"query_key_value"}),
    ),
    "last mlp": (
        frozenset({"down_proj"}),
        frozenset({"wo"}),
        frozenset({"fc2"}),
        frozenset({"mlp.c_proj"}),
        frozenset({"dense_4h_to_h"}),
    ),
}
"""Each role's names in the architectures we map: fused as in Phi-3 and GPT-2, apart as in Llama and T5. Where
query, key and value are one layer, a role that means some of them means that layer."""

_PARTS: Mapping[str, tuple[str, ...]] = {"all-linear": ("attn", "mlp")}


def target_module_names(linear_layers: Iterable[str], role: str) -> list[str]:
    """Map a role to a model's names for its layers.

    Args:
        linear_layers: Full names of the model's linear layers.
        role: ``qv``, ``attn``, ``mlp`` or ``all-linear`` (attention and MLP; never embeddings or the
            head); or what (IA)^3 scales: ``key and value``, ``last mlp``.

    Returns:
        Ends of the layers' names, sorted.

    Raises:
        InvalidConfigError: The model has no such layers under a name we know.
    """
    layers = list(linear_layers)
    chosen: set[str] = set()
    for part in _PARTS.get(role, (role,)):
        names = next((option for option in _ROLES[part] if all(_any(layers, end) for end in option)), None)
        if names is None:
            present = sorted({name.rpartition(".")[2] for name in layers})
            raise InvalidConfigError(
                f"target_modules = {role}: this model has no {part} layers under a known name; its linear "
                f"layers are {', '.join(present)}"
            )
        chosen |= names
    return sorted(chosen)


def targeted(
    linear_layers: Mapping[str, tuple[int, int]], names: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """Return the layers that names mean, with their features in and out."""
    ends = tuple(names)
    return {layer: shape for layer, shape in linear_layers.items() if any(_is(layer, end) for end in ends)}


def _is(layer: str, end: str) -> bool:
    return layer == end or layer.endswith(f".{end}")


def _any(layers: list[str], end: str) -> bool:
    return any(_is(layer, end) for layer in layers)
