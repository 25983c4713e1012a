"""The HTTP server by itself, without a surrogate behind it."""

import time

import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from surrogates.serving.http_server import running

DELAYED_RECEIPT_MS = 40.0
"""Least time for which Linux holds back the receipt of half an answer."""


async def answer(request: Request) -> Response:
    return Response(b"x" * 8000)


def test_no_half_of_an_answer_waits_for_the_other_halfs_receipt() -> None:
    """The median, since the first answers on a connection are not held back in any case."""
    taken_ms = []
    with (
        running(Starlette(routes=[Route("/", answer, methods=["POST"])]), host="127.0.0.1", port=0) as url,
        requests.Session() as session,
    ):
        for _ in range(31):
            started_s = time.perf_counter()
            session.post(url, json={"asked": 1}, timeout=10)
            taken_ms.append(1000 * (time.perf_counter() - started_s))
    assert sorted(taken_ms)[15] < DELAYED_RECEIPT_MS
