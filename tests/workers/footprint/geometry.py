"""Phi-3-mini's shapes, without its weights."""

from pathlib import Path

from transformers import Phi3Config

from workers.models.location import ModelLocation


def phi3_mini(folder: Path) -> ModelLocation:
    """Save a config of Phi-3-mini's sizes and return where it lies."""
    Phi3Config(
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=32064,
        architectures=["Phi3ForCausalLM"],
    ).save_pretrained(folder)
    return ModelLocation(name="phi3-mini", path_or_id=str(folder), revision=None, fingerprint="0" * 64)
