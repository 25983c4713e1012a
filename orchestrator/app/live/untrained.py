"""The base model as it is: where every method stands before it has trained anything."""

import json
import math
from pathlib import Path

import numpy as np

from orchestrator.app.live.curves import reports_of
from orchestrator.app.live.question import LiveQuestion
from orchestrator.app.plan import PlannedTask
from orchestrator.metadataset.durable import write_durably
from surrogates.evaluation.loop import Incumbent

_REHEARSED = 3.0
"""Loss of an untrained rehearsal, in nats; above all that its trials are said to reach."""


def untrained_metrics(path: Path, question: LiveQuestion, planned: PlannedTask) -> dict[str, float]:
    """Return what the base model makes of a task, on validation and test, measured once.

    Args:
        path: Where it is kept; its folder exists.
        question: Names the base model and the settings.
        planned: The task.

    Returns:
        Columns of the curves to numbers.
    """
    if path.is_file():
        return {str(name): float(value) for name, value in json.loads(path.read_text()).items()}
    found = _measure(question, planned)
    write_durably(path, json.dumps(found, indent=1, allow_nan=False).encode())
    return found


def untrained_incumbent(metrics: dict[str, float], question: LiveQuestion) -> Incumbent:
    """Return the base model as what a run begins with."""
    reports = reports_of({name: metrics.get(name) for name in question.past.reports}, question.past.reports)
    return Incumbent(loss=metrics[question.past.metric], reports=np.asarray(reports))


def _measure(question: LiveQuestion, planned: PlannedTask) -> dict[str, float]:
    if question.like.is_rehearsal:
        score = math.exp(-_REHEARSED)
        scores = ("eval_exact_match", "eval_token_f1", "test_exact_match", "test_token_f1")
        return {"eval_loss": _REHEARSED, "test_loss": _REHEARSED, **dict.fromkeys(scores, score)}
    import torch

    from orchestrator.app.zero_shot import zero_shot_splits
    from workers.models.base import load_base

    settings = question.like.training_settings()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = load_base(question.like.base_model, dtype=settings.compute_dtype, device=device)
    splits = zip(("eval", "test"), zero_shot_splits(planned.task, base, settings), strict=True)
    return {
        f"{split}_{name}": float(value)
        for split, metrics in splits
        for name, value in (
            ("loss", metrics.loss),
            ("exact_match", metrics.exact_match),
            ("token_f1", metrics.token_f1),
        )
    }
