"""What a base model is made of, told from its config.json alone: the modules are built without weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from orchestrator.contracts import InputError
from workers.models.location import ModelLocation

_ANSWERING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How the names of classes end that models with a language head are saved as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Sizes of a base model; of an encoder-decoder those of its decoder, unless said otherwise."""

    model_type: str
    """The architecture's name in transformers, such as ``phi3``."""
    is_encoder_decoder: bool
    hidden_size: int
    layers: int
    encoder_layers: int
    """Layers of the encoder; 0 where there is none."""
    heads: int
    """0 where nothing attends."""
    kv_heads: int
    head_dim: int
    vocabulary: int
    parameters: int
    """All weights, those of the encoder included; tied ones count once."""
    linear_layers: Mapping[str, tuple[int, int]]
    """Full module name to features in and out, in the model's order; the head included."""
    max_positions: int | None
    """Longest text the positions are made for; None where they have no end."""
    sliding_window: int | None
    """Places that a layer with local attention sees; None where all layers see everything."""
    tied_embeddings: bool
    """Whether the head's weights are those of the input embeddings."""
    is_transposed: bool = False
    """Whether linear layers have their weights the other way round, inputs by outputs, as GPT-2's do."""

    @staticmethod
    def of(location: ModelLocation) -> "ModelFacts":
        """Read a model's facts; read once for each location in a process.

        Args:
            location: The model's files, as ``locate`` found them.

        Returns:
            The facts. A model that can't be read, or is no text model, is an ``InputError``.
        """
        return _read_facts(location)


def read_config(location: ModelLocation) -> PretrainedConfig:
    """Read a base model's config.json.

    Args:
        location: The model's files.

    Returns:
        The config of a causal or an encoder-decoder language model.

    Raises:
        InputError: There is no readable config.json, its architecture needs code of its own, or the model
            takes more than text or gives something else.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            location.path_or_id, trust_remote_code=False, **location.options
        )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"base model {location.name!r}: its config.json can't be used: {reason}; give a model whose "
            "architecture the installed transformers knows, code from the hub is not run"
        ) from error
    saved_as = config.architectures or []
    is_known = type(config) in model_class(config)._model_mapping
    if not is_known or (saved_as and not any(name.endswith(_ANSWERING) for name in saved_as)):
        raise InputError(
            f"base model {location.name!r} is no language model that answers in text (model type "
            f"{config.model_type!r}, saved as {', '.join(saved_as) or 'nothing known'}); give a causal or an "
            "encoder-decoder one"
        )
    if not config.is_encoder_decoder and config.get_text_config(decoder=True) is not config:
        raise InputError(
            f"base model {location.name!r} takes more than text (model type {config.model_type!r}); give the "
            "text model of its family"
        )
    return config


def model_class(config: PretrainedConfig) -> Any:
    """Return the class whose ``from_pretrained`` or, without weights, ``from_config`` makes this model."""
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def attends_by_sdpa(config: PretrainedConfig) -> bool:
    """Whether torch's fused attention can be had; it knows no cap on scores, as Gemma 2 has."""
    return bool(getattr(model_class(config)._model_mapping[type(config)], "_supports_sdpa", False))


def position_limit(config: PretrainedConfig) -> int | None:
    """Return how many places a model has trained positions for; None where positions are computed."""
    decoder = config.get_text_config(decoder=True)
    if getattr(decoder, "rope_parameters", None):
        return None
    limit: int | None = getattr(decoder, "max_position_embeddings", None)
    return limit


@lru_cache(maxsize=64)
def _read_facts(location: ModelLocation) -> ModelFacts:
    config = read_config(location)
    model = _without_weights(config)
    decoder = config.get_text_config(decoder=True)
    layers = getattr(config, "num_decoder_layers", None) or decoder.num_hidden_layers
    heads = getattr(decoder, "num_attention_heads", None) or 0
    window = getattr(decoder, "sliding_window", None)
    head = model.get_output_embeddings()
    return ModelFacts(
        model_type=config.model_type,
        is_encoder_decoder=bool(config.is_encoder_decoder),
        hidden_size=decoder.hidden_size,
        layers=layers,
        encoder_layers=_encoder_layers(config),
        heads=heads,
        kv_heads=getattr(decoder, "num_key_value_heads", None) or heads,
        head_dim=getattr(decoder, "head_dim", None) or decoder.hidden_size // max(1, heads),
        vocabulary=decoder.vocab_size,
        parameters=sum(weight.numel() for weight in model.parameters()),
        linear_layers=MappingProxyType(
            {
                name: _features(module)
                for name, module in model.named_modules()
                if isinstance(module, torch.nn.Linear | Conv1D)
            }
        ),
        max_positions=getattr(decoder, "max_position_embeddings", None),
        sliding_window=window if window and getattr(decoder, "use_sliding_window", True) else None,
        tied_embeddings=head is not None and head.weight is model.get_input_embeddings().weight,
        is_transposed=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def _features(layer: torch.nn.Linear | Conv1D) -> tuple[int, int]:
    """Return features in and out."""
    rows, columns = layer.weight.shape
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)


def _encoder_layers(config: PretrainedConfig) -> int:
    if not config.is_encoder_decoder:
        return 0
    encoder = getattr(config, "encoder", None) or config.get_text_config(encoder=True)
    return int(getattr(encoder, "text_config", encoder).num_hidden_layers)


def _without_weights(config: PretrainedConfig) -> Any:
    """Build a model whose weights have shapes and no values."""
    with torch.device("meta"):
        return model_class(config).from_config(config)
