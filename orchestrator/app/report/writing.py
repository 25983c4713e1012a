"""Making a report: read, compute, draw, write."""

import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.app.report.comparison import comparison_section
from orchestrator.app.report.configs import configs_section
from orchestrator.app.report.costs import costs_section
from orchestrator.app.report.curves import curves_section
from orchestrator.app.report.evaluated import read_evaluated
from orchestrator.app.report.evidence import ask, evidence_section
from orchestrator.app.report.images import require_browser, write_pngs
from orchestrator.app.report.importances import importance_section, told_importance
from orchestrator.app.report.page import page
from orchestrator.app.report.progress import progress_section
from orchestrator.app.report.provenance import Made, provenance_section
from orchestrator.app.report.sections import Section
from orchestrator.app.report.source import Source, read_source
from orchestrator.app.report.wording import count, seconds
from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import make_folder_durably, write_durably


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was written."""

    root: Path
    out: Path
    size_bytes: int
    trials: int
    points: int
    sections: tuple[str, ...]
    """Their titles, in order."""
    pngs: tuple[Path, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what was written as JSON-like values."""
        return {
            "root": str(self.root),
            "out": str(self.out),
            "size_bytes": self.size_bytes,
            "trials": self.trials,
            "points": self.points,
            "sections": list(self.sections),
            "pngs": [str(path) for path in self.pngs],
        }

    def render(self) -> str:
        """Return where it lies, for people."""
        pictures = f"{count(len(self.pngs), 'picture')} in {self.pngs[0].parent}\n" if self.pngs else ""
        held = f"{self.trials:,} trials, {self.points:,} points, {self.size_bytes / 1e6:.1f} MB"
        return f"{pictures}{held}: {self.out}"


def write_report(
    root: Path,
    *,
    out: Path | None = None,
    metric: str | None = None,
    task: str | None = None,
    budget_s: float | None = None,
    k: int | None = 5,
    evaluation: Path | None = None,
    png: Path | None = None,
) -> Report:
    """Write a report on a sweep, also while it runs, or on a folder of tables.

    Args:
        root: The sweep's folder, or the folder of tables; only read.
        out: The file; None: ``report.html`` in the root.
        metric: What decides; None: ``eval_loss`` of a root, and what the tables say.
        task: A task to plan for: the name of one of the root's, whose own results are then left out, or as
            ``recommend``
            takes it; None: no plan.
        budget_s: The plan's budget in seconds; with ``task`` only.
        k: At most so many choices of the plan; None: as many as are worth while.
        evaluation: Where ``evaluate`` left its results; None: ``evaluation`` in the root.
        png: A folder for the pictures as PNG; None: none.

    Returns:
        What was written.

    Raises:
        InputError: The root, the metric, the task, the budget or a place to write can't be used, or
            plotly, kaleido or a
            browser is missing.
        NothingLearnedError: A plan was asked for, and no trial has ended yet.
        CorruptLedgerError: A part of the root can't be read.
    """
    if (task is None) != (budget_s is None):
        raise InputError("a plan needs both a task and a budget: --task NAME --budget 60s")
    target = out or root / "report.html"
    if target.is_dir():
        raise InputError(f"--out must be a file, but {target} is a folder")
    if png is not None:
        require_browser()
    source = read_source(root, metric)
    sections = _sections(
        source,
        task,
        budget_s,
        k,
        evaluation or root / "evaluation",
        _made(root, target, metric, task, budget_s),
    )
    pictures = [picture for section in sections for picture in section.pictures]
    text = page(
        title=source.name,
        kind="Foretune report" if source.spec is not None else "Foretune report on imported curves",
        lead=_lead(source),
        tiles=_tiles(source),
        sections=sections,
        foot="Made by Foretune. This page loads nothing and sends nothing; everything it shows is in it.",
    )
    content = text.encode()
    try:
        make_folder_durably(target.absolute().parent)
        write_durably(target, content)
    except OSError as err:
        raise InputError(
            f"{target} can't be written ({os.strerror(err.errno or 0)}); name another file with --out"
        ) from err
    return Report(
        root=root,
        out=target,
        size_bytes=len(content),
        trials=len(source.finished),
        points=len(source.points),
        sections=tuple(section.title for section in sections),
        pngs=tuple(write_pngs(pictures, png)) if png is not None else (),
    )


def _sections(
    source: Source, task: str | None, budget_s: float | None, k: int | None, evaluation: Path, made: Made
) -> list[Section]:
    told = told_importance(source)
    ranked = (
        [item.name for item in told.hyperparameters] if not isinstance(told, str) and told.is_trusted else []
    )
    sections = [
        progress_section(source),
        curves_section(source),
        configs_section(source, ranked),
        importance_section(told),
        costs_section(source),
        comparison_section(source.path, read_evaluated(source.path, evaluation)),
    ]
    if task is not None and budget_s is not None:
        sections.append(evidence_section(source, ask(source, task, budget_s, k=k)))
    return [*sections, provenance_section(source, made)]


def _made(root: Path, out: Path, metric: str | None, task: str | None, budget_s: float | None) -> Made:
    words = ["foretune", "report", str(root)]
    words += ["--metric", metric] if metric else []
    words += ["--task", task] if task else []
    words += ["--budget", f"{budget_s:g}s"] if budget_s else []
    words += ["--out", str(out)] if out != root / "report.html" else []
    return Made(at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), command=shlex.join(words))


def _lead(source: Source) -> str:
    read = f"{count(len(source.tasks), 'task')}, {count(len(source.points), 'curve point')}"
    what = f"{read}; {source.metric} decides ({source.meaning})."
    if source.spec is None:
        return what
    planned, ended = source.planned or 0, len(source.finished)
    rehearsed = " A rehearsal: its curves are made up." if source.spec.is_rehearsal else ""
    if ended >= planned:
        return f"The sweep is done. {what}{rehearsed}"
    state = "is running" if source.driver else "was left before its end; `foretune resume` goes on"
    return (
        f"The sweep {state}: what is shown is what was on record when this page was made. {what}{rehearsed}"
    )


def _tiles(source: Source) -> list[tuple[str, str]]:
    ended = source.finished
    failed = int(ended["is_failure"].sum()) if len(ended) else 0
    of = f"of {source.planned:,} planned trials ended" if source.planned is not None else "trials"
    return [
        (f"{len(ended):,}", of),
        (f"{len(source.points):,}", "curve points"),
        (f"{len(source.tasks):,}", "tasks"),
        (f"{len(source.configs):,}", "configs of ended trials"),
        (f"{failed:,}", "diverged or failed"),
        (seconds(float(source.points["cost_s"].sum())), "of training and evaluation"),
    ]
