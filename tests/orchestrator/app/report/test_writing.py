"""Whole reports: on sweeps at every stage, on tables, with hostile names."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.app.evaluate import Protocol, evaluate
from orchestrator.app.report import Report, write_report
from orchestrator.app.report.comparison import comparison_section
from orchestrator.app.report.evaluated import read_evaluated
from orchestrator.contracts import InputError, Outcome
from surrogates.data.store import write_tables
from tests.orchestrator.app.report.sweeps import (
    CONFIG,
    HOSTILE,
    adopt,
    hostile_meta,
    write_beginning,
    write_sweep,
    write_trial,
)
from tests.surrogates.roots import a_trial, write_root
from tests.surrogates.synthetic import World, make


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []
        self.figures: dict[str, Any] = {}
        self.texts: list[str] = []
        self._figure: str | None = None
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.open.append(tag)
        if given.get("href", "#")[:1] != "#" or "src" in given:  # type: ignore[index]
            self.loads.append(str(attrs))
        if tag == "script" and given.get("type") == "application/json":
            self._figure = str(given["id"]).removeprefix("figure-")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass
        self._figure = None

    def handle_data(self, data: str) -> None:
        if self._figure is not None:
            self.figures[self._figure] = json.loads(data)
        elif not {"script", "style"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def check(path: Path) -> Page:
    """Hold a page to what every report promises."""
    import plotly.graph_objects as go

    page = Page(path)
    assert page.loads == []
    places = re.findall(r'data-figure="([^"]+)"', page.source)
    assert sorted(places) == sorted(page.figures)
    assert len(set(places)) == len(places)
    for figure in page.figures.values():
        go.Figure(figure)  # raises on whatever plotly does not know
    anchors = re.findall(r'href="#([^"]+)"', page.source)
    assert all(f'id="{anchor}"' in page.source for anchor in anchors)
    return page


def test_a_sweep_is_reported_with_all_sections(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_sweep(root)
    report = write_report(root)
    assert report.out == root / "report.html"
    page = check(report.out)
    assert {"outcomes", "configs", "importance-hyperparameters"} <= set(page.figures)
    assert sum(name.startswith("curves-") for name in page.figures) == 3
    assert sum(name.startswith("cost-") for name in page.figures) == 3
    assert "foretune evaluate" in page.text
    assert "The sweep is done" in page.text
    assert report.trials == 27
    assert json.loads(json.dumps(report.as_dict()))["sections"] == list(report.sections)
    assert report.render().splitlines()[-1].endswith(str(report.out))


def test_reporting_changes_nothing_in_the_root_but_the_report(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_sweep(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    write_report(root, out=tmp_path / "elsewhere" / "r.html")
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("points", [0, 2])
def test_a_sweep_that_has_just_begun_is_reported(tmp_path: Path, points: int) -> None:
    root = tmp_path / "root"
    write_beginning(root, points=points)
    page = check(write_report(root).out)
    assert "0 of 4 planned" in page.text
    assert "Importances are told when trials have ended" in page.text
    assert bool(page.figures) == (points > 0)


def test_a_running_sweep_shows_trials_under_way(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_sweep(root)
    write_trial(root, a_trial(1, CONFIG), points=2, outcome=None)
    page = check(write_report(root).out)
    assert "with points, not ended 1" in page.text
    assert "27 of 27 planned" in page.text


def test_a_task_on_which_all_failed_stands_beside_the_others(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_root(root, tasks=2, configs=14)
    for rate in (1e-4, 1e-3):
        write_trial(root, a_trial(7, {**CONFIG, "learning_rate": rate}), points=1, outcome=Outcome.DIVERGED)
    write_trial(root, a_trial(7, CONFIG), points=0, outcome=Outcome.OUT_OF_MEMORY)
    adopt(root)
    page = check(write_report(root).out)
    assert "3 trials, 3 failed; no trial worked. 1 of the failed left no point." in page.text
    assert "R² on tasks and configs left out" in page.text


def test_only_failures_are_reported_too(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_trial(root, a_trial(0, CONFIG), points=1, outcome=Outcome.DIVERGED)
    adopt(root)
    page = check(write_report(root).out)
    assert "No trial that works has a point yet" in page.text
    assert "No importances" in page.text


def test_one_task_is_enough(tmp_path: Path) -> None:
    write_sweep(tmp_path / "root", tasks=1, configs=30)
    page = check(write_report(tmp_path / "root").out)
    assert "R² on configs left out" in page.text


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of three tasks with hostile names, compared, and a plan asked for."""
    folder = tmp_path_factory.mktemp("hostile") / "tables"
    meta = hostile_meta(World(tasks=3, configs=10, epochs=3))
    write_tables(meta, folder)
    evaluate(
        folder, protocol=Protocol(budgets=(1.0, 3.0), seeds=1, methods=("random", "default", "average rank"))
    )
    return folder


@pytest.fixture(scope="module")
def written(tables: Path) -> Report:
    return write_report(tables, task="a & b", budget_s=30.0)


def test_names_of_the_data_never_become_markup(written: Report) -> None:
    page = check(written.out)
    assert HOSTILE in page.text
    assert "img" not in page.tags
    assert "onerror=alert(1)>" not in page.source


def test_tables_are_reported_with_the_comparison_and_a_plan(written: Report) -> None:
    page = check(written.out)
    assert {"regret-1x", "regret-3x", "ranks-1x", "ranks-3x", "plan-scores", "plan-tasks"} <= set(
        page.figures
    )
    assert "A plan for a & b" in written.sections
    assert "Friedman p" in page.text
    assert "If only one is run: choice" in page.text
    assert "strangeness of the task" in page.text


def test_regret_over_time_ends_where_the_measures_do(tables: Path) -> None:
    found = read_evaluated(tables, tables / "evaluation")
    assert found is not None
    ends = found.lines.groupby(["budget", "method"])["regret"].last()
    means = found.measures.groupby(["budget", "method", "task_id"])["regret"].mean()
    pd.testing.assert_series_equal(
        ends, means.groupby(["budget", "method"]).mean(), check_names=False, rtol=1e-9
    )


def test_a_comparison_older_than_the_curves_is_named_so(tmp_path: Path) -> None:
    meta = make(World(tasks=3, configs=8, epochs=2))
    write_tables(meta, tmp_path / "tables")
    evaluate(tmp_path / "tables", protocol=Protocol(budgets=(1.0,), seeds=1, methods=("random",)))
    results = tmp_path / "tables" / "evaluation" / "results.json"
    results.write_text(json.dumps(json.loads(results.read_text()) | {"trials": 3}))
    page = check(write_report(tmp_path / "tables").out)
    assert "the root has grown since: 3 trials were compared on, 24 are there now" in page.text


def test_a_comparison_that_learned_elsewhere_names_where(tmp_path: Path) -> None:
    for name, tasks in (("past", 3), ("tables", 1)):
        write_tables(make(World(tasks=tasks, configs=8, epochs=2)), tmp_path / name)
    protocol = Protocol(budgets=(1.0,), seeds=1, methods=("random", "average rank"))
    evaluate(tmp_path / "past", on=tmp_path / "tables", protocol=protocol)
    found = read_evaluated(tmp_path / "tables", tmp_path / "tables" / "transfer")
    assert found is not None
    assert set(found.lines["method"]) == {"random", "average rank"}
    told = str(comparison_section(tmp_path / "tables", found).body)
    assert f"1 task with what {tmp_path / 'past'} taught, 1 seed" in told


def test_a_damaged_comparison_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_tables(make(World(tasks=2, configs=4, epochs=1)), tmp_path / "tables")
    (tmp_path / "broken").mkdir()
    for name in ("results.json", "trajectories.parquet", "measures.parquet"):
        (tmp_path / "broken" / name).write_text("{")
    with pytest.raises(InputError, match="make it anew with `foretune evaluate"):
        write_report(tmp_path / "tables", evaluation=tmp_path / "broken")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "accuracy"}, "no metric 'accuracy'; there are train_loss, eval_loss"),
        ({"task": "x"}, "needs both a task and a budget"),
        ({"out": Path()}, "must be a file"),
    ],
)
def test_what_can_not_be_reported_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write_sweep(tmp_path / "root", tasks=1, configs=3)
    with pytest.raises(InputError, match=message):
        write_report(tmp_path / "root", **options)


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "nowhere")


def test_without_plotly_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    write_sweep(tmp_path / "root", tasks=1, configs=3)
    with pytest.raises(InputError, match=r"pip install 'foretune\[report\]'"):
        write_report(tmp_path / "root")


def test_without_a_browser_pictures_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.app.report.images.find_browser", lambda: None)
    write_sweep(tmp_path / "root", tasks=1, configs=3)
    with pytest.raises(InputError, match="needs a Chrome or Chromium"):
        write_report(tmp_path / "root", png=tmp_path / "png")
    assert not (tmp_path / "root" / "report.html").exists()
