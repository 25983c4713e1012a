import json
from pathlib import Path

import pytest

from orchestrator.app.inputs import copy_tasks
from orchestrator.app.plan import plan_sweep
from orchestrator.app.spec import SweepSpec, parse_spec
from orchestrator.contracts import InputError
from orchestrator.metadataset.layout import RootLayout


def a_spec(folder: Path, *tasks: str) -> SweepSpec:
    content = {"name": "s", "base_model": "rehearsal", "tasks": list(tasks), "configs": 2, "epochs": 2}
    return parse_spec(content, where="s.yaml", folder=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks with a 'quote'"
    folder.mkdir()
    rows = [{"question": f"What is {number}?", "answer": str(number)} for number in range(30)]
    (folder / "numbers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_copied_tasks_are_the_same_trials_and_outlive_their_files(folder: Path, tmp_path: Path) -> None:
    spec = a_spec(folder, "numbers.jsonl", "worlds:towns")
    before = plan_sweep(spec)
    copied = copy_tasks(spec, RootLayout(tmp_path / "root"))
    assert copied.tasks[1] == spec.tasks[1]
    (folder / "numbers.jsonl").unlink()
    after = plan_sweep(copied)
    assert [trial.trial_id for trial in after.trials] == [trial.trial_id for trial in before.trials]
    assert [item.task.name for item in after.tasks] == ["numbers", "towns"]
    assert Path(after.tasks[0].source).is_relative_to(tmp_path / "root" / "inputs")


def test_copied_again_the_same_files_give_the_same_spec_and_changed_ones_another(
    folder: Path, tmp_path: Path
) -> None:
    layout = RootLayout(tmp_path / "root")
    spec = a_spec(folder, "numbers.jsonl")
    first = copy_tasks(spec, layout)
    assert copy_tasks(spec, layout) == first
    assert copy_tasks(first, layout) == first
    with (folder / "numbers.jsonl").open("a") as file:
        file.write(json.dumps({"question": "And?", "answer": "more"}) + "\n")
    assert copy_tasks(spec, layout) != first


def test_task_that_is_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.jsonl"):
        copy_tasks(a_spec(folder, "missing.jsonl"), RootLayout(tmp_path / "root"))
