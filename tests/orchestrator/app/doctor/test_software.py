from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cluster.doctor import Status
from orchestrator.app.doctor.software import (
    PINS_FILE,
    judge_packages,
    packages_found,
    python_found,
    read_pins,
)

NEEDED = [Requirement("torch>=2.9"), Requirement("PyYAML>=6.0")]


def test_what_is_installed_here_will_do() -> None:
    assert python_found().status is Status.OK
    assert packages_found().status is Status.OK


def test_python_that_is_too_old_fails_with_what_is_needed() -> None:
    found = python_found("3.10.14")
    assert found.status is Status.FAILED
    assert found.found == "3.10.14, and >=3.11 is needed"


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({"torch": "2.13.0+cpu"}, "PyYAML is absent"),
        ({"torch": "2.8.1", "pyyaml": "6.0.3"}, "torch 2.8.1 (>=2.9 is needed)"),
        ({}, "PyYAML is absent; torch is absent"),
    ],
)
def test_package_that_is_absent_or_too_old_fails(installed: dict[str, str], said: str) -> None:
    found = judge_packages(NEEDED, installed, {})
    assert found.status is Status.FAILED
    assert found.found == said


def test_versions_that_differ_from_the_pins_are_told_and_a_build_is_no_difference() -> None:
    installed = {"torch": "2.13.0+cu128", "pyyaml": "6.0.3"}
    same = judge_packages(NEEDED, installed, {"torch": "2.13.0", "pyyaml": "6.0.3"})
    assert "as pinned in constraints.txt" in same.found
    other = judge_packages(NEEDED, installed, {"torch": "2.12.0", "pyyaml": "6.0.3"})
    assert other.status is Status.OK
    assert "1 differ from constraints.txt: torch 2.13.0+cu128 (2.12.0)" in other.found


def test_pins_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    (tmp_path / "pins").write_text("# all\nTyping_Extensions==4.1  # why\n\nray==2.60.0\n")
    assert read_pins(tmp_path / "pins") == {"typing-extensions": "4.1", "ray": "2.60.0"}
    assert read_pins(tmp_path / "nowhere") == {}
    lines = [line for line in PINS_FILE.read_text().splitlines() if "==" in line]
    assert len(read_pins(PINS_FILE)) == len({canonicalize_name(line.split("==")[0]) for line in lines})
