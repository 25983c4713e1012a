"""What is known of architectures beyond what transformers promises of all, by model type. Imports no torch.

Every other causal or encoder-decoder model runs too, by the general way, which takes longer; what has no
general way is refused for it. A type stands here because tests hold it to the general way.
"""

PLAIN_LAYERS = frozenset({"phi3", "llama", "mistral", "qwen2", "qwen3", "gemma"})
"""Layers are attention and MLP, each after a norm and beside a residual, and nothing more."""
SANDWICHED_LAYERS = frozenset({"gemma2", "gemma3_text"})
"""The same, with a second norm behind attention and MLP."""
REWINDABLE = PLAIN_LAYERS | SANDWICHED_LAYERS | {"gpt2"}
"""A key-value cache can be masked from any place on and continued from there: positions are given and not
counted, and layers keep nothing but keys and values."""
PACKABLE = PLAIN_LAYERS | SANDWICHED_LAYERS | {"gpt2"}
"""Examples in one row do not see each other where positions begin anew."""
