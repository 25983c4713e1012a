"""What a submitted sweep takes along: all it needs, the same for the same inputs, nothing too large."""

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.app.remote.bundle import PACKAGES, bundled
from orchestrator.app.spec import SweepSpec, load_spec, parse_spec
from orchestrator.contracts import InputError
from workers.tasks.loading import load_task

AMPLE = 100 * 2**20
SPEC: dict[str, Any] = {"name": "s", "base_model": "rehearsal", "configs": 2, "epochs": 2}


def write_task(path: Path, *, rows: int = 6, word: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    splits = ["train", "validation", "test"]
    lines = [{"question": f"{word} {n}?", "answer": str(n), "split": splits[n % 3]} for n in range(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def spec_of(folder: Path, **changes: Any) -> SweepSpec:
    return parse_spec({**SPEC, **changes}, where="sweep.yaml", folder=folder)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bundle_holds_the_packages_and_no_caches_or_tests(tmp_path: Path) -> None:
    with bundled(spec_of(tmp_path, tasks=["worlds:towns"]), limit_bytes=AMPLE) as bundle:
        names = content(bundle.folder)
        assert all(f"{package}/__init__.py" in names for package in PACKAGES)
        assert "workers/models/tiny_phi3/model.safetensors" in names
        assert not [name for name in names if "__pycache__" in name or "tests/" in name or "/." in name]
    assert not bundle.folder.exists()


def test_bundle_runs_from_its_own_code_and_knows_its_version(tmp_path: Path) -> None:
    code = (
        "import importlib.metadata as m, orchestrator.cli.main, orchestrator;"
        "print(orchestrator.__path__[0], [d.version for d in m.distributions(path=['.'])])"
    )
    with bundled(spec_of(tmp_path, tasks=["worlds:towns"]), limit_bytes=AMPLE) as bundle:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=bundle.folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[0] == str(bundle.folder / "orchestrator")
        assert done.stdout.split()[1] == f"['{version('foretune')}']"


def test_carried_tasks_are_the_same_tasks_under_the_same_names(tmp_path: Path) -> None:
    first = write_task(tmp_path / "data" / "people & places.jsonl", word="a")
    second = write_task(tmp_path / "b.jsonl", word="b")
    tasks = ["data/people & places.jsonl", {"source": "b.jsonl", "name": "mine"}, "worlds:towns"]
    with bundled(spec_of(tmp_path, tasks=tasks), limit_bytes=AMPLE) as bundle:
        written = yaml.safe_load((bundle.folder / "sweep.yaml").read_text())
        assert str(tmp_path) not in json.dumps(written)
        shutil.rmtree(tmp_path / "data")
        carried = load_spec(bundle.folder / "sweep.yaml")
        loaded = [load_task(entry.source, name=entry.name) for entry in carried.tasks]
    assert [task.name for task in loaded[:2]] == ["people & places", "mine"]
    assert carried.tasks[2].source == "worlds:towns"
    first = write_task(first, word="a")
    assert [task.task_id for task in loaded[:2]] == [load_task(str(f)).task_id for f in (first, second)]


def test_carried_folder_of_a_saved_data_set_keeps_its_name(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [{"question": f"q {n}", "answer": str(n)} for n in range(30)]
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    with bundled(spec_of(tmp_path, tasks=["saved"]), limit_bytes=AMPLE) as bundle:
        (entry,) = load_spec(bundle.folder / "sweep.yaml").tasks
        assert Path(entry.source).parent == bundle.folder / "tasks"
        carried = load_task(entry.source, name=entry.name)
    assert (carried.name, carried.task_id) == ("saved", load_task(str(tmp_path / "saved")).task_id)


def test_same_inputs_give_the_same_bundle_wherever_they_lie(tmp_path: Path) -> None:
    contents = []
    for place in ("one", "another place"):
        write_task(tmp_path / place / "t.jsonl")
        with bundled(spec_of(tmp_path / place, tasks=["t.jsonl"]), limit_bytes=AMPLE) as bundle:
            contents.append(content(bundle.folder))
    assert contents[0] == contents[1]


def test_changed_task_changes_its_name_in_the_bundle(tmp_path: Path) -> None:
    sources = []
    for word in ("before", "after"):
        write_task(tmp_path / "t.jsonl", word=word)
        with bundled(spec_of(tmp_path, tasks=["t.jsonl"]), limit_bytes=AMPLE) as bundle:
            sources.append(bundle.spec.tasks[0].source)
    assert sources[0] != sources[1]


def test_size_is_that_of_the_archive_ray_makes(tmp_path: Path) -> None:
    write_task(tmp_path / "täsk.jsonl")
    with bundled(spec_of(tmp_path, tasks=["täsk.jsonl"]), limit_bytes=AMPLE) as bundle:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            for path in bundle.folder.rglob("*"):
                if path.is_file():
                    archive.write(path, path.relative_to(bundle.folder))
        assert bundle.size_bytes == (tmp_path / "all.zip").stat().st_size


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(200, 2_000))
def test_bundle_is_refused_exactly_from_the_limit_on(tmp_path: Path, rows: int) -> None:
    write_task(tmp_path / "big.jsonl", rows=rows)
    spec = spec_of(tmp_path, tasks=["big.jsonl", "worlds:towns"])
    with bundled(spec, limit_bytes=AMPLE) as bundle:
        size_bytes = bundle.size_bytes
    with bundled(spec, limit_bytes=size_bytes + 1):
        pass
    with pytest.raises(InputError, match="takes uploads below"), bundled(spec, limit_bytes=size_bytes):
        pass


def test_refusal_names_the_largest_part_and_its_size(tmp_path: Path) -> None:
    path = write_task(tmp_path / "big.jsonl", rows=150_000)
    write_task(tmp_path / "small.jsonl")
    spec = spec_of(tmp_path, tasks=["small.jsonl", "big.jsonl"])
    with (
        pytest.raises(InputError, match=r"the largest part is .*big\.jsonl with") as refusal,
        bundled(spec, limit_bytes=5 * 2**20),
    ):
        pass
    assert f"{path.stat().st_size / 2**20:.1f} MiB" in str(refusal.value)


def test_faults_of_a_spec_are_named_together_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    spec = spec_of(
        tmp_path, tasks=["empty.jsonl", "missing.jsonl"], configs=[{"learning_rate": 0.5}], preset="tiny"
    )
    with pytest.raises(InputError) as refusal, bundled(spec, limit_bytes=AMPLE):
        pass
    text = str(refusal.value)
    assert all(word in text for word in ("empty.jsonl", "missing.jsonl", "learning_rate must be in"))


def test_base_model_folder_stays_where_it_is_and_is_mentioned(tmp_path: Path) -> None:
    model = tmp_path / "phi3"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"x" * 1000)
    with bundled(spec_of(tmp_path, tasks=["worlds:towns"], base_model="./phi3"), limit_bytes=AMPLE) as bundle:
        assert load_spec(bundle.folder / "sweep.yaml").base_model == str(model)
        assert [str(model) in note for note in bundle.notes] == [True]
        assert b"x" * 1000 not in content(bundle.folder).values()
    with bundled(spec_of(tmp_path, tasks=["worlds:towns"]), limit_bytes=AMPLE) as bundle:
        assert bundle.notes == ()
