"""What a torture proves, as JSON and as text."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.app.torture.execution import Execution
from orchestrator.app.torture.plan import Kill, KillKind
from orchestrator.metadataset.certificate import Certificate
from orchestrator.metadataset.durable import write_durably


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What it ran on."""

    cores: int
    python: str
    platform: str
    ray: str
    foretune: str
    code_digest: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TortureCertificate:
    """A tortured sweep beside the same sweep left alone."""

    seed: int
    began_at: str
    """UTC, ISO 8601 with seconds."""
    host: Host
    nodes: int
    trials: int
    epochs: int
    """Of each trial."""
    epoch_s: float
    planned: Sequence[Kill]
    execution: Execution
    drivers: int
    """Driver processes that the tortured sweep took."""
    attempts: int
    lost_attempts: int
    rows: int
    """Curve rows of the tortured sweep."""
    quiet_wall_s: float
    checks: Sequence[Certificate]
    """Of the quiet sweep, of the tortured one, and of both against each other."""

    @property
    def hits(self) -> Mapping[KillKind, int]:
        """Kills that hit, by kind."""
        counts = Counter(deed.kind for deed in self.execution.deeds)
        return {kind: counts[kind] for kind in KillKind}

    @property
    def problems(self) -> list[str]:
        """Why it is not certified; empty if it is."""
        problems = [finding.what for finding in self.execution.findings]
        missing = len(self.planned) - len(self.execution.deeds)
        if missing and self.execution.is_done:
            problems.append(
                f"the sweep ended {missing} kills before the plan did: run it with more --trials, or without"
            )
        if not self.execution.is_done:
            problems.append("the tortured sweep did not come to its end")
        problems += [f"{item.subject}: a check failed" for item in self.checks if not item.ok]
        if not self.checks:
            problems.append("nothing was verified")
        return problems

    @property
    def ok(self) -> bool:
        """Whether every planned kill hit and the sweep holds what it would hold without."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON-like values."""
        planned = Counter(kill.kind for kill in self.planned)
        return {
            "certified": self.ok,
            "problems": self.problems,
            "seed": self.seed,
            "began_at": self.began_at,
            "kills": {kind.value: count for kind, count in self.hits.items()},
            "kills_hit": len(self.execution.deeds),
            "kills_planned": {kind.value: planned[kind] for kind in KillKind},
            "nodes": self.nodes,
            "trials": self.trials,
            "epochs": self.epochs,
            "epoch_s": self.epoch_s,
            "rows": self.rows,
            "drivers": self.drivers,
            "attempts": self.attempts,
            "lost_attempts": self.lost_attempts,
            "wall_s": round(self.execution.wall_s, 1),
            "quiet_wall_s": round(self.quiet_wall_s, 1),
            "host": asdict(self.host),
            "checks": [item.as_dict() for item in self.checks],
            "findings": [asdict(finding) for finding in self.execution.findings],
            "deeds": [
                {"kind": deed.kind.value, "at_s": round(deed.at_s, 2), "target": deed.target}
                for deed in self.execution.deeds
            ],
        }

    def render(self) -> str:
        """Return the certificate as text for people."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.hits.items())
        host = self.host
        lines = [
            f"Torture, seed {self.seed}, begun {self.began_at}",
            f"  kills     {len(self.execution.deeds)} of {len(self.planned)} hit: {kinds}",
            f"  sweep     {self.trials} trials, {self.epochs} epochs of {self.epoch_s:g} s, {self.rows} rows",
            f"  price     {self.lost_attempts} of {self.attempts} attempts lost, {self.drivers} drivers, "
            f"{self.execution.wall_s:.0f} s",
            f"  host      {self.nodes} nodes on {host.cores} cores, {host.platform}",
            f"  versions  foretune {host.foretune} ({host.commit}), Ray {host.ray}, Python {host.python}",
        ]
        lines += [item.render() for item in self.checks]
        for finding in self.execution.findings:
            evidence = "\n".join(f"    {line}" for line in finding.evidence.splitlines())
            lines.append(f"FOUND after {finding.at_s:.0f} s: {finding.what}\n{evidence}")
        lines += [f"NOT certified: {problem}" for problem in self.problems]
        if self.ok:
            lines.append(
                "CERTIFIED: after these kills no row is missing, doubled or mislabelled, no trial is lost, "
                "and the sweep is equal, bit for bit, to the one left alone."
            )
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write ``certificate.json`` and ``certificate.txt`` into a folder."""
        write_durably(folder / "certificate.json", (json.dumps(self.as_dict(), indent=2) + "\n").encode())
        write_durably(folder / "certificate.txt", (self.render() + "\n").encode())
