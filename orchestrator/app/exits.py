"""What a command's exit code says; also of a driver that runs as a job elsewhere."""

import enum


class Exit(enum.IntEnum):
    """An exit code."""

    DONE = 0
    NO = 1
    """The answer is no: a fault was found, two sweeps differ, a check failed."""
    BAD_INPUT = 2
    """Nothing was changed."""
    STOPPED_EARLY = 3
    """Ended before the end; what was begun can be continued."""
    INTERRUPTED = 130
