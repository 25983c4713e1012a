import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.roots import (
    check_claim,
    claim,
    existing_spec,
    learnable_spec,
    newest_root,
    planned_trials,
    revise,
)
from orchestrator.app.spec import SweepSpec, parse_spec
from orchestrator.contracts import InputError, Trial
from orchestrator.metadataset.layout import RootLayout
from tests.orchestrator.app.test_driver import a_plan


def a_spec(**changes: Any) -> SweepSpec:
    content = {"name": "s", "base_model": "tiny-phi3", "tasks": ["worlds:towns"], "configs": 2, "epochs": 3}
    return parse_spec(content | changes, where="s.yaml", folder=Path("/"))


def test_claimed_root_remembers_its_spec_and_plan(tmp_path: Path) -> None:
    plan = a_plan()
    claim(tmp_path / "root", a_spec(), plan, "{}")
    assert existing_spec(tmp_path / "root") == a_spec()
    assert planned_trials(tmp_path / "root") == {trial.trial_id: trial.max_epochs for trial in plan}


def test_claim_that_was_cut_short_is_taken_up(tmp_path: Path) -> None:
    layout = RootLayout(tmp_path)
    layout.ledger_dir.mkdir()
    layout.space_json.write_text("half")
    claim(tmp_path, a_spec(), a_plan(), "{}")
    assert layout.space_json.read_text() == "{}"


def test_root_is_continued_by_the_same_spec_with_other_workers(tmp_path: Path) -> None:
    claim(tmp_path, a_spec(), a_plan(), "{}")
    changed = a_spec(workers={"cpus": 2}, keep_adapters=1)
    claim(tmp_path, changed, a_plan(), "{}")
    assert existing_spec(tmp_path) == changed
    assert sorted(RootLayout(tmp_path).revisions()) == [0, 1]


def test_revision_that_was_cut_short_does_not_hold_and_is_written_again(tmp_path: Path) -> None:
    layout = claim(tmp_path, a_spec(), a_plan(), "{}")
    longer = [replace(trial, max_epochs=2) for trial in a_plan()]
    (layout.revision(1)).write_text(json.dumps({"spec": "half", "trials": {}}))
    assert planned_trials(tmp_path) == {trial.trial_id: 3 for trial in a_plan()}
    revise(layout, a_spec(epochs=2), longer)
    assert planned_trials(tmp_path) == {trial.trial_id: 2 for trial in longer}
    assert sorted(layout.revisions()) == [0, 1]


def test_spec_that_was_edited_in_place_is_refused_with_what_to_do(tmp_path: Path) -> None:
    layout = claim(tmp_path, a_spec(), a_plan(), "{}")
    layout.sweep_yaml.write_text(layout.sweep_yaml.read_text() + "# a note\n")
    with pytest.raises(InputError, match=r"edited in place.*--with SWEEP\.yaml"):
        planned_trials(tmp_path)


def test_root_is_refused_when_the_same_spec_now_plans_other_trials(tmp_path: Path) -> None:
    claim(tmp_path, a_spec(), a_plan(), "{}")
    edited: list[Trial] = [replace(trial, base_fingerprint="other") for trial in a_plan()]
    with pytest.raises(InputError, match="other task contents or another base model"):
        claim(tmp_path, a_spec(), edited, "{}")


def test_file_as_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        check_claim(tmp_path / "file", a_spec())


def test_newest_root_is_the_one_written_last(tmp_path: Path) -> None:
    for name, age_s in (("old", 100), ("new", 10)):
        claim(tmp_path / name, a_spec(), a_plan(), "{}")
        stamp = (tmp_path / name).stat().st_mtime - age_s
        os.utime(RootLayout(tmp_path / name).ledger_dir, (stamp, stamp))
    assert newest_root(tmp_path) == tmp_path / "new"


def test_rehearsals_are_nothing_to_learn_from(tmp_path: Path) -> None:
    claim(tmp_path / "real", a_spec(), a_plan(), "{}")
    claim(tmp_path / "rehearsal", a_spec(base_model="rehearsal:1"), a_plan(), "{}")
    assert newest_root(tmp_path) == tmp_path / "real"
    assert learnable_spec(tmp_path / "real") == a_spec()
    with pytest.raises(InputError, match="is a rehearsal: its curves are made up"):
        learnable_spec(tmp_path / "rehearsal")


def test_no_sweep_at_all_is_no_newest_root(tmp_path: Path) -> None:
    assert newest_root(tmp_path) is None
    assert newest_root(tmp_path / "missing") is None
