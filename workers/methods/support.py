"""Which config can run on which model, and why not: answered from plain facts, before weights are loaded.

What can't be together on any model is declared in ``workers.spaces.combinations``, and counted here as well.
"""

from collections.abc import Iterator
from dataclasses import asdict
from math import gcd
from typing import TYPE_CHECKING

from orchestrator.contracts import InvalidConfigError
from workers.methods.roles import target_module_names, targeted
from workers.models.architectures import PACKABLE, REWINDABLE
from workers.spaces import combinations
from workers.training.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from workers.models.facts import ModelFacts  # imports torch

_OF_BOTH_SIDES = ("pissa_niter_16", "olora", "corda", "loftq")
"""Initialisations made of singular vectors, or of a QR decomposition, of a layer's weights."""

_NOT_TRANSPOSED = ("miss", "oft", "olora", "loftq")


def target_names(hyper: Hyperparameters, facts: "ModelFacts") -> list[str]:
    """Return the names of the layers that get an adapter.

    Args:
        hyper: Method and role.
        facts: Of the base model.

    Returns:
        Ends of the layers' names, sorted; none for methods that change no layer. A role that the model lacks
        is refused by ``target_module_names``.
    """
    if hyper.peft_method in ("prefix", "prompt", "full"):
        return []
    if hyper.peft_method == "ia3":
        return sorted([*target_module_names(facts.linear_layers, "key and value"), *scaled_inputs(facts)])
    return target_module_names(facts.linear_layers, hyper.target_modules)


def scaled_inputs(facts: "ModelFacts") -> list[str]:
    """Return the names of the layers whose inputs (IA)^3 scales, not their outputs."""
    return target_module_names(facts.linear_layers, "last mlp")


def refusals(hyper: Hyperparameters, facts: "ModelFacts") -> list[str]:
    """Say why a config can't run on a model.

    Args:
        hyper: Method, targets, initialisation and precision.
        facts: Of the base model.

    Returns:
        One sentence a reason, with the value and what would do; none where the config is valid.
    """
    problems = combinations.refusals(asdict(hyper))
    try:
        layers = targeted(facts.linear_layers, target_names(hyper, facts))
    except InvalidConfigError as error:
        return [*problems, str(error)]
    return [
        *problems,
        *_transposed_misfits(hyper, facts),
        *_misfits(hyper, layers),
        *_virtual_misfits(hyper, facts),
        *_layout_misfits(hyper, facts),
    ]


def check_support(hyper: Hyperparameters, facts: "ModelFacts") -> None:
    """Refuse a config that can't run on a model.

    Args:
        hyper: Method, targets, initialisation and precision.
        facts: Of the base model.

    Raises:
        InvalidConfigError: With all reasons together.
    """
    problems = refusals(hyper, facts)
    if problems:
        raise InvalidConfigError("; ".join(problems))


def _transposed_misfits(hyper: Hyperparameters, facts: "ModelFacts") -> Iterator[str]:
    """Yield what there is not for layers whose weights are inputs by outputs."""
    if not facts.is_transposed:
        return
    named = {"peft_method": hyper.peft_method, "init_lora_weights": hyper.init_lora_weights}
    for name, value in named.items():
        if value in _NOT_TRANSPOSED:
            yield (
                f"{name} = {value} is not made for layers with transposed weights, as {facts.model_type} has "
                "them; take lora with another initialisation, ia3 or vera"
            )


def _misfits(hyper: Hyperparameters, layers: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Yield what does not fit the shapes of the layers."""
    method, begins = hyper.peft_method, hyper.init_lora_weights
    divisor = {"miss": "miss_r", "oft": "oft_block_size"}.get(method)
    if divisor is not None:
        size = getattr(hyper, divisor)
        odd = next((layer for layer, (inputs, _) in layers.items() if inputs % size), None)
        if odd is not None:
            yield (
                f"{divisor} = {size} does not divide the {layers[odd][0]} inputs of {odd}; take a divisor of "
                f"{gcd(*(inputs for inputs, _ in layers.values()))}"
            )
    if method == "lora" and begins in (*_OF_BOTH_SIDES, "eva"):
        sides = {layer: shape[0] if begins == "eva" else min(shape) for layer, shape in layers.items()}
        narrow = min(sides, key=lambda layer: sides[layer])
        if hyper.lora_r > sides[narrow]:
            yield (
                f"lora_r = {hyper.lora_r} with init_lora_weights = {begins}: there are only {sides[narrow]} "
                f"directions in {narrow}; take a lower rank or another initialisation"
            )


def _virtual_misfits(hyper: Hyperparameters, facts: "ModelFacts") -> Iterator[str]:
    """Yield why a model can't have the places that a prefix or a prompt puts before the text."""
    count = hyper.num_virtual_tokens
    if hyper.peft_method == "prefix" and facts.is_encoder_decoder:
        yield (
            f"peft_method = prefix on an encoder-decoder ({facts.model_type}): PEFT would put the "
            "prefix before the answer in the decoder, where it stands for nothing that was asked; take "
            "prompt, which goes before the encoder's text"
        )
    if hyper.peft_method in ("prefix", "prompt") and facts.sliding_window and count >= facts.sliding_window:
        yield (
            f"num_virtual_tokens = {count} fill the {facts.sliding_window} places that the model's layers "
            "with local attention see; take fewer"
        )
    if (
        hyper.peft_method in ("prefix", "prompt")
        and not facts.is_encoder_decoder
        and facts.model_type not in REWINDABLE
    ):
        yield (
            f"peft_method = {hyper.peft_method} on {facts.model_type}: answers could not be generated behind "
            f"its places; take another method, or a model of {', '.join(sorted(REWINDABLE))}"
        )


def _layout_misfits(hyper: Hyperparameters, facts: "ModelFacts") -> Iterator[str]:
    """Yield why a model's text can't be laid out as the config asks."""
    if hyper.packing and facts.model_type not in PACKABLE:
        yield (
            f"packing = true on {facts.model_type}: it is not known to keep a row's examples apart; take "
            f"packing = false, or a model of {', '.join(sorted(PACKABLE))}"
        )
    if hyper.prompt_loss_weight > 0 and facts.is_encoder_decoder:
        yield (
            f"prompt_loss_weight = {hyper.prompt_loss_weight:g} on an encoder-decoder ({facts.model_type}): "
            "the encoder predicts no prompt tokens; take 0"
        )
