"""Base models: loaded once, frozen, shared by all trials of a worker.

A ``BaseCache`` belongs to one worker and dies with it. A trial never changes what it holds: it works on
``BaseModel.structure_copy()``, whose modules are its own and whose weights are the shared, frozen ones.
"""

import copy
import gc
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from orchestrator.contracts import InputError
from workers.models.facts import attends_by_sdpa, model_class, read_config
from workers.models.location import ModelLocation, base_fingerprint, locate
from workers.models.quantisation import keep_trainable, quantisation_settings, shared_tensors

__all__ = ["BaseCache", "BaseModel", "base_fingerprint", "load_base"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A frozen language model and its tokenizer."""

    name: str
    location: ModelLocation
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str
    device: torch.device
    quant: str
    dtype: str

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the prompt and a decoder answers."""
        return bool(self.model.config.is_encoder_decoder)

    def structure_copy(self) -> PreTrainedModel:
        """Return a model with modules of its own around the shared weights: to be wrapped and thrown away."""
        shared = {id(tensor): tensor for tensor in shared_tensors(self.model)}
        duplicate: PreTrainedModel = copy.deepcopy(self.model, shared)
        return duplicate


def load_base(
    base_model: str | ModelLocation, *, quant: str = "none", dtype: str = "float32", device: str = "cpu"
) -> BaseModel:
    """Load a base model, frozen and in evaluation mode.

    Args:
        base_model: ``tiny-phi3``, a folder, or ``ID@REVISION`` of the Hugging Face hub; or where that lies.
        quant: ``none``, ``int8`` or ``nf4``.
        dtype: ``float32`` or ``bfloat16``: of activations and unquantised weights.
        device: As torch names it.

    Returns:
        The model, causal or encoder-decoder, with its tokenizer. A quantisation that can't be had here is an
        ``InvalidConfigError``.

    Raises:
        InputError: There is no such model, its weights are not safetensors or not all there, or it can't be
            read.
    """
    location = locate(base_model) if isinstance(base_model, str) else base_model
    config = read_config(location)
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        raise InputError(
            f"base model {location.name!r}: its config.json names no decoder_start_token_id, with which "
            "every answer begins; add it (T5: 0)"
        )
    attention = "sdpa" if attends_by_sdpa(config) else "eager"
    weights: dict[str, Any] = dict(
        location.options, dtype=_DTYPES[dtype], use_safetensors=True, attn_implementation=attention
    )
    if quant != "none":
        settings = quantisation_settings(quant, _DTYPES[dtype])
        weights |= {"quantization_config": settings, "device_map": {"": device}}
    tokenizer = load_tokenizer(location)
    try:
        with _no_progress_bars():
            model, found = model_class(config).from_pretrained(
                location.path_or_id, trust_remote_code=False, output_loading_info=True, **weights
            )
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"base model {location.name!r} can't be loaded from {location.path_or_id}: {reason}"
        ) from error
    if found["missing_keys"]:
        raise InputError(
            f"base model {location.name!r}: {location.path_or_id} holds no weights called "
            f"{', '.join(sorted(found['missing_keys'])[:3])}, and they are not made up; give a model saved "
            "with its language head"
        )
    if quant != "none":
        keep_trainable(model)
    else:
        model.to(torch.device(device))
    model.requires_grad_(False)
    model.train(False)
    return BaseModel(
        name=location.name,
        location=location,
        model=model,
        tokenizer=tokenizer,
        fingerprint=location.fingerprint,
        device=torch.device(device),
        quant=quant,
        dtype=dtype,
    )


def load_tokenizer(location: ModelLocation) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a base model alone.

    Args:
        location: The model's files.

    Returns:
        The tokenizer.

    Raises:
        InputError: There is none, or it can't be read.
    """
    try:
        with _no_progress_bars():
            return AutoTokenizer.from_pretrained(
                location.path_or_id, trust_remote_code=False, **location.options
            )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"base model {location.name!r}: its tokenizer can't be loaded: {reason}") from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep transformers' progress bars off a worker's log while a model is loaded."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


class BaseCache:
    """Keeps the base models in use resident from trial to trial."""

    def __init__(self, *, device: str = "cpu", max_resident: int = 2) -> None:
        """Start empty.

        Args:
            device: Where models are loaded to.
            max_resident: Models kept; the one unused for longest makes way.
        """
        self._device = device
        self._max_resident = max_resident
        self._loaded: OrderedDict[tuple[str, str, str], BaseModel] = OrderedDict()
        self._located: dict[str, ModelLocation] = {}

    def locate(self, base_model: str) -> ModelLocation:
        """Find a base model's files, the first time; files that change meanwhile are not noticed."""
        if base_model not in self._located:
            self._located[base_model] = locate(base_model)
        return self._located[base_model]

    def get(self, base_model: str, *, quant: str, dtype: str) -> BaseModel:
        """Return a base model, loading it the first time; the arguments are those of ``load_base``."""
        key = (base_model, quant, dtype)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        while len(self._loaded) >= self._max_resident:
            self._loaded.popitem(last=False)
            gc.collect()
        self._loaded[key] = load_base(self.locate(base_model), quant=quant, dtype=dtype, device=self._device)
        return self._loaded[key]
