"""A trial's adapter as a folder that ``peft.PeftModel.from_pretrained`` loads."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from orchestrator.contracts import CurvePoint, Trial
from orchestrator.metadataset.durable import Fault, no_fault
from orchestrator.metadataset.layout import RootLayout
from workers.training.adapters import Adapted
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
    """Publish the adapter under ``ROOT/adapters/TRIAL``, whole or not at all.

    Args:
        root: Of the sweep.
        trial: Whose adapter it is.
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        adapted.peft_model.save_pretrained(str(aside), safe_serialization=True, save_embedding_layers=False)
    (aside / "README.md").write_text(_card(trial, curve, epoch), encoding="utf-8")
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


def _card(trial: Trial, curve: Sequence[CurvePoint], epoch: int) -> str:
    """Return the model card: what the adapter is, and the numbers it was chosen by."""
    config = "\n".join(f"| {name} | {value} |" for name, value in sorted(trial.config.items()))
    points = "\n".join(
        f"| {point.epoch} | {point.train_loss:.4f} | {point.eval_loss:.4f} | {point.eval_exact_match:.3f} "
        f"| {point.eval_token_f1:.3f} | {point.test_loss:.4f} | {point.test_exact_match:.3f} |"
        for point in curve
    )
    return f"""---
library_name: peft
tags: [lora, foretune]
---
# LoRA adapter for {trial.task_name}

Finetuned by Foretune from `{trial.base_model}` (fingerprint `{trial.base_fingerprint}`),
trial `{trial.trial_id}`, seed {trial.seed}. These are the weights after epoch {epoch}, the one with the
lowest validation loss.

| hyperparameter | value |
| --- | --- |
{config}

Losses are nats per answer token; exact match and F1 use SQuAD's normaliser on greedy answers.

| epoch | train loss | validation loss | validation EM | validation F1 | test loss | test EM |
| --- | --- | --- | --- | --- | --- | --- |
{points}
"""
