"""Trials run again from what their root says; all in this process, without Ray."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.app.plan import plan_sweep
from orchestrator.app.reproduce import reproduce
from orchestrator.app.spec import parse_spec
from orchestrator.app.sweep import run_sweep
from orchestrator.cli.main import main
from orchestrator.contracts import InputError, Outcome
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.verify import verify
from tests.orchestrator.metadataset.test_verify import at, tamper
from tests.support.tiny import make_base, make_task
from workers.tasks.loading import save_task

EPOCHS = 3
REHEARSAL = {"name": "s", "base_model": "rehearsal", "configs": 2, "epochs": EPOCHS}
TRAINED = {
    "name": "trained",
    "space": {"learning_rate": {"min": 1e-4, "max": 1.0}, "weight_decay": {"min": 0.0, "max": 10.0}},
    "configs": [
        {"learning_rate": 1e-3, "batch_size": 4},
        {"learning_rate": 1.0, "batch_size": 4, "weight_decay": 10.0},
    ],
    "epochs": 2,
    "training": {"examples_per_epoch": 16, "max_eval_examples": 3, "diverged_loss": 7.0},
}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "elders.jsonl"
    rows = [
        {"question": f"Question {number}?", "answer": f"answer {number}", "split": split}
        for number, split in enumerate(["train", "train", "validation", "test"])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def swept(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished rehearsal; not to be changed."""
    root = tmp_path_factory.mktemp("swept") / "root"
    spec = parse_spec({**REHEARSAL, "tasks": [str(task)]}, where="s", folder=Path())
    assert run_sweep(spec, root, in_process=True).is_done
    return root


@pytest.fixture
def root(swept: Path, tmp_path: Path) -> Path:
    """A copy, without its log: its parts are all there is."""
    copy = tmp_path / "root"
    shutil.copytree(swept, copy)
    for segment in RootLayout(copy).segments().values():
        segment.unlink()
    return copy


def ids(root: Path) -> list[str]:
    return list(MetaDatasetReader(root).trials()["trial_id"])


def test_a_trial_is_equal_bit_for_bit_by_the_beginning_of_its_id_and_its_root_is_only_read(
    root: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    trial = ids(root)[0]
    found = reproduce(root, trial[:8], keep=tmp_path / "second")
    assert found.trial_id == trial
    assert (found.ok, found.largest, found.differences, found.epochs) == (True, 0.0, (), EPOCHS)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    certificate = verify(tmp_path / "second", planned={found.trial_id: EPOCHS})  # type: ignore[dict-item]
    assert certificate.ok, certificate.render()


def test_fewer_epochs_are_compared_where_so_many_are_asked_for(root: Path) -> None:
    found = reproduce(root, ids(root)[1], epochs=2)
    assert (found.ok, found.epochs) == (True, 2)


def test_an_altered_value_is_found_and_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tamper(root, Table.CURVES, at("test_loss", 1, 9.0))
    altered = next(row for row in MetaDatasetReader(root).curves().itertuples() if row.test_loss == 9.0)
    trial, epoch = altered.trial_id, altered.epoch
    assert main(["reproduce", str(trial), "--root", str(root)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"{epoch} test_loss 9 " in said
    assert "NOT reproduced: 1 values differ" in said
    assert main(["reproduce", str(trial), "--root", str(root), "--tolerance", "20", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["error"] is None
    assert [(item["epoch"], item["column"]) for item in content["differences"]] == [(epoch, "test_loss")]


def test_another_outcome_is_found_and_what_else_is_another_is_named(root: Path) -> None:
    trial = ids(root)[0]
    tamper(root, Table.TRIALS, at("outcome", 0, Outcome.DIVERGED.value))
    recorded = json.loads(str(MetaDatasetReader(root).trials().loc[0, "provenance"]))
    tamper(root, Table.TRIALS, at("provenance", 0, json.dumps(recorded | {"torch": "1.13"})))
    found = reproduce(root, trial)
    assert not found.ok
    assert "it was diverged and is now completed" in found.verdict
    assert [(change.name, change.then) for change in found.changes] == [("torch", "1.13")]


def test_a_moved_root_with_copies_of_its_tasks_is_enough(task: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    shutil.copyfile(task, mine)
    spec = parse_spec({**REHEARSAL, "tasks": [str(mine)]}, where="s", folder=Path())
    run_sweep(spec, tmp_path / "old", in_process=True, copies_tasks=True)
    (tmp_path / "old").rename(tmp_path / "moved")
    mine.unlink()
    found = reproduce(tmp_path / "moved", ids(tmp_path / "moved")[0])
    assert found.ok
    assert any("its task is read from" in note for note in found.notes)


# What can't be run again


def refusal(root: Path, trial: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        reproduce(root, trial, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_ids_that_name_no_trial_or_several_are_refused(root: Path) -> None:
    assert "has no trial whose id begins with 'zz'" in refusal(root, "zz")
    assert "2 trials of" in refusal(root, "")


def test_a_trial_that_has_not_ended_is_refused(root: Path) -> None:
    last = ids(root)[1]
    tamper(root, Table.TRIALS, lambda frame: frame[frame["trial_id"] != last])
    assert f"trial {last} of {root} has not ended" in refusal(root, last)


def test_epochs_that_are_not_on_record_are_refused(root: Path) -> None:
    assert "--epochs must be in [1, 3]" in refusal(root, ids(root)[0], epochs=4)


def test_a_cluster_needs_a_folder_that_its_nodes_see(root: Path) -> None:
    assert "name one with --keep" in refusal(root, ids(root)[0], address="head:6379")


def test_task_rows_that_are_gone_or_others_are_refused(root: Path, tmp_path: Path) -> None:
    trial = ids(root)[0]
    other = tmp_path / "other.jsonl"
    for row in range(2):
        tamper(root, Table.TRIALS, at("task_source", row, str(other)))
    assert f"no task at '{other}'" in refusal(root, trial)
    rows = [
        {"question": f"{split}?", "answer": "no", "split": split} for split in ("train", "validation", "test")
    ]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = refusal(root, trial)
    assert f"{other} holds other rows now" in said
    assert "put them back" in said


def test_a_row_that_was_altered_is_no_description_of_its_trial(root: Path) -> None:
    trial = ids(root)[0]
    tamper(root, Table.TRIALS, at("seed", 0, 7))
    assert "describes another trial" in refusal(root, trial)


def test_another_base_model_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.models.location._REHEARSAL_FINGERPRINT", "rehearsal-2")
    said = refusal(root, ids(root)[0])
    assert "with fingerprint rehearsal-1; what lies there now has rehearsal-2" in said


# Trials that were really trained


def test_trained_and_diverged_trials_end_alike_bit_for_bit(tmp_path: Path) -> None:
    save_task(make_task(), tmp_path / "elders.jsonl")
    places = {"tasks": [str(tmp_path / "elders.jsonl")], "base_model": str(make_base(tmp_path / "base"))}
    spec = parse_spec({**TRAINED, **places}, where="trained", folder=Path())
    undescribed = replace(plan_sweep(spec), tasks=())
    assert run_sweep(spec, tmp_path / "root", in_process=True, plan=undescribed).is_done
    trials = MetaDatasetReader(tmp_path / "root").trials()
    assert sorted(trials["outcome"]) == ["completed", "diverged"]
    assert all(json.loads(text)["worker.device"] for text in trials["provenance"])
    for row in trials.itertuples():
        found = reproduce(tmp_path / "root", str(row.trial_id))
        assert found.verdict.startswith(f"equal bit for bit: {row.outcome}")
        assert found.changes == ()
