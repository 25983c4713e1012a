import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.app.exits import Exit
from orchestrator.cli.main import app


def test_doctor_tells_each_check_with_its_status_and_the_sum(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--root", str(tmp_path / "root")])
    assert done.exit_code in (Exit.DONE, Exit.NO), done.output
    said = " ".join(done.stdout.split())  # lines may be broken anywhere
    assert "writes, renames and locks" in said
    assert "not checked Ray cluster none named" in said
    assert " ok" in done.stdout.rstrip().splitlines()[-1]


def test_doctor_ends_with_1_where_a_thing_will_not_work_and_json_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "root").touch()
    done = CliRunner().invoke(
        app, ["doctor", "--root", str(tmp_path / "root"), "--address", address, "--json"]
    )
    assert done.exit_code == Exit.NO
    told = json.loads(done.stdout)
    failed = {check["name"]: check for check in told["checks"] if check["status"] == "failed"}
    assert told["ok"] is False
    assert address in failed["Ray cluster"]["found"]
    assert failed["Ray cluster"]["advice"]
    assert failed["root"]["found"].endswith("is a file")
