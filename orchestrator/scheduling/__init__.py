"""Which trial runs where, and how far: a plain state machine, events in and instructions out.

Knows the contracts only: no Ray, no clock, no files. Whoever drives it (``orchestrator.app``) turns what
happened into events, and instructions into ledger entries and commands to workers.
"""

from orchestrator.scheduling.events import (
    CapacityChanged,
    Conclude,
    DrainRequested,
    Event,
    ExtendRun,
    Grant,
    Instruction,
    PauseRun,
    PointLanded,
    RunEnded,
    RunPaused,
    RunStarted,
    StopRun,
    TimePassed,
    WorkerJoined,
    WorkerLeft,
)
from orchestrator.scheduling.rules import EndHere, Fifo, Judgement, RunOn, StandBy, StoppingRule
from orchestrator.scheduling.scheduler import Past, Scheduler, TrialState

__all__ = [
    "CapacityChanged",
    "Conclude",
    "DrainRequested",
    "EndHere",
    "Event",
    "ExtendRun",
    "Fifo",
    "Grant",
    "Instruction",
    "Judgement",
    "Past",
    "PauseRun",
    "PointLanded",
    "RunEnded",
    "RunOn",
    "RunPaused",
    "RunStarted",
    "Scheduler",
    "StandBy",
    "StopRun",
    "StoppingRule",
    "TimePassed",
    "TrialState",
    "WorkerJoined",
    "WorkerLeft",
]
