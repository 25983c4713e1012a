"""The meta-features by name: unit, meaning, and when they are measured."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

VERSION = 2
"""Grows when the same task gives another value, or another set of names, than before."""
REFERENCE_BATCH = 16
"""Examples of a step, for ``steps_per_epoch``."""
SHORT_ANSWER_TOKENS = 5
"""Tokens up to which an answer is short, its end mark aside."""


class When(enum.StrEnum):
    """What a feature can be measured with."""

    ALWAYS = "always"
    WITHOUT_BASE = "without a base model"
    WITH_BASE = "with a base model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What one number says."""

    unit: str
    meaning: str
    when: When
    is_timed: bool = False
    """Whether it comes from a clock, and so differs between two measurements of the same task."""


def _always(unit: str, meaning: str) -> Feature:
    return Feature(unit=unit, meaning=meaning, when=When.ALWAYS)


def _without_base(unit: str, meaning: str) -> Feature:
    return Feature(unit=unit, meaning=meaning, when=When.WITHOUT_BASE)


def _with_base(unit: str, meaning: str, *, is_timed: bool = False) -> Feature:
    return Feature(unit=unit, meaning=meaning, when=When.WITH_BASE, is_timed=is_timed)


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        # Size.
        "train_examples": _always("examples", "examples of the train split"),
        "validation_examples": _always("examples", "examples of the validation split"),
        "test_examples": _always("examples", "examples of the test split"),
        "steps_per_epoch": _always(
            "steps", f"optimizer steps of an epoch at {REFERENCE_BATCH} examples a step"
        ),
        "train_prompt_tokens": _with_base("tokens", "tokens of all training prompts, chat marks included"),
        "train_answer_tokens": _with_base("tokens", "tokens of all training answers, end marks included"),
        # Length.
        "prompt_words_mean": _without_base("words", "mean words of a training prompt"),
        "answer_words_mean": _without_base("words", "mean words of a training answer"),
        "prompt_tokens_mean": _with_base("tokens", "mean tokens of a training prompt, chat marks included"),
        "prompt_tokens_p95": _with_base("tokens", "95th percentile of a training prompt's tokens"),
        "answer_tokens_mean": _with_base("tokens", "mean tokens of a training answer, end mark included"),
        "answer_tokens_p95": _with_base("tokens", "95th percentile of a training answer's tokens"),
        "answer_prompt_ratio": _with_base(
            "ratio", "tokens of all training answers over those of all prompts"
        ),
        # What kind of answers there are.
        "distinct_answers_share": _always("share", "different training answers over training examples"),
        "answer_entropy_bits": _always("bits", "entropy of the distribution of training answers"),
        "answer_entropy": _always("share", "that entropy over the highest that so many examples can have"),
        "short_answers_share": _with_base(
            "share", f"training answers of at most {SHORT_ANSWER_TOKENS} tokens, end mark aside"
        ),
        "digit_answers_share": _always("share", "training answers that hold a digit"),
        "code_answers_share": _always("share", "training answers that look like program code or markup"),
        "list_answers_share": _always("share", "training answers that look like a list of items"),
        # How much the rows repeat or contradict one another.
        "wordings_per_fact": _always(
            "examples", "training examples for each fact; questions count as facts where none is named"
        ),
        "compression_ratio": _always(
            "ratio", "bytes of the training text, compressed by zlib over plain; lower repeats more"
        ),
        "near_duplicates_share": _always(
            "share", "training examples that share four fifths of their text with another, by MinHash"
        ),
        "answer_overlap": _always("share", "mean share of a training answer's words that its prompt holds"),
        "answer_disagreement": _always(
            "share", "training examples whose answer is not their fact's most frequent"
        ),
        # What the base model makes of them.
        "zero_shot_loss": _with_base(
            "nats per answer token", "mean loss of the untrained base model on validation examples"
        ),
        "zero_shot_loss_sd": _with_base(
            "nats per answer token", "standard deviation of that loss between examples"
        ),
        "zero_shot_exact_match": _with_base(
            "share", "validation examples that the untrained base model answers right"
        ),
        "zero_shot_token_f1": _with_base("score in [0, 1]", "mean token F1 of those answers"),
        "gradient_norm": _with_base(
            "nats per answer token",
            "norm of the gradient of the mean training loss, on the weights of a fresh default adapter",
        ),
        "probe_loss_drop": _with_base(
            "nats per answer token",
            "zero-shot loss minus the loss on the same examples after a short finetuning",
        ),
        # Model and hardware.
        "model_parameters": _with_base("weights", "weights of the base model"),
        "model_hidden_size": _with_base("features", "width of the base model's hidden states"),
        "model_layers": _with_base("layers", "layers of the base model, those of an encoder included"),
        "model_weight_bits": _with_base("bits", "bits of a weight of the unquantised base model"),
        "device_is_gpu": _with_base("0 or 1", "whether the base model lies on a GPU"),
        "probe_tokens_per_s": _with_base(
            "tokens per second", "speed of the short finetuning, padding not counted", is_timed=True
        ),
    }
)
"""Name to what it says. Shares and scores lie in [0, 1]."""


def names_measured(*, with_base: bool) -> frozenset[str]:
    """Return the names that a measurement with, or without, a base model gives."""
    left_out = When.WITHOUT_BASE if with_base else When.WITH_BASE
    return frozenset(name for name, feature in FEATURES.items() if feature.when is not left_out)
