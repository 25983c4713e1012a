"""How many trials share a GPU follows from the largest of the sweep's."""

from pathlib import Path
from typing import Any

import pytest

from cluster.nodes import WorkerSize
from orchestrator.app import sharing
from orchestrator.app.plan import plan_sweep
from orchestrator.app.sharing import gpus_of_a_worker, shared_gpu, survey_sweep
from orchestrator.app.spec import SweepSpec, parse_spec
from workers.footprint.fitting import CONTEXT_BYTES, RESERVED_SHARE

GIB = 2**30


def a_spec(**changes: Any) -> SweepSpec:
    content = {"name": "s", "base_model": "tiny-phi3", "tasks": ["worlds:towns"], "configs": 3, "epochs": 1}
    return parse_spec(content | changes, where="s.yaml", folder=Path())


def test_shares_of_a_gpu_hold_the_largest_trial() -> None:
    spec = a_spec(workers={"gpus": "auto"})
    plan = plan_sweep(spec)
    for gib in (2, 4, 8):
        share = shared_gpu(spec, plan, gib * GIB)
        together = WorkerSize(cpus=1, gpus=share).per_gpu
        largest = survey_sweep(spec, plan, gpus=1.0, gpu_memory_bytes=gib * GIB).largest_bytes
        assert largest is not None
        assert together * (largest + CONTEXT_BYTES) <= gib * GIB * (1 - RESERVED_SHARE) or together == 1
    assert shared_gpu(spec, plan, 2 * GIB) > shared_gpu(spec, plan, 8 * GIB)


@pytest.mark.parametrize(("memory", "gpus"), [(None, 0.0), (80 * GIB, 0.125)])
def test_auto_asks_the_cluster(monkeypatch: pytest.MonkeyPatch, memory: int | None, gpus: float) -> None:
    monkeypatch.setattr(sharing, "smallest_gpu_bytes", lambda: memory)
    spec = a_spec(workers={"gpus": "auto"})
    assert gpus_of_a_worker(spec, plan_sweep(spec)) == gpus


def test_a_number_is_taken_as_it_is_and_a_rehearsal_needs_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> int:
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr(sharing, "smallest_gpu_bytes", ask)
    spec = a_spec(workers={"gpus": 0.5})
    assert gpus_of_a_worker(spec, plan_sweep(spec)) == 0.5
    rehearsal = a_spec(base_model="rehearsal", workers={"gpus": "auto"})
    assert gpus_of_a_worker(rehearsal, plan_sweep(rehearsal)) == 0.0
