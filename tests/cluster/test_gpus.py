"""What a cluster's GPUs are asked, as far as it can be told without one."""

import pytest

from cluster.connection import connected
from cluster.gpus import _smallest, smallest_gpu_bytes
from orchestrator.contracts import InputError


def test_smallest_gpu_decides() -> None:
    assert _smallest({"a": 80, "b": 24, "c": 141}) == 24


def test_cluster_without_gpus_has_no_smallest() -> None:
    assert _smallest({}) is None


def test_gpu_that_torch_does_not_find_is_refused_with_its_node() -> None:
    with pytest.raises(InputError, match="Ray counts a GPU on node b, but torch finds none"):
        _smallest({"a": 80, "b": None})


@pytest.mark.ray
def test_nodes_without_gpus_are_not_asked() -> None:
    with connected(cpus=1):
        assert smallest_gpu_bytes() is None


@pytest.mark.ray
@pytest.mark.skipif(__import__("torch").cuda.is_available(), reason="has a GPU")
def test_gpu_that_ray_only_counts_is_found_out() -> None:
    import ray  # after cluster.connection, which asks for token authentication

    ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False)
    try:
        with pytest.raises(InputError, match="torch finds none there"):
            smallest_gpu_bytes()
    finally:
        ray.shutdown()
