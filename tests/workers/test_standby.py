import sys
import time
from pathlib import Path

import pytest

from workers.standby import Standby


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    (folder / "asked_in_a_test.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return "asked_in_a_test"


def test_process_that_says_nothing_in_time_is_killed_and_answers_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standby = Standby(module(tmp_path, monkeypatch, "import time; time.sleep(600)"))
    try:
        began_s = time.monotonic()
        assert standby.answer(timeout_s=0.2) is None
        assert standby.last_words()[0] == -9
        assert time.monotonic() - began_s < 30
    finally:
        standby.end()


def test_answer_that_comes_in_time_is_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standby = Standby(module(tmp_path, monkeypatch, "print('{\"is_here\": true}')"))
    try:
        assert standby.answer(timeout_s=60) == {"is_here": True}
    finally:
        standby.end()
