"""Errors, classed by what the caller does next. All cross process borders whole: fields are positional."""


class OrchestrationError(Exception):
    """Root of every error Foretune raises on purpose."""


class SweepInterruptedError(OrchestrationError):
    """Something outside ended a sweep before its end: nothing is lost; remove the cause, then resume."""


class InputError(OrchestrationError):
    """A person's input is wrong; the text says what, where, and what to do."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return f"{len(self.problems)} problems:\n" + "\n".join(f"  - {problem}" for problem in self.problems)


class RootInUseError(OrchestrationError):
    """Another driver writes to this root; wait for it or stop it."""

    def __init__(self, root: str, holder: str) -> None:
        super().__init__(root, holder)
        self.root, self.holder = root, holder

    def __str__(self) -> str:
        return f"{self.root} is being written by {self.holder}; stop that driver first, or wait until it ends"


class LeaseLostError(OrchestrationError):
    """Another attempt owns the trial: stop without writing."""

    def __init__(self, trial_id: str, attempt: int, holder: int) -> None:
        super().__init__(trial_id, attempt, holder)
        self.trial_id, self.attempt, self.holder = trial_id, attempt, holder

    def __str__(self) -> str:
        who = f"trial {self.trial_id}: attempt {self.attempt}"
        return f"{who} lost its lease to attempt {self.holder}; stop without writing"


class CorruptLedgerError(OrchestrationError):
    """What is on disk can't have been written by us: look, don't repair blindly."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; restore the file from a copy, or move it away and resume"


class WorkerStalledError(OrchestrationError):
    """A worker's training thread makes no step any more: replace the worker."""

    def __init__(self, worker_id: str, seconds: float) -> None:
        super().__init__(worker_id, seconds)
        self.worker_id, self.seconds = worker_id, seconds

    def __str__(self) -> str:
        return f"worker {self.worker_id} has made no step for {self.seconds:.0f} s"


class InvalidConfigError(OrchestrationError):
    """The config can't run on this base model; the trial's outcome is ``invalid``."""


class NothingLearnedError(OrchestrationError):
    """There is no finished trial to learn from yet."""


def first_line(err: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0] if lines else type(err).__name__
