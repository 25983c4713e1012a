"""A task measured in another process: the same numbers, the same refusals, and no process left behind."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.contracts import InputError, TrainingSettings
from tests.support.tiny import make_task
from workers.metafeatures import FeatureCache
from workers.metafeatures.aside import MODULE, MeasuringFailedError, measuring_aside
from workers.models.base import load_base
from workers.tasks.loading import load_task, save_task

SETTINGS = TrainingSettings(
    horizon_epochs=1, max_eval_examples=5, max_new_tokens=8, max_length_tokens=64, examples_per_epoch=8
)
TIMED = "probe_tokens_per_s"


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "elders.jsonl"
    save_task(make_task(), path)
    return path


def test_a_task_measured_aside_has_the_numbers_it_has_here(
    task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path / "cache"))
    with measuring_aside(str(task_file), "tiny-phi3", SETTINGS) as measured:
        features = measured()
    here = FeatureCache(tmp_path / "other").measure(
        load_task(str(task_file)), load_base("tiny-phi3"), SETTINGS
    )
    assert {**features, TIMED: 0} == {**here, TIMED: 0}


@pytest.mark.parametrize("source", ["worlds:machines", "worlds:towns"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_the_short_way_to_start_measures_what_the_ordinary_way_does(
    source: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, compute_dtype=dtype)
    asked = json.dumps({"task_source": source, "base_model": "tiny-phi3", "settings": asdict(settings)})
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path / "short"))
    with measuring_aside(source, "tiny-phi3", settings) as measured:
        features = measured()
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path / "ordinary"))
    ordinary = subprocess.run(
        [sys.executable, "-m", MODULE, "--ordinary", asked], capture_output=True, text=True, check=True
    )
    expected = json.loads(ordinary.stdout)["features"]
    assert {**features, TIMED: 0} == {**expected, TIMED: 0}


def test_the_short_way_loads_no_compiler_and_nothing_distributed() -> None:
    code = (
        "import json, os, sys; from workers.metafeatures import aside; aside._start_shortly(); "
        "aside.answer(json.loads(sys.argv[1])); os.write(1, json.dumps([*sys.modules]).encode()); "
        "os._exit(0)"
    )
    asked = {"task_source": "worlds:machines", "base_model": "tiny-phi3", "settings": asdict(SETTINGS)}
    ended = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(ended.stdout))
    assert "torch._dynamo" in loaded
    assert not loaded & {"torch._dynamo.convert_frame", "torch.distributed.tensor", "sympy", "torch._refs"}


def test_a_short_way_that_fails_is_followed_by_the_ordinary_one(
    task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a torch in which something that was left aside is needed after all."""
    monkeypatch.setenv("FORETUNE_CACHE", str(tmp_path / "cache"))
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refusing:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'transformers' and any('Deferring' in type(f).__name__ for f in sys.meta_path):\n"
        "            raise RuntimeError('not without it')\n"
        "sys.meta_path.insert(0, Refusing())\n"
    )
    monkeypatch.syspath_prepend(str(hook))
    with measuring_aside(str(task_file), "tiny-phi3", SETTINGS) as measured:
        features = measured()
    assert features["train_examples"] > 0


def test_a_process_that_is_never_asked_ends_when_its_beginner_is_gone() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", MODULE], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "{}\n")


def test_what_is_wrong_with_a_task_is_told_as_it_would_be_here(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    with (
        measuring_aside(str(missing), "tiny-phi3", SETTINGS) as measured,
        pytest.raises(InputError, match=r"none\.jsonl"),
    ):
        measured()


def test_a_process_that_dies_is_told_with_its_last_words(
    task_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = "import sys; sys.stderr.write('x' * 200000 + 'out of luck'); sys.exit(7)"
    started = subprocess.Popen

    def start(_command: list[str], **options: object) -> "subprocess.Popen[str]":
        return started([sys.executable, "-c", dying], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr("subprocess.Popen", start)
    with (
        measuring_aside(str(task_file), "tiny-phi3", SETTINGS) as measured,
        pytest.raises(MeasuringFailedError, match=r"exit code 7; the last it said: x+out of luck"),
    ):
        measured()


def test_leaving_early_ends_the_process(task_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    started = subprocess.Popen

    def start(command: list[str], **options: object) -> "subprocess.Popen[str]":
        process = started(command, **options)  # type: ignore[call-overload]
        pids.append(process.pid)
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr("subprocess.Popen", start)
    with pytest.raises(KeyboardInterrupt), measuring_aside(str(task_file), "tiny-phi3", SETTINGS):
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
