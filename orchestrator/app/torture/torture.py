"""Torturing a sweep: the same trials twice, once left alone and once under kills, must end up the same.

    ROOT/
      certificate.json, certificate.txt
      quiet.yaml, tortured.yaml
      quiet/, tortured/                 two sweeps' roots
      logs/quiet/, logs/tortured/       what each driver printed

The quiet sweep's epochs take no time, the tortured one's do: what they measure does not depend on it.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.local import LocalCluster
from orchestrator.app.provenance import provenance
from orchestrator.app.spec import parse_spec
from orchestrator.app.status import certify
from orchestrator.app.torture.certificate import Host, TortureCertificate
from orchestrator.app.torture.driver import DriverProcess
from orchestrator.app.torture.execution import WORKING_S, Deed, Execution, Executioner, Traces
from orchestrator.app.torture.plan import Kill, draw_kills
from orchestrator.contracts import InputError, OrchestrationError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from workers.models.location import REHEARSAL

CPUS_PER_NODE = 2
TASKS = ("worlds:people", "worlds:towns")
_STRIKE_S = 0.5
"""Work that may go on, at most, while one kill is being carried out."""


class QuietSweepFailedError(OrchestrationError):
    """The sweep does not even run when it is left alone; look at the driver's words."""

    def __init__(self, exit_code: int, tail: str) -> None:
        super().__init__(exit_code, tail)
        self.exit_code, self.tail = exit_code, tail

    def __str__(self) -> str:
        return f"the sweep that was left alone ended with exit code {self.exit_code}:\n{self.tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TortureTerms:
    """What is tortured, and how hard."""

    seed: int
    kills: int = 40
    nodes: int = 3
    trials: int | None = None
    """None: as many as keep the workers busy until the last kill, whatever their speed."""
    epochs: int = 10
    epoch_s: float = 0.05

    def __post_init__(self) -> None:
        checks = {"--kills": self.kills, "--nodes": self.nodes, "--epochs": self.epochs}
        if self.trials is not None:
            checks["--trials"] = self.trials
        problems = [f"{name} must be at least 1, got {value}" for name, value in checks.items() if value < 1]
        if not 0 < self.epoch_s < math.inf:
            problems.append(
                f"--epoch-s must be above 0, got {self.epoch_s:g}: what takes no time can't be interrupted"
            )
        if problems:
            raise InputError(*problems)


def trials_to_outlast(kills: Sequence[Kill], *, workers: int, trial_s: float) -> int:
    """Return how many trials keep workers busy until the last kill.

    Args:
        kills: The plan.
        workers: Trainers at work, at most.
        trial_s: Seconds that a trial takes a trainer, at least.

    Returns:
        A number that trainers can't outrun: pauses pass while work goes on, or whether or not it does.
    """
    work_s = sum(kill.pause_s + _STRIKE_S for kill in kills)
    return math.ceil(workers * work_s / trial_s) + workers


def torture(
    terms: TortureTerms,
    root: Path,
    *,
    on_stage: Callable[[str], None],
    on_deed: Callable[[Deed], None],
) -> TortureCertificate:
    """Run a sweep twice, kill whatever can be killed of the second, and compare.

    Args:
        terms: What is tortured, and how hard.
        root: A new or empty folder for both sweeps, the logs and the certificate.
        on_stage: Told what begins.
        on_deed: Told of every kill.

    Returns:
        The certificate, which also lies in the folder.

    Raises:
        InputError: The folder is not empty, or can't be written.
        QuietSweepFailedError: The sweep does not run when it is left alone.
        NodeNotStartedError: This machine starts no Ray nodes.
    """
    root = root.absolute()
    began_at = datetime.now(UTC).isoformat(timespec="seconds")
    kills = draw_kills(terms.seed, terms.kills)
    workers = terms.nodes * CPUS_PER_NODE
    trials = terms.trials or trials_to_outlast(kills, workers=workers, trial_s=terms.epochs * terms.epoch_s)
    _make_empty(root)
    quiet_spec = _write_spec(root / "quiet.yaml", terms, trials, REHEARSAL)
    tortured_spec = _write_spec(root / "tortured.yaml", terms, trials, f"{REHEARSAL}:{terms.epoch_s:g}")
    on_stage(f"starting a head and {terms.nodes} nodes")
    with LocalCluster(nodes=terms.nodes, cpus_per_node=CPUS_PER_NODE) as cluster:
        on_stage("running the sweep that is left alone")
        quiet_wall_s = _run_quietly(quiet_spec, root, cluster)
        on_stage("torturing the other one")
        execution, drivers = _torture(terms, kills, tortured_spec, root, cluster, on_deed)
    on_stage("comparing the two")
    certificate = TortureCertificate(
        seed=terms.seed,
        began_at=began_at,
        host=_host(),
        nodes=terms.nodes,
        epochs=terms.epochs,
        epoch_s=terms.epoch_s,
        planned=kills,
        execution=execution,
        drivers=drivers,
        quiet_wall_s=quiet_wall_s,
        **_outcome(root),
    )
    certificate.write(root)
    return certificate


def _make_empty(root: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is there and not empty; choose a new folder as --root")
    try:
        for name in ("quiet", "tortured"):
            (root / "logs" / name).mkdir(parents=True)
    except OSError as err:
        raise InputError(f"{root} can't be written: {err.strerror}") from err


def _write_spec(path: Path, terms: TortureTerms, trials: int, base_model: str) -> Path:
    content: dict[str, Any] = {
        "name": "torture",
        "base_model": base_model,
        "tasks": list(TASKS),
        "preset": "tiny",
        "configs": {"count": math.ceil(trials / len(TASKS)), "seed": terms.seed},
        "epochs": terms.epochs,
    }
    spec = parse_spec(content, where=str(path), folder=path.parent)
    path.write_text(spec.to_yaml())
    return path


def _run_quietly(spec: Path, root: Path, cluster: LocalCluster) -> float:
    began_s = time.monotonic()
    with DriverProcess(
        spec,
        root / "quiet",
        logs=root / "logs" / "quiet",
        warden=cluster.warden,
        address=None,
        environment=os.environ,
    ) as driver:
        driver.start()
        end = driver.wait()
    if end.exit_code != 0:
        raise QuietSweepFailedError(end.exit_code, end.tail)
    return time.monotonic() - began_s


def _torture(
    terms: TortureTerms,
    kills: Sequence[Kill],
    spec: Path,
    root: Path,
    cluster: LocalCluster,
    on_deed: Callable[[Deed], None],
) -> tuple[Execution, int]:
    layout = RootLayout(root / "tortured")
    with DriverProcess(
        spec,
        layout.root,
        logs=root / "logs" / "tortured",
        warden=cluster.warden,
        address=cluster.address,
        environment=cluster.environment,
    ) as driver:
        executioner = Executioner(
            cluster,
            driver,
            traces=lambda: _traces(layout),
            on_deed=on_deed,
            working_s=max(WORKING_S, 2 * terms.epoch_s),
        )
        return executioner.run(kills), driver.started


def _traces(layout: RootLayout) -> Traces:
    return Traces(
        log_bytes=_size_bytes(layout.segments().values()),
        curve_bytes=_size_bytes(layout.parts(Table.CURVES).values()),
    )


def _size_bytes(paths: Iterable[Path]) -> int:
    size_bytes = 0
    for path in paths:
        # A sealed segment is removed under our eyes.
        with suppress(FileNotFoundError):
            size_bytes += path.stat().st_size
    return size_bytes


def _outcome(root: Path) -> dict[str, Any]:
    """Return what the two sweeps hold, and what the checks say of it."""
    quiet, tortured = root / "quiet", root / "tortured"
    if not RootLayout(tortured).sweep_yaml.is_file():
        return {"trials": 0, "rows": 0, "attempts": 0, "lost_attempts": 0, "checks": ()}
    names = ("tortured", "quiet", "tortured against quiet")
    checks = zip(certify(tortured, quiet), names, strict=True)
    reader = MetaDatasetReader(tortured)
    events = reader.table(Table.ATTEMPTS)["event"]
    return {
        "trials": len(reader.trials()),
        "rows": len(reader.curves()),
        "attempts": int((events == "granted").sum()),
        "lost_attempts": int((events == "lost").sum()),
        "checks": tuple(replace(item, subject=name) for item, name in checks),
    }


def _host() -> Host:
    record = provenance()
    return Host(
        cores=os.cpu_count() or 1,
        **{name: record[name] for name in ("python", "platform", "ray", "foretune", "code_digest", "commit")},
    )
