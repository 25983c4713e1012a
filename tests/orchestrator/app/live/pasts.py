"""Sweeps to learn from, rehearsed in this process: their trials train nothing."""

from pathlib import Path

from orchestrator.app.spec import SweepSpec
from orchestrator.app.sweep import run_sweep

NEW = "worlds:towns?seed=7&facts=6"
ANOTHER = "worlds:people?seed=8&facts=6"
EPOCHS = 3


def past_spec(*, epoch_s: float, configs: int = 4) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "name": "past",
            "base_model": f"rehearsal:{epoch_s}",
            "tasks": ["worlds:towns", "worlds:people"],
            "configs": {"count": configs},
            "epochs": EPOCHS,
        }
    )


def rehearse(root: Path, *, epoch_s: float, configs: int = 4) -> Path:
    assert run_sweep(past_spec(epoch_s=epoch_s, configs=configs), root, in_process=True).is_done
    return root
