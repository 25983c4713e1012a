"""Kept meta-features are taken only for what they were measured from, and a broken file harms nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contracts import DescribeTask, TaskDescribed, TrainingSettings
from tests.support.tiny import make_task
from workers.metafeatures import FeatureCache, cache
from workers.metafeatures.cache import cache_folder
from workers.metafeatures.names import names_measured
from workers.models.base import BaseModel
from workers.resident import resident_session
from workers.tasks.records import Task
from workers.training.encoding import encode_task

SETTINGS = TrainingSettings(horizon_epochs=1, max_eval_examples=5, max_new_tokens=8, max_length_tokens=64)
VALUES = {name: 0.1 + number for number, name in enumerate(sorted(names_measured(with_base=True)))}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tasks that were really measured."""
    names: list[str] = []

    def note(task: Task, *_: object, **__: object) -> dict[str, float]:
        names.append(task.name)
        return dict(VALUES)

    monkeypatch.setattr(cache, "measure", note)
    monkeypatch.setattr(cache, "measure_encoded", note)
    return names


def test_a_task_is_measured_once_however_it_is_asked(
    loaded_base: BaseModel, tmp_path: Path, measured: list[str]
) -> None:
    task = make_task()
    first = FeatureCache(tmp_path).measure(task, loaded_base, SETTINGS)
    encoded = encode_task(loaded_base.tokenizer, task, max_length_tokens=64)
    renamed = replace(task, name="same rows")
    assert FeatureCache(tmp_path).measure_encoded(renamed, encoded, loaded_base, SETTINGS) == first == VALUES
    longer = replace(SETTINGS, horizon_epochs=7, diverged_loss=9.0)
    assert FeatureCache(tmp_path).measure(task, loaded_base, longer) == first
    assert measured == ["elders"]
    assert len(list(tmp_path.iterdir())) == 1


CHANGES: dict[str, dict[str, Any]] = {
    "fingerprint": {"base": {"fingerprint": "other"}},
    "dtype": {"base": {"dtype": "bfloat16"}},
    "rows": {"task": {"train": make_task().train[1:]}},
    "examples_per_epoch": {"settings": {"examples_per_epoch": 3}},
    "max_eval_examples": {"settings": {"max_eval_examples": 4}},
    "max_length_tokens": {"settings": {"max_length_tokens": 63}},
    "max_new_tokens": {"settings": {"max_new_tokens": 7}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_meta_features_depend_on_is_measured_again_when_it_changes(
    change: dict[str, dict[str, Any]], loaded_base: BaseModel, tmp_path: Path, measured: list[str]
) -> None:
    FeatureCache(tmp_path).measure(make_task(), loaded_base, SETTINGS)
    FeatureCache(tmp_path).measure(
        replace(make_task(), **change.get("task", {})),
        replace(loaded_base, **change.get("base", {})),
        replace(SETTINGS, **change.get("settings", {})),
    )
    assert len(measured) == 2


def test_another_version_or_device_is_measured_again(
    loaded_base: BaseModel, tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    FeatureCache(tmp_path).measure(make_task(), loaded_base, SETTINGS)
    monkeypatch.setattr(cache, "VERSION", 0)
    FeatureCache(tmp_path).measure(make_task(), loaded_base, SETTINGS)
    monkeypatch.setattr("workers.training.memory.device_name", lambda device: "abacus")
    FeatureCache(tmp_path).measure(make_task(), loaded_base, SETTINGS)
    assert len(measured) == 3


def _without(content: bytes, name: str) -> bytes:
    kept = json.loads(content)
    del kept["features"][name]
    return json.dumps(kept).encode()


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "no text": lambda content: b"\xff\xfe" + content,
    "other kind": lambda content: b"[1, 2]",
    "of something else": lambda content: content.replace(b"elders", b"olders").replace(
        b'"task_id": "', b'"task_id": "x'
    ),
    "a name too few": lambda content: _without(content, "train_examples"),
    "not a number": lambda content: content.replace(b": 0.1", b": NaN"),
    "a word": lambda content: content.replace(b": 0.1", b': "many"'),
    "no features": lambda content: b'{"of": {}, "features": 3}',
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_file_is_measured_again_and_mended(
    spoil: Callable[[bytes], bytes],
    loaded_base: BaseModel,
    tmp_path: Path,
    measured: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    FeatureCache(tmp_path).measure(make_task(), loaded_base, SETTINGS)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    assert FeatureCache(tmp_path).measure(make_task(), loaded_base, SETTINGS) == VALUES
    assert len(measured) == 2
    assert "measuring again" in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_a_warning_and_no_result(
    loaded_base: BaseModel, tmp_path: Path, measured: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = FeatureCache(tmp_path / "file" / "features")
    for count in (1, 2):
        assert kept.measure(make_task(), loaded_base, SETTINGS) == VALUES
        assert len(measured) == count
    assert "can't be kept" in caplog.text


def test_what_a_worker_measures_is_at_hand_for_who_asks_about_the_task_later(
    random_base: Path, loaded_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path / "cache"))
    task = make_task()
    command = DescribeTask(
        task_id=task.task_id, source="memory", name="elders", base_model=str(random_base), settings=SETTINGS
    )
    session = resident_session(str(tmp_path), "w1", load_task=lambda source: task)
    (described,) = session.exchange([command], 60.0) or session.exchange([], 60.0)
    session.close()
    assert isinstance(described, TaskDescribed)
    assert described.record is not None
    monkeypatch.delattr(cache, "measure")
    assert FeatureCache().measure(task, loaded_base, SETTINGS) == described.record.meta_features


def test_folder_is_the_one_given_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FORETUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "foretune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "home" / ".cache" / "foretune"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "home" / "Library" / "Caches" / "foretune"


def test_without_a_home_nothing_is_kept_and_all_is_measured(
    loaded_base: BaseModel, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FORETUNE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    for _ in range(2):
        assert FeatureCache().measure(make_task(), loaded_base, SETTINGS) == VALUES
    assert len(measured) == 2


_KEEP_MANY = """
import sys
from pathlib import Path
from workers.metafeatures.cache import _keep, _read
path, letter = Path(sys.argv[1]), sys.argv[2]
values = {values!r}
print("ready", flush=True)
sys.stdin.readline()
for _ in range(200):
    _keep(path, {{"of": "both"}}, values)
    assert _read(path, {{"of": "both"}}) == values
"""


def test_two_processes_keep_and_read_the_same_task_at_once(tmp_path: Path) -> None:
    code = _KEEP_MANY.format(values=VALUES)
    path = tmp_path / "features" / "one.json"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), letter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    results = [process.communicate("go\n") for process in processes]
    assert [(process.returncode, error) for process, (_, error) in zip(processes, results, strict=True)] == [
        (0, "")
    ] * 2
    assert [found.name for found in path.parent.iterdir()] == ["one.json"]
