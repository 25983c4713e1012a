import socket
import subprocess
import sys
import time

import pytest

from cluster.connection import _other_version, connected
from orchestrator.contracts import InputError


def test_address_where_nobody_listens_is_refused_within_seconds() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    began_s = time.monotonic()
    with pytest.raises(InputError, match=f"nothing listens at '{address}'"), connected(address):
        pass
    assert time.monotonic() - began_s < 30


@pytest.mark.ray
def test_embedded_cluster_is_reached_by_its_address_and_joined_by_no_other() -> None:
    ask = "from cluster.connection import connected\nwith connected({!r}) as c: print(c.is_embedded)"
    with connected(cpus=1) as first:
        assert first.is_embedded
        for address, answer in ((first.address, "False"), (None, "True")):
            code = ask.format(address)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            assert done.stdout.startswith(answer)


def test_cluster_of_another_version_is_told_with_both() -> None:
    said = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.3\n    Python: 3.10.4\n"
        "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    error = _other_version("head:6379", said)
    assert error is not None
    assert "'head:6379' runs Ray 2.9.3 on Python 3.10.4, this is Ray 2.60.0 on Python 3.11.7" in str(error)
    assert _other_version("head:6379", "Could not find any running Ray instance.") is None
