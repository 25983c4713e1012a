"""Talking to a job server: who can't be talked to is said in one sentence, logs survive lost connections.

The server here is a stand-in that speaks the part of Ray's protocol that is needed to fail on purpose; the
real one is in tests/orchestrator/app/remote/test_submission.py.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from aiohttp import WSCloseCode, web
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobclient import JobClient, server_address
from cluster.jobs import JobServer, JobState
from cluster.runtime_env import check_runtime_env
from orchestrator.contracts import InputError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)


class StandIn:
    """A job server with one job, on a thread of its own."""

    def __init__(self) -> None:
        self.state = "RUNNING"
        self.log = ""
        self.message = ""
        self.log_start = 0
        self.root = "/shared/root"
        self.drops: list[int] = []
        """Characters after which a log connection breaks, for each connection that does."""
        self.forgets_at_drop = False
        """Whether the job is gone when a log connection breaks, as after a restart of the head."""
        self.jobs = 1
        self.answers: dict[str, web.Response] = {}
        """What to say instead, by path."""
        self.connections = 0

    def start(self) -> "StandIn":
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(started,))
        self._thread.start()
        assert started.wait(10)
        return self

    def stop(self) -> None:
        self.state, self.log = "STOPPED", ""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _serve(self, started: threading.Event) -> None:
        app = web.Application()
        app.router.add_get("/api/jobs/j/logs/tail", self._tail)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port: int = runner.addresses[0][1]
        started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        job = {
            "type": "SUBMISSION",
            "submission_id": "j",
            "status": self.state,
            "message": self.message,
            "entrypoint": "x",
            "metadata": {"foretune_log_start": str(self.log_start), "foretune_root": self.root},
        }
        usual: dict[str, Any] = {
            "/api/version": {"version": "4", "ray_version": "2.60.0", "ray_commit": "x"},
            "/api/jobs/": [job] * self.jobs,
            "/api/jobs/j/logs": {"logs": self.log},
        }
        return self.answers.get(request.path) or web.json_response(usual[request.path])

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        if self.drops:
            await socket_.send_str(self.log[: self.drops.pop(0)])
            self.jobs -= self.forgets_at_drop
            await socket_.close(code=WSCloseCode.ABNORMAL_CLOSURE)
            return socket_
        sent = 0
        while self.state == "RUNNING" or sent < len(self.log):
            if sent < len(self.log):
                await socket_.send_str(self.log[sent : sent + 7])
                sent += 7
            await asyncio.sleep(0.001)
        await socket_.close()
        return socket_


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn().start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("head:8265", "http://head:8265"),
        ("https://ray.example.org/cluster/", "https://ray.example.org/cluster"),
        ("[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_address_of_a_job_server_is_taken_with_and_without_scheme(given: str, url: str) -> None:
    assert server_address(given) == url


@pytest.mark.parametrize("given", ["auto", "head", "ray://head:10001", "head:port", "http://", ":8265"])
def test_address_of_anything_else_is_refused_with_the_value(given: str) -> None:
    with pytest.raises(InputError) as refusal:
        server_address(given)
    assert repr(given) in str(refusal.value)


def test_address_left_out_is_rays_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--address http://HOST:8265"):
        server_address(None)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "head:1")
    assert server_address(None) == "http://head:1"


def test_address_given_is_not_overruled_by_rays_variables(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    assert [job.job_id for job in JobServer(stand_in.address).jobs()] == ["j"]


def test_server_where_nobody_listens_is_refused_within_seconds() -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began_s = time.monotonic()
    with pytest.raises(InputError, match=f"no Ray job server answers at http://127.0.0.1:{port}"):
        JobServer(f"127.0.0.1:{port}")
    assert time.monotonic() - began_s < 10


def test_server_that_says_nothing_is_refused_after_the_time_out() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match="does not answer as Ray's job server"):
            JobClient(address, answer_timeout_s=0.2)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=404, text="no such page"),
        lambda: web.Response(text="<html>hello</html>"),
        lambda: web.json_response({"another": "service"}),
        lambda: web.Response(status=502),
    ],
)
def test_server_that_is_another_kind_is_called_so(
    stand_in: StandIn, answer: Callable[[], web.Response]
) -> None:
    stand_in.answers["/api/version"] = answer()
    with pytest.raises(InputError, match="is not Ray's job server"):
        JobServer(stand_in.address)


@pytest.mark.parametrize(("status", "text"), [(401, "Missing authentication token"), (403, "Invalid")])
def test_refused_token_is_said_with_what_to_set(stand_in: StandIn, status: int, text: str) -> None:
    stand_in.answers["/api/jobs/"] = web.Response(status=status, text=text)
    server = JobServer(stand_in.address)
    with pytest.raises(InputError, match="RAY_AUTH_TOKEN") as refusal:
        server.jobs()
    assert text in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_server_error_is_passed_on_in_one_line(stand_in: StandIn) -> None:
    stand_in.answers["/api/jobs/"] = web.Response(status=500, text="Traceback:\n  deep\nBoom")
    with pytest.raises(InputError, match="refuses: Request failed with status code 500") as refusal:
        JobServer(stand_in.address).jobs()
    assert "\n" not in str(refusal.value)


@given(drops=st.lists(st.integers(0, 60), max_size=3), start=st.integers(0, 56))
def test_followed_log_is_whole_however_often_the_connection_breaks(drops: list[int], start: int) -> None:
    server = StandIn()
    server.log = "".join(f"line {n}\n" for n in range(8))
    server.log_start, server.drops, server.state = start, list(drops), "SUCCEEDED"
    server.start()
    try:
        jobs = JobServer(server.address)
        job = jobs.find("j")
        assert job is not None
        assert job.state is JobState.SUCCEEDED
        assert "".join(jobs.follow(job)) == server.log[start:]
    finally:
        server.stop()


def test_log_shorter_than_its_start_was_begun_anew_and_is_shown_whole(stand_in: StandIn) -> None:
    stand_in.log, stand_in.log_start, stand_in.state = "a new node's log\n", 500, "FAILED"
    jobs = JobServer(stand_in.address)
    job = jobs.find("j")
    assert job is not None
    assert "".join(jobs.follow(job)) == jobs.log(job) == stand_in.log


def test_follower_connects_anew_while_the_job_runs(stand_in: StandIn) -> None:
    stand_in.log, stand_in.drops = "one\ntwo\nthree\n", [5]
    jobs = JobServer(stand_in.address)
    job = jobs.find("j")
    assert job is not None
    seen = ""
    for piece in jobs.follow(job):
        seen += piece
        if seen.endswith("three\n") and stand_in.state == "RUNNING":
            stand_in.log += "four\n"
            stand_in.state = "SUCCEEDED"
    assert seen == "one\ntwo\nthree\nfour\n"
    assert stand_in.connections == 2


def test_follower_that_leaves_early_leaves_no_thread_behind(stand_in: StandIn) -> None:
    stand_in.log = "one\n" * 50
    jobs = JobServer(stand_in.address)
    job = jobs.find("j")
    assert job is not None
    lines = jobs.follow(job)
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "log of j"]


def test_job_of_an_unknown_id_is_none(stand_in: StandIn) -> None:
    assert JobServer(stand_in.address).find("another") is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"working_dir": "."}, "`working_dir` can't be set"),
        ({"pipp": []}, "unknown key `pipp`"),
        ({"env_vars": {"A": 1}}, "env_vars"),
        ({"pip": 3}, "pip"),
    ],
)
def test_runtime_env_that_ray_would_not_take_is_refused(content: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=r"env\.yaml") as refusal:
        check_runtime_env(content, "env.yaml")
    assert text in str(refusal.value)


def test_runtime_env_that_ray_takes_passes() -> None:
    check_runtime_env({"pip": ["emoji"], "env_vars": {"HF_HOME": "/shared/hf"}}, "env.yaml")
