"""The accounts of a job's rows: what its shards must have in history against what is there. Pure.

A row belongs to the shard that its header names. A shard that failed or was parked and queued anew goes on from its
cursor, and its count and digest go on with it: so rows of all its epochs count together, and those of epochs before the
last must be what the cursor, with which the last one began, says. Where the last epoch began without a cursor, rows of
earlier ones are nobody's, and are reported as foreign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from coordinator.certificate import ShardProof, Span
from coordinator.digest import EMPTY, add_rows, subtotal
from coordinator.doubles import ROW, Doubles

__all__ = ["NAMED", "Audit", "CheckedRows", "Expected", "Kind", "Place", "Problem"]

NAMED = 20
"""Most rows that a problem names one by one; all are counted."""

Kind = Literal["unfinished", "missing", "doubled", "foreign", "changed", "overlap", "outside"]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """A row of history: where it is, and what it says of itself."""

    partition: int
    offset: int
    symbol: str
    time: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a job is not proven complete.

    Attributes:
        kind: what is wrong.
        shard: its id; empty if it is about the job.
        text: a sentence.
        count: how many rows, or ranges.
        rows: the first `NAMED` of them.
    """

    kind: Kind
    shard: str
    text: str
    count: int = 0
    rows: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a shard must have in history.

    Attributes:
        start, end: nanoseconds since the epoch, half open.
        rows, digest: of all its rows.
        carried: how many of them epochs before the last one wrote; None if nobody knows.
    """

    shard: str
    epoch: int
    dataset: str
    symbols: tuple[str, ...]
    start: int
    end: int
    rows: int
    digest: str
    carried: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Decoded records of one shard and epoch; lists and arrays of one length.

    Attributes:
        symbols: as the payloads say; empty where one cannot be read.
        times: event times in nanoseconds since the epoch.
        identities: hashes of the fields that identify a row.
        unreadable: reasons, by position.
    """

    keys: list[bytes]
    payloads: list[bytes]
    partitions: npt.NDArray[np.int32]
    offsets: Ints
    symbols: list[str]
    times: Ints
    identities: npt.NDArray[np.uint64]
    unreadable: Mapping[int, str] = field(default_factory=dict)


class Audit:
    """Takes the records that are in history, and tells what is wrong with them.

    Args:
        expected: what must be there.
        home: the partition in which readers look for a symbol.
        doubles: where rows are compared with each other.
    """

    def __init__(self, expected: Sequence[Expected], home: Callable[[str], int], doubles: Doubles) -> None:
        self._shards = {e.shard: _Account(e, number) for number, e in enumerate(expected)}
        self._ids = [e.shard for e in expected]
        self._home, self._homes = home, dict[str, int]()
        self._doubles = doubles
        self._symbols: dict[str, int] = {}

    def __contains__(self, shard: str) -> bool:
        return shard in self._shards

    def take(self, shard: str, epoch: int, rows: CheckedRows) -> None:
        """Book records of a shard and an epoch."""
        account = self._shards[shard]
        reasons = self._foreign(account.expected, epoch, rows)
        strange = np.array([reason is not None for reason in reasons], bool)
        account.refuse(rows, reasons)
        account.book(rows, np.flatnonzero(~strange), epoch)
        if strange.any():
            account.book_foreign(rows, np.flatnonzero(strange))
        numbers = [self._symbols.setdefault(symbol, len(self._symbols)) for symbol in rows.symbols]
        compared = np.empty(len(rows.keys), ROW)
        compared["hash"], compared["time"], compared["shard"] = rows.identities, rows.times, account.number
        compared["symbol"], compared["partition"], compared["offset"] = numbers, rows.partitions, rows.offsets
        self._doubles.add(compared[~strange])

    def problems(self) -> list[Problem]:
        """Return what is wrong, shard by shard."""
        names = list(self._symbols)
        for group in self._doubles.found():
            account = self._shards[self._ids[group["shard"][0]]]
            account.twice(
                [Place(int(r["partition"]), int(r["offset"]), names[r["symbol"]], int(r["time"])) for r in group]
            )
        return [problem for account in self._shards.values() for problem in account.problems()]

    def proofs(self) -> list[ShardProof]:
        """Return what was found of each shard."""
        return [account.proof() for account in self._shards.values()]

    def found_rows(self) -> int:
        """Return how many rows were booked."""
        return sum(account.rows for account in self._shards.values())

    def _foreign(self, expected: Expected, epoch: int, rows: CheckedRows) -> list[str | None]:
        """Return for each row why it cannot be the shard's, or None."""
        if epoch > expected.epoch:
            return [f"written in epoch {epoch}, and the shard's latest is {expected.epoch}"] * len(rows.keys)
        if epoch < expected.epoch and expected.carried == 0:
            return [f"written in epoch {epoch}, and epoch {expected.epoch} began anew, without a cursor"] * len(
                rows.keys
            )
        wanted = set(expected.symbols)
        outside = (rows.times < expected.start) | (rows.times >= expected.end)
        reasons: list[str | None] = []
        for at, symbol in enumerate(rows.symbols):
            if at in rows.unreadable:
                reasons.append(f"it cannot be read: {rows.unreadable[at]}")
            elif symbol not in wanted:
                reasons.append(f"{symbol} is none of the shard's symbols")
            elif outside[at]:
                reasons.append("its event time is outside of the shard's range")
            elif rows.keys[at] != symbol.encode():
                reasons.append(f"its key is {rows.keys[at]!r}")
            elif rows.partitions[at] != self._home_of(symbol):
                reasons.append(f"readers of {symbol} look in partition {self._home_of(symbol)}")
            else:
                reasons.append(None)
        return reasons

    def _home_of(self, symbol: str) -> int:
        if symbol not in self._homes:
            self._homes[symbol] = self._home(symbol)
        return self._homes[symbol]


class _Account:
    """One shard's books."""

    def __init__(self, expected: Expected, number: int) -> None:
        self.expected, self.number = expected, number
        self.rows = self._old = self._extra = self._foreign_rows = 0
        self._digest = self._foreign_digest = EMPTY
        self._spans: dict[int, Span] = {}
        self._foreign: dict[str, list[Place]] = {}
        self._foreign_count: dict[str, int] = {}
        self._twice: list[list[Place]] = []
        self._twice_count = 0

    def book(self, rows: CheckedRows, good: npt.NDArray[np.intp], epoch: int) -> None:
        if not len(good):
            return
        self.rows += len(good)
        self._old += len(good) if epoch < self.expected.epoch else 0
        self._digest = _with(self._digest, rows, good)
        for partition in np.unique(rows.partitions[good]).tolist():
            offsets = rows.offsets[good][rows.partitions[good] == partition]
            new = Span(partition, int(offsets.min()), int(offsets.max()), len(offsets))
            old = self._spans.get(partition, new)
            count = new.rows + (old.rows if old is not new else 0)
            self._spans[partition] = Span(partition, min(old.first, new.first), max(old.last, new.last), count)

    def book_foreign(self, rows: CheckedRows, strange: npt.NDArray[np.intp]) -> None:
        self._foreign_rows += len(strange)
        self._foreign_digest = _with(self._foreign_digest, rows, strange)

    def refuse(self, rows: CheckedRows, reasons: Iterable[str | None]) -> None:
        for at, reason in enumerate(reasons):
            if reason is None:
                continue
            self._foreign_count[reason] = self._foreign_count.get(reason, 0) + 1
            named = self._foreign.setdefault(reason, [])
            if len(named) < NAMED:
                place = int(rows.partitions[at]), int(rows.offsets[at]), rows.symbols[at], int(rows.times[at])
                named.append(Place(*place))

    def twice(self, places: list[Place]) -> None:
        self._extra += len(places) - 1
        self._twice_count += 1
        if len(self._twice) < NAMED:
            self._twice.append(places)

    def problems(self) -> list[Problem]:
        expected, found = self.expected, list[Problem]()
        all_rows, all_digest = self.rows + self._foreign_rows, subtotal([self._digest, self._foreign_digest])
        as_written = (self.rows, self._digest) == (expected.rows, expected.digest or EMPTY)
        # A worker that itself wrote what is not the shard's has counted it: then nothing misses.
        as_written |= (all_rows, all_digest) == (expected.rows, expected.digest or EMPTY)
        missing = 0 if as_written else expected.rows - (self.rows - self._extra)
        if missing > 0:
            found.append(Problem("missing", expected.shard, self._missing_text(missing), missing))
        if self._twice_count:
            places = tuple(place for group in self._twice for place in group)
            what = f"{self._twice_count:,} row{_s(self._twice_count)} of it written more than once"
            found.append(Problem("doubled", expected.shard, what, self._extra, places))
        for reason, count in self._foreign_count.items():
            what = f"{count:,} row{_s(count)} with its name that {'is' if count == 1 else 'are'} not its own: {reason}"
            found.append(Problem("foreign", expected.shard, what, count, tuple(self._foreign[reason])))
        if missing < 0:
            what = f"{-missing:,} row{_s(-missing)} more than the {expected.rows:,} that its progress counts"
            found.append(Problem("foreign", expected.shard, what, -missing))
        if not found and not as_written:
            what = f"as many rows as were written ({expected.rows:,}), but not the same: their digest is another one"
            found.append(Problem("changed", expected.shard, what, expected.rows))
        return found

    def proof(self) -> ShardProof:
        e = self.expected
        spans = tuple(self._spans[partition] for partition in sorted(self._spans))
        return ShardProof(e.shard, e.epoch, e.dataset, e.symbols, e.start, e.end, self.rows, self._digest, spans)

    def _missing_text(self, missing: int) -> str:
        expected = self.expected
        text = (
            f"{missing:,} of the {expected.rows:,} rows that were written {'is' if missing == 1 else 'are'} not there"
        )
        if expected.carried and self._old < expected.carried:
            early = expected.carried - self._old
            text += f"; {early:,} of them are of epochs before {expected.epoch}, which wrote {expected.carried:,}"
        return text


def _with(digest: str, rows: CheckedRows, which: npt.NDArray[np.intp]) -> str:
    if len(which) == len(rows.keys):
        return add_rows(digest, rows.keys, rows.payloads)
    chosen = which.tolist()
    return add_rows(digest, [rows.keys[i] for i in chosen], [rows.payloads[i] for i in chosen])


def _s(count: int) -> str:
    return "" if count == 1 else "s"
