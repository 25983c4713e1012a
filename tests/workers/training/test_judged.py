"""A judge's verdicts stand beside what a trial measures by itself, and change none of it."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts import METRIC_COLUMNS, CurvePoint, Outcome
from tests.support.control import RecordingControl
from tests.support.endpoint import Body, FakeEndpoint
from tests.support.tiny import make_lease, make_task, make_trial
from workers.judge import Judge, JudgeSettings
from workers.training.trainer import Trainer

TASK = make_task()
ASKED = re.compile(r"<question>\n(.*)\n</question>")


def always_partial(body: Body) -> str:
    return json.dumps({"reason": "half of it", "verdict": "partial"})


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(always_partial) as fake:
        yield fake


def train(base: Path, root: Path, judge: JudgeSettings | None) -> RecordingControl:
    control = RecordingControl()
    trial = make_trial(base, TASK, max_epochs=2)
    Trainer(root, load_task=lambda _: TASK, threads=1, judge=judge).train([make_lease(trial)], control)
    return control


def metrics(points: list[CurvePoint]) -> list[dict[str, Any]]:
    return [{name: asdict(point)[name] for name in METRIC_COLUMNS} for point in points]


def test_every_epoch_is_judged_and_measures_what_it_measures_without(
    random_base: Path, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    judged = train(random_base, tmp_path / "judged", JudgeSettings(url=endpoint.url, model="m"))
    alone = train(random_base, tmp_path / "alone", None)
    assert metrics(judged.points) == metrics(alone.points)
    for point in judged.points:
        assert 0.5 <= (point.eval_judge or 0) <= 1.0
        assert 0.5 <= (point.test_judge or 0) <= 1.0
        assert (point.judge_s or 0) > 0
    assert all(
        (point.eval_judge, point.test_judge, point.judge_s) == (None, None, None) for point in alone.points
    )


def test_the_judge_is_shown_the_questions_that_were_answered(
    random_base: Path, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    train(random_base, tmp_path, JudgeSettings(url=endpoint.url, model="m", max_examples=2))
    shown = {
        question for body in endpoint.bodies for question in ASKED.findall(body["messages"][1]["content"])
    }
    assert shown == {example.question for split in (TASK.validation, TASK.test) for example in split[:2]}


def test_a_trial_goes_on_without_its_judge(
    random_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = partial(Judge, pause=lambda seconds: False)
    monkeypatch.setattr("workers.training.trainer.Judge", impatient)
    with FakeEndpoint(always_partial) as gone:
        settings = JudgeSettings(url=gone.url, model="m", timeout_s=0.5)
    control = train(random_base, tmp_path, settings)
    assert control.ended.outcome is Outcome.COMPLETED
    # An answer that is the gold one letter for letter needs no judge; nothing else can have a verdict.
    assert {point.eval_judge for point in control.points} <= {None, 1.0}
