import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.metadataset.verify import compare
from surrogates.data.store import read_tables
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from tests.surrogates.metadatasets import assert_same
from tests.surrogates.roots import write_root


@pytest.mark.parametrize("fmt", ["synetune", "optuna"])
def test_root_exported_and_imported_is_the_root_s_meta_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fmt: str
) -> None:
    (tmp_path / "root").mkdir()
    write_root(tmp_path / "root", tasks=2, configs=4)
    assert main(["export", str(tmp_path / "root"), fmt, "--out", str(tmp_path / fmt), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["tasks"], said["configs"], said["trials"], said["failures"]) == (2, 4, 8, 2)
    assert {path.name for path in (tmp_path / fmt).iterdir()} == set(said["files"])
    assert main(["import", fmt, str(tmp_path / fmt), "--out", str(tmp_path / "t")]) == 0
    assert "2 tasks, 4 configs, 8 trials (2 failures)" in capsys.readouterr().out
    assert_same(read_tables(tmp_path / "t"), MetaDataset.from_root(tmp_path / "root"))


def test_foreign_tables_with_meta_features_and_a_space_are_imported_exported_and_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "qtt").mkdir()
    rows = {
        "config": ",dataset,lr\n1,a,0.1\n2,a,0.01\n3,b,0.1\n4,b,0.01\n",
        "cost": ",cost\n1,2\n2,2\n3,4\n4,4\n",
        "curve": ",1,2\n1,0.2,0.3\n2,0.5,0.6\n3,0.3,0.4\n4,0.6,\n",
    }
    for name, text in rows.items():
        (tmp_path / "qtt" / f"{name}.csv").write_text(text)
    (tmp_path / "features.csv").write_text("dataset,rows\na,100\nb,900\n")
    command = ["import", "qtt", str(tmp_path / "qtt"), "--out", str(tmp_path / "t")]
    told = ["--metric", "accuracy", "--features", str(tmp_path / "features.csv"), "--json"]
    assert main([*command, *told]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["metric"], said["direction"], said["points"], said["max_epochs"]) == (
        "accuracy",
        "maximise",
        7,
        2,
    )
    meta = read_tables(tmp_path / "t")
    assert [task.features["rows"] for task in meta.tasks] == [100.0, 900.0]
    assert Recommender.fit(meta).plan({"rows": 300.0}, 10.0).choices
    provenance = json.loads((tmp_path / "t" / "table.json").read_text())["provenance"]
    assert provenance["format"] == "qtt"
    assert main([*command, *told]) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, *told, "--force"]) == 0
    assert main(["export", str(tmp_path / "t"), "optuna", "--out", str(tmp_path / "o")]) == 0


def test_bad_input_ends_with_one_sentence_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["import", "synetune", str(tmp_path / "none"), "--out", str(tmp_path / "t")],
        ["import", "optuna", str(tmp_path / "none.db"), "--out", str(tmp_path / "t")],
        ["export", str(tmp_path / "none"), "qtt", "--out", str(tmp_path / "t")],
        ["import", "qtt", str(tmp_path), "--out", str(tmp_path / "t"), "--features", str(tmp_path / "f.csv")],
    ):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("foretune: ")
        assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_password_of_a_storage_is_not_written_down() -> None:
    from orchestrator.app.interchange import _without_password

    assert _without_password("mysql://me:secret@host/db") == "mysql://host/db"
    assert _without_password("runs/a@b") == "runs/a@b"


def test_a_root_is_exported_as_a_root_and_other_formats_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root").mkdir()
    write_root(tmp_path / "root", tasks=2, configs=3)
    (tmp_path / "root" / "sweep.yaml").write_text("name: x")
    assert main(["export", str(tmp_path / "root"), "root", "--out", str(tmp_path / "copy")]) == 0
    assert "2 tasks" in capsys.readouterr().out
    assert compare(tmp_path / "root", tmp_path / "copy").ok
    refused = ["export", str(tmp_path / "root"), "root", "--out", str(tmp_path / "other"), "--metric", "x"]
    assert main(refused) == 2
    assert not (tmp_path / "other").exists()
