"""The embedded base model's files: weights, tokenizer, card and the log of its pretraining; loads nothing."""

from pathlib import Path

PATH = Path(__file__).parent
"""Folder that ``from_pretrained`` is given."""
