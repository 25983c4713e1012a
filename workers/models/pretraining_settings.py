"""What decides the numbers of a pretrained base model, beside its seed."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.contracts import InputError
from workers.worlds import CorpusMix


class Architecture(StrEnum):
    """Which models can be pretrained."""

    PHI3 = "phi3"
    """``Phi3ForCausalLM``, as the model that ships."""
    T5 = "t5"
    """``T5ForConditionalGeneration``: an encoder reads the question, a decoder answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingSettings:
    """What decides the model's numbers, beside the seed."""

    architecture: Architecture = Architecture.PHI3
    steps: int = 2600
    examples_per_step: int = 112
    learning_rate: float = 3e-3
    """At its highest; a warm-up rises to it, half a cosine falls from it to a tenth."""
    warmup_steps: int = 100
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    prompt_weight: float = 0.3
    """Weight of the loss of a prompt's tokens; an answer's have 1. An encoder predicts none."""
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    """Of an encoder-decoder: so many on each side."""
    heads: int = 4
    threads: int = 1
    log_every: int = 50
    state_every: int = 200
    """Steps between states, and between measurements of recall and guessing."""
    tokenizer_lines: int = 60_000
    mix: CorpusMix = field(default_factory=CorpusMix)

    def __post_init__(self) -> None:
        counts = ("steps", "examples_per_step", "warmup_steps", "threads", "log_every", "state_every")
        sizes = ("hidden_size", "intermediate_size", "layers", "heads")
        problems = [
            f"{name} must be at least 1, got {value}"
            for name in (*counts, *sizes)
            if (value := getattr(self, name)) < 1
        ]
        if self.architecture not in tuple(Architecture):
            problems.append(f"architecture must be {' or '.join(Architecture)}, got {self.architecture!r}")
        if not problems and self.hidden_size % (2 * self.heads):
            problems.append(
                f"hidden_size must be a multiple of {2 * self.heads}, twice the heads, as each takes an even "
                f"share; got {self.hidden_size}"
            )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            problems.append(f"learning_rate must be a positive number, got {self.learning_rate}")
        if problems:
            raise InputError(*problems)
