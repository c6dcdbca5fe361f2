"""A TCP proxy in front of a real server, which a test can cut, let hang and mend, and which notes who tries."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from streams.clock import monotonic

__all__ = ["Proxy"]

_CHUNK = 65_536


class Proxy:
    """Forwards connections to a server while it is whole.

    `cut` refuses new connections and breaks those there are; `hang` accepts connections and answers nothing, as a
    machine does that lost its network; `mend` makes it whole again.

    Attributes:
        port: where it listens, on 127.0.0.1.
        attempts: when each connection came that it did not forward; seconds of the monotonic clock.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.attempts: list[float] = []
        self._state = "whole"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def target_port(self) -> int:
        """Where the real server listens."""
        return self._target[1]

    @property
    def url(self) -> str:
        """The proxy's address as a URL."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break everything."""
        self._state = "cut"
        self._break()

    def hang(self) -> None:
        """Answer nothing more, on connections old and new."""
        self._state = "hang"
        self._break()

    def mend(self) -> None:
        """Be whole again; connections that hung are broken, so that their users make new ones."""
        self._state = "whole"
        self._break()

    def close(self) -> None:
        """Stop forwarding."""
        self._state = "cut"
        self._listener.shutdown(socket.SHUT_RDWR)
        self._break()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _break(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):  # The other side may be faster.
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                guest, _ = self._listener.accept()
            except OSError:
                return
            if self._state != "whole":
                self.attempts.append(monotonic())
            if self._state == "cut":
                guest.close()
                continue
            self._start(self._serve, guest)

    def _serve(self, guest: socket.socket) -> None:
        with guest:
            if self._state == "hang":
                self._swallow(guest)
                return
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                return
            server.settimeout(None)  # or it would end answers that take longer than connecting may
            with server, self._known(guest, server):
                back = threading.Thread(target=_pump, args=(server, guest), daemon=True)
                back.start()
                _pump(guest, server)
                back.join(10)

    def _swallow(self, guest: socket.socket) -> None:
        with self._known(guest):
            try:
                while guest.recv(_CHUNK):
                    pass
            except OSError:
                pass  # Broken by us or by the guest.

    def _known(self, *sockets: socket.socket) -> _Known:
        return _Known(self._open, self._lock, sockets)


class _Known:
    def __init__(self, known: set[socket.socket], lock: threading.Lock, sockets: tuple[socket.socket, ...]) -> None:
        self._all, self._lock, self._mine = known, lock, sockets

    def __enter__(self) -> None:
        with self._lock:
            self._all.update(self._mine)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._all.difference_update(self._mine)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    except OSError:
        pass  # One side is gone; the other is told by the shutdown.
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
