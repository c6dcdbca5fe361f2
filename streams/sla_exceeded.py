"""The error of a broken promise, in plain words: what took how long, what is missing, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.durations import spelled
from streams.errors import SeamlessError

__all__ = ["MissingRange", "SeamlessSLAExceeded"]

_SHOWN = 3

_WAITED = {
    "storage_wait": "reading from the archive took",
    "backfill_wait": "waiting for what was missing took",
    "live_wait": "waiting for live rows took",
    "total": "it took",
}
_REMEDIES = {
    "storage_wait": "Look whether the archive can be reached, ask for less, or raise max_wait_storage.",
    "backfill_wait": "Look at `seamless backfill list` and whether workers run, or raise max_wait_backfill.",
    "live_wait": "Look at `seamless status` and whether the normalizer runs, or raise max_wait_live.",
    "total": "Ask for less, or raise total_deadline.",
    "staleness": "Look whether producers and the normalizer run, or raise max_staleness.",
    "coverage": "Fill it with `seamless backfill request`, or lower min_coverage.",
}


@dataclass(frozen=True, slots=True, order=True)
class MissingRange:
    """What is not there of a symbol: from `start` up to and without `end`, nanoseconds since the epoch."""

    symbol: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.symbol} {_moment(self.start)} to {_moment(self.end)}"


class SeamlessSLAExceeded(SeamlessError):  # noqa: N818 - the name that callers were promised
    """A fetch or a stream broke its policy, which says to fail then.

    Attributes:
        phase: storage_wait, backfill_wait, live_wait, total, staleness or coverage.
        budget: what was allowed: seconds; of coverage, the share that must be there.
        elapsed: what it took or was, in the same unit.
        during: the phase that was cut short where the total ran out; else as `phase`.
        dataset, symbols: what was asked for.
        missing: what is known to be missing; empty if nothing is, or if it did not come to finding out.
        remedy: what to do about it.
    """

    def __init__(
        self,
        phase: str,
        budget: float,
        elapsed: float,
        *,
        dataset: str,
        symbols: Sequence[str] = (),
        missing: Sequence[MissingRange] = (),
        during: str | None = None,
        reason: str | None = None,
    ) -> None:
        self.phase, self.budget, self.elapsed = phase, budget, elapsed
        self.during = during or phase
        self.dataset, self.symbols, self.missing = dataset, tuple(symbols), tuple(missing)
        self.remedy = _REMEDIES.get(phase, "See docs/sla.md.")
        said = [f"The promise for {_asked(dataset, self.symbols)} was not kept: {self._what()}"]
        if reason:
            said.append(reason)
        if self.missing:
            said.append(f"Missing: {_some(self.missing, '; ')}")
        super().__init__(". ".join(said) + f". {self.remedy}")

    def _what(self) -> str:
        if self.phase == "coverage":
            return f"{self.elapsed:.2%} of what was asked for is there, and min_coverage is {self.budget:.2%}"
        if self.phase == "staleness":
            return f"the newest row is {spelled(self.elapsed)} old, and max_staleness is {spelled(self.budget)}"
        if self.elapsed < self.budget:
            return f"{self.during} was given up after {spelled(self.elapsed)} of {spelled(self.budget)}"
        of_total = self.phase == "total"
        cut = f", last in {self.during}" if of_total and self.during != "total" else ""
        limit = "total_deadline" if of_total else f"max_wait_{self.phase.removesuffix('_wait')}"
        return f"{_WAITED[self.phase]} {spelled(self.elapsed)}{cut}, and {limit} is {spelled(self.budget)}"


def _asked(dataset: str, symbols: Sequence[str]) -> str:
    return f"{dataset} ({_some(symbols, ', ')})" if symbols else dataset


def _some(things: Sequence[object], by: str) -> str:
    more = f"{by}and {len(things) - _SHOWN:,} more" if len(things) > _SHOWN else ""
    return by.join(str(thing) for thing in things[:_SHOWN]) + more


def _moment(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return whole + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"
