"""What a trial trained, as a folder to load: an adapter for ``peft``, or a model for ``transformers``."""

import copy
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from orchestrator.contracts import CurvePoint, Trial
from orchestrator.metadataset.durable import Fault, no_fault
from orchestrator.metadataset.layout import RootLayout
from workers.methods.full import finished_model
from workers.training.adapters import ADAPTER, Adapted
from workers.training.card import model_card
from workers.training.checkpoints import fsync_path


def export_adapter(
    root: Path,
    trial: Trial,
    adapted: Adapted,
    curve: Sequence[CurvePoint],
    epoch: int,
    *,
    fault: Fault = no_fault,
) -> Path:
    """Publish what was trained under ``ROOT/adapters/TRIAL``, whole or not at all.

    Args:
        root: Of the sweep.
        trial: Whose it is.
        adapted: Holds the weights of ``epoch``.
        curve: All points, for the card.
        epoch: The epoch exported.
        fault: Called at named points.

    Returns:
        The folder.
    """
    target = RootLayout(root).adapter_dir(trial.trial_id)
    aside, old = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write_weights(adapted, aside)
    card = model_card(trial, adapted, curve, epoch)
    (aside / "README.md").write_text(card, encoding="utf-8")
    for path in aside.iterdir():
        fsync_path(path)
    fsync_path(aside)
    fault("adapter_before_publish")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    aside.rename(target)
    fsync_path(target.parent)
    fault("adapter_after_publish")
    shutil.rmtree(old, ignore_errors=True)
    return target


def write_weights(adapted: Adapted, folder: Path) -> None:
    """Write what was trained.

    An adapter loads on the untouched base, whatever its initialisation did to weights of its own. A model has
    the base's type, in which it was evaluated, and its tokenizer beside it.

    Args:
        adapted: Holds the weights.
        folder: An empty one.
    """
    if adapted.peft_model is None:
        model: Any = finished_model(adapted.base, adapted.parameters)
        model.save_pretrained(folder, safe_serialization=True)
        adapted.base.tokenizer.save_pretrained(str(folder))
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        weights: dict[str, torch.Tensor] = get_peft_model_state_dict(
            adapted.peft_model, save_embedding_layers=False
        )
    config = copy.deepcopy(adapted.peft_model.peft_config[ADAPTER])
    if adapted.beginnings:
        weights = _as_plain_lora(weights, config, adapted)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    owned = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    save_file(owned, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _as_plain_lora(
    weights: dict[str, torch.Tensor], config: PeftConfig, adapted: Adapted
) -> dict[str, torch.Tensor]:
    """Write an adapter on rewritten weights as one on the base's own, of twice the rank.

    With W the base's weight, A0 and B0 what was taken out of it, and s the scale, what was trained is
    ``(W - s B0 A0) + s B A``: the base's, and beside it ``s [B, -B0] [A; A0]``.
    """
    scale = adapted.layers[0].scale
    config.r = 2 * config.r
    config.use_rslora, config.lora_alpha = False, scale * config.r
    whole = dict(weights)
    for layer, (a, b) in adapted.beginnings.items():
        for part, begun, side in (("lora_A", a, 0), ("lora_B", -b, 1)):
            name = f"base_model.model.{layer}.{part}.weight"
            whole[name] = torch.cat([weights[name], begun.to(weights[name].dtype)], dim=side)
    return whole
