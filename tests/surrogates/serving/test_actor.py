"""The actor on a real, local Ray, and the HTTP server before it."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from cluster.connection import connected
from orchestrator.contracts import InputError, NothingLearnedError
from orchestrator.metadataset.layout import RootLayout
from surrogates.data.store import read_meta
from surrogates.recommender import Recommender
from surrogates.serving.actor import NAMESPACE, actor_name, found_planners
from surrogates.serving.answering import ELSEWHERE
from surrogates.serving.client import SurrogateClient
from surrogates.serving.http import build_app
from surrogates.serving.http_client import HttpSurrogateClient
from surrogates.serving.http_server import running
from surrogates.serving.questions import Answer, SurrogateUnavailableError, decode, question
from surrogates.serving.service import Following
from tests.surrogates.roots import SPACE_JSON, write_root

FEATURES = {"rows": 11.0, "loss": 2.8}
TOKEN = "a-token-of-some-length"

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with connected(None, cpus=1):
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    write_root(folder, tasks=3, configs=5)
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[SurrogateClient]:
    with pytest.raises(InputError, match=r"no surrogate serves .*; start it with `foretune serve"):
        SurrogateClient.connect(root)
    often = Following(every_s=0.2, apart_s=0.0, growth=0.1)
    serving = SurrogateClient.serve(root, following=often, planners=2)
    yield SurrogateClient.connect(root / ".." / root.name)
    serving.stop()


@pytest.fixture(scope="module")
def url(client: SurrogateClient) -> Iterator[str]:
    with running(build_app(client, TOKEN, most_bytes=4096), host="127.0.0.1", port=0) as address:
        yield address


@pytest.fixture(scope="module")
def web(url: str) -> Iterator[HttpSurrogateClient]:
    client = HttpSurrogateClient(url, TOKEN)
    yield client
    client.close()


def test_actor_answers_as_the_recommender_does_and_its_errors_arrive_as_ours(
    root: Path, client: SurrogateClient
) -> None:
    expected = Recommender.fit(read_meta(root)).plan(FEATURES, 30.0, k=2)
    assert client.recommend(FEATURES, 30.0, k=2) == expected
    with pytest.raises(InputError, match="must be above 0 s, got 0"):
        client.recommend(FEATURES, 0.0)
    with pytest.raises(InputError, match=r"\(other\) is not the one"):
        client.recommend(FEATURES, 30.0, base_fingerprint="other")


def test_actor_leaves_out_the_task_that_is_asked_about(client: SurrogateClient) -> None:
    assert client.recommend(FEATURES, 30.0, task_id="task-0").learned_from.tasks == 2
    assert all(choice.config in client.candidates() for choice in client.recommend(FEATURES, 30.0).choices)


def everyone(root: Path) -> list[Any]:
    """All who plan for a root."""
    import ray  # not above: it would be set up before `cluster.connection` says how

    return [ray.get_actor(actor_name(root), namespace=NAMESPACE), *found_planners(root).values()]


def answers_of_everyone(root: Path, budget_s: float) -> list[Answer]:
    import ray

    asked = question(FEATURES, budget_s)
    return [decode(*ray.get(one.recommend.remote(asked))) for one in everyone(root)]


def test_planners_answer_alike_with_the_same_version(root: Path, client: SurrogateClient) -> None:
    first, second = answers_of_everyone(root, 31.0)
    assert first == second
    assert client.info()["planners"] == 2
    assert {client.ask(question(FEATURES, 31.0)).version for _ in range(4)} == {first.version}


def test_planner_leaves_questions_about_past_tasks_to_the_one_that_learns(
    root: Path, client: SurrogateClient
) -> None:
    import ray

    asked = question(FEATURES, 30.0, task_id="task-1")
    (planner,) = found_planners(root).values()
    assert ray.get(planner.recommend.remote(asked)) == (ELSEWHERE, b"")
    assert client.ask(asked).plan.learned_from.tasks == 2


def test_killed_planner_is_survived_by_callers_without_an_error(root: Path, client: SurrogateClient) -> None:
    (planner,) = found_planners(root).values()
    killed, stop, budgets = pid_of(planner), threading.Event(), itertools.count(100)

    def ask() -> int:
        answered = 0
        while not stop.is_set():
            client.recommend(FEATURES, float(next(budgets)))
            answered += 1
        return answered

    with ThreadPoolExecutor(2) as callers:
        asking = [callers.submit(ask) for _ in range(2)]
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while pid_of(planner) in (None, killed) and time.monotonic() < deadline:
            time.sleep(0.1)
        stop.set()
        assert all(done.result() > 0 for done in asking)
    assert pid_of(planner) not in (None, killed)
    first, second = answers_of_everyone(root, 32.0)
    assert first == second


def pid_of(planner: Any) -> int | None:
    import ray
    from ray.exceptions import RayActorError

    try:
        return int(ray.get(planner.pid.remote(), timeout=30))
    except RayActorError:
        return None


def test_http_gives_the_actors_own_answers(client: SurrogateClient, web: HttpSurrogateClient) -> None:
    asked = question({**FEATURES, "unheard": float("nan")}, 30.0, k=3)
    assert web.ask(asked) == client.ask(asked)
    assert web.info()["version"] == client.info()["version"]


def test_http_raises_our_errors_with_our_sentences(web: HttpSurrogateClient) -> None:
    with pytest.raises(InputError, match=r"\(other\) is not the one"):
        web.recommend(FEATURES, 30.0, base_fingerprint="other")
    with pytest.raises(InputError, match="budget_s: Input should be greater than 0"):
        web.recommend(FEATURES, -1.0)


@pytest.mark.parametrize("token", [None, "", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN} "])
def test_http_without_the_token_tells_nothing(url: str, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": token.rstrip() + "x" * token.endswith(" ")}
    for call in (
        requests.get(f"{url}/v1/info", headers=headers, timeout=30),
        requests.post(f"{url}/v1/recommend", headers=headers, data=b"{", timeout=30),
    ):
        assert (call.status_code, call.headers["content-type"]) == (401, "application/problem+json")
        assert "token is missing or wrong" in call.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 422, "JSON"),
        (b"[]", 422, "body"),
        (b'{"features": {}}', 422, "budget_s: Field required"),
        (b'{"features": {"rows": "many"}, "budget_s": 1}', 422, "features.rows"),
        (b'{"features": {}, "budget_s": 1, "bugdet": 1}', 422, "bugdet: Extra inputs"),
        (b'{"features": {}, "budget_s": 1e-9}', 422, "the smallest that would do"),
        (b'{"features": {}, "budget_s": NaN}', 422, "budget_s"),
        (b" " * 5000, 413, "larger than 4096 bytes"),
    ],
)
def test_http_says_what_is_wrong_with_a_question(url: str, body: bytes, status: int, detail: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = requests.post(f"{url}/v1/recommend", data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert detail in answer.json()["detail"]
    assert answer.json()["status"] == status


def test_http_stops_reading_a_body_without_a_length(url: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    chunks = (b" " * 1000 for _ in range(10))
    answer = requests.post(f"{url}/v1/recommend", data=chunks, headers=headers, timeout=30)
    assert answer.status_code == 413


def test_http_describes_itself_and_its_health_without_a_token(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", timeout=30).json()
    assert set(described["paths"]) == {"/v1/recommend", "/v1/info", "/healthz"}
    assert "HTTPBearer" in json.dumps(described["paths"]["/v1/recommend"]["post"]["security"])
    assert "strangeness" in described["components"]["schemas"]["Plan"]["properties"]
    assert requests.get(f"{url}/healthz", timeout=30).json()["status"] == "ok"


def test_many_callers_at_once_get_the_answers_to_their_own_questions(
    client: SurrogateClient, url: str
) -> None:
    budgets = [10.0 + number for number in range(24)]
    expected = [client.recommend(FEATURES, budget_s) for budget_s in budgets]

    def ask(budget_s: float) -> object:
        caller = HttpSurrogateClient(url, TOKEN)
        try:
            return caller.recommend(FEATURES, budget_s)
        finally:
            caller.close()

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(ask, budgets)) == expected
        assert list(callers.map(lambda b: client.recommend(FEATURES, b), budgets)) == expected


def test_port_that_is_taken_is_refused(url: str, client: SurrogateClient) -> None:
    port = int(url.rpartition(":")[2])
    with (
        pytest.raises(InputError, match=f"can't listen at 127.0.0.1 port {port}"),
        running(build_app(client, TOKEN), host="127.0.0.1", port=port),
    ):
        pass


def test_answers_go_on_while_the_actor_follows_its_growing_root(root: Path, client: SurrogateClient) -> None:
    stop, versions = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            versions.append(client.ask(question(FEATURES, 30.0)).version)

    asking = threading.Thread(target=ask)
    asking.start()
    before = client.info()["version"]
    write_root(root, tasks=1, configs=5, first_task=7)
    deadline = time.monotonic() + 90
    while client.info()["version"] == before and time.monotonic() < deadline:
        time.sleep(0.1)
    seen = len(versions)
    while len(versions) < seen + 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    asking.join()
    assert versions == sorted(versions)
    assert {before, before + 1} <= set(versions)
    assert client.recommend(FEATURES, 30.0).learned_from.tasks == 4
    assert SurrogateClient.serve(root, planners=1).info()["pid"] == client.info()["pid"]
    assert client.info()["planners"] == 2


def test_after_a_refresh_nobody_answers_with_an_older_version_than_announced(
    root: Path, client: SurrogateClient
) -> None:
    before = client.info()["version"]
    write_root(root, tasks=1, configs=5, first_task=8)
    announced = client.refresh()["version"]
    assert announced > before
    assert {answer.version for answer in answers_of_everyone(root, 33.0)} == {announced}


def test_killed_actor_comes_back_and_answers_the_same_from_what_it_saved(
    root: Path, client: SurrogateClient, web: HttpSurrogateClient
) -> None:
    before = client.ask(question(FEATURES, 30.0))
    killed = client.info()["pid"]
    os.kill(killed, signal.SIGKILL)
    assert client.ask(question(FEATURES, 30.0)) == before  # the other planner's answer
    deadline = time.monotonic() + 60
    while True:
        try:
            assert client.info()["pid"] != killed
            break
        except SurrogateUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert [answer.plan for answer in answers_of_everyone(root, 30.0)] == [before.plan] * 2
    assert web.ask(question(FEATURES, 30.0)) == before


def test_stop_ends_everyone(tmp_path: Path) -> None:
    import ray
    from ray.exceptions import RayActorError

    write_root(tmp_path, tasks=2, configs=4)
    serving = SurrogateClient.serve(tmp_path, planners=2)
    everyone_there = everyone(tmp_path)
    assert len(everyone_there) == 2
    serving.stop()
    for one in everyone_there:
        with pytest.raises(RayActorError):
            ray.get(one.recommend.remote(question(FEATURES, 30.0)), timeout=30)
    with pytest.raises(InputError, match="no surrogate serves"):
        connect_when_gone(tmp_path)
    assert not found_planners(tmp_path)


@pytest.mark.parametrize("planners", [0, 5])
def test_number_of_planners_that_can_not_be_is_refused(root: Path, planners: int) -> None:
    with pytest.raises(InputError, match=rf"planners must be in \[1, 4\], got {planners}"):
        SurrogateClient.serve(root, planners=planners)


def test_root_with_nothing_to_learn_leaves_no_actor(tmp_path: Path) -> None:
    RootLayout(tmp_path).space_json.write_text(SPACE_JSON)
    with pytest.raises(NothingLearnedError, match="has finished yet"):
        SurrogateClient.serve(tmp_path)
    with pytest.raises(InputError, match="no surrogate serves"):
        connect_when_gone(tmp_path)


def connect_when_gone(root: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        SurrogateClient.connect(root)
        time.sleep(0.05)
