import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.connection import Connection, connected, slots
from orchestrator.contracts import InputError


def a_cluster(cpus: float, gpus: float) -> Connection:
    return Connection(address="x", is_embedded=True, cpus=cpus, gpus=gpus)


@given(
    cpus=st.integers(1, 512), gpus=st.integers(0, 64), cpus_each=st.integers(1, 16), share=st.integers(0, 8)
)
def test_workers_never_take_more_than_there_is_and_one_more_would(
    cpus: int, gpus: int, cpus_each: int, share: int
) -> None:
    gpus_each = share / 4
    try:
        count = slots(a_cluster(cpus, gpus), cpus_per_worker=cpus_each, gpus_per_worker=gpus_each)
    except InputError:
        count = 0
    assert count * cpus_each <= cpus
    assert count * gpus_each <= gpus
    assert (count + 1) * cpus_each > cpus or (count + 1) * gpus_each > gpus


def test_cluster_too_small_for_one_worker_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match="needs 1 CPUs and 1 GPUs, but the cluster has 2 CPUs and 0 GPUs"):
        slots(a_cluster(2, 0), cpus_per_worker=1, gpus_per_worker=1)


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
    ask = "from cluster.connection import connected\nwith connected({!r}) as c: print(c.is_embedded, c.cpus)"
    with connected(cpus=1) as first:
        assert first.is_embedded
        for address, answer in ((first.address, "False 1.0"), (None, "True")):
            code = ask.format(address)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            assert done.stdout.startswith(answer)
