"""Where everything of a root lies: the one owner of file names."""

import re
from pathlib import Path

from orchestrator.contracts import TrialId, WorkerId

_PART = re.compile(r"part-(\d{6,})\.parquet")
_SEGMENT = re.compile(r"wal-(\d{6,})\.log")
_REVISION = re.compile(r"(\d{4,})\.json")
_ASIDE = re.compile(r"[a-z]+-\d{6,}\.tmp")


class RootLayout:
    """Names the files of one root; touches none.

    Names that begin with ``.`` or ``_`` are hidden from Parquet readers that are given a folder.

    Args:
        root: The root's folder; need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sweep_yaml = root / "sweep.yaml"
        """The spec as submitted; its presence makes the folder a sweep's root."""
        self.space_json = root / "space.json"
        """The declared search space."""
        self.checkpoints_dir = root / "checkpoints"
        self.adapters_dir = root / "adapters"
        self.logs_dir = root / "logs"
        self.driver_log = self.logs_dir / "driver.log"
        self.worker_logs_dir = self.logs_dir / "workers"
        self.inputs_dir = root / "inputs"
        """Copies of task files, where the sweep was told to keep some."""
        self.ledger_dir = root / "_ledger"
        self.revisions_dir = self.ledger_dir / "revisions"
        """Every spec the sweep has had, with the trials it planned."""
        self.stop_file = self.ledger_dir / "stop"
        """Its presence asks the driver at work to drain."""
        self.surrogate_dir = root / ".surrogate"
        """What the root's surrogate actor has learned and where it answers; also beside tables of others."""
        self.endpoint_json = self.surrogate_dir / "endpoint.json"
        """Where the root's surrogate actor answers."""
        self.token_file = self.surrogate_dir / "token"
        """The bearer token of the surrogate's HTTP server, for its owner's eyes only."""
        self.lock_file = self.ledger_dir / "lock"
        """Locked by the one process that writes; holds a line that says who."""

    def checkpoint_dir(self, trial_id: TrialId) -> Path:
        """Return where a living trial keeps its checkpoints."""
        return self.checkpoints_dir / trial_id

    def adapter_dir(self, trial_id: TrialId) -> Path:
        """Return where a finished trial's adapter is kept."""
        return self.adapters_dir / trial_id

    def worker_log(self, worker_id: WorkerId) -> Path:
        """Return the file that takes all a worker prints."""
        return self.worker_logs_dir / f"{worker_id}.log"

    def revision(self, number: int) -> Path:
        """Return the file of one revision of the spec, counted from 0."""
        return self.revisions_dir / f"{number:04d}.json"

    def revisions(self) -> dict[int, Path]:
        """Return the revisions on record, by rising number."""
        return _numbered(self.revisions_dir, _REVISION)

    def table_dir(self, table: str) -> Path:
        """Return the folder of a table; the journal of attempts is the ledger's own."""
        return (self.ledger_dir if table == "attempts" else self.root) / table

    def part(self, table: str, number: int) -> Path:
        """Return a table's part file."""
        return self.table_dir(table) / f"part-{number:06d}.parquet"

    def part_aside(self, table: str, number: int) -> Path:
        """Return where a part is written before it is renamed; outside the folder that readers list."""
        return self.ledger_dir / f"{table}-{number:06d}.tmp"

    def parts(self, table: str) -> dict[int, Path]:
        """Return the parts of a table that exist, by rising number."""
        return _numbered(self.table_dir(table), _PART)

    def segment(self, number: int) -> Path:
        """Return a write-ahead segment's file; its rows go to the parts of the same number."""
        return self.ledger_dir / f"wal-{number:06d}.log"

    def segment_aside(self, number: int) -> Path:
        """Return where a segment is begun before it is renamed."""
        return self.ledger_dir / f"wal-{number:06d}.tmp"

    def segments(self) -> dict[int, Path]:
        """Return the write-ahead segments that exist, by rising number."""
        return _numbered(self.ledger_dir, _SEGMENT)

    def asides(self) -> list[Path]:
        """Return parts and segments that were begun and not renamed."""
        return sorted(path for path in self.ledger_dir.iterdir() if _ASIDE.fullmatch(path.name))

    def strangers(self, table: str) -> list[Path]:
        """Return what a Parquet reader would take for rows of a table, and is none of its parts."""
        folder = self.table_dir(table)
        if not folder.is_dir():
            return []
        return sorted(
            path for path in folder.iterdir() if path.name[0] not in "._" and not _PART.fullmatch(path.name)
        )


def aside(path: Path) -> Path:
    """Return the hidden name beside a file under which its content is written before it is renamed."""
    return path.with_name(f".{path.name}.tmp")


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    matches = ((pattern.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in matches if match))
