from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.changes import adopt, spec_change
from orchestrator.app.plan import plan_sweep
from orchestrator.app.roots import claim, existing_spec, planned_trials
from orchestrator.app.spec import SweepSpec, parse_spec
from orchestrator.contracts import InputError, Outcome
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.verify import verify
from tests.orchestrator.app.test_driver import drive
from tests.support.pool import SimulatedPool

BASE: dict[str, Any] = {
    "name": "s",
    "base_model": "rehearsal",
    "tasks": ["worlds:towns"],
    "configs": 3,
    "epochs": 2,
    "training": {"horizon_epochs": 4},
}


def a_spec(**changes: Any) -> SweepSpec:
    return parse_spec(BASE | changes, where="s.yaml", folder=Path("/"))


def a_root(root: Path, spec: SweepSpec, **pool: Any) -> Path:
    """A sweep that ran to its end."""
    plan = plan_sweep(spec)
    claim(root, spec, plan.trials, plan.space.to_json())
    assert drive(root, list(plan.trials), SimulatedPool(1, **pool))
    return root


def groups(root: Path, spec: SweepSpec) -> dict[str, tuple[int, int]]:
    """The first words of each group, with its trials and the epochs to train."""
    found = spec_change(root, spec).groups
    return {group.what.split(";")[0].split(":")[0]: (group.trials, group.epochs) for group in found}


def test_same_spec_changes_nothing(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", a_spec())
    assert spec_change(root, a_spec()).is_empty


def test_more_configs_tasks_and_seeds_leave_finished_trials_alone(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", a_spec())
    wider = a_spec(configs=4, tasks=["worlds:towns", "worlds:laws"], seeds=[0, 1])
    assert groups(root, wider) == {"are finished and stay as they are": (3, 0), "are new": (13, 26)}
    change = spec_change(root, wider)
    assert [(item.key, item.after) for item in change.keys] == [
        ("tasks", "2, with worlds:laws"),
        ("configs.count", "4"),
        ("seeds", "2, with 1"),
    ]


def test_more_epochs_continue_from_kept_checkpoints_and_rerun_where_there_is_none(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", a_spec())
    kept = next(iter(planned_trials(root)))
    (RootLayout(root).checkpoint_dir(kept) / "attempt-0" / "epoch-0002").mkdir(parents=True)
    assert groups(root, a_spec(epochs=4)) == {
        "are finished and trained further, from their kept checkpoints": (1, 2),
        "are finished and trained further, from the start": (2, 8),
    }


def test_diverged_trials_are_not_trained_further(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", a_spec(), outcome_of=lambda _: Outcome.DIVERGED)
    assert groups(root, a_spec(epochs=4)) == {"are finished and stay as they are": (3, 0)}


def test_begun_waiting_and_dropped_trials_are_told_apart(tmp_path: Path) -> None:
    spec = a_spec(epochs=4)
    plan = plan_sweep(spec)
    root = tmp_path / "root"
    claim(root, spec, plan.trials, plan.space.to_json())
    rounds = iter(range(100))
    assert not drive(root, list(plan.trials), SimulatedPool(1), stop=lambda: next(rounds) >= 3)
    assert groups(root, a_spec(epochs=4, configs=2)) == {
        "are under way and go on": (1, 4),
        "were planned before and not begun": (1, 4),
        "are no longer planned": (1, 0),
    }


def test_adopted_spec_holds_and_the_one_before_stays_on_record(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", a_spec())
    longer = a_spec(epochs=4)
    adopt(spec_change(root, longer))
    assert existing_spec(root) == longer
    assert set(planned_trials(root).values()) == {4}
    assert len(RootLayout(root).revisions()) == 2
    assert not verify(root, planned=planned_trials(root)).ok
    assert drive(root, list(plan_sweep(longer).trials), SimulatedPool(1))
    certificate = verify(root, planned=planned_trials(root))
    assert certificate.ok, certificate.render()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_model": "tiny-phi3"}, "curves of two base models don't compare"),
        ({"space": {"lora_r": 8}}, "the search space is another one"),
        ({"training": {"horizon_epochs": 5}}, "schedules end at epoch 4 there and 5 here"),
        ({"epochs": 6, "training": {}}, "schedules end at epoch 4 there and 6 here"),
        ({"training": {"horizon_epochs": 4, "max_new_tokens": 9}}, "training.max_new_tokens differ"),
    ],
)
def test_what_can_not_be_merged_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    root = a_root(tmp_path / "root", a_spec())
    with pytest.raises(InputError, match=reason):
        spec_change(root, a_spec(**changes))
    assert existing_spec(root) == a_spec()


def test_root_under_a_driver_is_not_changed(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", a_spec())
    change = spec_change(root, a_spec(configs=4))
    with Ledger.open(root), pytest.raises(Exception, match="is being written by"):
        adopt(change)
