import json
import sys
from pathlib import Path

import psutil
import pytest

from cluster.doctor import Finding, Status
from orchestrator.app.doctor import Diagnosis, examination, examine

FINE = Finding("a", Status.OK, "1 [b]", None)


@pytest.mark.parametrize(
    ("status", "ok"),
    [(Status.OK, True), (Status.WARNING, True), (Status.NOT_CHECKED, True), (Status.FAILED, False)],
)
def test_only_a_failure_is_a_no(status: Status, ok: bool) -> None:
    diagnosis = Diagnosis((FINE, Finding("b", status, "2", "mend it")))
    assert diagnosis.ok is ok
    assert json.loads(json.dumps(diagnosis.as_dict()))["checks"][1] == {
        "name": "b",
        "status": status.value,
        "found": "2",
        "advice": "mend it",
    }


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "asking ended by SIGSEGV"),
        (
            "raise ImportError('libcudnn.so.9: cannot open')",
            "asking ended with exit code 1: ImportError: libcudnn",
        ),
        ("import time; time.sleep(600)", "asking took more than 2 s, or was killed"),
    ],
)
def test_torch_that_crashes_or_hangs_is_a_finding_and_not_the_doctors_end(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sick_torch_in_a_test.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(examination, "_TORCH_PROBE", "sick_torch_in_a_test")
    monkeypatch.setattr(examination, "_TORCH_ANSWERS_S", 2.0)
    found = {finding.name: finding for finding in examine().findings}
    assert found["torch"].status is Status.FAILED
    assert said in found["torch"].found
    assert "Ray" in found


def test_examination_leaves_no_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(psutil.Process().children(recursive=True))
    diagnosis = examine(root=tmp_path / "root")
    names = [finding.name for finding in diagnosis.findings]
    assert len(names) == len(set(names))
    assert {"Python", "torch", "memory", "root", "Ray token", "Ray cluster"} <= set(names)
    assert list(tmp_path.iterdir()) == []
    assert set(psutil.Process().children(recursive=True)) <= before
