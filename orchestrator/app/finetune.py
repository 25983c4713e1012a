"""Finetuning one task with chosen configs: a small sweep, with its ledger, its curves and its adapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from orchestrator.app.spec import SweepSpec, TaskEntry
from orchestrator.app.sweep import run_sweep
from orchestrator.contracts import Config, config_id
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult:
    """What one config reached: the epoch with the lowest validation loss."""

    label: str
    outcome: str
    epoch: int
    eval_loss: float
    test_loss: float
    test_exact_match: float
    test_token_f1: float
    train_s: float
    """Training seconds of all epochs."""
    adapter: Path | None
    """A PEFT folder of that epoch; None if the trial left none."""


def finetune(
    task_source: str,
    configs: Mapping[str, Config],
    *,
    root: Path,
    like: SweepSpec,
    epochs: int,
    address: str | None = None,
    console: Console | None = None,
) -> list[FinetuneResult]:
    """Run configs on a task and keep their adapters.

    Args:
        task_source: As in a sweep's ``tasks``.
        configs: Configs by the label under which they are reported; two labels may name one config.
        root: The small sweep's own folder.
        like: The sweep whose base model, space and training settings are used.
        epochs: Fidelity, at most the settings' horizon.
        address: A running Ray cluster; None: an embedded one.
        console: Where progress is shown; None shows nothing.

    Returns:
        One result a label, in order; fewer where a stop was asked for.

    Raises:
        InputError: As ``run_sweep`` would.
    """
    distinct = {config_id(config): dict(config) for config in configs.values()}
    spec = finetuning_spec(
        task_source, tuple(distinct.values()), like=like, epochs=epochs, keep_adapters=len(distinct)
    )
    run_sweep(spec, root, address=address, console=console)
    results = finetune_results(root, configs)
    return [results[label] for label in configs if label in results]


def finetuning_spec(
    task_source: str,
    configs: tuple[Config, ...],
    *,
    like: SweepSpec,
    epochs: int,
    config_epochs: tuple[int, ...] | None = None,
    keep_adapters: int,
) -> SweepSpec:
    """Return the spec of a small sweep on one task, otherwise as another sweep is.

    Args:
        task_source: As in a sweep's ``tasks``.
        configs: Each once.
        like: The sweep whose base model, space, training settings and workers are used.
        epochs: Fidelity; more than the settings' horizon is cut to it.
        config_epochs: Fidelity of each config, at most ``epochs``; None: ``epochs`` for all.
        keep_adapters: The best so many stay.

    Returns:
        The spec.
    """
    horizon = like.training_settings().horizon_epochs
    return SweepSpec(
        name=f"{like.name}-tuned",
        base_model=like.base_model,
        tasks=(TaskEntry(source=task_source),),
        preset=like.preset,
        space=like.space,
        configs=configs,
        seeds=like.seeds[:1],
        epochs=min(epochs, horizon),
        config_epochs=config_epochs,
        training=like.training.model_copy(update={"horizon_epochs": horizon}),
        workers=like.workers,
        keep_adapters=keep_adapters,
    )


def finetune_results(root: Path, configs: Mapping[str, Config]) -> dict[str, FinetuneResult]:
    """Read what configs reached in a small sweep.

    Args:
        root: The small sweep's folder.
        configs: Configs by label.

    Returns:
        Results by label; those without an outcome are left out.
    """
    reader = MetaDatasetReader(root)
    curves, trials = reader.curves(), reader.trials()
    layout = RootLayout(root)
    finished = set(trials["config_id"])
    return {
        label: _result(label, config, curves, trials, layout)
        for label, config in configs.items()
        if config_id(config) in finished
    }


def _result(
    label: str, config: Config, curves: pd.DataFrame, trials: pd.DataFrame, layout: RootLayout
) -> FinetuneResult:
    trial = trials.loc[trials["config_id"] == config_id(config)].iloc[0]
    rows = curves.loc[(curves["trial_id"] == trial["trial_id"]) & curves["eval_loss"].notna()]
    best = rows.loc[rows["eval_loss"].idxmin()] if len(rows) else None
    adapter = layout.adapter_dir(trial["trial_id"])
    return FinetuneResult(
        label=label,
        outcome=str(trial["outcome"]),
        epoch=0 if best is None else int(best["epoch"]),
        eval_loss=float("nan") if best is None else float(best["eval_loss"]),
        test_loss=float("nan") if best is None else float(best["test_loss"]),
        test_exact_match=0.0 if best is None else float(best["test_exact_match"]),
        test_token_f1=0.0 if best is None else float(best["test_token_f1"]),
        train_s=float(trial["train_s"]),
        adapter=adapter if adapter.is_dir() else None,
    )
