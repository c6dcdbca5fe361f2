"""The OpenAPI description: what the framework makes of the routes, completed with problems, the token and examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from coordinator.protocol import ProgressEvent
from coordinator.service.examples import ANSWERS, QUESTIONS
from coordinator.wire import PROBLEM_JSON, Kind, Problem

__all__ = ["ABOUT", "TAGS", "completed"]

ABOUT = """Plans backfills of history, and shows and steers them.

Everything that changes something, and planning, needs the bearer token if the service has one; reading is open. Errors
are problem details (RFC 9457) whose `type` says which kind it is and whose `field` names what is wrong. Lists come in
pages: give `next` back as `after`. Each call may be sent again when its answer was lost."""

TAGS = [
    {"name": "backfills", "description": "Jobs: requests for history, and how far they are."},
    {"name": "shards", "description": "The pieces that jobs are cut into; each is fetched by one worker at a time."},
    {"name": "leases", "description": "Which worker holds which partition's shard."},
    {"name": "coverage", "description": "What was fetched of a dataset."},
    {"name": "events", "description": "Changes as they happen."},
    {"name": "process", "description": "Health and metrics of this replica."},
]

_SCHEMA = "#/components/schemas/{model}"
_TEXT = {"watch_events": "text/event-stream", "show_metrics": "text/plain"}
_NO_PROBLEMS = frozenset({"healthz", "readyz", "show_metrics"})
_DETAILS = {
    Kind.MALFORMED: "The body is no JSON: Expecting ',' delimiter (character 41).",
    Kind.UNAUTHORISED: "No bearer token was given. Send seamless.coordinator.token as `Authorization: Bearer <token>`.",
    Kind.FORBIDDEN: "Requests of web pages are refused while no seamless.coordinator.token is set.",
    Kind.NOT_FOUND: "There is no such job or shard.",
    Kind.TOO_LARGE: "The body is larger than 1,048,576 bytes. Ask for fewer symbols at once.",
    Kind.UNSUPPORTED_MEDIA_TYPE: "Bodies are JSON: send them with `Content-Type: application/json`.",
    Kind.INVALID: "limit: input should be less than or equal to 1000",
    Kind.INTERNAL: "Something went wrong inside the service; its log says what. Ask again later.",
    Kind.UNAVAILABLE: "The control topics could not be read to the end in time.",
}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the description of all routes with what the framework does not know of."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for gone in ("HTTPValidationError", "ValidationError"):
        schemas.pop(gone, None)
    _, made = models_json_schema([(Problem, "serialization"), (ProgressEvent, "serialization")], ref_template=_SCHEMA)
    schemas.update(made["$defs"])
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "seamless.coordinator.token"}
    }
    for path, method, operation in _operations(document):
        name = operation["operationId"] = _short(operation["operationId"])
        _answers(name, operation)
        _problems(name, path, method, operation)
        if method != "get":
            operation["security"] = [{"token": []}]
        if name in QUESTIONS:
            operation["requestBody"]["content"]["application/json"]["example"] = QUESTIONS[name]
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _short(operation_id: str) -> str:
    """Return the name of a route's function; the framework adds its path and method to it."""
    return next(name for name in ANSWERS if operation_id.startswith(name))


def _answers(name: str, operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        if not status.startswith("2"):
            continue
        if name in _TEXT:
            answer["content"] = {_TEXT[name]: {"schema": {"type": "string"}, "example": ANSWERS[name]}}
            continue
        body = answer["content"]["application/json"]
        known = name == "request_backfill" and status == "200"
        body["example"] = {**ANSWERS[name], "created": False, "queued": 0} if known else ANSWERS[name]
    texts = {"200": "How it is.", "201": "The job is new."}
    if name == "request_backfill":
        texts["200"] = "The job was known, or this was a dry run."
    for status, text in texts.items():
        found = operation["responses"].get(status)
        if found is not None and found["description"] in ("Successful Response", "Created"):
            found["description"] = text


def _problems(name: str, path: str, method: str, operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    if name in _NO_PROBLEMS:
        if "503" in operation["responses"]:
            operation["responses"]["503"]["description"] = "Not well."
            body = operation["responses"]["503"]["content"]["application/json"]
            body["example"] = {"status": "stopped", "reasons": ["view: the control topics are no longer read"]}
        return
    kinds = [Kind.INVALID, Kind.INTERNAL, Kind.UNAVAILABLE]
    if "{" in path:
        kinds.append(Kind.NOT_FOUND)
    if method != "get":
        kinds += [Kind.UNAUTHORISED, Kind.FORBIDDEN]
    if "requestBody" in operation:
        kinds += [Kind.MALFORMED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE]
    for kind in sorted(kinds, key=lambda kind: kind.status):
        operation["responses"][str(kind.status)] = _told(kind, path)


def _told(kind: Kind, path: str) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": _DETAILS[kind],
        "instance": path.replace("{job}", "job-1").replace("{shard}", "shard-1").replace("{partition}", "3"),
    }
    if kind is Kind.INVALID:
        example |= {
            "field": "limit",
            "errors": [{"field": "limit", "message": "input should be less than or equal to 1000"}],
        }
    body = {"schema": {"$ref": _SCHEMA.format(model="Problem")}, "example": example}
    answer: dict[str, Any] = {"description": kind.title + ".", "content": {PROBLEM_JSON: body}}
    if kind is Kind.UNAVAILABLE:
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds to wait"}}
    if kind is Kind.UNAUTHORISED:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "what is needed"}}
    return answer
