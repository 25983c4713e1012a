"""An OpenAI-compatible server on this machine: answers what a test wants, misbehaves when it is told to."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Body = dict[str, Any]
Trouble = Callable[[BaseHTTPRequestHandler], None]
"""What happens to one request instead of an answer."""


def status(
    code: int, text: str = "trouble", /, *, headers: dict[str, str] | None = None, **fields: object
) -> Trouble:
    """Answer with an error as OpenAI words it."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        send(handler, code, {"error": {"message": text, **fields}}, headers)

    return act


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def speak_html(handler: BaseHTTPRequestHandler) -> None:
    """Answer with a page, as a proxy in between might."""
    page = b"<html>Please sign in</html>"
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(page)))
    handler.end_headers()
    handler.wfile.write(page)


class FakeEndpoint:
    """A context manager around the server.

    Args:
        answer: A request's body to the content of the answer.
        models: What it says it has; others are answered 404. None: it has any model, and no list of them.
        key: The key that requests have to carry.
        refuses: Fields, or types of ``response_format``, that it does not know.
        reports_usage: Whether answers tell their tokens: words of the request, words of the answer.
    """

    def __init__(
        self,
        answer: Callable[[Body], str],
        *,
        models: tuple[str, ...] | None = ("m",),
        key: str | None = None,
        refuses: tuple[str, ...] = (),
        reports_usage: bool = True,
    ) -> None:
        self.answer = answer
        self.models, self.key, self.refuses, self.reports_usage = models, key, refuses, reports_usage
        self.troubles: deque[Trouble] = deque()
        """What happens to the next requests for a completion, one each."""
        self.bodies: list[Body] = []
        """All requests for a completion, in order of arrival, those in trouble too."""
        self.answered: list[Body] = []
        self.headers: list[dict[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.get(self)

            def do_POST(self) -> None:
                fake.post(self)

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Stay silent: clients hang up, too."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer to GET."""
        self.headers.append(dict(handler.headers))
        if not self._is_let_in(handler):
            status(401, f"Incorrect API key provided: {handler.headers.get('Authorization')}")(handler)
        elif handler.path != "/v1/models" or self.models is None:
            status(404, "no such page")(handler)
        else:
            send(handler, 200, {"data": [{"id": name} for name in self.models]})

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer to POST."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.headers.append(dict(handler.headers))
        self.bodies.append(body)
        refused = [name for name in self.refuses if name in body or name == _structure(body)]
        if not self._is_let_in(handler):
            status(401, f"Incorrect API key provided: {handler.headers.get('Authorization')}")(handler)
        elif handler.path != "/v1/chat/completions":
            status(404, "no such page")(handler)
        elif self.troubles:
            self.troubles.popleft()(handler)
        elif self.models is not None and body["model"] not in self.models:
            status(404, f"The model `{body['model']}` does not exist.")(handler)
        elif refused:
            status(400, f"Unsupported parameter: {refused[0]}")(handler)
        else:
            self.answered.append(body)
            send(handler, 200, self._completion(body))

    def _completion(self, body: Body) -> Body:
        content = self.answer(body)
        completion: Body = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
        if self.reports_usage:
            asked = sum(len(message["content"].split()) for message in body["messages"])
            completion["usage"] = {"prompt_tokens": asked, "completion_tokens": len(content.split())}
        return completion

    def _is_let_in(self, handler: BaseHTTPRequestHandler) -> bool:
        return self.key is None or handler.headers.get("Authorization") == f"Bearer {self.key}"


def _structure(body: Body) -> str:
    return str(body.get("response_format", {}).get("type"))


def send(
    handler: BaseHTTPRequestHandler, code: int, content: Body, headers: dict[str, str] | None = None
) -> None:
    """Answer with JSON."""
    payload = json.dumps(content).encode()
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(payload)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(payload)
