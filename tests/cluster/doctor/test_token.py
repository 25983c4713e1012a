from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cluster.doctor import Status
from cluster.doctor.token import ray_token

SECRET = "0123456789abcdef"


def token_file(folder: Path, content: str = SECRET, mode: int = 0o600) -> Path:
    path = folder / ".ray" / "auth_token"
    path.parent.mkdir()
    path.parent.chmod(0o755)
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("environment", "status", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, Status.WARNING, "whoever reaches a cluster"),
        ({"RAY_AUTH_MODE": "kerberos"}, Status.WARNING, "RAY_AUTH_MODE=kerberos"),
        ({"RAY_AUTH_TOKEN": SECRET}, Status.OK, "in RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN": " "}, Status.FAILED, "set and empty"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, Status.FAILED, "/nowhere/token, which is not there"),
        ({}, Status.OK, "none yet"),
    ],
)
def test_token_is_looked_for_where_ray_looks(
    environment: dict[str, str], status: Status, said: str, tmp_path: Path
) -> None:
    found = ray_token(environment, tmp_path, for_address=None)
    assert found.status is status
    assert said in found.found
    assert SECRET not in f"{found.found}{found.advice}"


def test_cluster_that_is_to_be_reached_wants_one(tmp_path: Path) -> None:
    found = ray_token({}, tmp_path, for_address="head:6379")
    assert found.status is Status.WARNING
    assert "to reach head:6379 with" in found.found
    token_file(tmp_path)
    assert ray_token({}, tmp_path, for_address="head:6379").status is Status.OK


def test_empty_token_file_fails(tmp_path: Path) -> None:
    token_file(tmp_path, content="\n")
    assert ray_token({}, tmp_path, for_address=None).status is Status.FAILED


def test_token_file_that_others_can_read_is_told_and_one_behind_a_closed_folder_is_not() -> None:
    # pytest's own temporary folders are closed to others.
    with TemporaryDirectory(dir="/tmp") as name:
        home = Path(name)
        path = token_file(home, mode=0o644)
        home.chmod(0o755)
        found = ray_token({}, home, for_address=None)
        home.chmod(0o700)
        assert ray_token({}, home, for_address=None).status is Status.OK
    assert found.status is Status.WARNING
    assert "mode 644" in found.found
    assert f"chmod 600 {path}" in (found.advice or "")
