import json
import math
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from orchestrator.contracts import InputError
from surrogates.data.description import Description
from surrogates.data.store import FILES, read_meta, read_tables, write_tables
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.metadatasets import assert_same, metadatasets
from tests.surrogates.roots import write_root
from tests.surrogates.synthetic import World, make

SMALL = World(tasks=3, configs=16, epochs=4)


@settings(max_examples=25, deadline=None)
@given(metadatasets())
def test_tables_read_back_equal(meta: MetaDataset) -> None:
    with TemporaryDirectory() as folder:
        write_tables(meta, Path(folder, "tables"))
        assert_same(read_tables(Path(folder, "tables")), meta)


def test_what_frames_and_roots_make_reads_back_equal(tmp_path: Path) -> None:
    write_root(tmp_path, tasks=2, configs=4)
    for name, meta in (("frames", make(SMALL)), ("root", MetaDataset.from_root(tmp_path))):
        write_tables(meta, tmp_path / name)
        assert_same(read_tables(tmp_path / name), meta)


def test_description_has_every_field_of_a_meta_dataset_that_is_no_table() -> None:
    tables = {"space", "tasks", "configs", "trials", "points", "max_epochs"}
    assert {item.name for item in fields(Description)} == {item.name for item in fields(MetaDataset)} - tables


def test_inactive_and_none_are_told_apart(tmp_path: Path) -> None:
    meta = _with_choices({"a": {"s": None, "x": 2}, "b": {"x": True}, "c": {"s": "None", "x": 2.5}})
    write_tables(meta, tmp_path / "tables")
    assert read_tables(tmp_path / "tables").configs == meta.configs
    held = pd.read_parquet(tmp_path / "tables" / "configs.parquet").set_index("config_id")
    assert held["s"].fillna("inactive").to_dict() == {"a": "null", "b": "inactive", "c": '"None"'}


def test_columns_are_of_their_own_type_for_pandas_and_duckdb(tmp_path: Path) -> None:
    meta = make(SMALL)
    write_tables(meta, tmp_path / "t")
    configs = pd.read_parquet(tmp_path / "t" / "configs.parquet")
    assert configs["lr"].dtype == np.float64
    assert configs["rank"].dtype == np.int64
    assert configs["rslora"].dtype == np.bool_
    best = duckdb.sql(
        f"select c.optim, min(loss) from '{tmp_path}/t/curves.parquet' join '{tmp_path}/t/configs.parquet' c "
        "using (config_id) where isfinite(loss) group by c.optim order by c.optim"
    ).fetchall()
    finite = meta.points.merge(meta.trials[["trial_id", "config_id"]], on="trial_id")
    finite = finite[np.isfinite(finite["value"])]
    optim = finite["config_id"].map(lambda key: meta.configs[key]["optim"])
    assert dict(best) == finite.groupby(optim)["value"].min().to_dict()


def test_recommender_of_read_tables_plans_as_that_of_the_written_ones(tmp_path: Path) -> None:
    meta = make(SMALL)
    write_tables(meta, tmp_path / "t")
    features = meta.tasks[0].features
    plans = [Recommender.fit(item).plan(features, 60.0) for item in (meta, read_tables(tmp_path / "t"))]
    assert plans[0] == plans[1]


def test_written_folder_is_not_replaced_unasked_and_strange_files_never_are(tmp_path: Path) -> None:
    meta, folder = make(SMALL), tmp_path / "t"
    write_tables(meta, folder)
    with pytest.raises(InputError, match="not empty"):
        write_tables(meta, folder)
    write_tables(meta.without(["t0"]), folder, replace=True)
    assert [task.task_id for task in read_tables(folder).tasks] == ["t1", "t2"]
    assert {path.name for path in folder.iterdir()} == FILES
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        write_tables(meta, folder, replace=True)
    assert (folder / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_write_that_fails_leaves_the_old_folder_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta, folder = make(SMALL), tmp_path / "t"
    write_tables(meta, folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(InputError, match="No space left"):
        write_tables(meta.without(["t0"]), folder, replace=True)
    monkeypatch.undo()
    assert_same(read_tables(folder), meta)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_folder_with_a_missing_or_damaged_file_is_refused_by_that_file_s_name(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "t"
    for damage in ("missing", "torn", "rubbish"):
        write_tables(make(SMALL), folder, replace=True)
        path = folder / name
        content = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes(content[: len(content) // 2] if damage == "torn" else b"\x80\x04rubbish")
        with pytest.raises(InputError, match=name if name != "space.json" else "space"):
            read_tables(folder)
        path.write_bytes(content)


def test_tables_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    write_tables(make(SMALL), tmp_path / "t")
    for name, column, match in (
        ("curves.parquet", "trial_id", "trial .* has results but no row in trials"),
        ("trials.parquet", "task_id", "task .* has results but no row in tasks"),
        ("curves.parquet", "epoch", "another type"),
    ):
        path = tmp_path / "t" / name
        content = path.read_bytes()
        table = pq.read_table(path)
        column_at = table.column_names.index(column)
        wrong = pa.array(["nobody"] * len(table), pa.string())
        pq.write_table(table.set_column(column_at, column, wrong), path)
        with pytest.raises(InputError, match=match):
            read_tables(tmp_path / "t")
        path.write_bytes(content)


def test_format_of_a_later_release_is_refused(tmp_path: Path) -> None:
    write_tables(make(SMALL), tmp_path / "t")
    path = tmp_path / "t" / "table.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(InputError, match="format 2"):
        read_tables(tmp_path / "t")


def test_name_that_is_a_column_of_ours_is_refused(tmp_path: Path) -> None:
    for meta in (_with_choices({"a": {"config_id": 1}}), _with_choices({"a": {"x": 1}}, metric="epoch")):
        with pytest.raises(InputError, match="rename it"):
            write_tables(meta, tmp_path / "t")


def test_read_meta_takes_tables_and_roots_and_refuses_another_metric(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    write_root(tmp_path / "root", tasks=2, configs=4)
    meta = make(SMALL)
    write_tables(meta, tmp_path / "t")
    assert_same(read_meta(tmp_path / "t"), meta)
    assert_same(read_meta(tmp_path / "t", "loss"), meta)
    assert read_meta(tmp_path / "root").metric == "eval_loss"
    assert read_meta(tmp_path / "root", "eval_exact_match").metric == "eval_exact_match"
    with pytest.raises(InputError, match="about loss, not accuracy"):
        read_meta(tmp_path / "t", "accuracy")
    with pytest.raises(InputError, match="no sweep's root"):
        read_meta(tmp_path)


def _with_choices(configs: dict[str, dict[str, object]], metric: str = "loss") -> MetaDataset:
    names = sorted({name for config in configs.values() for name in config})
    choices = {
        name: list({repr(c[name]): c[name] for c in configs.values() if name in c}.values()) for name in names
    }
    rows = [{"task_id": "t", "config_id": key, "epoch": 1, "l": 1.0, "s": 1.0} for key in configs]
    meta = MetaDataset.from_frames(
        pd.DataFrame(rows),
        pd.DataFrame({"config_id": list(configs)}),
        pd.DataFrame({"task_id": ["t"], "size": [math.nan]}),
        space={name: values if len(values) > 1 else values[0] for name, values in choices.items()},
        metric="l",
        direction="minimise",
        cost="s",
    )
    return Description(metric=metric, direction=meta.direction).meta(
        points=meta.points,
        trials=meta.trials,
        configs=configs,  # type: ignore[arg-type]
        tasks=meta.tasks,
        space=meta.space,
    )
