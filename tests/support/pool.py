"""A pool of simulated workers behind the interface of ``orchestrator.app.workforce.Workforce``.

Each simulated worker trains its leases in order, one epoch a poll, with numbers that are a function of the
trial and the epoch; it "checkpoints" into a dictionary that outlives it, as a folder would.
"""

from collections.abc import Callable

from orchestrator.app.workforce import Answer, WorkerDown, WorkerSaid, WorkerUp
from orchestrator.contracts import (
    Acknowledge,
    Assign,
    Command,
    CurvePoint,
    DescribeTask,
    Extend,
    Lease,
    Outcome,
    Pause,
    PointMeasured,
    Release,
    Report,
    Stop,
    TaskDescribed,
    TaskRecord,
    Trial,
    TrialEnded,
    TrialId,
    TrialPaused,
    TrialStarted,
    WorkerId,
)


def a_point(trial: Trial, attempt: int, epoch: int) -> CurvePoint:
    """Return the point every run of this trial measures at this epoch."""
    base = int(trial.trial_id[:6], 16) / 16**6
    return CurvePoint(
        trial_id=trial.trial_id,
        attempt=attempt,
        task_id=trial.task_id,
        config_id=trial.config_id,
        seed=trial.seed,
        epoch=epoch,
        step=10 * epoch,
        tokens=100 * epoch,
        train_loss=base / epoch,
        eval_loss=base / epoch,
        eval_exact_match=1 - base,
        eval_token_f1=1 - base,
        test_loss=base / epoch,
        test_exact_match=1 - base,
        test_token_f1=1 - base,
        train_s=1.0,
        eval_s=0.5,
        cpu_s=1.5,
        peak_memory_bytes=1000,
        device="simulated",
        eval_rouge_l=1 - base,
        test_rouge_l=1 - base,
    )


class SimulatedPool:
    """As many workers as asked for; ``kill`` ends one as a crash would, and another takes its place."""

    def __init__(
        self, count: int, *, outcome_of: Callable[[Trial], Outcome] = lambda _: Outcome.COMPLETED
    ) -> None:
        self._outcome_of = outcome_of
        self._checkpoints: dict[TrialId, int] = {}
        self._queues: dict[WorkerId, list[Lease]] = {}
        self._epochs: dict[WorkerId, int | None] = {}
        self._outbox: dict[WorkerId, list[Report]] = {}
        self._news: list[Answer] = []
        self._born = 0
        self.acknowledged: dict[TrialId, int] = {}
        self.released: set[TrialId] = set()
        for _ in range(count):
            self._add()

    def __len__(self) -> int:
        return len(self._queues)

    @property
    def workers(self) -> list[WorkerId]:
        return list(self._queues)

    def _add(self) -> None:
        worker = WorkerId(f"sim-{self._born}")
        self._born += 1
        self._queues[worker], self._epochs[worker], self._outbox[worker] = [], None, []
        self._news.append(WorkerUp(worker, {"device": "simulated"}))

    def kill(self, worker: WorkerId, *, blames_trial: bool = False) -> None:
        """End a worker; what it had not said is lost, its checkpoints stay."""
        del self._queues[worker], self._epochs[worker], self._outbox[worker]
        self._news.append(WorkerDown(worker, "killed by a test", blames_trial))
        self._add()

    def send(self, worker_id: WorkerId, command: Command) -> None:
        if worker_id not in self._queues:
            return
        match command:
            case Assign(leases=leases):
                self._queues[worker_id] += leases
            case Acknowledge(trial_id=trial_id, epoch=epoch):
                self.acknowledged[trial_id] = epoch
            case Release(trial_id=trial_id):
                self.released.add(trial_id)
                self._checkpoints.pop(trial_id, None)
            case DescribeTask():
                self._outbox[worker_id].append(_described(command))
            case Pause(trial_id=trial_id, attempt=attempt):
                self._let_go(worker_id, trial_id, attempt)
            case Extend() | Stop():
                raise AssertionError(f"first come, first served needs no {command}")

    def _let_go(self, worker: WorkerId, trial_id: TrialId, attempt: int) -> None:
        held = self._queues[worker]
        if any((lease.trial.trial_id, lease.attempt) == (trial_id, attempt) for lease in held):
            if held[0].trial.trial_id == trial_id:
                self._epochs[worker] = None
            self._queues[worker] = [lease for lease in held if lease.trial.trial_id != trial_id]
            self._outbox[worker].append(TrialPaused(trial_id=trial_id, attempt=attempt))

    def poll(self, timeout_s: float) -> list[Answer]:
        answers, self._news = self._news, []
        for worker in self._queues:
            self._train(worker)
            answers.append(WorkerSaid(worker, self._outbox[worker]))
            self._outbox[worker] = []
        return answers

    def close(self) -> None:
        self._queues.clear()

    def _train(self, worker: WorkerId) -> None:
        if not self._queues[worker]:
            return
        lease = self._queues[worker][0]
        trial, said = lease.trial, self._outbox[worker]
        epoch = self._epochs[worker]
        if epoch is None:
            epoch = self._checkpoints.get(trial.trial_id, 0)
            said.append(TrialStarted(trial_id=trial.trial_id, attempt=lease.attempt, from_epoch=epoch))
            for done in range(lease.committed_epochs + 1, epoch + 1):
                said.append(PointMeasured(point=a_point(trial, lease.attempt, done)))
        outcome = self._outcome_of(trial)
        if epoch < trial.max_epochs and outcome is Outcome.COMPLETED:
            epoch += 1
            self._checkpoints[trial.trial_id] = epoch
            if epoch > lease.committed_epochs:
                said.append(PointMeasured(point=a_point(trial, lease.attempt, epoch)))
        if epoch == trial.max_epochs or outcome is not Outcome.COMPLETED:
            said.append(_ended(lease, outcome, epoch))
            self._queues[worker].pop(0)
            self._epochs[worker] = None
        else:
            self._epochs[worker] = epoch


def _ended(lease: Lease, outcome: Outcome, epoch: int) -> TrialEnded:
    return TrialEnded(
        trial_id=lease.trial.trial_id,
        attempt=lease.attempt,
        outcome=outcome,
        epochs=epoch,
        unreported_train_s=0.0,
        peak_memory_bytes=1000,
        device="simulated",
        error=None if outcome is Outcome.COMPLETED else f"simulated {outcome}",
    )


def _described(command: DescribeTask) -> TaskDescribed:
    record = TaskRecord(
        task_id=command.task_id,
        name=command.name,
        source=command.source,
        base_fingerprint="f",
        train_examples=10,
        eval_examples=1,
        test_examples=1,
        meta_features={"train_rows": 10.0},
    )
    return TaskDescribed(task_id=command.task_id, record=record, error=None)
