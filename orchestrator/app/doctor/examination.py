"""All checks, in the order in which they are told; what takes seconds is asked in processes of its own."""

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from cluster.doctor import Finding, Status, machine, nvidia, reach
from cluster.doctor.kernel import Kernel
from cluster.doctor.ports import ports
from cluster.doctor.token import ray_token
from orchestrator.app.doctor import accelerators, caches, software
from orchestrator.app.doctor.storage import root_found
from orchestrator.app.doctor.torch_probe import TorchFacts
from workers.standby import Standby

_TORCH_PROBE = "orchestrator.app.doctor.torch_probe"
_CLUSTER_PROBE = "cluster.doctor.probe"
"""Run as processes: named here, not imported."""
_TORCH_ANSWERS_S = 60.0
_CLUSTER_ANSWERS_S = 45.0
_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.NOT_CHECKED: "dim"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings are allowed."""
        return all(finding.status is not Status.FAILED for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON-like values."""
        return {"ok": self.ok, "checks": [asdict(finding) for finding in self.findings]}

    def render(self) -> RenderableType:
        """Return the findings as a table for people."""
        table = Table.grid(padding=(0, 2))
        for column in ("status", "name"):
            table.add_column(column, no_wrap=True)
        table.add_column("found")
        for finding in self.findings:
            table.add_row(f"[{_STYLES[finding.status]}]{finding.status}[/]", finding.name, _told(finding))
        counts = Counter(finding.status for finding in self.findings)
        table.add_row("", "", "")
        table.add_row("", "", ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
        return table


def examine(*, root: Path | None = None, address: str | None = None) -> Diagnosis:
    """Look at this machine and, where they are named, at a root's storage and a cluster.

    Args:
        root: A sweep's folder, which need not exist; a folder is made there and removed again.
        address: ``HOST:PORT`` or ``auto`` of a Ray cluster, or the URL of a job server; nothing is started.

    Returns:
        The findings.
    """
    asks_cluster = nullcontext() if address is None else Standby(_CLUSTER_PROBE)
    with Standby(_TORCH_PROBE) as torch_probe, asks_cluster as cluster_probe:
        torch_probe.ask({})
        return Diagnosis(tuple(_findings(root, address, torch_probe, cluster_probe)))


def _findings(
    root: Path | None, address: str | None, torch_probe: Standby, cluster_probe: Standby | None
) -> Iterator[Finding]:
    environment, home, kernel = dict(os.environ), Path(os.path.expanduser("~")), Kernel()
    yield software.python_found()
    yield software.packages_found()
    yield from _accelerators(torch_probe, environment)
    yield machine.cpus(kernel)
    yield machine.threads(environment)
    yield machine.memory_found(kernel)
    yield machine.shared_memory()
    yield machine.open_files()
    yield from root_found(root, kernel)
    yield machine.temporary_folder(environment)
    yield caches.own_cache_found()
    yield from caches.hub_found(environment, home)
    yield _ray()
    yield ray_token(environment, home, for_address=address)
    yield ports(kernel)
    yield reach.unasked() if address is None or cluster_probe is None else _cluster(cluster_probe, address)


def _accelerators(probe: Standby, environment: Mapping[str, str]) -> list[Finding]:
    cards = nvidia.listing()
    told = probe.answer(timeout_s=_TORCH_ANSWERS_S)
    if told is None:
        return [accelerators.unknown(_end_of(probe, _TORCH_ANSWERS_S), cards)]
    facts = TorchFacts.from_dict(told)
    return [
        accelerators.torch_found(facts, cards, environment),
        *accelerators.gpus_found(facts, cards, environment),
        accelerators.quantisation_found(facts),
    ]


def _ray() -> Finding:
    try:
        return Finding("Ray", Status.OK, version("ray"))
    except PackageNotFoundError:
        return Finding("Ray", Status.FAILED, "not installed", "pip install foretune")


def _cluster(probe: Standby, address: str) -> Finding:
    """Ask a cluster, last of all: nodes that are just joining are counted."""
    probe.ask({"address": address})
    told = probe.answer(timeout_s=_CLUSTER_ANSWERS_S)
    if told is None:
        return reach.silent(address, _end_of(probe, _CLUSTER_ANSWERS_S))
    return reach.cluster(address, told)


def _end_of(probe: Standby, waited_s: float) -> str:
    """Return in words how a process ended that gave no answer."""
    exit_code, last_words = probe.last_words()
    last_line = last_words.splitlines()[-1].strip()
    if exit_code == -signal.SIGKILL:
        return f"asking took more than {waited_s:g} s, or was killed; its last words: {last_line}"
    if exit_code < 0:
        return f"asking ended by {signal.Signals(-exit_code).name}; its last words: {last_line}"
    return f"asking ended with exit code {exit_code}: {last_line}"


def _told(finding: Finding) -> str:
    text = escape(finding.found)
    return f"{text}\n[bold]→ {escape(finding.advice)}[/]" if finding.advice else text
