import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.processes import members
from orchestrator.app.torture.certificate import Host, TortureCertificate
from orchestrator.app.torture.execution import Deed, Execution, Finding
from orchestrator.app.torture.plan import KillKind, draw_kills
from orchestrator.app.torture.torture import TortureTerms, torture
from orchestrator.contracts import InputError
from orchestrator.metadataset.certificate import Certificate, check


def _certificate(execution: Execution, *, checks: tuple[Certificate, ...]) -> TortureCertificate:
    host = Host(
        cores=2, python="3.11", platform="Linux", ray="2.60", foretune="0.1", code_digest="d", commit="c"
    )
    return TortureCertificate(
        seed=7,
        began_at="2026-01-01T00:00:00+00:00",
        host=host,
        nodes=3,
        trials=100,
        epochs=10,
        epoch_s=0.05,
        planned=draw_kills(7, 4),
        execution=execution,
        drivers=3,
        attempts=120,
        lost_attempts=20,
        rows=1000,
        quiet_wall_s=3.0,
        checks=checks,
    )


def _checked(offenders: int) -> tuple[Certificate, ...]:
    item = check("no row stands twice", 10, [{"trial_id": "t"}] * offenders)
    return (Certificate(subject="tortured", checks=(item,), counts={"curves": 10}, being_written=()),)


_DEEDS = [Deed(kind=kill.kind, at_s=1.0, target="x") for kill in draw_kills(7, 4)]


def test_a_certificate_counts_kills_by_kind_and_is_the_same_as_json() -> None:
    certificate = _certificate(Execution(deeds=_DEEDS, findings=[], is_done=True), checks=_checked(0))
    assert certificate.ok
    content = json.loads(json.dumps(certificate.as_dict()))
    assert content["certified"] is True
    assert content["kills"] == {kind.value: 1 for kind in KillKind}
    assert "4 of 4 hit: 1 worker, 1 node, 1 driver, 1 head" in certificate.render()
    assert "CERTIFIED" in certificate.render().splitlines()[-1]


@pytest.mark.parametrize(
    ("change", "offenders", "problem"),
    [
        ({"deeds": _DEEDS[:3]}, 0, "ended 1 kills before the plan"),
        ({"is_done": False}, 0, "did not come to its end"),
        ({"findings": [Finding(at_s=2.0, what="driver fell", evidence="why")]}, 0, "driver fell"),
        ({}, 1, "tortured: a check failed"),
        ({}, None, "nothing was verified"),
    ],
)
def test_whatever_is_amiss_is_named_and_not_certified(
    change: dict[str, object], offenders: int | None, problem: str
) -> None:
    whole = Execution(deeds=_DEEDS, findings=[], is_done=True)
    execution = dataclasses.replace(whole, **change)  # type: ignore[arg-type]
    certificate = _certificate(execution, checks=() if offenders is None else _checked(offenders))
    assert not certificate.ok
    assert problem in "\n".join(certificate.problems)
    assert f"NOT certified: {certificate.problems[-1]}" in certificate.render()


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"kills": 0}, "--kills must be at least 1, got 0"),
        ({"nodes": 0}, "--nodes must be at least 1, got 0"),
        ({"epochs": -1}, "--epochs must be at least 1, got -1"),
        ({"trials": 0}, "--trials must be at least 1, got 0"),
        ({"epoch_s": 0.0}, "--epoch-s must be above 0, got 0"),
        ({"epoch_s": math.nan}, "--epoch-s must be above 0, got nan"),
    ],
)
def test_terms_that_make_no_sense_are_refused(terms: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        TortureTerms(seed=1, **terms)  # type: ignore[arg-type]


def test_a_folder_that_holds_something_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="not empty"):
        torture(TortureTerms(seed=1), tmp_path, on_stage=lambda _: None, on_deed=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.ray
@pytest.mark.slow  # a minute; the README's own block of it runs among the ordinary tests
@pytest.mark.timeout(240)
def test_a_sweep_under_kills_of_every_kind_ends_equal_to_one_left_alone(tmp_path: Path) -> None:
    terms = TortureTerms(seed=1, kills=8, nodes=2)
    deeds: list[Deed] = []
    root = tmp_path / "with space"
    certificate = torture(terms, root, on_stage=lambda _: None, on_deed=deeds.append)
    assert certificate.ok, certificate.render()
    assert len(deeds) == 8
    assert set(certificate.hits.values()) - {0} == set(certificate.hits.values())
    assert certificate.lost_attempts > 0
    assert certificate.rows == certificate.trials * terms.epochs
    assert json.loads((root / "certificate.json").read_text())["certified"] is True
    assert (root / "certificate.txt").read_text() == certificate.render() + "\n"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_torture_leaves_nothing_running(tmp_path: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-m", "orchestrator.cli", "torture", "--seed", "5", "--kills", "500"]
    with subprocess.Popen(
        [*command, "--nodes", "1", "--trials", "200", "--root", str(tmp_path / "root")],
        cwd=Path(__file__).resolve().parents[4],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "seed 5\n"
        # The first kill has hit: nodes, workers and a driver are there.
        assert any("killed" in line for line in process.stdout)
        sessions = {each.session for each in members([process.pid])}
        assert len(sessions) > 2
        os.kill(process.pid, sent)
        process.stdout.read()
    assert process.returncode == (130 if sent is signal.SIGINT else -9)
    deadline_s = time.monotonic() + 30
    while members(sessions):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    certificate = torture(
        TortureTerms(seed=seed, kills=200), tmp_path / "root", on_stage=lambda _: None, on_deed=lambda _: None
    )
    assert certificate.ok, certificate.render()
    assert sum(certificate.hits.values()) == 200
