"""What is kept of a traceback."""

_TRACEBACK_LINES = 20


def error_tail(trace: str) -> str:
    """Return the last lines of a formatted traceback: what a trial's record holds."""
    return "\n".join(trace.splitlines()[-_TRACEBACK_LINES:])
