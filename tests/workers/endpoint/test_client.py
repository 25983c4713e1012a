"""A client gets its answer through what servers do to requests, or says in one sentence why it does not."""

import email.utils
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.contracts import InputError
from tests.support.endpoint import FakeEndpoint, Trouble, cut_short, hang_up, send, speak_html, status
from workers.endpoint import (
    ChatClient,
    EndpointSettings,
    EndpointUnavailableError,
    Message,
    RequestRefusedError,
    UnusableAnswerError,
    Usage,
)
from workers.endpoint.transport import FIRST_PAUSE_S, LONGEST_PAUSE_S

CHAT = (Message("system", "Answer."), Message("user", "What is blue?"))
SCHEMA = {"title": "Reply", "type": "object"}


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(lambda body: '{"reply": "the sky"}') as fake:
        yield fake


class Pauses(list[float]):
    """Waits for nothing, and remembers for how long it should have."""

    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return False


def client_of(endpoint: FakeEndpoint, pauses: Pauses | None = None, **settings: object) -> ChatClient:
    values: dict[str, object] = {"url": endpoint.url, "model": "m", "timeout_s": 5.0, **settings}
    return ChatClient(EndpointSettings(**values), pause=pauses if pauses is not None else Pauses())  # type: ignore[arg-type]


def complete(client: ChatClient) -> str:
    return client.complete(CHAT, schema=SCHEMA, max_tokens=50).content


def test_request_holds_the_chat_the_schema_and_asks_for_the_same_answer_each_time(
    endpoint: FakeEndpoint,
) -> None:
    completion = client_of(endpoint, seed=7).complete(CHAT, schema=SCHEMA, max_tokens=50)
    assert completion.content == '{"reply": "the sky"}'
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (4, 3)
    (body,) = endpoint.bodies
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "What is blue?"}],
        "max_tokens": 50,
        "temperature": 0,
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Reply", "schema": SCHEMA, "strict": True},
        },
    }


@pytest.mark.parametrize(
    "trouble",
    [status(429), status(500), status(503), status(408), hang_up, cut_short, speak_html, status(200)],
    ids=["429", "500", "503", "408", "hang_up", "cut_short", "html", "200 without choices"],
)
def test_trouble_that_passes_costs_a_pause_and_nothing_else(endpoint: FakeEndpoint, trouble: Trouble) -> None:
    endpoint.troubles.extend([trouble, trouble])
    pauses = Pauses()
    completion = client_of(endpoint, pauses).complete(CHAT, schema=SCHEMA, max_tokens=50)
    assert completion.content == '{"reply": "the sky"}'
    assert completion.usage.retries == len(pauses) == 2
    assert completion.usage.requests == 1


def test_pauses_grow_are_drawn_and_end(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.extend([status(500)] * 11)
    pauses = Pauses()
    with pytest.raises(EndpointUnavailableError, match=r"no answer in 9 tries \(the last: 500 trouble\)"):
        complete(client_of(endpoint, pauses, tries=9))
    longest = [min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**n) for n in range(8)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len(set(pauses)) == len(pauses)
    assert len(endpoint.bodies) == 9


def test_retry_after_in_seconds_is_waited_for(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.append(status(429, headers={"Retry-After": "42"}))
    pauses = Pauses()
    complete(client_of(endpoint, pauses))
    assert 42 < pauses[0] <= 42 + FIRST_PAUSE_S


def test_retry_after_as_a_date_is_waited_for(endpoint: FakeEndpoint) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    endpoint.troubles.append(status(503, headers={"Retry-After": date}))
    pauses = Pauses()
    complete(client_of(endpoint, pauses))
    assert 80 < pauses[0] <= 100 + FIRST_PAUSE_S


def test_retry_after_of_hours_is_not_waited_for(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.append(status(429, "quota used up", headers={"Retry-After": "7200"}))
    pauses = Pauses()
    with pytest.raises(EndpointUnavailableError, match=r"wait 7200 s \(429 quota used up\)"):
        complete(client_of(endpoint, pauses))
    assert pauses == []


def test_pause_that_is_given_up_ends_the_tries(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.append(status(500))
    client = ChatClient(EndpointSettings(url=endpoint.url, model="m"), pause=lambda seconds: True)
    with pytest.raises(EndpointUnavailableError, match="stopped"):
        complete(client)
    assert len(endpoint.bodies) == 1


def test_server_that_says_nothing_is_given_up_after_the_timeout(endpoint: FakeEndpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = client_of(
            endpoint, url=f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", timeout_s=0.05, tries=2
        )
        with pytest.raises(EndpointUnavailableError, match="no answer in time"):
            complete(client)


@pytest.mark.parametrize(
    ("refuses", "wanted"),
    [
        (("json_schema",), {"type": "json_object"}),
        (("response_format",), None),
    ],
)
def test_server_without_structured_output_is_shown_the_schema_and_asked_so_from_then_on(
    endpoint: FakeEndpoint, refuses: tuple[str, ...], wanted: dict[str, str] | None
) -> None:
    endpoint.refuses = refuses
    client = client_of(endpoint)
    for _ in range(2):
        assert complete(client) == '{"reply": "the sky"}'
    for body in endpoint.answered:
        assert body.get("response_format") == wanted
        assert '"title": "Reply"' in body["messages"][-1]["content"]
    assert len(endpoint.bodies) - len(endpoint.answered) == (1 if wanted else 2)


@pytest.mark.parametrize("name", ["temperature", "seed"])
def test_parameter_that_the_server_does_not_know_is_left_out(endpoint: FakeEndpoint, name: str) -> None:
    endpoint.refuses = (name,)
    complete(client_of(endpoint))
    refused, answered = endpoint.bodies
    assert name in refused
    assert answered == {key: value for key, value in refused.items() if key != name}


def test_reasoning_models_get_their_name_for_the_cap_on_tokens(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.append(
        status(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    )
    complete(client_of(endpoint))
    assert endpoint.answered[0]["max_completion_tokens"] == 50
    assert "max_tokens" not in endpoint.answered[0]


def test_request_that_is_refused_in_every_dialect_leaves_the_dialect_for_others(
    endpoint: FakeEndpoint,
) -> None:
    client = client_of(endpoint)
    endpoint.troubles.extend([status(400, "maximum context length is 4096 tokens")] * 3)
    with pytest.raises(RequestRefusedError, match="400 maximum context length is 4096 tokens"):
        complete(client)
    complete(client)
    assert endpoint.answered[0]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    "reply",
    [{"error": {"message": "too long"}}, {"error": "too long"}, {"detail": "too long"}],
    ids=["openai", "ollama", "fastapi"],
)
def test_refusal_is_told_in_the_words_of_each_kind_of_server(
    endpoint: FakeEndpoint, reply: dict[str, object]
) -> None:
    endpoint.troubles.extend([lambda handler: send(handler, 400, reply)] * 3)
    with pytest.raises(RequestRefusedError, match=r"\(400 too long\)"):
        complete(client_of(endpoint))


def test_server_that_is_not_there_is_named_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = ChatClient(EndpointSettings(url=f"http://127.0.0.1:{port}/v1", model="m"))
    with pytest.raises(InputError, match=rf"no endpoint answers at .*:{port}/v1 \(Connection refused\)"):
        client.check()


def test_unknown_model_is_refused_with_those_there_are(endpoint: FakeEndpoint) -> None:
    endpoint.models = ("llama", "qwen")
    with pytest.raises(InputError, match=r"has no model 'm' .*; it has llama, qwen"):
        complete(client_of(endpoint))


def test_base_that_is_none_is_refused_with_what_to_give(endpoint: FakeEndpoint) -> None:
    with pytest.raises(InputError, match="mostly ends in /v1"):
        complete(client_of(endpoint, url=endpoint.url.removesuffix("/v1")))


def test_redirect_is_not_followed(endpoint: FakeEndpoint) -> None:
    endpoint.troubles.append(status(308, headers={"Location": "https://elsewhere.example/v1"}))
    with pytest.raises(InputError, match=r"sends on to https://elsewhere\.example/v1"):
        complete(client_of(endpoint))


def test_key_is_read_from_the_named_variable_sent_and_shown_nowhere(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    endpoint.key = "sesame-1"
    monkeypatch.setenv("SOME_KEY", " sesame-1\n")
    client = client_of(endpoint, api_key_env="SOME_KEY")
    client.check()
    complete(client)
    monkeypatch.setenv("SOME_KEY", "sesame-2")
    with pytest.raises(InputError, match="does not take the key in SOME_KEY") as caught:
        client_of(endpoint, api_key_env="SOME_KEY").check()
    assert "sesame" not in f"{caught.value} {client.settings} {vars(client)} {caplog.text}"


def test_no_key_is_sent_unless_a_variable_is_named(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password sesame\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("OPENAI_ORG_ID", "sesame")
    complete(client_of(endpoint))
    assert "sesame" not in str(endpoint.headers)
    endpoint.key = "sesame"
    with pytest.raises(InputError, match="does not take requests without a key"):
        complete(client_of(endpoint))


def test_server_elsewhere_is_reached_by_proxy_with_the_named_key_and_nothing_of_a_netrc(
    endpoint: FakeEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine endpoint.example login someone password sesame\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", endpoint.url.removesuffix("/v1"))
    monkeypatch.setenv("SOME_KEY", "open")
    client_of(endpoint, url="http://endpoint.example/v1").check()
    client_of(endpoint, url="http://endpoint.example/v1", api_key_env="SOME_KEY").check()
    without, with_key = endpoint.headers
    assert without["Host"] == with_key["Host"] == "endpoint.example"
    assert "Authorization" not in without
    assert with_key["Authorization"] == "Bearer open"
    assert "crosses the network unencrypted" in caplog.text


def test_proxy_of_the_web_is_not_asked_for_this_machine(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert complete(client_of(endpoint)) == '{"reply": "the sky"}'


@pytest.mark.parametrize("value", [None, "", "two\nlines", "schlüssel"])
def test_key_that_is_none_is_refused_by_its_variable(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(InputError, match="SOME_KEY") as caught:
        client_of(endpoint, api_key_env="SOME_KEY")
    assert value is None or value == "" or value not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "localhost:8000"}, "no URL"),
        ({"url": "ftp://host/v1"}, "no URL"),
        ({"url": "http://"}, "no URL"),
        ({"url": "http://host:99999/v1"}, "no URL"),
        ({"url": "http://me:sesame@host/v1"}, "ends? up in logs|end up in logs"),
        ({"url": "http://host/v1?key=1"}, "give the base alone"),
        ({"model": " "}, "name is empty"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"timeout_s": 0.0}, "timeout_s must be above 0, got 0.0"),
        ({"tries": 0}, "tries must be at least 1, got 0"),
    ],
)
def test_settings_that_can_not_be_are_refused_with_the_value(
    changes: dict[str, object], problem: str
) -> None:
    values: dict[str, object] = {"url": "http://host/v1", "model": "m", **changes}
    with pytest.raises(InputError, match=problem) as caught:
        EndpointSettings(**values)  # type: ignore[arg-type]
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://host/v1",
        "http://host/v1/",
        " http://host/v1/chat/completions",
        "http://host/v1/chat/completions/",
    ],
)
def test_base_url_has_one_form(url: str) -> None:
    assert EndpointSettings(url=url, model="m").url == "http://host/v1"


def test_tokens_that_are_not_told_are_counted_as_untold(endpoint: FakeEndpoint) -> None:
    endpoint.reports_usage = False
    usage = client_of(endpoint).complete(CHAT, schema=SCHEMA, max_tokens=50).usage
    assert (usage.unreported, usage.prompt_tokens, usage.completion_tokens) == (1, 0, 0)


@pytest.mark.parametrize(
    "error",
    [EndpointUnavailableError("a"), RequestRefusedError("b"), UnusableAnswerError("c", Usage(requests=3))],
)
def test_errors_cross_processes_whole(error: Exception) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))
