import math

from hypothesis import given
from hypothesis import strategies as st

from cluster.nodes import WorkerSize, no_slot_error, slots

NODES = st.lists(st.fixed_dictionaries({"CPU": st.integers(0, 64), "GPU": st.integers(0, 8)}), max_size=4)


@given(nodes=NODES, cpus_each=st.integers(1, 16), gpus_each=st.integers(0, 4))
def test_workers_of_whole_gpus_fit_each_node_and_one_more_would_not(
    nodes: list[dict[str, float]], cpus_each: int, gpus_each: int
) -> None:
    for node in nodes:
        count = slots(WorkerSize(cpus=cpus_each, gpus=gpus_each), [node])
        assert count * cpus_each <= node["CPU"]
        assert count * gpus_each <= node["GPU"]
        assert (count + 1) * cpus_each > node["CPU"] or (count + 1) * gpus_each > node["GPU"]


@given(nodes=NODES, share=st.sampled_from([0.25, 0.3, 0.5, 0.7]))
def test_share_of_a_gpu_never_spans_two(nodes: list[dict[str, float]], share: float) -> None:
    gpus = sum(node["GPU"] for node in nodes)
    roomy = [node | {"CPU": 1000.0} for node in nodes]
    assert slots(WorkerSize(cpus=1, gpus=share), roomy) == gpus * math.floor(1 / share)


@given(nodes=NODES)
def test_slots_of_a_cluster_are_those_of_its_nodes(nodes: list[dict[str, float]]) -> None:
    size = WorkerSize(cpus=2, gpus=1)
    assert slots(size, nodes) == sum(slots(size, [node]) for node in nodes)


def test_cluster_without_room_is_told_what_there_is() -> None:
    error = no_slot_error(WorkerSize(cpus=1, gpus=1), [{"CPU": 2.0}])
    assert "needs 1 CPUs and 1 GPUs, and no node has that: 1 node (2 CPUs and 0 GPUs)" in str(error)
