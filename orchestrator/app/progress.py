"""A running sweep on the screen: a live table on a terminal, a plain line now and then elsewhere."""

import logging
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.app.tally import Snapshot
from orchestrator.contracts import Outcome

PLAIN_EVERY_S = 10.0

logger = logging.getLogger(__name__)


def duration(seconds: float | None) -> str:
    """Return seconds as people say them: ``42 s``, ``7 min 05 s``, ``3 h 20 min``; ``?`` for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def outcome_counts(snapshot: Snapshot) -> str:
    """Return the outcomes so far, the good ones first: ``26 completed, 2 diverged``."""
    parts = [f"{snapshot.outcomes[outcome]} {outcome}" for outcome in Outcome if snapshot.outcomes[outcome]]
    return ", ".join(parts) or "none yet"


def plain_line(snapshot: Snapshot) -> str:
    """Return a snapshot as one line."""
    return (
        f"{snapshot.finished}/{snapshot.planned} trials ({outcome_counts(snapshot)}), "
        f"{snapshot.running} running, {snapshot.points} points, {snapshot.points_per_s:.1f} points/s, "
        f"{duration(snapshot.left_s)} left"
    )


def render(snapshot: Snapshot) -> Group:
    """Return a snapshot as a picture for a terminal."""
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, snapshot.planned_points), completed=snapshot.points, width=40)
    head.add_row(bar, f"{snapshot.finished}/{snapshot.planned} trials", f"{duration(snapshot.left_s)} left")
    facts = Text(
        f"{outcome_counts(snapshot)} | {snapshot.running} running on {snapshot.workers} workers | "
        f"{snapshot.points}/{snapshot.planned_points} points, {snapshot.points_per_s:.1f}/s | "
        f"{duration(snapshot.elapsed_s)} elapsed",
        style="dim",
    )
    best = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("task", "best eval_loss", "exact match", "at epoch", "config"):
        best.add_column(column, justify="left" if column in ("task", "config") else "right")
    for name, item in snapshot.best_of_task.items():
        if item is None:
            best.add_row(name, "-", "-", "-", "-")
        else:
            numbers = (f"{item.eval_loss:.4f}", f"{item.eval_exact_match:.2f}", str(item.epoch))
            best.add_row(name, *numbers, item.config_id[:8])
    return Group(head, facts, best)


class ProgressDisplay:
    """Shows snapshots; a context manager.

    Args:
        console: Where to; a live table if it is a terminal, else a line every ``PLAIN_EVERY_S``.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        )
        self._last_shown_s = time.monotonic()
        self._last_logged_s = time.monotonic()
        self._has_said_draining = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot, *, is_draining: bool = False) -> None:
        """Show a snapshot, unless one was shown just before; that a drain began is said at once."""
        now_s = time.monotonic()
        if is_draining and not self._has_said_draining:
            self._has_said_draining = True
            self._console.print(
                f"Stopping: {snapshot.running} running trials finish their epoch first; "
                "Ctrl-C again stops at once.",
                highlight=False,
                soft_wrap=True,
            )
        if self._live is not None:
            if now_s - self._last_shown_s >= 0.25:
                self._last_shown_s = now_s
                self._live.update(render(snapshot), refresh=True)
        elif now_s - self._last_shown_s >= PLAIN_EVERY_S:
            self._last_shown_s = now_s
            self._console.print(plain_line(snapshot), highlight=False, soft_wrap=True)
        if now_s - self._last_logged_s >= PLAIN_EVERY_S:
            self._last_logged_s = now_s
            logger.info(plain_line(snapshot))

    def show_last(self, snapshot: Snapshot) -> None:
        """Show the state at the end."""
        logger.info(plain_line(snapshot))
        if self._live is not None:
            self._live.update(render(snapshot), refresh=True)
        else:
            self._console.print(plain_line(snapshot), highlight=False, soft_wrap=True)
