"""One objective of one series: its windows, what was folded so far, and its open breach."""

from __future__ import annotations

from typing import Any

from streams.sla.breach import Breach
from streams.sla.clock import floor
from streams.sla.fold import Fold
from streams.sla.judges import BudgetJudge, judge_of
from streams.sla.objectives import Watch
from streams.sla.verdict import Links, Verdict, follow, nanos, resolved
from streams.sla.windows import Panes

__all__ = ["Series"]


class Series:
    """The state of one objective of one series; made anew, or from the record of its state.

    Everything that follows from it depends on what was folded and on the watermark, not on when, in which order or how
    often that was handed over.

    Args:
        since: the watermark when it began to be watched, nanoseconds since the epoch; steps that end later are judged.
        kept: what `datum` returned.

    Attributes:
        offset: that of the last record that was folded; what is not behind it was folded before.
        breach: the latest record of the breach that is open; None if none is.
    """

    def __init__(self, watch: Watch, links: Links, since: int, kept: dict[str, Any] | None = None) -> None:
        self.watch, self._links = watch, links
        self._since = since if kept is None else kept["since"]
        # What was kept may be from before the objective was given other windows.
        self._closed = floor(self._since if kept is None else kept["closed"] + watch.step - 1, watch.step)
        self.offset: int = -1 if kept is None else kept["offset"]
        self._sources: dict[int, int] = {} if kept is None else {s["partition"]: s["offset"] for s in kept["sources"]}
        self._panes = Panes(watch.step)
        self.breach: Breach | None = None
        if kept is not None:
            for each in kept["panes"]:
                self._panes.add(each["start"], Fold.from_datum(each["fold"]))
            self.breach = None if kept["breach"] is None else Breach.from_datum(kept["breach"])
        self._judge = judge_of(watch, kept)

    @property
    def empty(self) -> bool:
        """Whether it says no more than that nothing was observed; then it need not be kept."""
        return not len(self._panes) and self.breach is None and self._judge.empty

    @property
    def windows(self) -> int:
        """How many panes of open windows it holds."""
        return len(self._panes)

    @property
    def closed(self) -> int:
        """Steps that end here or before are judged."""
        return self._closed

    def end_of(self, at: int) -> int:
        """Return the end of the step that a moment is in; once that is closed, what is told of the moment is late."""
        return self._panes.end_of(at)

    def fold(self, offset: int, source: tuple[int, int] | None, at: int, fold: Fold) -> bool:
        """Fold what was told at a moment, unless it was folded before; return whether it was folded.

        Args:
            offset: of its record in the partition.
            source: partition and offset that it was handed on from; a record may be handed on more than once.
        """
        if offset <= self.offset:
            return False
        self.offset = offset
        if source is not None:
            partition, origin = source
            if origin <= self._sources.get(partition, -1):
                return False
            self._sources[partition] = origin
        self._panes.add(at, fold)
        return True

    def advance(self, closed: int) -> list[Breach]:
        """Judge every step that ends at `closed` or before; return the records that follow."""
        until, found = floor(closed, self.watch.step), []
        while self._closed < until:
            end = self._judge.next_end(self._panes, self._closed, until, is_open=self.breach is not None)
            end = min(end, self._escalates(until))
            verdict = self._judge.judge(self._panes, end)
            self._panes.drop_before(self._judge.needs_from(end))
            self._closed = end
            record = follow(self.watch, self._links, self.breach, verdict)
            if record is not None:
                self.breach = record if record.is_open else None
                found.append(record)
        return found

    def peek(self, at: int) -> Verdict:
        """Return how things stand at a moment, in the window that has not ended."""
        return self._judge.peek(self._panes, max(at, self._closed))

    @property
    def budget_left(self) -> float | None:
        """The share of an error budget that is left in its period, negative if it is overdrawn; None of other kinds."""
        return self._judge.ledger.left(self._closed) if isinstance(self._judge, BudgetJudge) else None

    def withdraw(self) -> Breach | None:
        """Return the record that ends its breach, if one is open, as nobody promises this any more."""
        return None if self.breach is None else resolved(self.breach, "withdrawn")

    def datum(self) -> dict[str, Any]:
        """Return the state, as `schemas/events/sla_state.avsc` has it."""
        return {
            "key": self.watch.id,
            "offset": self.offset,
            "watermark": None,
            "since": self._since,
            "closed": self._closed,
            "sources": [{"partition": p, "offset": o} for p, o in sorted(self._sources.items())],
            "panes": [{"start": start, "fold": fold.datum()} for start, fold in self._panes],
            "breach": None if self.breach is None else self.breach.datum(),
            **self._judge.datum(),
        }

    def _escalates(self, until: int) -> int:
        """Return the first end of a step at which an open breach has lasted too long, if that is still to come."""
        after = self.watch.escalate_after
        if self.breach is None or after is None or self.breach.severity == "critical":
            return until
        step = self.watch.step
        due = floor(nanos(self.breach.opened_at) + after + step - 1, step)
        return due if due > self._closed else until
