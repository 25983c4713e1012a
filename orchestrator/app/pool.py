"""The trainer actors of a sweep: made, spoken to, buried and replaced.

Created by the driver and owned by it: they are neither detached nor named, so they die with it, and a new
driver makes new ones. Each has one call under way at any time, ``exchange``, which carries commands out and
reports back. A dead actor is never restarted under its id: a new one with a new id takes its place.
"""

import itertools
import logging
import os
import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from orchestrator.app.workforce import Answer, WorkerDown, WorkerSaid, WorkerUp
from orchestrator.contracts import Command, OrchestrationError, WorkerId
from workers.actor import TrainerActor

EXCHANGE_S = 0.25
"""How long a worker with nothing to report holds a call: the longest a command waits to be delivered."""
HUNG_AFTER_S = 300.0
"""A worker that answers no call for so long is killed and replaced."""
MAX_DEATHS_AT_START = 3

logger = logging.getLogger(__name__)


class WorkersWontStartError(OrchestrationError):
    """Workers died one after another before they were ready."""

    def __init__(self, deaths: int, reason: str) -> None:
        super().__init__(deaths, reason)
        self.deaths, self.reason = deaths, reason

    def __str__(self) -> str:
        return f"{self.deaths} workers in a row died before they were ready; the last: {self.reason}"


@dataclass(slots=True)
class _Member:
    actor: Any
    call: Any
    called_at_s: float
    is_ready: bool = False
    outbox: list[Command] = field(default_factory=list)


class WorkerPool:
    """A fixed number of trainer actors, whatever dies.

    Args:
        root: The sweep's root, as the workers see it.
        count: Workers to keep alive.
        cpus: Logical CPUs of one worker.
        gpus: GPUs, or a share of one, of one worker.
    """

    def __init__(self, root: str, *, count: int, cpus: float, gpus: float) -> None:
        self._root = root
        self._cpus, self._gpus = cpus, gpus
        self._members: dict[WorkerId, _Member] = {}
        self._names = itertools.count()
        self._deaths_at_start = 0
        for _ in range(count):
            self._add()

    def __len__(self) -> int:
        return len(self._members)

    def _add(self) -> None:
        # The driver's process id keeps a later driver's workers apart in logs and in the journal of attempts.
        worker_id = WorkerId(f"{os.uname().nodename}-{os.getpid()}-{next(self._names)}")
        actor = TrainerActor.options(num_cpus=self._cpus, num_gpus=self._gpus).remote(self._root, worker_id)
        self._members[worker_id] = _Member(actor, actor.describe.remote(), time.monotonic())

    def send(self, worker_id: WorkerId, command: Command) -> None:
        """Queue a command for a worker's next call; dropped if the worker is gone."""
        member = self._members.get(worker_id)
        if member is not None:
            member.outbox.append(command)

    def poll(self, timeout_s: float) -> list[Answer]:
        """Call every worker that has no call under way, then collect what has been answered.

        Args:
            timeout_s: Longest wait, in seconds, for the first answer.

        Returns:
            Every answer that has arrived, in no order between workers.

        Raises:
            WorkersWontStartError: Workers die before they are ready, again and again.
        """
        self._call_idle()
        calls = {member.call: worker_id for worker_id, member in self._members.items()}
        ready, _ = ray.wait(list(calls), num_returns=1, timeout=timeout_s)
        if ready:
            # The first answer ends the wait; whatever else has arrived comes along.
            ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        answers = [self._take(calls[call]) for call in ready]
        answers += self._bury_hung()
        return answers

    def _call_idle(self) -> None:
        for member in self._members.values():
            if member.call is None:
                commands, member.outbox = member.outbox, []
                member.call = member.actor.exchange.remote(commands, EXCHANGE_S)
                member.called_at_s = time.monotonic()

    def _take(self, worker_id: WorkerId) -> Answer:
        member = self._members[worker_id]
        try:
            result = ray.get(member.call)
        except RayTaskError as err:
            # The worker's own loop raised: a bug of ours, not an infrastructure loss; its state is unknown.
            return self._bury(worker_id, f"its loop raised: {str(err).strip()[-2000:]}", blames_trial=True)
        except RayActorError as err:
            reason = " ".join(str(err).split())
            return self._bury(worker_id, reason, blames_trial="node has died" not in reason)
        member.call = None
        if member.is_ready:
            return WorkerSaid(worker_id, result)
        member.is_ready = True
        self._deaths_at_start = 0
        return WorkerUp(worker_id, result)

    def _bury(self, worker_id: WorkerId, reason: str, *, blames_trial: bool) -> WorkerDown:
        member = self._members.pop(worker_id)
        ray.kill(member.actor)
        logger.warning("worker lost worker=%s reason=%s", worker_id, reason)
        if not member.is_ready:
            self._deaths_at_start += 1
            if self._deaths_at_start >= MAX_DEATHS_AT_START:
                raise WorkersWontStartError(self._deaths_at_start, reason)
        self._add()
        return WorkerDown(worker_id, reason, blames_trial)

    def _bury_hung(self) -> list[Answer]:
        limit_s = time.monotonic() - HUNG_AFTER_S
        hung = [
            w
            for w, member in self._members.items()
            if member.call is not None and member.called_at_s < limit_s
        ]
        return [
            self._bury(worker_id, f"no answer for {HUNG_AFTER_S:g} s", blames_trial=True)
            for worker_id in hung
        ]

    def close(self) -> None:
        """End all workers at once; what they have not reported is made again by a resume."""
        for member in self._members.values():
            ray.kill(member.actor)
        self._members.clear()
