"""The actor on a real, local Ray."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from orchestrator.contracts import InputError, NothingLearnedError
from orchestrator.metadataset.layout import RootLayout
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from surrogates.serving.actor import NAMESPACE
from surrogates.serving.client import SurrogateClient, SurrogateUnavailableError
from surrogates.serving.service import SurrogateService, raise_error
from tests.surrogates.roots import SPACE_JSON, write_root

FEATURES = {"rows": 11.0, "loss": 2.8}


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        namespace=NAMESPACE,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()
    if before is None:
        del os.environ["RAY_USAGE_STATS_ENABLED"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_root(tmp_path, tasks=3, configs=5)
    return tmp_path


@pytest.mark.ray
def test_actor_answers_as_the_recommender_does_and_its_errors_arrive_as_ours(
    root: Path, local_ray: None
) -> None:
    with pytest.raises(InputError, match=r"no surrogate serves .*; start it with `foretune serve"):
        SurrogateClient.connect(root)
    serving = SurrogateClient.serve(root)
    client = SurrogateClient.connect(root / ".." / root.name)
    expected = Recommender.fit(MetaDataset.from_root(root)).plan(FEATURES, 30.0, k=2)
    assert client.recommend(FEATURES, 30.0, k=2) == expected
    with pytest.raises(InputError, match="must be above 0 s, got 0"):
        client.recommend(FEATURES, 0.0)
    with pytest.raises(InputError, match=r"\(other\) is not the one"):
        client.recommend(FEATURES, 30.0, base_fingerprint="other")
    serving.stop()


@pytest.mark.ray
def test_actor_follows_a_growing_root_when_refreshed_and_serving_twice_is_one_actor(
    root: Path, local_ray: None
) -> None:
    first = SurrogateClient.serve(root)
    assert first.info()["tasks"] == 3
    write_root(root, tasks=1, configs=5, first_task=7)
    assert first.recommend(FEATURES, 30.0).learned_from.tasks == 3
    second = SurrogateClient.serve(root)
    assert first.info() == second.info()
    assert (second.info()["version"], second.info()["tasks"]) == (2, 4)
    assert first.recommend(FEATURES, 30.0).learned_from.tasks == 4
    first.stop()


@pytest.mark.ray
def test_killed_actor_comes_back_having_learned_anew(root: Path, local_ray: None) -> None:
    client = SurrogateClient.serve(root)
    before = client.recommend(FEATURES, 30.0)
    killed = client.info()["pid"]
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while True:
        try:
            assert client.recommend(FEATURES, 30.0) == before
            break
        except SurrogateUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert client.info()["pid"] != killed
    client.stop()


@pytest.mark.ray
def test_root_with_nothing_to_learn_leaves_no_actor(tmp_path: Path, local_ray: None) -> None:
    RootLayout(tmp_path).space_json.write_text(SPACE_JSON)
    with pytest.raises(NothingLearnedError, match="has finished yet"):
        SurrogateClient.serve(tmp_path)
    with pytest.raises(InputError, match="no surrogate serves"):
        _connect_when_gone(tmp_path)


def test_service_without_anything_learned_says_so_then_learns(tmp_path: Path) -> None:
    RootLayout(tmp_path).space_json.write_text(SPACE_JSON)
    service = SurrogateService(str(tmp_path))
    with pytest.raises(NothingLearnedError, match="has finished yet"):
        raise_error(service.recommend({"features": FEATURES, "budget_s": 30.0})["error"])
    write_root(tmp_path, tasks=2, configs=4)
    assert service.refresh()["error"] is None
    assert service.recommend({"features": FEATURES, "budget_s": 30.0})["version"] == 1


def test_failed_refresh_keeps_the_old_answers(root: Path) -> None:
    service = SurrogateService(str(root))
    request = {"features": FEATURES, "budget_s": 30.0}
    before = service.recommend(request)
    RootLayout(root).space_json.unlink()
    assert "space.json is missing" in service.refresh()["error"]["fields"][0]
    assert service.recommend(request) == before


def test_request_with_unknown_or_missing_keys_is_refused(root: Path) -> None:
    answer = SurrogateService(str(root)).recommend({"features": FEATURES, "budget": 30.0})
    with pytest.raises(InputError, match="unknown or missing: budget, budget_s"):
        raise_error(answer["error"])


def _connect_when_gone(root: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        SurrogateClient.connect(root)
        time.sleep(0.05)
