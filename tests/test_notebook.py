"""The notebook runs from its first cell to its last, on what ships."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "explore.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What its cells put out, one after another, run in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    done = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [output for cell in done.cells for output in cell.get("outputs", ())]


@pytest.mark.timeout(300)
def test_the_notebook_runs_and_draws_three_pictures(outputs: list[Any]) -> None:
    assert [output["output_type"] for output in outputs if output["output_type"] == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


@pytest.mark.timeout(300)
def test_the_notebook_shows_the_plan_of_the_surrogate(outputs: list[Any]) -> None:
    texts = [output["data"]["text/plain"] for output in outputs if "text/plain" in output.get("data", {})]
    assert any("predicted loss" in text for text in texts)


def test_the_committed_notebook_shows_its_pictures_without_being_run() -> None:
    kept = nbformat.read(NOTEBOOK, as_version=4)
    shown = [output for cell in kept.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
