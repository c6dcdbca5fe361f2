"""Sources that fail, panic, flood or give something else than was asked for: it is their shards' fault alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from coordinator.cursor import Cursor
from coordinator.lease_event import LeaseChange
from coordinator.protocol import JobStatus, ShardStatus
from coordinator.shards import ShardState
from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from tests.support.operating import Operator, bars_from, minutes_of, operating, sources_installed
from tests.support.working import Running, working
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

RETRIES = 2
HIGH_BELOW_LOW = 1 << 32  # the rule's bit
SETTINGS = {
    "slots": 3,
    "chunk_rows": 50,
    "retries": RETRIES,
    "retry_base_s": 0.05,
    "retry_max_s": 0.2,
    "max_overrun": 1.0,
}


@pytest.fixture(scope="module")
def shared(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Running]]:
    """One world and one worker for all of this; each test asks for symbols of its own."""
    folder = tmp_path_factory.mktemp("sources")
    world = make_backfill_world(stack, f"sources-{uuid4().hex[:8]}", folder, backfill=SETTINGS)
    with sources_installed(), working(world) as worker, operating(world) as operator:
        yield operator, worker
    world.registry.close()


@pytest.fixture
def operator(shared: tuple[Operator, Running]) -> Operator:
    return shared[0]


@pytest.fixture
def worker(shared: tuple[Operator, Running]) -> Iterator[Running]:
    yield shared[1]
    assert shared[1].alive, shared[1].error


class Counts:
    """How much a worker's counters have grown."""

    def __init__(self, worker: Running) -> None:
        self._worker, self._before = worker, self._now(worker)

    @staticmethod
    def _now(worker: Running) -> tuple[float, float]:
        return worker.value("backfill_retry_total"), worker.value("backfill_failure_total")

    def grown(self) -> tuple[float, float]:
        """Return (retries, failures) since this was made."""
        now = self._now(self._worker)
        return now[0] - self._before[0], now[1] - self._before[1]


def test_what_fails_for_a_while_is_fetched_after_pauses_that_grow(
    operator: Operator, worker: Running, tmp_path: Path
) -> None:
    counts, marks = Counts(worker), tmp_path / "marks"
    source = bars_from(100, fail=RETRIES, state=tmp_path / "state", at=60, marks=marks)
    operator.until(operator.ask(source, ["AAA"], 100), "done")
    assert counts.grown() == (RETRIES, 0)
    assert operator.rows("AAA") == [("AAA", minute) for minute in range(100)]
    asked_at = [float(line.split()[0]) for line in marks.read_text().splitlines() if line.endswith(" 50")]
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert len(pauses) == RETRIES
    assert pauses[0] >= 0.025
    assert pauses[1] >= 0.05, "the second pause is drawn from twice as much"


def test_a_source_that_asks_to_be_left_alone_is(operator: Operator, worker: Running, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    source = bars_from(50, fail=1, state=tmp_path / "state", after=1.5, marks=marks)
    operator.until(operator.ask(source, ["AAB"], 50), "done")
    first, second = (float(line.split()[0]) for line in marks.read_text().splitlines())
    assert second - first >= 1.5


def test_what_fails_too_often_is_a_dead_letter_with_error_and_cursor_and_its_partition_moves_on(
    operator: Operator, worker: Running, tmp_path: Path
) -> None:
    counts = Counts(worker)
    source = bars_from(1_200, fail=1_000, state=tmp_path / "state", at=60)
    job = operator.ask(source, ["ABA"], 1_200)
    assert job.shards == 12
    done = operator.until(job, "failed")
    assert done.shards_by_state == {ShardState.DONE: 11, ShardState.FAILED: 1}
    assert counts.grown() == (RETRIES, 1)
    failed = only_failed(operator, job)
    assert (minutes_of(failed).start, failed.rows) == (0, 50)
    assert failed.error == "the vendor is tired"
    assert any(s.partition == failed.partition and s.offset > failed.offset for s in operator.shards(job))
    letter = operator.dead()[failed.id]
    assert letter.error == "the vendor is tired"
    cursor = Cursor.decode(letter.cursor or "")
    assert (cursor.shard, cursor.at, cursor.rows) == (failed.id, "50", 50)
    assert operator.changes(failed.id) == [LeaseChange.CLAIMED, LeaseChange.FAILED]
    there = [minute for minute in range(1_200) if minute not in minutes_of(failed)[50:]]
    assert operator.rows("ABA") == [("ABA", minute) for minute in there]


def only_failed(operator: Operator, job: JobStatus) -> ShardStatus:
    """Return the only shard of a job that failed; all others are done."""
    assert {s.state for s in operator.shards(job)} <= {ShardState.DONE, ShardState.FAILED}
    (failed,) = operator.shards(job, ShardState.FAILED)
    return failed


def test_what_need_not_be_tried_again_fails_at_once(operator: Operator, worker: Running) -> None:
    counts = Counts(worker)
    job = operator.ask(bars_from(300, broken="no such symbol", at=120), ["ACA"], 300)
    operator.until(job, "failed")
    assert counts.grown() == (0, 1)
    failed = only_failed(operator, job)
    assert failed.error == "the vendor says: no such symbol"
    assert len(operator.rows("ACA")) == 300 - len(minutes_of(failed))


@pytest.mark.parametrize(
    ("symbol", "options", "retries", "error"),
    [
        ("ADA", {"panic": 1}, RETRIES, "the source failed: Panic('called `Option::unwrap()` on a `None` value')"),
        ("ADB", {"exit": 3}, RETRIES, "the source failed: SystemExit(3)"),
        ("ADC", {"wrong": "batch"}, 0, "the source gave a str where a batch was due"),
        ("ADD", {"wrong": "columns"}, 0, "symbol"),
    ],
)
def test_a_panic_or_something_that_is_no_rows_ends_the_shard_and_nothing_else(
    operator: Operator, worker: Running, symbol: str, options: dict[str, object], retries: int, error: str
) -> None:
    counts = Counts(worker)
    job = operator.ask(bars_from(300, at=170, **options), [symbol], 300)
    operator.until(job, "failed")
    failed = only_failed(operator, job)
    assert counts.grown() == (retries, 1)
    assert error in (failed.error or "")
    assert failed.rows == 50
    assert len(operator.rows(symbol)) == 300 - len(minutes_of(failed)[50:])


def test_a_scheme_that_is_not_installed_fails_the_shard_with_those_that_are(
    operator: Operator, worker: Running
) -> None:
    job = operator.ask("carrier-pigeon:3", ["AEA"], 50)
    operator.until(job, "failed")
    error = only_failed(operator, job).error or ""
    assert "'carrier-pigeon:3' has no scheme that is installed" in error
    assert "test" in error


@pytest.mark.parametrize("kind", ["new", "same", "none"])
def test_a_source_that_never_ends_is_stopped(operator: Operator, worker: Running, kind: str, tmp_path: Path) -> None:
    counts, symbol = Counts(worker), f"AF{kind[0].upper()}"
    size = 200 if kind != "none" else 1
    job = operator.ask(bars_from(300, flood=size, flood_with=kind, batch=50), [symbol], 100)
    other = operator.ask(bars_from(300), [f"AG{kind[0].upper()}"], 300)
    operator.until(other, "done")
    operator.until(job, "failed")
    assert counts.grown() == (0, 1)
    error = only_failed(operator, job).error or ""
    assert {"none": "101 batches without a row"}.get(kind, "1000 rows where about 100 were expected") in error
    assert "seamless.backfill.max_overrun" in error


def test_rows_that_nobody_asked_for_are_dropped_and_counted(operator: Operator, worker: Running) -> None:
    job = operator.ask(bars_from(100, extra=1), ["AHA"], 100)
    operator.until(job, "done")
    shard = operator.shard(job)
    assert (shard.rows, shard.outside, shard.rejected) == (100, 3, 0)
    assert operator.rows("AHA", "NOBODY") == [("AHA", minute) for minute in range(100)]


def test_a_source_that_panics_when_it_is_closed_has_given_its_rows(operator: Operator, worker: Running) -> None:
    job = operator.ask(bars_from(300, close="panic"), ["AIA"], 300)
    operator.until(job, "done")
    assert len(operator.rows("AIA")) == 300


def test_bad_rows_go_to_quarantine_with_their_reasons(operator: Operator, worker: Running) -> None:
    job = operator.ask(bars_from(100, bad=2, at=30), ["AJA"], 100)
    operator.until(job, "done")
    shard = operator.shard(job)
    assert (shard.rows, shard.rejected) == (98, 2)
    assert operator.rows("AJA") == [("AJA", minute) for minute in range(2, 100)]
    codec = operator.world.event_codec("quarantine", "quarantined_row")
    messages = operator.world.read(operator.world.topic("quarantine"))
    rows = [codec.decode(m.value() or b"") for m in messages if m.key() == b"AJA"]
    assert len(rows) == 2
    assert [{reason["flag"] for reason in row["reasons"]} for row in rows] == [
        {"high_below_low", "high_below_body"}
    ] * 2


def test_bad_rows_pass_in_shadow_mode_and_are_flagged(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_backfill_world(stack, world, tmp_path, dataset={"mode": "shadow"}, backfill=SETTINGS)
    with sources_installed(), working(made) as worker, operating(made) as operator:
        job = operator.ask(bars_from(100, bad=2, at=30), ["AJA"], 100)
        operator.until(job, "done")
        assert operator.shard(job).rows == 100
        assert operator.rows() == [("AJA", minute) for minute in range(100)]
        assert [at for at, flags in enumerate(flags_of(made)) if flags & HIGH_BELOW_LOW] == [0, 1]
        assert worker.value("seamless_conformance_flag_total", flag="high_below_low") == 2
    assert made.read(made.topic("quarantine")) == []
    made.registry.close()


def flags_of(world: World) -> list[int]:
    """Return the flags of the rows of the history topic, oldest first."""
    codec = ReferenceCodec(parse_record(world.contract_schema.schema), world.contract_schema.id)
    columns, _, _ = codec.decode([m.value() or b"" for m in world.read(world.topic("history"))])
    flags: list[int] = columns.column("flags").to_pylist()
    return flags
