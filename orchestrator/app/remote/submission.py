"""Sweeps as jobs on a remote cluster: submitted, looked at, followed, drained.

A job belongs to the root it writes to. The ledger in that root is the truth: whatever became of a job,
submitting the same sweep to the same root continues it.
"""

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from cluster.jobs import UPLOAD_LIMIT_BYTES, Job, JobServer, JobState
from cluster.runtime_env import check_runtime_env
from orchestrator.app.exits import Exit
from orchestrator.app.remote.bundle import SPEC_FILE, bundled
from orchestrator.app.spec import load_spec, with_mirror
from orchestrator.contracts import InputError, digest

DRAIN_FOR_S = 24 * 3600
"""How long Ray leaves a job that it told to stop before it kills it; its own default, 3 s, ends no epoch."""
_ROOT_KEY = "foretune_root"
_POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A sweep that is now a job on a cluster."""

    job_id: str
    root: str
    """As the cluster's nodes see it."""
    address: str
    is_new: bool
    """False where the job was at work already."""
    upload_bytes: int
    """Size of the working directory; the cluster keeps one that it has."""
    notes: tuple[str, ...]

    @property
    def commands(self) -> dict[str, str]:
        """What to type next, by what it does."""
        where = f"{shlex.quote(self.root)} --address {shlex.quote(self.address)}"
        return {verb: f"foretune {verb} {where}" for verb in ("watch", "status", "logs", "stop")}

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-like values."""
        return {**asdict(self), "commands": self.commands}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStatus:
    """A submitted sweep as the cluster's job server shows it."""

    job_id: str
    root: str
    address: str
    state: str
    message: str
    """Ray's word on the state, one line."""
    exit_code: int | None
    started_at: str
    """UTC, ISO 8601 with seconds."""
    last_line: str
    """The last thing the driver printed."""

    def as_dict(self) -> dict[str, Any]:
        """Return the status as JSON-like values."""
        return asdict(self)

    def render(self) -> RenderableType:
        """Return the status as a table for people."""
        table = Table.grid(padding=(0, 2))
        table.add_row("job", f"{self.job_id} at {self.address}")
        table.add_row("root", f"{self.root} on the cluster's storage")
        table.add_row("state", f"{self.state}: {self.message}" if self.message else self.state)
        table.add_row("started", self.started_at)
        table.add_row("last line", self.last_line or "nothing printed yet")
        return table


class RemoteSweep:
    """The job that belongs to a root.

    Args:
        address: Of the cluster's job server; None takes Ray's variable.
        root: The sweep's folder as the cluster's nodes see it.

    Raises:
        InputError: The root is no absolute path, or no job server answers.
    """

    def __init__(self, address: str | None, root: Path | str) -> None:
        self.root = remote_root(root)
        self.server = JobServer(address)
        self.address = self.server.address

    def find(self) -> Job | None:
        """Return the root's job, one at work before any other, or None."""
        jobs = (job for job in self.server.jobs() if job.metadata.get(_ROOT_KEY) == self.root)
        return max(jobs, key=lambda job: (not job.state.is_finished, job.started_ms), default=None)

    def job(self) -> Job:
        """Return the root's job, or refuse with what to do."""
        job = self.find()
        if job is None:
            raise InputError(
                f"the cluster at {self.address} knows no job for {self.root}; `foretune submit SWEEP.yaml "
                f"--root {shlex.quote(self.root)} --address {self.address}` starts or continues it"
            )
        return job

    def status(self) -> RemoteStatus:
        """Return where the job stands."""
        job = self.job()
        lines = [line for line in self.server.log_if_there(job).splitlines() if line.strip()]
        started = datetime.fromtimestamp(job.started_ms / 1000, UTC)
        return RemoteStatus(
            job_id=job.job_id,
            root=self.root,
            address=self.address,
            state=job.state.value,
            message=job.message.partition("\n")[0],
            exit_code=job.exit_code,
            started_at=started.isoformat(timespec="seconds"),
            last_line=lines[-1].strip() if lines else "",
        )

    def log_lines(self, count: int) -> list[str]:
        """Return the last lines the driver has printed."""
        return self.server.log(self.job()).splitlines()[-count:]

    def follow(self) -> Iterator[str]:
        """Yield the job's log from its beginning until the job has ended."""
        return self.server.follow(self.job())

    def wait(self) -> Job | None:
        """Return the root's job once it has ended; None if its cluster forgets it."""
        for _ in self.follow():
            pass
        return self.find()

    def stop(self, *, timeout_s: float) -> Job:
        """Have the driver drain: running epochs end, what they measured is written.

        Args:
            timeout_s: How long to wait for the end.

        Returns:
            The job; still at work if the time was too short.
        """
        job = self.job()
        if not job.state.is_finished:
            self.server.stop(job.job_id)
        deadline_s = time.monotonic() + timeout_s
        while not job.state.is_finished and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
            job = self.job()
        return job


def submit_sweep(
    spec_path: Path,
    *,
    root: Path | str,
    address: str | None,
    runtime_env: Mapping[str, Any] | None = None,
    mirror: str | None = None,
) -> Submitted:
    """Start a sweep as a job on a cluster, or continue it; a sweep at work there is left at work.

    Args:
        spec_path: The spec; local task files that it names are uploaded.
        root: The sweep's folder as the cluster's nodes see it, on storage they share.
        address: Of the cluster's job server; None takes Ray's variable.
        runtime_env: Ray's runtime environment: packages to install, variables to set.
        mirror: Where finished parts are copied to, as ``run --mirror`` takes it.

    Returns:
        The job's id, and how to go on.

    Raises:
        InputError: The spec or a task can't be used, is too large, or the cluster refuses it.
    """
    spec = load_spec(spec_path)
    if mirror is not None:
        spec = with_mirror(spec, mirror)
    environment = dict(runtime_env or {})
    check_runtime_env(environment, "runtime environment")
    remote = RemoteSweep(address, root)
    job_id = submission_id(spec.name, remote.root)
    environment["env_vars"] = {
        "RAY_JOB_STOP_WAIT_TIME_S": str(DRAIN_FOR_S),
        **(environment.get("env_vars") or {}),
    }
    with bundled(spec, limit_bytes=UPLOAD_LIMIT_BYTES) as bundle:
        is_new = remote.server.submit_once(
            job_id,
            entrypoint=_entrypoint(remote.root),
            working_dir=bundle.folder,
            runtime_env=environment,
            metadata={_ROOT_KEY: remote.root},
        )
    return Submitted(
        job_id=job_id,
        root=remote.root,
        address=remote.address,
        is_new=is_new,
        upload_bytes=bundle.size_bytes,
        notes=bundle.notes,
    )


def submission_id(name: str, root: str) -> str:
    """Return the id of the job that runs a sweep in a root, as ``remote_root`` gives it."""
    return f"foretune-{name}-{digest(root)[:8]}"


def remote_status(address: str | None, root: Path | str) -> RemoteStatus:
    """Return where the job of a root stands; see ``RemoteSweep``."""
    return RemoteSweep(address, root).status()


def remote_root(root: Path | str) -> str:
    """Return a root on the cluster's storage in its one spelling, or refuse a relative one."""
    if not os.path.isabs(root):
        raise InputError(
            "with --address the root is a folder on storage that the cluster's nodes share, given as an "
            f"absolute path; got {str(root)!r}"
        )
    # normpath leaves two slashes at the beginning, which mean one.
    return f"/{os.path.normpath(root).lstrip('/')}"


def exit_code_of(job: Job | None) -> int:
    """Return what a command that followed a job ends with; None is a job that its cluster forgot."""
    if job is None or job.state is not JobState.FAILED:
        return 0 if job is not None and job.state is JobState.SUCCEEDED else Exit.STOPPED_EARLY
    if job.error_type == "RUNTIME_ENV_SETUP_FAILURE":
        return 2
    return job.exit_code if job.exit_code in (1, 2) else Exit.STOPPED_EARLY


def _entrypoint(root: str) -> str:
    # exec: the shell would be signalled, too, and end before the driver has drained.
    command = ["python", "-m", "orchestrator.cli", "run", SPEC_FILE, "--root", root]
    command += ["--address", "auto", "--copy-tasks"]
    return f"exec {shlex.join(command)}"
