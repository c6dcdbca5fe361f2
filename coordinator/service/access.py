"""Who may do what: the address it listens on, the token, and what a body may be."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.service.problems import path_of, problem
from coordinator.wire import Kind
from streams.errors import SettingsError
from streams.settings import CoordinatorSettings

__all__ = ["BodyBound", "TokenGuard", "listening_socket", "token_of"]

# Everything else changes something or makes the service plan, so a route that is added later is guarded, too.
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# A client hears of a refusal only when it has sent what it is sending; so much is read and thrown away for that.
_THROWN_AWAY = 16
_THROWING_S = 5.0


def token_of(settings: CoordinatorSettings) -> bytes | None:
    """Return the token as it stands in a header, None if none is set.

    Raises:
        SettingsError: if it is empty, or no header could carry it.
    """
    if settings.token is None:
        return None
    token = settings.token.get_secret_value().strip()
    if not token:
        raise SettingsError("seamless.coordinator.token is empty: set a long random text, or leave it out.")
    if any(ord(character) < 32 or ord(character) == 127 for character in token):
        raise SettingsError("seamless.coordinator.token has control characters in it, which no HTTP header can carry.")
    return token.encode()


def listening_socket(settings: CoordinatorSettings) -> socket.socket:
    """Return a socket bound to the address of the settings, not listening yet.

    Raises:
        SettingsError: if the address cannot be had, or others could reach it and there is no token.
    """
    token = token_of(settings)
    where = f"{settings.host} port {settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"The coordinator cannot listen on {where}: {getattr(error, 'strerror', None) or error}. "
            "Set seamless.coordinator.host to an address of this machine, such as 127.0.0.1."
        ) from error
    family, kind, protocol, _, address = found[0]
    if token is None and not is_loopback(str(address[0])):
        raise SettingsError(
            f"The coordinator does not listen on {settings.host} without a token, as whoever reaches it could start "
            "and cancel backfills. Set seamless.coordinator.token (SEAMLESS_COORDINATOR__TOKEN), or "
            "seamless.coordinator.host to 127.0.0.1."
        )
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"The coordinator cannot listen on {where}: {error.strerror or error}. "
            "Set seamless.coordinator.port to another one, or to 0 for any free one."
        ) from error
    return bound


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


class TokenGuard:
    """Lets requests pass that only read; all others need the token, compared in constant time.

    Without a token, which is possible on loopback alone, it refuses requests that a web page makes: the browser of
    somebody on this machine would carry them.
    """

    def __init__(self, app: ASGIApp, token: bytes | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it before its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = None if scope["method"] in _READING else self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        # Nobody behind this needs the token, and what they cannot see they cannot log.
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
        await self._app({**scope, "headers": headers}, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        where = path_of(scope)
        if self._token is None:
            if _header(scope, b"origin") is None:
                return None
            detail = "Requests of web pages are refused while no seamless.coordinator.token is set."
            return problem(Kind.FORBIDDEN, detail, where, headers={"Connection": "close"})
        given = _bearer(_all(scope, b"authorization"))
        if given is not None and hmac.compare_digest(given, self._token):
            return None
        how = "No bearer token was given." if given is None else "It is another token than the service's."
        detail = f"{how} Send seamless.coordinator.token as `Authorization: Bearer <token>`."
        challenge = 'Bearer realm="seamless"' + ("" if given is None else ', error="invalid_token"')
        headers = {"WWW-Authenticate": challenge, "Connection": "close"}
        return problem(Kind.UNAUTHORISED, detail, where, headers=headers)


class BodyBound:
    """Refuses bodies that are not JSON, and ones that are too large while they come in, with Content-Length or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = _length(scope)
        if length != 0 and not _is_json(scope):
            detail = "Bodies are JSON: send them with `Content-Type: application/json`."
            refusal = problem(Kind.UNSUPPORTED_MEDIA_TYPE, detail, path_of(scope), headers={"Connection": "close"})
            await self._thrown_away(scope, receive, 0)
            await refusal(scope, receive, send)
            return
        if length is not None and length > self._max:
            await self._thrown_away(scope, receive, 0)
            refusal = problem(Kind.TOO_LARGE, self._says(), path_of(scope), headers={"Connection": "close"})
            await refusal(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max:
                if message.get("more_body", False):
                    await self._thrown_away(scope, receive, read)
                raise HTTPException(413, self._says(), {"Connection": "close"})
            return message

        await self._app(scope, counted, send)

    def _says(self) -> str:
        return (
            f"The body is larger than {self._max:,} bytes. Ask for fewer symbols at once, or raise "
            "seamless.coordinator.max_body_bytes."
        )

    async def _thrown_away(self, scope: Scope, receive: Receive, read: int) -> None:
        if _header(scope, b"expect") is not None:
            return  # it waits to be told whether to send at all
        with suppress(TimeoutError):
            async with asyncio.timeout(_THROWING_S):
                while read < _THROWN_AWAY * self._max:
                    message = await receive()
                    read += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return


def _length(scope: Scope) -> int | None:
    """Return how long the body is, None if that is not said."""
    if _header(scope, b"transfer-encoding") is not None:
        return None
    given = _header(scope, b"content-length")
    return 0 if given is None else int(given)


def _is_json(scope: Scope) -> bool:
    kind = (_header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
    return kind == b"application/json"


def _bearer(values: list[bytes]) -> bytes | None:
    if len(values) != 1:
        return None
    scheme, _, token = values[0].strip().partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next(iter(_all(scope, name)), None)


def _all(scope: Scope, name: bytes) -> list[bytes]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value for key, value in headers if key.lower() == name]
