"""Writing a comparison: trajectories and measures as Parquet, results as JSON, a table, and pictures."""

import io
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from orchestrator.app.evaluation_results import Evaluation
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from surrogates.evaluation.regret import TaskRulers, measure
from surrogates.metadataset import MetaDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_PICTURES = "no pictures were drawn: matplotlib is not installed; pip install 'foretune[plots]'"


def write_report(
    results: Evaluation,
    methods: pd.DataFrame,
    parts: Sequence[pd.DataFrame],
    meta: MetaDataset,
    measured_by: Mapping[str, TaskRulers],
) -> None:
    """Write everything about a comparison to its folder, each file whole or not at all.

    Args:
        results: What it came to.
        methods: Trajectories of the methods.
        parts: Trajectories of the ablations, a frame each.
        meta: What was replayed.
        measured_by: Task id to its rulers.
    """
    make_folder_durably(results.out)
    write_parquet(results.out / "trajectories.parquet", pd.concat([methods, *parts], ignore_index=True))
    measured = [
        measure(methods, meta, measured_by, results.budgets, own_time=own_time).assign(own_time=own_time)
        for own_time in (True, False)
    ]
    write_parquet(results.out / "measures.parquet", pd.concat(measured, ignore_index=True))
    if can_draw():
        from orchestrator.app.evaluation_plots import draw_ranks, draw_regret

        pictures = {
            "regret": draw_regret(methods, measured_by, results.budgets, own_time=results.own_time),
            "ranks": draw_ranks(results.methods[results.own_time]),
        }
        write_pictures(results.out, pictures)
    write_results(results)


def can_draw() -> bool:
    """Return whether pictures can be drawn here."""
    return find_spec("matplotlib") is not None


class Results(Protocol):
    """What any comparison came to."""

    @property
    def out(self) -> Path:
        """Where everything about it lies."""
        ...

    def markdown(self) -> str:
        """Return its tables as Markdown."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-like values."""
        ...


def write_results(results: Results) -> None:
    """Write a comparison's tables and its JSON, the JSON last."""
    write_durably(results.out / "table.md", results.markdown().encode())
    content = json.dumps(results.as_dict(), indent=2, allow_nan=False)
    write_durably(results.out / "results.json", content.encode())


def write_pictures(folder: Path, pictures: Mapping[str, "Figure"]) -> None:
    """Write pictures by their names, as PNG and SVG."""
    for name, figure in pictures.items():
        for kind in ("png", "svg"):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, dpi=150, bbox_inches="tight")
            write_durably(folder / f"{name}.{kind}", drawn.getvalue())


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame, whole or not at all."""
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    write_durably(path, content.getvalue())
