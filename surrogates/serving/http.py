"""The surrogate by HTTP: the actor's answers, for callers that have no Ray. Needs the extra ``http``.

Every path under ``/v1`` wants the bearer token: a plan names past tasks and their results, and a port, also
one on loopback, is open to every user of the machine and to what their browsers run. Errors are problem
details (RFC 9457) with one sentence of ours.
"""

import hmac
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.contracts import CorruptLedgerError, InputError, NothingLearnedError, Scalar
from surrogates.serving.questions import KINDS, PLAN, Answer, SurrogateUnavailableError

MOST_BYTES = 2**20
"""Of a request's body: some thousand candidates."""
_PROBLEM = "application/problem+json"
_STATUS = {InputError.__name__: 422, NothingLearnedError.__name__: 503, CorruptLedgerError.__name__: 500}
_HEALTH_TIMEOUT_S = 5.0
_INFO_TIMEOUT_S = 30.0


class Relay(Protocol):
    """What answers: ``SurrogateClient``."""

    async def relay(self, asked: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return an answer's kind and body."""
        ...

    async def relay_info(self, *, timeout_s: float) -> dict[str, Any]:
        """Return what has been learned."""
        ...


class Asked(BaseModel):
    """A question about a new task."""

    model_config = ConfigDict(extra="forbid")

    features: dict[str, float | None] = Field(
        description="The task's meta-features by name; null or missing where not measured."
    )
    budget_s: float = Field(gt=0, description="Seconds of training and evaluation, as the past trials took.")
    candidates: list[dict[str, Scalar]] | None = Field(
        default=None, description="Configs to choose from; left out: the surrogate's own."
    )
    k: int | None = Field(default=None, ge=1, description="At most so many choices.")
    task_id: str | None = Field(
        default=None, description="The task's id, to leave its own results out where they were learned from."
    )
    base_fingerprint: str | None = Field(default=None, description="The base model that is asked for.")
    fixed: dict[str, Scalar] | None = Field(default=None, description="Values that every choice must have.")
    excluded: dict[str, list[Scalar]] | None = Field(
        default=None, description="Values, by hyperparameter, that no choice may have."
    )


class Problem(BaseModel):
    """What went wrong, after RFC 9457."""

    type: str = Field(default="about:blank")
    title: str
    status: int
    detail: str = Field(description="One sentence: what happened, the value, what to do.")
    kind: str | None = Field(default=None, description="Name of the error in the Python client.")
    fields: list[str] | None = Field(default=None, description="Its parts, for the Python client.")


class Health(BaseModel):
    """Whether questions are answered."""

    status: str
    version: int = Field(description="Of what is learned; 0 where nothing is.")


def build_app(relay: Relay, token: str, *, most_bytes: int = MOST_BYTES) -> FastAPI:
    """Make the application.

    Args:
        relay: What answers.
        token: That callers must have.
        most_bytes: Largest body of a request.

    Returns:
        The application; it has no pages that load scripts from elsewhere.
    """
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "content": {_PROBLEM: {}}} for status in (401, 413, 422, 500, 503)
    }
    app = FastAPI(
        title="Foretune surrogate",
        summary="How to finetune on a new task, from what past tasks showed.",
        version="1",
        docs_url=None,
        redoc_url=None,
    )
    bearer = Depends(HTTPBearer(auto_error=False, description="The token that `foretune serve` told."))

    @app.post("/v1/recommend", responses={200: {"model": Answer}, **problems}, dependencies=[bearer])
    async def recommend(asked: Asked) -> Response:
        """Plan for a new task under a budget: configs in order, predictions with intervals, the evidence."""
        kind, body = await relay.relay(asked.model_dump(exclude_none=True))
        if kind == PLAN:
            return Response(body, media_type="application/json")
        return _problem_of(kind, body)

    @app.get("/v1/info", responses=problems, dependencies=[bearer])
    async def info() -> dict[str, Any]:
        """Tell what has been learned, from what, and how the last learning ended."""
        return await relay.relay_info(timeout_s=_INFO_TIMEOUT_S)

    @app.get("/healthz", responses={503: {"model": Problem}})
    async def healthz() -> Health:
        """Tell whether questions are answered; needs no token."""
        version = (await relay.relay_info(timeout_s=_HEALTH_TIMEOUT_S))["version"]
        if version == 0:
            raise HTTPException(503, "nothing has been learned yet; ask again when a trial has finished")
        return Health(status="ok", version=version)

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        said = [f"{'.'.join(map(str, item['loc'][1:])) or 'body'}: {item['msg']}" for item in error.errors()]
        return _problem(422, "; ".join(said), kind=InputError.__name__, fields=said)

    @app.exception_handler(HTTPException)
    async def tell(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(SurrogateUnavailableError)
    async def unavailable(request: Request, error: Exception) -> Response:
        fields = [str(field) for field in error.args]
        return _problem(503, str(error), kind=SurrogateUnavailableError.__name__, fields=fields)

    app.add_middleware(_Gate, token=token, most_bytes=most_bytes)
    return app


class _Gate:
    """Stands before the application: no body is read for callers without the token, and none too large."""

    def __init__(self, app: ASGIApp, *, token: str, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"authorization", b"")
        if scope["path"].startswith("/v1") and not hmac.compare_digest(given, self._expected):
            detail = "the token is missing or wrong; send `Authorization: Bearer TOKEN`"
            await _problem(401, detail, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most_bytes:
            await _problem(413, self._too_large())(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise HTTPException(413, self._too_large())
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> str:
        return f"the request is larger than {self._most_bytes} bytes; name fewer candidates"


def _problem_of(kind: str, body: bytes) -> Response:
    fields: list[str] = json.loads(body)
    return _problem(_STATUS[kind], str(KINDS[kind](*fields)), kind=kind, fields=fields)


def _problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    fields: list[str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = HTTPStatus(status).phrase
    content = Problem(title=title, status=status, detail=detail, kind=kind, fields=fields)
    return Response(
        content.model_dump_json(exclude_none=True), status, dict(headers or {}), media_type=_PROBLEM
    )
