from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from hypothesis import Phase, given, settings
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from orchestrator.contracts import InputError
from surrogates.data.store import read_tables, write_tables
from surrogates.interchange.optuna_export import STUDIES, export_optuna
from surrogates.interchange.optuna_import import import_optuna
from surrogates.interchange.records import CostKind, Reading
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.metadatasets import assert_same, metadatasets, typed
from tests.surrogates.synthetic import World, make

START = datetime(2026, 1, 1)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def ended(
    params: dict[str, Any],
    curve: dict[int, float],
    *,
    seconds: float,
    state: TrialState = TrialState.COMPLETE,
    **attributes: object,
) -> optuna.trial.FrozenTrial:
    known = {
        "lr": FloatDistribution(1e-5, 1e-1, log=True),
        "layers": IntDistribution(1, 8),
        "optim": CategoricalDistribution(["adam", "sgd"]),
        "momentum": FloatDistribution(0.0, 0.99),
        "schedule": CategoricalDistribution([None, "cosine"]),
    }
    trial = create_trial(
        state=state,
        params=params,
        distributions={name: known[name] for name in params},
        value=list(curve.values())[-1] if state is TrialState.COMPLETE else None,
        intermediate_values=curve,
        user_attrs=attributes,
    )
    trial.datetime_start = START
    trial.datetime_complete = START + timedelta(seconds=seconds) if state.is_finished() else None
    return trial


def two_studies(storage: object = None) -> list[optuna.Study]:
    studies = []
    for name, size in (("cats", 100), ("dogs", 900)):
        study = optuna.create_study(study_name=name, storage=storage)
        study.set_user_attr("size", size)
        study.set_user_attr("owner", "nobody")
        sgd = {"lr": 1e-2, "layers": 2, "optim": "sgd", "momentum": 0.5, "schedule": None}
        adam = {"lr": 1e-3, "layers": 4, "optim": "adam", "schedule": "cosine"}
        study.add_trial(ended(sgd, {0: 3.0, 1: 2.0, 2: 1.0}, seconds=30.0))
        study.add_trial(ended(adam, {0: 2.0, 1: 1.5}, seconds=10.0, state=TrialState.PRUNED))
        study.add_trial(ended(adam | {"lr": 0.1}, {0: 9.0}, seconds=4.0, state=TrialState.FAIL))
        study.add_trial(ended(adam | {"lr": 0.05}, {}, seconds=2.0, state=TrialState.FAIL))
        study.add_trial(ended(sgd, {0: 3.5, 1: 2.5, 2: 1.5}, seconds=60.0))
        study.add_trial(ended(adam, {0: 1.0}, seconds=0.0, state=TrialState.RUNNING))
        studies.append(study)
    return studies


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(metadatasets())
def test_export_reads_back_equal(meta: MetaDataset) -> None:
    used = meta.without([])
    with TemporaryDirectory() as folder:
        export_optuna(used, Path(folder, "studies"))
        assert_same(import_optuna(Path(folder, "studies"), Reading()).meta, used)


def test_optuna_loads_an_export_and_goes_on_from_it(tmp_path: Path) -> None:
    meta = make(World(tasks=2, configs=8, epochs=3))
    export_optuna(meta, tmp_path / "out")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / STUDIES))
    storage = optuna.storages.JournalStorage(backend)
    assert optuna.get_all_study_names(storage) == [task.name for task in meta.tasks]
    study = optuna.load_study(study_name="task 0", storage=storage)
    task = meta.tasks[0]
    assert {name: study.user_attrs[name] for name in task.features} == dict(task.features)
    losses = meta.points.merge(meta.trials[~meta.trials["is_failure"]], on="trial_id")
    last = losses[losses["task_id"] == task.task_id].groupby("trial_id")["value"].last()
    assert study.best_value == last.min()
    trial = study.best_trial
    assert trial.params == meta.configs[trial.user_attrs["config_id"]]
    assert trial.duration is not None
    assert trial.duration.total_seconds() == pytest.approx(trial.user_attrs["cost_s"], abs=1e-6)
    assert trial.distributions["lr"] == FloatDistribution(1e-5, 1e-1, log=True)
    assert trial.distributions["optim"] == CategoricalDistribution(["adamw", "lion", "sgd"])

    def objective(trial: optuna.Trial) -> float:
        return float(trial.suggest_float("lr", 1e-5, 1e-1, log=True))

    study.optimize(objective, n_trials=1)
    assert len(study.trials) == (meta.trials["task_id"] == task.task_id).sum() + 1


def test_export_copied_to_sqlite_by_optuna_reads_back_equal(tmp_path: Path) -> None:
    meta = make(World(tasks=2, configs=6, epochs=3))
    export_optuna(meta, tmp_path / "out")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / STUDIES))
    storage = optuna.storages.JournalStorage(backend)
    for task in meta.tasks:
        optuna.copy_study(
            from_study_name=task.name, from_storage=storage, to_storage=f"sqlite:///{tmp_path / 'copy.db'}"
        )
    assert_same(import_optuna(tmp_path / "copy.db", Reading()).meta, meta)


@pytest.mark.parametrize("kind", ["objects", "sqlite file", "url", "journal"])
def test_studies_of_others_are_read_from_every_storage(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "studies"
    if kind == "journal":
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        two_studies(optuna.storages.JournalStorage(backend))
    source: Any = path if kind in ("sqlite file", "journal") else f"sqlite:///{path}"
    if kind in ("sqlite file", "url"):
        two_studies(f"sqlite:///{path}")
    imported = import_optuna(two_studies() if kind == "objects" else source, Reading())
    meta = imported.meta
    assert (meta.metric, meta.direction) == ("value", "minimise")
    assert {task.task_id: dict(task.features) for task in meta.tasks} == {
        "cats": {"size": 100.0},
        "dogs": {"size": 900.0},
    }
    cats = meta.trials[meta.trials["task_id"] == "cats"].sort_values("cost_s")
    assert cats["outcome"].tolist() == ["diverged", "diverged", "stopped", "completed", "completed"]
    assert cats["is_failure"].tolist() == [True, True, False, False, False]
    assert cats["cost_s"].tolist() == pytest.approx([2.0, 4.0, 10.0, 30.0, 60.0])
    assert cats["seed"].tolist() == [0, 0, 0, 0, 1]
    points = meta.points.merge(cats, on="trial_id", suffixes=("", "_trial"))
    assert points[points["cost_s_trial"] == 30.0]["value"].tolist() == [3.0, 2.0, 1.0]
    assert points[points["cost_s_trial"] == 30.0]["epoch"].tolist() == [1, 2, 3]
    assert points[points["cost_s_trial"] == 30.0]["cost_s"].tolist() == pytest.approx([10.0] * 3)
    assert typed({"a": meta.configs[cats["config_id"].iloc[3]]}) == typed(
        {"a": {"lr": 1e-2, "layers": 2, "optim": "sgd", "momentum": 0.5, "schedule": None}}
    )
    assert all(("momentum" in c) == (c["optim"] == "sgd") for c in meta.space.sample(20, seed=0))
    assert {
        item.name: (item.low, item.high, item.is_log) for item in meta.space.parameters if not item.choices
    } == {
        "lr": (1e-5, 1e-1, True),
        "layers": (1.0, 8.0, False),
        "momentum": (0.0, 0.99, False),
    }
    said = " ".join(imported.notes)
    assert "2 trials that have not ended" in said
    assert "spread evenly" in said
    assert "0, 1, 2" in said


def test_named_studies_alone_are_read(tmp_path: Path) -> None:
    two_studies(f"sqlite:///{tmp_path}/s.db")
    meta = import_optuna(tmp_path / "s.db", Reading(), studies=["dogs"]).meta
    assert [task.task_id for task in meta.tasks] == ["dogs"]
    with pytest.raises(InputError, match="no study birds"):
        import_optuna(tmp_path / "s.db", Reading(), studies=["birds"])


def test_seconds_of_steps_are_read_from_an_attribute_once_it_is_said_what_they_count() -> None:
    study = optuna.create_study(study_name="a", direction="maximize")
    study.add_trial(ended({"lr": 0.1}, {1: 0.5, 2: 0.6}, seconds=99.0, took=[2.0, 5.0]))
    with pytest.raises(InputError, match="what took counts; add --cost-kind"):
        import_optuna([study], Reading(cost="took"))
    for kind, wanted in ((CostKind.CUMULATIVE, [2.0, 3.0]), (CostKind.EPOCH, [2.0, 5.0])):
        meta = import_optuna([study], Reading(cost="took", cost_kind=kind)).meta
        assert meta.points["cost_s"].tolist() == wanted
    assert meta.direction == "maximise"


def test_studies_without_intermediate_values_have_one_epoch() -> None:
    study = optuna.create_study(study_name="a")
    for rate in (0.1, 0.01):
        trial = ended({"lr": rate}, {0: rate}, seconds=5.0)
        trial.intermediate_values = {}
        study.add_trial(trial)
    meta = import_optuna([study], Reading()).meta
    assert sorted(meta.points["value"]) == [0.01, 0.1]
    assert meta.points[["epoch", "cost_s"]].to_numpy().tolist() == [[1, 5.0], [1, 5.0]]


def test_studies_that_differ_in_what_they_optimise_are_refused() -> None:
    up = optuna.create_study(study_name="up", direction="maximize")
    up.add_trial(ended({"lr": 0.1}, {1: 0.5}, seconds=1.0))
    with pytest.raises(InputError, match="some studies minimise and some maximise"):
        import_optuna([up, *two_studies()], Reading())
    with pytest.raises(InputError, match="the studies maximise, not minimise"):
        import_optuna([up], Reading(direction="minimise"))
    both = optuna.create_study(study_name="both", directions=["minimize", "maximize"])
    with pytest.raises(InputError, match="both has several objectives"):
        import_optuna([both], Reading())


def test_import_written_and_read_again_serves_the_recommender(tmp_path: Path) -> None:
    write_tables(import_optuna(two_studies(), Reading()).meta, tmp_path / "t")
    assert Recommender.fit(read_tables(tmp_path / "t")).plan({"size": 300.0}, 60.0).choices


def test_what_is_no_storage_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no studies at"):
        import_optuna(tmp_path / "nowhere.db", Reading())
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="unpickles"):
        import_optuna("redis://localhost", Reading())
    (tmp_path / "torn.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 200)
    with pytest.raises(InputError, match="can't be read as a storage"):
        import_optuna(tmp_path / "torn.db", Reading())
    (tmp_path / "notes.txt").write_text("not a journal\nat all\n")
    with pytest.raises(InputError, match="neither a SQLite nor a journal"):
        import_optuna(tmp_path / "notes.txt", Reading())
