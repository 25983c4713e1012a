"""The trainer actors of a sweep: made, spoken to, buried and replaced.

Created by the driver and owned by it: they are neither detached nor named, so they die with it, and a new
driver makes new ones. Each has one call under way at any time, ``exchange``, which carries commands out and
reports back. A dead actor is never restarted under its id: a new one with a new id takes its place. Their
number follows the cluster's nodes: nodes that join are used, and for nodes that leave none is replaced.
"""

import itertools
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from cluster.nodes import WorkerSize, answers, is_lost, live_nodes, no_slot_error, slots
from orchestrator.app.workforce import Answer, WorkerDown, WorkerSaid, WorkerUp
from orchestrator.contracts import Command, SweepInterruptedError, WorkerId
from workers.actor import TrainerActor
from workers.judge import JudgeSettings

EXCHANGE_S = 0.25
"""How long a worker with nothing to report holds a call: the longest a command waits to be delivered."""
FOLLOW_S = 2.0
"""The cluster's nodes are looked at this often."""
HEAD_LOST_AFTER_S = 10.0
"""A head that does not answer for so long is gone; Ray itself would abort the process after a minute."""
_BOILERPLATE = "Some common causes include"
"""Where what Ray says of a death stops being about this one."""
MAX_DEATHS_AT_START = 4
"""Workers that may die one after another before the first of all is ready."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pause before the next worker, after one that died before it was ready; doubled each time."""

logger = logging.getLogger(__name__)


class HeadLostError(SweepInterruptedError):
    """The head of the Ray cluster is gone, and with it the cluster."""

    def __init__(self, address: str, silent_s: float) -> None:
        super().__init__(address, silent_s)
        self.address, self.silent_s = address, silent_s

    def __str__(self) -> str:
        return (
            f"the Ray head at {self.address} has not answered for {self.silent_s:.0f} s; what was "
            "acknowledged is on disk: `foretune resume` continues, on this cluster or on any other"
        )


class WorkersWontStartError(SweepInterruptedError):
    """Workers died one after another before they were ready."""

    def __init__(self, deaths: int, reason: str) -> None:
        super().__init__(deaths, reason)
        self.deaths, self.reason = deaths, reason

    def __str__(self) -> str:
        return f"{self.deaths} workers in a row died before they were ready; the last: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTerms:
    """What every worker of a sweep is given."""

    size: WorkerSize
    most: int | None
    """Workers at most; None: as many as the nodes hold."""
    is_rehearsal: bool
    heartbeat_s: float
    """A worker that answers no call for so long is killed and replaced."""
    stalled_after_s: float
    """So is one whose training makes no step for so long."""
    start_s: float
    """Seconds to wait for a node that holds a worker, when none does."""
    judge: JudgeSettings | None = None
    """Of those that finetune: who judges their answers."""


@dataclass(slots=True)
class _Member:
    actor: Any
    call: Any
    called_at_s: float
    node_id: str | None = None
    """Known once it is ready."""
    outbox: list[Command] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return self.node_id is not None


class WorkerPool:
    """As many trainer actors as the cluster's nodes hold and the sweep can use, whatever dies.

    Args:
        root: The sweep's root, as the workers see it.
        head_address: ``HOST:PORT`` of the cluster's head.
        terms: What every worker is given.
        wanted: Asked for how many workers there is work.

    Raises:
        InputError: No node holds a worker, and none has come within ``terms.start_s``.
    """

    def __init__(
        self, root: str, head_address: str, terms: WorkerTerms, *, wanted: Callable[[], int]
    ) -> None:
        self._root = root
        self._head_address = head_address
        self._head_answered_at_s = time.monotonic()
        self._terms = terms
        self._wanted = wanted
        self._members: dict[WorkerId, _Member] = {}
        self._names = itertools.count()
        self._deaths_at_start = 0
        self._last_death_at_start_s = -math.inf
        """Those that were made before it and died after it fell to the same cause: a node, for instance."""
        self._has_started_one = False
        self._next_start_s = 0.0
        self._nodes = live_nodes()
        self._looked_at_s = time.monotonic()
        self._fill()
        self._wait_for_a_slot()

    def __len__(self) -> int:
        return len(self._members)

    def _wait_for_a_slot(self) -> None:
        deadline_s = time.monotonic() + self._terms.start_s
        while slots(self._terms.size, self._nodes.values()) == 0:
            if time.monotonic() >= deadline_s:
                self.close()
                raise no_slot_error(self._terms.size, self._nodes.values())
            time.sleep(0.5)
            self._nodes = live_nodes()

    def _fill(self) -> None:
        """Add the workers that are missing; take back those that wait for a node that is gone."""
        # One at least, where no node holds any: that it waits is what an autoscaler goes by.
        fitting = max(1, slots(self._terms.size, self._nodes.values()))
        target = min(fitting, self._wanted(), self._terms.most or fitting)
        while len(self._members) < target and time.monotonic() >= self._next_start_s:
            self._add()
        waiting = [worker_id for worker_id, member in self._members.items() if not member.is_ready]
        for worker_id in waiting[: max(0, len(self._members) - fitting)]:
            ray.kill(self._members.pop(worker_id).actor)

    def _add(self) -> None:
        # The driver's process id keeps a later driver's workers apart in logs and in the journal of attempts.
        worker_id = WorkerId(f"{os.uname().nodename}-{os.getpid()}-{next(self._names)}")
        size = self._terms.size
        options: dict[str, Any] = {}
        if not self._terms.is_rehearsal:
            options = {"judge": self._terms.judge, "processes": size.per_gpu}
        actor = TrainerActor.options(num_cpus=size.cpus, num_gpus=size.gpus).remote(
            self._root,
            worker_id,
            is_rehearsal=self._terms.is_rehearsal,
            stalled_after_s=self._terms.stalled_after_s,
            **options,
        )
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
            HeadLostError: The cluster's head is gone.
        """
        self._call_idle()
        calls = {member.call: worker_id for worker_id, member in self._members.items()}
        answers: list[Answer] = []
        if calls:
            ready, _ = ray.wait(list(calls), num_returns=1, timeout=timeout_s)
            if ready and len(calls) > 1:
                # The first answer ends the wait; whatever else has arrived comes along.
                ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
            answers += [self._take(calls[call]) for call in ready]
        else:
            time.sleep(timeout_s)
        answers += self._bury_hung()
        self._follow_nodes()
        return answers

    def _call_idle(self) -> None:
        for member in self._members.values():
            if member.call is None:
                commands, member.outbox = member.outbox, []
                member.call = member.actor.exchange.remote(commands, EXCHANGE_S)
                member.called_at_s = time.monotonic()

    def _follow_nodes(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_at_s < FOLLOW_S and len(self._members) > 0:
            return
        self._looked_at_s = now_s
        if not self._head_answers():
            return
        nodes = live_nodes()
        if nodes.keys() != self._nodes.keys():
            logger.info("nodes changed before=%d now=%d", len(self._nodes), len(nodes))
        self._nodes = nodes
        self._fill()

    def _head_answers(self) -> bool:
        """Whether the head can be asked something: a question to one that is gone would not come back."""
        now_s = time.monotonic()
        if answers(self._head_address):
            self._head_answered_at_s = now_s
            return True
        silent_s = now_s - self._head_answered_at_s
        if silent_s > HEAD_LOST_AFTER_S:
            raise HeadLostError(self._head_address, silent_s)
        return False

    def _take(self, worker_id: WorkerId) -> Answer:
        member = self._members[worker_id]
        try:
            result = ray.get(member.call)
        except RayTaskError as err:
            # The worker's own loop raised, or it says that it hangs: its state is unknown.
            return self._bury(worker_id, str(err).strip()[-2000:])
        except RayActorError as err:
            return self._bury(worker_id, " ".join(str(err).partition(_BOILERPLATE)[0].split()))
        member.call = None
        if member.is_ready:
            return WorkerSaid(worker_id, result)
        member.node_id = result["node_id"]
        self._deaths_at_start, self._has_started_one = 0, True
        return WorkerUp(worker_id, result)

    def _bury(self, worker_id: WorkerId, reason: str) -> WorkerDown:
        member = self._members.pop(worker_id)
        ray.kill(member.actor)
        # Where the head does not answer no one knows; no trial is blamed for what may be the cluster's end.
        node_is_lost = member.node_id is not None and (
            not answers(self._head_address) or is_lost(member.node_id)
        )
        logger.warning("worker lost worker=%s node_lost=%s reason=%s", worker_id, node_is_lost, reason)
        if not member.is_ready and member.called_at_s > self._last_death_at_start_s:
            self._count_death_at_start(reason)
        self._looked_at_s = 0.0
        return WorkerDown(worker_id, reason, blames_trial=not node_is_lost)

    def _count_death_at_start(self, reason: str) -> None:
        self._deaths_at_start += 1
        self._last_death_at_start_s = time.monotonic()
        if not self._has_started_one and self._deaths_at_start >= MAX_DEATHS_AT_START:
            raise WorkersWontStartError(self._deaths_at_start, reason)
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._deaths_at_start - 1, 30))
        self._next_start_s = time.monotonic() + pause_s

    def _bury_hung(self) -> list[Answer]:
        """Replace those that answer nothing; one that waits for its node to start it is not among them."""
        limit_s = time.monotonic() - self._terms.heartbeat_s
        hung = [
            worker_id
            for worker_id, member in self._members.items()
            if member.is_ready and member.call is not None and member.called_at_s < limit_s
        ]
        return [self._bury(worker_id, f"no answer for {self._terms.heartbeat_s:g} s") for worker_id in hung]

    def close(self) -> None:
        """End all workers at once; what they have not reported is made again by a resume."""
        for member in self._members.values():
            ray.kill(member.actor)
        self._members.clear()
