"""Every error of the service as problem details (RFC 9457), whoever raised it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.protocol import BackfillRejected, CoordinatorUnavailable, NotFound
from coordinator.wire import PROBLEM_JSON, FieldProblem, Kind, Problem
from streams.errors import BrokerError, RegistryError, SeamlessError
from streams.log import get_logger

__all__ = ["Unforeseen", "install", "path_of", "problem"]

log = get_logger("coordinator")

RETRY_AFTER_S = 1
MAX_ERRORS = 20
_PLACES = frozenset({"body", "query", "path", "header"})
_MESSAGE = 300


def problem(
    kind: Kind,
    detail: str,
    instance: str,
    *,
    field: str | None = None,
    errors: Iterable[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that tells a problem."""
    body = Problem(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        field=field,
        errors=None if errors is None else tuple(errors),
    )
    return Response(
        body.model_dump_json(exclude_none=True, ensure_ascii=True),
        kind.status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=PROBLEM_JSON,
    )


def install(app: FastAPI) -> None:
    """Make an application answer with problem details alone."""
    app.exception_handler(SeamlessError)(_known)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)


class Unforeseen:
    """Answers what nothing else understood with a problem that tells nothing of the inside, and logs the inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            log.exception("coordinator_request_failed", method=scope["method"], path=scope["path"])
            if begun:
                return  # half an answer cannot be made whole: the server breaks the connection
            detail = "Something went wrong inside the service; its log says what. Ask again later."
            await problem(Kind.INTERNAL, detail, path_of(scope))(scope, receive, send)


async def _known(request: Request, error: Exception) -> Response:
    """Answer an error that has a message for users."""
    where, detail = path_of(request.scope), str(error)
    match error:
        case BackfillRejected():
            named = None if error.field is None else (FieldProblem(field=error.field, message=detail),)
            return problem(Kind.REJECTED, detail, where, field=error.field, errors=named)
        case NotFound():
            return problem(Kind.NOT_FOUND, detail, where)
        case CoordinatorUnavailable() | BrokerError() | RegistryError():
            log.warning("coordinator_unavailable", path=where, error=detail)
            return problem(Kind.UNAVAILABLE, detail, where, headers={"Retry-After": str(RETRY_AFTER_S)})
        case _:
            log.error("coordinator_request_refused", path=where, error=detail)
            return problem(Kind.INTERNAL, detail, where)


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer a request that does not fit the models, naming the fields; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    where = path_of(request.scope)
    broken = next((one for one in found if one["type"] == "json_invalid"), None)
    if broken is not None:
        why = broken.get("ctx", {}).get("error", "it is no JSON")
        return problem(Kind.MALFORMED, f"The body is no JSON: {why} (character {broken['loc'][-1]}).", where)
    errors = [FieldProblem(field=_field(one["loc"]), message=_says(one)) for one in found[:MAX_ERRORS]]
    more = f" ({len(found)} fields are wrong)" if len(found) > 1 else ""
    detail = f"{errors[0].field}: {errors[0].message}{more}"
    return problem(Kind.INVALID, detail, where, field=errors[0].field, errors=errors)


async def _http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses by itself."""
    assert isinstance(error, HTTPException)
    where, headers = path_of(request.scope), error.headers
    match error.status_code:
        case 404:
            detail = "There is nothing at this path; /openapi.json lists what there is."
            return problem(Kind.NO_SUCH_ROUTE, detail, where)
        case 405:
            detail = f"{request.method} is not possible here; /openapi.json lists what is."
            return problem(Kind.METHOD_NOT_ALLOWED, detail, where, headers=headers)
        case 413:
            return problem(Kind.TOO_LARGE, error.detail, where, headers=headers)
        case 400:
            return problem(Kind.MALFORMED, "The body cannot be read as JSON in UTF-8.", where)
        case status if status < 500:
            return problem(Kind.REFUSED, error.detail, where, headers=headers)
        case _:
            return problem(Kind.INTERNAL, error.detail, where, headers=headers)


def path_of(scope: Scope) -> str:
    """Return the path of a request as it was sent, without its query."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return bytes(raw).partition(b"?")[0].decode("ascii", "replace")


def _field(location: Sequence[Any]) -> str:
    # the keys of a table are the client's own text, and may be none that can be written
    parts = [str(part)[:_MESSAGE].encode(errors="replace").decode() for part in location]
    if len(parts) > 1 and parts[0] in _PLACES:
        parts = parts[1:]
    return ".".join(parts)


def _says(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    message = str(error["msg"]).removeprefix("Value error, ")
    return (message[:1].lower() + message[1:])[:_MESSAGE]
