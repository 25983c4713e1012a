"""Which trial runs where, and how far: a plain state machine, events in and instructions out.

Knows the contracts only: no Ray, no clock, no files. Whoever drives it (``orchestrator.app``) turns what
happened into events, and instructions into ledger entries and commands to workers.
"""

from orchestrator.scheduling.events import (
    Conclude,
    DrainRequested,
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PointLanded,
    RunEnded,
    RunStarted,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)
from orchestrator.scheduling.rules import Fifo, RunOn, StoppingRule
from orchestrator.scheduling.scheduler import Past, Scheduler, TrialState

__all__ = [
    "Conclude",
    "DrainRequested",
    "Event",
    "ExtendRun",
    "Fifo",
    "Grant",
    "Instruction",
    "Past",
    "PointLanded",
    "RunEnded",
    "RunOn",
    "RunStarted",
    "Scheduler",
    "StopRun",
    "StoppingRule",
    "TimePassed",
    "TrialState",
    "WorkerJoined",
    "WorkerLeft",
]
