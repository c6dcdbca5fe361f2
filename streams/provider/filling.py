"""What is missing, fetched by the coordinator: one request and one look at a job at a time, whoever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from coordinator.choice import open_coordinator
from coordinator.protocol import BackfillCoordinator, BackfillRequest, JobStatus, NotFound, Planned, TimeRange
from coordinator.ranges import Range, normalised, subtracted
from coordinator.shards import ShardState
from streams.errors import SeamlessError
from streams.settings import Settings

__all__ = ["ENDED", "Filling", "request_for"]

T = TypeVar("T")

ENDED = ("done", "failed", "incomplete", "cancelled")
"""States in which a job fetches nothing more."""
_MOST_COVERED = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Filling:
    """Speaks to the coordinator for all fetches of a provider; any thread may.

    It connects at the first request. Equal calls at the same time are one: they share its answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._coordinator: BackfillCoordinator | None = None
        self._going_on: dict[str, Future[Any]] = {}
        self._closed = False

    def request(self, wanted: BackfillRequest) -> Planned:
        """Have history fetched.

        Raises:
            BackfillRejected: if the request makes no sense, or the dataset has no source.
            CoordinatorUnavailable: if nothing is known about the request.
        """
        return self._once(f"request {wanted.model_dump_json()}", lambda: self._opened().request(wanted))

    def job(self, job: str) -> JobStatus:
        """Return how far a job is; CoordinatorUnavailable."""
        return self._once(f"job {job}", lambda: self._opened().job(job))

    def failures(self, job: str) -> list[tuple[Range, tuple[str, ...], str]]:
        """Return what a job could not fetch (range, symbols) and why, some hundreds at most; CoordinatorUnavailable."""
        found = []
        for state in (ShardState.FAILED, ShardState.SKIPPED, ShardState.CANCELLED):
            try:
                page = self._opened().shards(job=job, state=state, limit=500)
            except NotFound:
                return []
            found += [(_range(s.start, s.end), s.symbols, s.error or state.value) for s in page.items]
        return found

    def close(self, seconds: float) -> None:
        """Let go of the coordinator, waiting no longer than this for it."""
        with self._lock:
            self._closed = True
            coordinator, self._coordinator = self._coordinator, None
        if coordinator is not None:
            closing = threading.Thread(target=coordinator.close, daemon=True)
            closing.start()
            closing.join(seconds)

    def _opened(self) -> BackfillCoordinator:
        with self._lock:
            if self._closed:
                raise SeamlessError("the provider is closed: make a new one")
            if self._coordinator is None:
                self._coordinator = open_coordinator(self._settings)
            return self._coordinator

    def _once(self, key: str, call: Callable[[], T]) -> T:
        with self._lock:
            future = self._going_on.get(key)
            mine = future is None
            if future is None:
                future = self._going_on[key] = Future()
        if not mine:
            return cast("T", future.result())
        try:
            value = call()
        except BaseException as error:
            self._over(key)
            future.set_exception(error)
            raise
        self._over(key)
        future.set_result(value)
        return value

    def _over(self, key: str) -> None:
        with self._lock:
            self._going_on.pop(key, None)


def request_for(
    dataset: str, missing: Mapping[str, Sequence[Range]], *, requested_by: str = ""
) -> BackfillRequest | None:
    """Return the one request that fetches what is missing of several symbols; None if nothing is. Pure.

    Where holes are many, the shortest stretches between them are fetched again rather than named.
    """
    holes = {symbol: normalised(ranges) for symbol, ranges in missing.items() if ranges}
    if not holes:
        return None
    whole = Range(min(r[0].start for r in holes.values()), max(r[-1].end for r in holes.values()))
    covered = [(s, piece) for s, ranges in holes.items() for piece in subtracted([whole], ranges)]
    covered.sort(key=lambda pair: pair[1].start - pair[1].end)
    by_symbol: dict[str, list[TimeRange]] = {}
    for symbol, piece in covered[:_MOST_COVERED]:
        by_symbol.setdefault(symbol, []).append(TimeRange(start=_moment(piece.start), end=_moment(piece.end)))
    return BackfillRequest(
        dataset=dataset,
        symbols=tuple(sorted(holes)),
        start=_moment(whole.start),
        end=_moment(whole.end),
        urgent=True,
        covered={symbol: tuple(sorted(pieces, key=lambda p: p.start)) for symbol, pieces in by_symbol.items()},
        requested_by=requested_by,
    )


def _moment(nanos: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanos // 1_000)


def _range(start: datetime, end: datetime) -> Range:
    return Range(*((moment - _EPOCH) // timedelta(microseconds=1) * 1_000 for moment in (start, end)))
