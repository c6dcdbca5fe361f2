"""Any interleaving of live rows, backfill, corrections, archive commits, restarts and retention: what a stream gives
against what was written, on real Kafka and a real table."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from operations.stack import EmbeddedStack
from operations.testing.shared_stack import delete_topics
from streams.provider.stream import Stream
from streams.provider.stream_position import StreamPosition
from tests.support.archiving import Writer, archive_all, delete_before, make_archive_world
from tests.support.bars import MINUTE, START, good_bar
from tests.support.streaming import Identity, Kept, open_stream
from tests.support.worlds import World

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(3_000)]

SYMBOLS = ("AAA", "BBB", "CCC")
AS_OF = 1_700_000_000_000
EXAMPLES = int(os.environ.get("SEAMLESS_STREAM_EXAMPLES", "12"))
_numbers = count()

Kind = Literal["live", "backfill", "correct", "archive", "retention", "read", "row", "restart"]


@dataclass(frozen=True)
class Action:
    kind: Kind
    symbol: str = "AAA"
    minutes: int = 1
    size: int = 1


symbols = st.sampled_from(SYMBOLS)
small = st.integers(1, 12)
actions = st.one_of(
    st.builds(Action, st.just("live"), symbols, st.integers(1, 4), small),
    st.builds(Action, st.just("backfill"), symbols, st.integers(0, 40), small),
    st.builds(Action, st.just("correct"), symbols, st.integers(0, 40)),
    st.builds(Action, st.sampled_from(["archive", "archive", "retention", "restart", "restart"])),
    st.builds(Action, st.sampled_from(["read", "read", "row"]), size=small),
)


@dataclass
class Model:
    """A world, what was written into it, and one reader of it."""

    world: World
    writer: Writer
    kept: Kept = field(default_factory=Kept)
    written: dict[Identity, float] = field(default_factory=dict)
    position: str | None = None
    stream: Stream | None = None
    newest: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, 40))
    prices: count[int] = field(default_factory=lambda: count(100))

    def do(self, action: Action) -> None:
        getattr(self, action.kind)(action)

    def live(self, action: Action) -> None:
        first = self.newest[action.symbol] + action.minutes  # more than one minute on leaves a hole
        self.newest[action.symbol] = first + action.size - 1
        self.writer.live(self._rows(action.symbol, range(first, first + action.size)))

    def backfill(self, action: Action) -> None:
        known = {minute for symbol, minute in self._minutes() if symbol == action.symbol}
        wanted = [m for m in range(action.minutes, action.minutes + action.size) if m not in known]
        if wanted and max(wanted) < self.newest[action.symbol]:
            self.writer.history(self._rows(action.symbol, wanted), AS_OF)

    def correct(self, action: Action) -> None:
        if any(symbol == action.symbol and minute == action.minutes for symbol, minute in self._minutes()):
            self.writer.live(self._rows(action.symbol, [action.minutes]))

    def archive(self, _: Action) -> None:
        archive_all(self.world)

    def retention(self, _: Action) -> None:
        """Delete what is archived and what the reader may still want from Kafka, as weeks later."""
        self.restart(Action("restart"))
        archive_all(self.world)
        taken = StreamPosition.parse(self.position).taken if self.position else {}
        for topic, parts in taken.items():
            for partition, offset in parts.items():
                if offset:
                    delete_before(self.world, self.world.topic(topic), partition, offset)

    def read(self, action: Action) -> None:
        for _ in range(action.size):
            frame = self._open().poll(0.0)
            if frame is None:
                return
            self.kept.take(frame)

    def row(self, action: Action) -> None:
        frame = self._open().take(0.0)
        if frame is not None:
            some = frame.head(action.size)
            self.kept.take(some)
            self._open().gave(some.height)

    def restart(self, _: Action) -> None:
        if self.stream is not None:
            self.position = str(self.stream.position)
            self.stream.close()
            self.stream = None

    def finish(self) -> None:
        """Read everything there is, and hold it against what was written."""
        self.restart(Action("restart"))
        with open_stream(self.world, self.position, until_end=True, on_late=self.kept.take_late) as stream:
            for frame in stream:
                self.kept.take(frame)
        told = self.kept.rows.keys() | self.kept.late.keys()
        assert told == self.written.keys(), f"never told of: {sorted(self.written.keys() - told)[:5]}"
        stale = [i for i, price in self.kept.rows.items() if price != self.written[i] and i not in self.kept.late]
        assert not stale, f"corrected and not told of: {stale[:5]}"

    def _open(self) -> Stream:
        if self.stream is None:
            self.stream = open_stream(self.world, self.position, batch_rows=10, on_late=self.kept.take_late)
        return self.stream

    def _minutes(self) -> list[tuple[str, int]]:
        return [(symbol, (time - START) // MINUTE) for symbol, time in self.written]

    def _rows(self, symbol: str, minutes: range | list[int]) -> list[dict[str, object]]:
        found = [good_bar(symbol, minute, price=float(next(self.prices))) for minute in minutes]
        self.written |= {(symbol, bar["event_time"]): bar["close"] for bar in found}
        return found


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes an hour of real Kafka
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@example(
    # A position from before the first row, and the only rows behind it in the archive alone.
    steps=[
        Action("read"),
        Action("live", "AAA", 1, 6),
        Action("restart"),
        Action("row", size=2),
        Action("retention"),
        Action("read", size=9),
    ]
)
@given(steps=st.lists(actions, min_size=4, max_size=22))
def test_every_row_is_given_once_and_in_order_or_told_of_as_late(
    stack: EmbeddedStack, world: str, steps: list[Action]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = f"{world[-8:]}-{next(_numbers)}"
        made = make_archive_world(stack, name, Path(folder))
        writer = Writer(made)
        model = Model(made, writer)
        try:
            for step in steps:
                note(str(step))
                model.do(step)
            model.finish()
        finally:
            if model.stream is not None:
                model.stream.close()
            writer.close()
            made.registry.close()
            delete_topics(stack.bootstrap_servers, name)
