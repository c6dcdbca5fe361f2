"""Calls of the coordinator service: sent, sent again, and its answers and problems read."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from coordinator.protocol import BackfillRejected, CoordinatorUnavailable, NotFound
from coordinator.wire import PROBLEM_JSON, Kind, Problem
from streams.errors import SettingsError

__all__ = ["Remote", "path_to"]

M = TypeVar("M", bound=BaseModel)

_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_AGAIN = frozenset({408, 425, 429})
_KINDS = {kind.uri: kind for kind in Kind}


class Remote:
    """The service at an address; threads may share one.

    Raises:
        SettingsError: if the address is none.
    """

    def __init__(self, url: str, token: SecretStr | str | None, *, timeout_s: float, retries: int) -> None:
        self.url = url.rstrip("/")
        self.timeout_s, self.retries = timeout_s, retries
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise SettingsError(
                f"The coordinator's address {url!r} is no http:// or https:// URL: set seamless.coordinator_url to one."
            )
        self._closed = threading.Event()
        secret = token.get_secret_value() if isinstance(token, SecretStr) else token
        # As bytes: a token may hold what is not ASCII. Redirects are not followed, as they would carry it elsewhere.
        self._guarded = {} if secret is None else {b"Authorization": b"Bearer " + secret.strip().encode()}
        self.http = httpx.Client(timeout=timeout_s, follow_redirects=False, verify=_authorities())

    @property
    def closed(self) -> bool:
        """Return whether it was closed."""
        return self._closed.is_set()

    def close(self) -> None:
        """Let go of connections; calls under way fail as unavailable."""
        self._closed.set()
        self.http.close()

    def call(
        self,
        answer: type[M],
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        done: Callable[[], M | None] | None = None,
    ) -> M:
        """Send a call until it is answered, and return the answer.

        `done` looks, once an answer may have been lost, whether the call was carried out all the same, and returns
        what to answer then: it is asked before the call is sent again, and when that is refused.

        Raises:
            BackfillRejected: if the service says that the call makes no sense.
            NotFound: if it says that there is no such thing.
            SettingsError: if it wants another token.
            CoordinatorUnavailable: if it did not answer, or what answered is no coordinator.
        """
        why = ""
        for attempt in range(self.retries + 1):
            if attempt:
                settled = None if done is None else done()
                if settled is not None:
                    return settled
            pause = _pause(attempt)
            try:
                response = self._send(method, path, query, body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                why = _reason(error, self.timeout_s)
            else:
                if response.status_code < 500 and response.status_code not in _AGAIN:
                    return self._answer(answer, response, done if attempt else None)
                why = _told(response)
                pause = max(pause, _retry_after(response))
            if attempt < self.retries and self._closed.wait(pause):
                break
        raise self.unavailable(why)

    def open(self, path: str, query: Mapping[str, Any], silence_s: float) -> httpx.Response:
        """Return the answer to a call whose body goes on for ever; its reader closes it.

        Raises:
            httpx.HTTPError: if it was not answered.
            CoordinatorUnavailable, BackfillRejected, NotFound: as told by the service.
        """
        if self.closed:
            raise self.unavailable("this client was closed")
        request = self.http.build_request(
            "GET",
            self.url + path,
            params=_query(query),
            headers={"Accept": "text/event-stream", "Cache-Control": "no-store"},
        )
        response = self.http.send(request, stream=True)
        # It begins as soon as any answer does; after that, this is how long it may be silent.
        request.extensions["timeout"]["read"] = silence_s
        if response.status_code != 200 or not _is(response, "text/event-stream"):
            try:
                response.read()
                self._refuse(response)
            finally:
                response.close()
        return response

    def unavailable(self, why: str) -> CoordinatorUnavailable:
        """Return the error that says why nothing is known."""
        return CoordinatorUnavailable(
            f"The coordinator at {self.url} gives no answer: {why.rstrip('.')}. Nothing is known about the request. "
            "Look whether `seamless coordinator` runs there, and at seamless.coordinator_url."
        )

    def _send(self, method: str, path: str, query: Mapping[str, Any] | None, body: bytes | None) -> httpx.Response:
        if self.closed:
            raise self.unavailable("this client was closed")
        headers: dict[bytes, bytes] = {b"Accept": b"application/json"}
        if method != "GET":
            headers |= self._guarded
        if body is not None:
            headers[b"Content-Type"] = b"application/json"
        try:
            return self.http.request(
                method, self.url + path, params=_query(query or {}), content=body, headers=list(headers.items())
            )
        except RuntimeError as error:  # closed by another thread
            raise self.unavailable("this client was closed") from error

    def _answer(self, answer: type[M], response: httpx.Response, done: Callable[[], M | None] | None) -> M:
        if response.status_code in (200, 201) and _is(response, "application/json"):
            try:
                # A newer service may say more than this client knows.
                return answer.model_validate_json(response.content, extra="ignore")
            except ValidationError as error:
                raise self.unavailable(
                    f"it speaks another language than this release ({error.error_count()} fields do not fit)"
                ) from None
        try:
            self._refuse(response)
        except (BackfillRejected, NotFound):
            settled = None if done is None else done()
            if settled is None:
                raise
            return settled

    def _refuse(self, response: httpx.Response) -> NoReturn:
        """Raise what a problem says."""
        told = _problem(response)
        if told is None:
            where = response.headers.get("location")
            hint = f" and sends callers to {where}: set seamless.coordinator_url to that" if where else ""
            raise self.unavailable(f"something else is there, which answers {response.status_code}{hint}")
        match _KINDS.get(told.type):
            case Kind.NOT_FOUND:
                raise NotFound(told.detail)
            case Kind.REJECTED | Kind.INVALID | Kind.MALFORMED | Kind.TOO_LARGE:
                raise BackfillRejected(told.detail, field=told.field)
            case Kind.UNAUTHORISED:
                raise SettingsError(
                    f"The coordinator at {self.url} refuses the token: set seamless.coordinator.token to the service's "
                    "(SEAMLESS_COORDINATOR__TOKEN)."
                )
            case _:
                raise self.unavailable(f"{told.title} ({told.status}): {told.detail}")


@cache
def _authorities() -> ssl.SSLContext:
    """Return whom to trust; reading the authorities takes longer than most calls, so it is done once."""
    return httpx.create_ssl_context()


def path_to(kind: str, name: str, verb: str | None = None) -> str:
    """Return the path of a job, shard or lease.

    Raises:
        NotFound: if no id can be like that.
    """
    if not name.strip(".") or "/" in name:
        raise NotFound(f"There is nothing of the name {name!r} among the {kind}.")
    return f"/v1/{kind}/{quote(name, safe='')}" + (f":{verb}" if verb else "")


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _pause(attempt: int) -> float:
    """Return seconds to wait after an attempt: growing, and never the same for two clients that failed together."""
    longest = min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0**attempt)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing depends on it being unknown


def _retry_after(response: httpx.Response) -> float:
    given: str = response.headers.get("retry-after", "")
    return min(float(given), _LONGEST_PAUSE_S) if given.isascii() and given.isdigit() else 0.0


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    return f"{type(error).__name__}: {error}"


def _told(response: httpx.Response) -> str:
    told = _problem(response)
    return f"status {response.status_code}" if told is None else told.detail


def _problem(response: httpx.Response) -> Problem | None:
    if not _is(response, PROBLEM_JSON):
        return None
    try:
        return Problem.model_validate_json(response.content, extra="ignore")
    except ValidationError:
        return None


def _is(response: httpx.Response, media_type: str) -> bool:
    given: str = response.headers.get("content-type", "")
    return given.partition(";")[0].strip().lower() == media_type
