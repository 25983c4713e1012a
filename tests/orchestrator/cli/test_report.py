import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.app.exits import Exit
from orchestrator.cli.main import app, main
from surrogates.data.store import write_tables
from tests.surrogates.synthetic import World, make


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_tables(make(World(tasks=2, configs=4, epochs=2)), tmp_path / "tables")
    return tmp_path / "tables"


def test_report_says_last_where_it_lies(tables: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(tables)])
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith(f": {tables / 'report.html'}")
    assert (tables / "report.html").read_text().startswith("<!doctype html>")


def test_report_json_is_what_was_written_and_nothing_else(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    done = CliRunner().invoke(app, ["report", str(tables), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["out"] == str(out)
    assert printed["size_bytes"] == out.stat().st_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "task 0"], "a plan needs both: --task NAME --budget 60s"),
        (["--task", "task 0", "--budget", "soon"], "--budget must be a number with a unit"),
        (["--task", "nobody", "--budget", "60s"], "there is no such task"),
        (["--metric", "accuracy"], "are about loss, not accuracy"),
    ],
)
def test_report_refuses_what_it_cannot_do(
    tables: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tables), *options]) == Exit.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (tables / "report.html").exists()
