"""Live comparisons through the real ledger, with trials that train nothing and take a fixed time."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.app.evaluate import Protocol
from orchestrator.app.live.comparison import METHODS, LiveProtocol, compare_live
from orchestrator.app.live.results import LiveComparison
from orchestrator.app.roots import planned_trials
from orchestrator.contracts import InputError
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.verify import verify
from tests.orchestrator.app.live.pasts import ANOTHER, EPOCHS, NEW, rehearse

EPOCH_S = 0.002
CHEAP = ("zero-shot", "default", "random", "ASHA", "average rank")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rehearse(tmp_path_factory.mktemp("live") / "past", epoch_s=EPOCH_S)


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all else here."""
    if "written" not in request.node.name:
        monkeypatch.setattr("orchestrator.app.live.comparison.can_draw", lambda: False)


def _protocol(
    *methods: str,
    budgets: tuple[float, ...] = (1.0, 3.0),
    seeds: int = 1,
    fresh: int = 0,
    shares: bool = True,
    jobs: int = 1,
    own_time: bool = False,
) -> LiveProtocol:
    how = Protocol(budgets=budgets, seeds=seeds, methods=methods, own_time=own_time, jobs=jobs)
    return LiveProtocol(how=how, fresh=fresh, shares=shares)


def _roots(results: LiveComparison) -> list[Path]:
    return sorted(path.parent for path in results.out.rglob("sweep.yaml"))


def _trained(results: LiveComparison) -> int:
    return sum(len(MetaDatasetReader(root).curves()) for root in _roots(results))


def test_every_method_starts_from_the_base_model_and_is_told_on_the_test_split(
    past: Path, tmp_path: Path
) -> None:
    results = compare_live(past, [NEW], protocol=_protocol(*CHEAP, "transfer-only"), out=tmp_path)
    assert results.unit_s == pytest.approx(EPOCHS * EPOCH_S)
    assert (results.candidates, results.past_tasks) == (4, 2)
    by_name = {method.name: method for method in results.methods[False]}
    assert set(by_name) == {*CHEAP, "transfer-only"}
    assert [at.relative.mean for at in by_name["zero-shot"].at] == [1.0, 1.0]
    assert by_name["zero-shot"].at[0].tests == results.tasks[0].untrained
    assert by_name["random"].at[1].configs == 3
    for method in by_name.values():
        assert method.at[1].relative.mean <= method.at[0].relative.mean <= 1.0
        assert method.at[1].tests["test_loss"] <= 3.0


def test_what_is_written_is_what_is_returned(past: Path, tmp_path: Path) -> None:
    results = compare_live(past, [NEW, ANOTHER], protocol=_protocol("random", "zero-shot"), out=tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results.as_dict()))
    measures = pd.read_parquet(tmp_path / "measures.parquet")
    chosen = measures[(measures["method"] == "random") & ~measures["own_time"] & (measures["budget"] == 3.0)]
    (random,) = (method for method in results.methods[False] if method.name == "random")
    assert random.at[1].relative.mean == pytest.approx(chosen["relative"].mean())
    assert random.at[1].relative.n == 2
    assert f"{chosen['test_loss'].mean():.4f}" in (tmp_path / "table.md").read_text()
    assert len(pd.read_parquet(tmp_path / "trajectories.parquet")) > 2 * 9
    for name in ("test-loss.png", "ranks.svg"):
        assert (tmp_path / name).stat().st_size > 1000


def test_the_trials_are_a_sweeps_root_that_can_be_certified(past: Path, tmp_path: Path) -> None:
    results = compare_live(past, [NEW], protocol=_protocol("ASHA"), out=tmp_path)
    (root,) = _roots(results)
    certificate = verify(root, planned=planned_trials(root))
    assert certificate.ok, certificate.render()
    trials = MetaDatasetReader(root).trials()
    assert set(trials["outcome"]) == {"completed", "stopped"}
    assert trials["epochs"].sum() == len(MetaDatasetReader(root).curves())


def test_what_one_method_trained_is_charged_in_full_to_another(past: Path, tmp_path: Path) -> None:
    one = compare_live(past, [NEW], protocol=_protocol("random", budgets=(9.0,)), out=tmp_path)
    assert _trained(one) == 4 * EPOCHS
    both = compare_live(
        past, [NEW], protocol=_protocol("random", "average rank", budgets=(9.0,)), out=tmp_path
    )
    assert _trained(both) == 4 * EPOCHS
    rows = pd.read_parquet(tmp_path / "trajectories.parquet")
    spent = rows.groupby("method")["train_s"].max()
    assert spent.tolist() == pytest.approx([4 * EPOCHS * EPOCH_S] * 2)


def test_methods_that_share_nothing_train_for_themselves(past: Path, tmp_path: Path) -> None:
    protocol = _protocol("random", "average rank", budgets=(9.0,), shares=False)
    results = compare_live(past, [NEW], protocol=protocol, out=tmp_path)
    assert len(_roots(results)) == 2
    assert results.tasks[0].trained_epochs == _trained(results) == 2 * 4 * EPOCHS
    assert results.tasks[0].trained_configs == 4


def test_no_more_is_trained_than_the_largest_budget_and_the_epoch_that_ends_it(
    past: Path, tmp_path: Path
) -> None:
    results = compare_live(past, [NEW], protocol=_protocol("random", budgets=(1.5,)), out=tmp_path)
    rows = pd.read_parquet(tmp_path / "trajectories.parquet")
    assert rows["train_s"].max() <= 1.5 * results.unit_s * (1 + 1e-9)
    assert len(rows) - 1 == 4
    assert _trained(results) <= 5


def test_a_larger_comparison_continues_trials_that_were_stopped(past: Path, tmp_path: Path) -> None:
    small = compare_live(past, [NEW], protocol=_protocol("ASHA", budgets=(1.0,)), out=tmp_path)
    before = _trained(small)
    large = compare_live(past, [NEW], protocol=_protocol("ASHA", budgets=(9.0,)), out=tmp_path)
    (root,) = _roots(large)
    assert before < _trained(large) == 4 * EPOCHS
    assert set(MetaDatasetReader(root).trials()["outcome"]) == {"completed"}
    assert verify(root, planned=planned_trials(root)).ok


def test_what_is_finished_is_not_run_again(past: Path, tmp_path: Path) -> None:
    said: list[str] = []
    protocol = _protocol("random", "ASHA", seeds=2)
    first = compare_live(past, [NEW], protocol=protocol, out=tmp_path, say=said.append)
    assert len(said) == 4
    assert "random: test loss" in said[0] or "ASHA: test loss" in said[0]
    again = compare_live(past, [NEW], protocol=protocol, out=tmp_path, say=said.append)
    assert len(said) == 4
    assert first == again


def test_fresh_draws_are_everyones_candidates(past: Path, tmp_path: Path) -> None:
    results = compare_live(past, [NEW], protocol=_protocol("random", budgets=(20.0,), fresh=2), out=tmp_path)
    assert (results.candidates, results.fresh) == (6, 2)
    assert results.tasks[0].trained_configs == 6


@pytest.mark.slow
def test_tasks_in_two_processes_come_to_what_one_finds(past: Path, tmp_path: Path) -> None:
    one, two = (
        compare_live(
            past,
            [NEW, ANOTHER],
            protocol=_protocol("random", "default", jobs=jobs),
            out=tmp_path / f"jobs-{jobs}",
        )
        for jobs in (1, 2)
    )
    assert [m.at[1].tests for m in one.methods[False]] == [m.at[1].tests for m in two.methods[False]]
    assert _trained(one) == _trained(two)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda past: compare_live(past, ["worlds:towns"], protocol=_protocol("random")),
            "is a task of .*past",
        ),
        (
            lambda past: compare_live(past, [NEW, NEW], protocol=_protocol("random")),
            "the same rows as another task",
        ),
        (lambda past: compare_live(past, ["worlds:nowhere"], protocol=_protocol("random")), "nowhere"),
        (lambda past: compare_live(past, [NEW], protocol=_protocol("nobody")), "no method 'nobody'"),
        (lambda past: compare_live(past / "x", [NEW], protocol=_protocol("random")), "does not exist"),
        (
            lambda past: compare_live(past, [NEW], protocol=_protocol("random", fresh=-1)),
            "--fresh must be at least 0, got -1",
        ),
        (
            lambda past: compare_live(
                past, [NEW], protocol=_protocol("random"), out=past / "sweep.yaml" / "live"
            ),
            "--out .* can't be written",
        ),
        (lambda past: LiveProtocol(how=Protocol(ablations=True)), "--ablations compares replays"),
    ],
)
def test_what_cannot_be_compared_is_refused(past: Path, ask: Callable[[Path], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask(past)
    assert not (past / "live").exists()


def test_another_base_model_than_the_pasts_is_refused(
    past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.models.location._REHEARSAL_FINGERPRINT", "rehearsal-2")
    with pytest.raises(InputError, match=r"ran on base model rehearsal-1, and .* is rehearsal-2"):
        compare_live(past, [NEW], protocol=_protocol("random"), out=tmp_path)


def test_peers_that_are_missing_are_named_with_how_to_get_them(
    past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.app import evaluation_methods
    from surrogates.baselines import available

    here, _ = available()
    kept = [method for method in here if method.name != "DEHB"]
    lacking = ["DEHB is left out: dehb is not installed; pip install 'foretune[peers]'"]
    monkeypatch.setattr(evaluation_methods, "available", lambda: (kept, lacking))
    with pytest.raises(InputError, match=r"DEHB can't run here: .* pip install 'foretune"):
        compare_live(past, [NEW], protocol=LiveProtocol(how=Protocol()), out=tmp_path)
    assert "DEHB" in METHODS
