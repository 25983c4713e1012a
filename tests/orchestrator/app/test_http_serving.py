"""`foretune serve --http` as a person runs it: a process that ends with Ctrl-C."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.metadataset.layout import RootLayout
from surrogates.data.store import write_tables
from surrogates.serving.http_client import HttpSurrogateClient
from surrogates.serving.questions import SurrogateUnavailableError
from tests.surrogates.synthetic import World, make


@pytest.mark.ray
@pytest.mark.slow
def test_server_answers_until_ctrl_c_and_leaves_only_what_it_learned(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    write_tables(make(World(tasks=3, configs=8, epochs=2)), tables)
    command = [
        sys.executable,
        "-m",
        "orchestrator.cli",
        "serve",
        str(tables),
        "--http",
        "--port",
        "0",
        "--json",
    ]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        token_file = Path(told["http"]["token_file"])
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        client = HttpSurrogateClient(told["http"]["url"], token_file.read_text().strip())
        assert client.recommend({"hint": 3.0}, 50.0, k=2).learned_from.tasks == 3
        os.kill(serving.pid, signal.SIGINT)
        assert serving.wait(timeout=60) == 0
        with pytest.raises(SurrogateUnavailableError):
            client.info()
        client.close()
    finally:
        serving.kill()
        serving.communicate()
    layout = RootLayout(tables)
    assert not layout.endpoint_json.exists()
    assert (layout.surrogate_dir / "state-000001").is_dir()
