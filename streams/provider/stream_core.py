"""The reading behind a stream: opened once, then history in the order of event time, then what comes.

History is the archive's rows up to the offsets that its table names, and Kafka's from exactly there, which are read to
their end before the first row is given: so rows of both come in the order of time, and nothing is between them. What
lands while history is given waits for its turn if its time is still to come. All this is by offsets: see
`stream_position` for what a position says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from schemas.contract import Contract
from streams.archive.layout import Source
from streams.archive.newest import newest_rows
from streams.archive.reader import ArchiveReader, ArchiveSnapshot, as_users_want
from streams.clock import Deadline
from streams.errors import ArchiveUnavailable, BrokerError
from streams.log import get_logger
from streams.provider.account import Surroundings
from streams.provider.calls import Timeout
from streams.provider.kit import Degraded
from streams.provider.live_reader import LiveReader
from streams.provider.phase_run import Failed
from streams.provider.phases import Phases
from streams.provider.stream_age import Age
from streams.provider.stream_chunk import Chunk, Filler
from streams.provider.stream_dealt import Dealt, below
from streams.provider.stream_history import History, Window
from streams.provider.stream_opening import Lacks, Opening
from streams.provider.stream_order import SymbolOrder, nanoseconds_of
from streams.provider.stream_position import StreamPosition, advanced
from streams.provider.stream_spill import Spill
from streams.provider.switch import Switch
from streams.registry import RegistryUnavailable
from streams.settings import Settings
from streams.sla_resolve import ResolvedPolicy

__all__ = ["StreamCore"]

_TURN_S = 0.25
_ABSORBED_AT_ONCE = 8

log = get_logger("provider")


class StreamCore:
    """Reads one dataset; for one thread, but that its switch may be thrown from any.

    Args:
        began: where to begin; without offsets for a new stream.
        fill: how holes are filled before history is given; None if they are not.
        batch_rows: about so many rows in a chunk.

    Attributes:
        position: behind all that was dealt with but the chunk that was returned last.
        late: rows that landed after the stream was beyond their time, until somebody takes them.
        lacks: what it goes on without.
    """

    def __init__(
        self,
        settings: Settings,
        resolved: ResolvedPolicy,
        around: Surroundings,
        archive: ArchiveReader,
        began: StreamPosition,
        switch: Switch,
        *,
        degraded: Degraded,
        fill: Filler | None,
        batch_rows: int,
    ) -> None:
        if resolved.policy.max_wait_live == 0:  # A stream that does not wait for live rows would never begin.
            resolved = replace(resolved, policy=resolved.policy.model_copy(update={"max_wait_live": None}))
        self.position, self.lacks = began, Lacks(began.dataset, degraded)
        self._switch, self._fill, self._batch_rows = switch, fill, batch_rows
        self.late: list[pl.DataFrame] = []
        self._phases = Phases(resolved, symbols=began.symbols or (), around=around, switch=switch)
        self._opening = Opening(settings, archive, began, self.lacks)
        self._symbols = None if began.symbols is None else list(began.symbols)
        self._dealt = Dealt(began)
        self._spill = Spill(in_memory=max(batch_rows, 100_000))
        self._live: LiveReader | None = None
        self._history: History | None = None
        self._known: tuple[Contract, int] | None = None
        self._age = Age(settings.dataset(began.dataset), self._phases, around)
        self._opened = False

    @property
    def contract(self) -> Contract:
        """The version of the contract whose columns rows have; only once the stream is open."""
        assert self._known is not None
        return self._known[0]

    @property
    def contract_version(self) -> int:
        """Its number in the registry."""
        assert self._known is not None
        return self._known[1]

    @property
    def reads_history_at(self) -> int | None:
        """Event time that history has got to, nanoseconds since the epoch; None once the stream is live."""
        return None if self._history is None else self._history.at

    def behind(self) -> int:
        """Return how many records, at most, are committed and were not given yet, as far as is known."""
        return self._spill.rows + (0 if self._live is None else self._live.behind())

    def step(self, seconds: float | None, *, until_end: bool = False) -> Chunk | None:
        """Return the next rows; None if none came in time, or (`until_end`) if all that is committed was given.

        Raises:
            SeamlessSLAExceeded: if a promise is not kept, and the policy says to fail then. A further step goes on.
            Stopped: if the switch was thrown.
            ArchiveUnavailable, BrokerError, RegistryError: as the policy says, if something cannot be opened.
            UnreadableRow: if a record is no row of the dataset.
        """
        deadline = None if seconds is None else Deadline(seconds)
        self.open()
        while True:
            self._switch.check()
            if self._history is not None:
                chunk = self._from_history(self._history)
            elif self._live is None:
                chunk = None
                self._open_late()
            else:
                left = _TURN_S if deadline is None else min(_TURN_S, deadline.left())
                chunk = self._from_live(self._live, left)
            if chunk is not None:
                return chunk
            if self._history is None:
                if until_end and self._live is not None and self._live.at_end:
                    return None
                if deadline is not None and deadline.passed():
                    return None

    def open(self) -> None:
        """Open archive and topics, and read what Kafka has behind the archive; a second call does nothing."""
        if self._opened:
            return
        try:
            self._open(self.position)
        except BaseException:  # or the next step would open all of it once more
            self.close()
            raise
        self._tell_skipped()
        self._opened = True

    def close(self) -> None:
        """Let go of everything."""
        self._spill.close()
        if self._live is not None:
            self._live.close()
            self._live = None

    # Opening

    def _open(self, began: StreamPosition) -> None:
        with self._phases.renewed() as phases:
            if not began.since:  # else Kafka alone may have all that was not dealt with
                self._opening.archive(phases)
            self._live = self._opening.topics(phases, self._known)
            self._choose_contract()
            self._order = SymbolOrder(self.contract, began.last, began.ties)
            start = began.start if began.reached is None or began.since else began.reached
            self._history = self._historian(self._opening.snapshot, start)
            self._gather(phases, ends=None)
            if not self._dealt.anything and self._fill is not None:
                history = phases, self._opening.snapshot, self._spill, self.contract
                if self._fill.fill(*history) and self._live is not None:
                    self._gather(phases, ends=self._live.ends())
                self._fill.check(*history)

    def _historian(self, snapshot: ArchiveSnapshot | None, start: int | None) -> History:
        return History(
            snapshot,
            self._spill,
            self.contract,
            self._symbols,
            self._dealt,
            self._order,
            start=start,
            rows=self._batch_rows,
        )

    def _choose_contract(self) -> None:
        """Take the columns of the newest version of the contract that can be had."""
        snapshot = self._opening.snapshot
        if self._live is not None:
            self._known = self._live.contract, self._live.version
        elif snapshot is not None:
            self._known = snapshot.contract, snapshot.contract_version
        else:
            why = "; ".join(self.lacks.reasons.values())
            raise BrokerError(f"{self.position.dataset} can be read neither from the archive nor from Kafka: {why}.")

    def _open_late(self) -> None:
        """Open the topics that were away when history began; what they have by now comes in the order of time."""
        phases = self._phases.renewed()
        self._live = self._opening.topics(phases, self._known)
        if self._live is None:
            self._switch.pause(_TURN_S)
            return
        self._history = self._historian(None, None)
        self._gather(phases, ends=None)

    def _gather(self, phases: Phases, ends: Mapping[Source, int] | None) -> None:
        """Read Kafka to its ends, those of now if none are given; what is read waits for its turn."""
        live = self._live
        if live is None:
            return
        with phases.phase("live_wait") as phase:
            while not (live.at_end if ends is None else all(live.reached[s] >= end for s, end in ends.items())):
                self._switch.check()
                self._take_in(live.read(self._batch_rows, _TURN_S))
                left = phase.left()
                if left is not None and left <= 0:
                    phase.give_up("what Kafka has behind the archive was not read to its end")
                    return

    def _tell_skipped(self) -> None:
        """Tell of rows that landed since the position was taken, are before its time, and only the archive has."""
        snapshot, reached, skipped = self._opening.snapshot, self.position.reached, self._opening.skipped
        if not skipped or snapshot is None or reached is None or self.position.since:
            return
        stored = snapshot.stored(self._symbols, self.position.start, reached)
        ends = advanced({}, skipped, self._opening.names)
        self._late(
            as_users_want(stored.filter(below(stored, ends) & ~below(stored, self.position.taken)), self.contract)
        )

    # History

    def _from_history(self, history: History) -> Chunk | None:
        self._absorb()
        window = self._patiently(history)
        if window is None:
            self._history = None
            self._age.begins_at(max(self._order.last.values(), default=None))
            if self._live is not None:
                self.position = self._at(None)
            return None
        within = self._at(window.start)
        rows, late = self._order.split(window.rows)
        history.advance(window)
        self._late(late)
        after = self._at(window.end)
        if rows.height:
            return Chunk(rows, within, after)
        self.position = after
        return None

    def _patiently(self, history: History) -> Window | None:
        """Return the next window: a stream leaves nothing out, so it waits on where the policy does not say to fail."""
        while True:
            with self._phases.renewed().phase("storage_wait") as phase:
                found = phase.retry(history.read, ArchiveUnavailable)
            if not isinstance(found, Timeout | Failed):
                self.lacks.back("storage_wait")
                return found
            self.lacks.add("storage_wait", found.reason)
            self._switch.pause(_TURN_S)

    def _absorb(self) -> None:
        """Take in what has come meanwhile, without waiting."""
        for _ in range(_ABSORBED_AT_ONCE):
            try:
                frame = None if self._live is None else self._live.read(self._batch_rows, 0.0)
            except RegistryUnavailable as error:  # the records stay where they are
                log.info("rows_wait_for_registry", dataset=self.position.dataset, error=str(error))
                return
            if frame is None:
                return
            self._take_in(frame)

    def _take_in(self, frame: pl.DataFrame | None) -> None:
        """Let rows wait for their turn; those whose time has passed are late."""
        if frame is None or not frame.height:
            return
        frame, ns = self._wanted(frame)
        at = None if self._history is None else self._history.at
        if at is not None and (ns < at).any():
            self._late(frame.filter(ns < at).select(self.contract.columns.names))
            frame, ns = frame.filter(ns >= at), ns.filter(ns >= at)
        self._spill.add(frame, ns)

    def _wanted(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """Return the rows that are of the stream and not dealt with, and their event times."""
        ns = frame.select(nanoseconds_of(self.contract)).to_series()
        keep = pl.repeat(True, frame.height, eager=True) if self.position.start is None else ns >= self.position.start
        if self._dealt.anything:
            keep = keep & ~self._dealt.mask(frame, ns, self._order.fresh(frame))
        return (frame, ns) if keep.all() else (frame.filter(keep), ns.filter(keep))

    # Live

    def _from_live(self, live: LiveReader, seconds: float) -> Chunk | None:
        self._age.look()  # which may raise: before anything is read that would be lost then
        frame = live.read(self._batch_rows, seconds)
        if frame is None or not frame.height:
            self.position = self._at(None)
            return None
        within = self.position.model_copy(update={"taken": advanced({}, live.reached, self._opening.names)})
        frame, _ = self._wanted(frame)
        self._age.saw(frame, self.contract)
        rows, late = self._order.split(newest_rows(frame, self.contract))
        self._late(late)
        if rows.height:
            return Chunk(rows, within, self._at(None))
        self.position = self._at(None)
        return None

    # Both

    def _at(self, reached: int | None) -> StreamPosition:
        """Return the position in which all is dealt with that was read, up to an event time or (None) all of it."""
        offsets = dict(self._opening.archived)
        if self._live is not None:
            offsets |= self._live.reached
        taken = advanced({}, offsets, self._opening.names)
        update: dict[str, object] = {"taken": taken, "reached": reached}
        update |= {"last": self._order.last, "ties": self._order.ties}
        if reached is None:
            update["since"] = taken
        return self.position.model_copy(update=update)

    def _late(self, rows: pl.DataFrame) -> None:
        if rows.height:
            self.late.append(rows)
