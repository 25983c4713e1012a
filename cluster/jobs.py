"""Jobs on a running Ray cluster, through its job server: submitted once, found again, followed, stopped.

A job runs once and dies with its cluster; its log is a file on the node it runs on. What a job does must
therefore be safe to do again, and whoever submits under an id that has been used continues it.
"""

import enum
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.jobclient import JobClient, explained, server_address
from cluster.tailing import LogTail
from orchestrator.contracts import InputError

UPLOAD_LIMIT_BYTES = 100 * 2**20
"""Largest request body Ray's dashboard takes (2.60); a working directory is uploaded in one."""
_LOG_START = "foretune_log_start"
_RECONNECT_FOR_S = 60.0
_SILENCE_S = 60.0
"""A log connection that brings nothing for so long is made anew; it may be dead without our knowing."""

logger = logging.getLogger(__name__)


class JobState(enum.StrEnum):
    """Where a job stands; the names are Ray's."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    """Ended after it was asked to stop."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_finished(self) -> bool:
        """Whether the job will do nothing more."""
        return self not in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the job server describes it."""

    job_id: str
    state: JobState
    message: str
    """Why it is in this state, in Ray's words; the log's tail behind it where it failed."""
    error_type: str
    """Ray's name of what failed; empty where nothing did."""
    exit_code: int | None
    """Of the entrypoint, once it has ended by itself."""
    started_ms: int
    """When it was submitted, in milliseconds of Unix time."""
    metadata: Mapping[str, str]

    @property
    def log_start(self) -> int:
        """Characters in the log that jobs of the same id left there before this one."""
        return int(self.metadata.get(_LOG_START, "0"))


class JobServer:
    """Ray's job server on a cluster.

    Args:
        address: As ``server_address`` takes it.

    Raises:
        InputError: Nobody listens there, it is no job server, or there is no token here.
    """

    def __init__(self, address: str | None) -> None:
        self.address = server_address(address)
        self._client = JobClient(self.address)

    def jobs(self) -> list[Job]:
        """Return all submitted jobs that the cluster knows."""
        with explained(self.address):
            return [_job(details) for details in self._client.list_jobs() if details.submission_id]

    def find(self, job_id: str) -> Job | None:
        """Return a job, or None where the cluster does not know it (any more)."""
        return next((job for job in self.jobs() if job.job_id == job_id), None)

    def submit_once(
        self,
        job_id: str,
        *,
        entrypoint: str,
        working_dir: Path,
        runtime_env: Mapping[str, Any],
        metadata: Mapping[str, str],
    ) -> bool:
        """Submit a job unless one with the id is at work; one that has ended makes room.

        Args:
            job_id: The job's id.
            entrypoint: The shell command.
            working_dir: A local folder, uploaded, in which the command runs.
            runtime_env: Ray's runtime environment, without a working directory.
            metadata: Kept with the job.

        Returns:
            Whether the job was submitted; False if one with the id is pending or running.

        Raises:
            InputError: The job server refuses the job or the environment.
        """
        former = self.find(job_id)
        if former is not None and not former.state.is_finished:
            return False
        log_start = 0
        if former is not None:
            log_start = former.log_start + len(self.log_if_there(former))
            with explained(self.address):
                self._client.delete_job(job_id)
        try:
            with explained(self.address):
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job_id,
                    runtime_env={**runtime_env, "working_dir": str(working_dir)},
                    metadata={**metadata, _LOG_START: str(log_start)},
                )
        except InputError:
            # Somebody else submitted the same between our look and our request: theirs is as good as ours.
            if self.find(job_id) is None:
                raise
            return False
        logger.info("job submitted job=%s server=%s", job_id, self.address)
        return True

    def stop(self, job_id: str) -> bool:
        """Ask a job to stop; return whether it was at work. It ends in its own time."""
        with explained(self.address):
            return bool(self._client.stop_job(job_id))

    def log(self, job: Job) -> str:
        """Return all a job's entrypoint has printed."""
        with explained(self.address):
            whole = str(self._client.get_job_logs(job.job_id))
        # A log shorter than that was begun anew, on another node.
        return whole[job.log_start :] if len(whole) >= job.log_start else whole

    def log_if_there(self, job: Job) -> str:
        """Return a job's log; empty where the node that has it is gone."""
        try:
            return self.log(job)
        except InputError as err:
            logger.info("log not to be had job=%s reason=%s", job.job_id, err)
            return ""

    def follow(self, job: Job) -> Iterator[str]:
        """Yield a job's log as it grows, until the job has ended or is not known any more.

        Args:
            job: The job.

        Yields:
            Pieces of the log, one line or several.

        Raises:
            InputError: The job server can't be reached for a minute.
        """
        seen = job.log_start
        while True:
            with LogTail(self._client, job.job_id) as tail:
                passed = 0
                for piece in tail.pieces(silence_s=_SILENCE_S):
                    if fresh := piece[max(0, seen - passed) :]:
                        yield fresh
                    passed += len(piece)
                    seen = max(seen, passed)
            now = self._find_patiently(job.job_id)
            if now is None or now.state.is_finished:
                break
            time.sleep(1.0)
        if now is not None and (rest := self.log_if_there(job)[seen - job.log_start :]):
            yield rest

    def _find_patiently(self, job_id: str) -> Job | None:
        """Find a job, though the server may be away for a while."""
        give_up_at_s = time.monotonic() + _RECONNECT_FOR_S
        while True:
            try:
                return self.find(job_id)
            except InputError:
                if time.monotonic() > give_up_at_s:
                    raise
            time.sleep(1.0)


def _job(details: Any) -> Job:
    return Job(
        job_id=details.submission_id,
        state=JobState(details.status.value),
        message=details.message or "",
        error_type=str(details.error_type or ""),
        exit_code=details.driver_exit_code,
        started_ms=details.start_time or 0,
        metadata=details.metadata or {},
    )
