"""The actor on a real local Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.contracts import Assign, Outcome, PointMeasured, TrialEnded
from tests.support.tiny import make_lease, make_task, make_trial
from workers.actor import TrainerActor


@pytest.fixture
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def load(_source: str) -> object:
    return make_task()


@pytest.mark.ray
def test_a_trial_runs_in_an_actor(local_ray: None, random_base: Path, tmp_path: Path) -> None:
    trial = make_trial(random_base, make_task())
    actor: Any = TrainerActor.remote(
        str(tmp_path), "w1", is_rehearsal=False, stalled_after_s=60.0, load_task=load
    )
    described = ray.get(actor.describe.remote(), timeout=60)
    assert described["threads"] == "1"
    reports = ray.get(actor.exchange.remote([Assign(leases=(make_lease(trial),))], 30.0), timeout=60)
    while not isinstance(reports[-1], TrialEnded):
        reports += ray.get(actor.exchange.remote([], 30.0), timeout=60)
    assert reports[-1].outcome is Outcome.COMPLETED
    assert [report.point.epoch for report in reports if isinstance(report, PointMeasured)] == [1, 2, 3]
