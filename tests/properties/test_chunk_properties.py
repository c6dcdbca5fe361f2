"""However a shard's rows are cut into batches and chunks, and whoever takes them over between: the same comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from coordinator.chunks import Chunk, ShardJob, make_chunk
from coordinator.cursor import Cursor
from coordinator.shards import Shard
from coordinator.source import SourceBatch
from schemas.contract import load_contract
from schemas.report import merge_reports
from tests.support.examples import examples
from tests.support.shard_jobs import NOW, cursor_of, job_of, shard_of

moderate = examples(40)

MINUTE = 60_000_000
START = 1_704_205_800_000_000
JOBS = {
    (name, mode): job_of(load_contract(name), mode, interval_ns=60_000_000_000 if name == "ohlcv" else None)
    for name in ("ohlcv", "trade")
    for mode in ("shadow", "blocking")
}
SYMBOLS = ("A", "B", "Çé")


@dataclass
class Outcome:
    """What all chunks of a shard came to."""

    cursor: Cursor
    keys: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    refused: list[tuple[bytes | None, bytes]] = field(default_factory=list)
    findings: dict[tuple[str, str | None], tuple[int, tuple[str, ...]]] = field(default_factory=dict)


def bar(symbol: str | None, minute: int | None, kind: str, variant: int) -> dict[str, Any]:
    price = 100.0 + variant
    return {
        "ticker": symbol,
        "ts": None if minute is None else START + minute * MINUTE,
        "open": price,
        "high": {"good": price, "broken": price - 1, "nan": float("nan")}[kind],
        "low": str(price),
        "close": price,
    }


def trade(symbol: str | None, minute: int | None, kind: str, variant: int) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "ts": None if minute is None else (START + minute * MINUTE) * 1_000,
        "id": str((minute or 0) % 3),
        "price": {"good": 5.0, "broken": -5.0, "nan": float("nan")}[kind],
        "size": float(variant),
        "side": "buy",
    }


BAR_COLUMNS = pa.schema(
    {
        "ticker": pa.large_string(),
        "ts": pa.timestamp("us"),
        "open": pa.float64(),
        "high": pa.float64(),
        "low": pa.string(),
        "close": pa.float64(),
    }
)
TRADE_COLUMNS = pa.schema(
    {
        "symbol": pa.string(),
        "ts": pa.int64(),
        "id": pa.string(),
        "price": pa.float64(),
        "size": pa.float64(),
        "side": pa.string(),
    }
)


@st.composite
def rows_of(draw: st.DrawFn, name: str) -> pa.RecordBatch:
    # Mostly rising times with repetitions, steps back and holes, a few of them before or behind the shard.
    minutes = np.cumsum([-2, *draw(st.lists(st.sampled_from([1, 1, 1, 0, 0, 2, -1]), max_size=25))]).tolist()
    make, columns = (bar, BAR_COLUMNS) if name == "ohlcv" else (trade, TRADE_COLUMNS)
    rows = [
        make(
            draw(st.sampled_from([*SYMBOLS, *SYMBOLS, "OTHER", None])),
            None if draw(st.integers(0, 15)) == 0 else minute,
            draw(st.sampled_from(["good"] * 6 + ["broken", "nan"])),
            draw(st.integers(0, 3)) // 3,
        )
        for minute in minutes
    ]
    return pa.RecordBatch.from_pylist(rows, schema=columns)


@st.composite
def pieces_of(draw: st.DrawFn, count: int) -> list[slice]:
    borders = [0, *sorted(draw(st.lists(st.integers(0, count), max_size=6))), count]
    return [slice(a, b) for a, b in pairwise(borders)]


def run(job: ShardJob, shard: Shard, rows: pa.RecordBatch, pieces: Sequence[slice], sizes: Sequence[int]) -> Outcome:
    """Run a shard to its end; every chunk's cursor goes through the text that another worker would read."""
    batches = [SourceBatch(rows.slice(s.start, s.stop - s.start), str(s.stop)) for s in pieces]
    outcome, chunks = Outcome(cursor_of(shard)), 0
    reports = []
    for batch in batches:
        exhausted = False
        while not exhausted:
            cursor = Cursor.decode(outcome.cursor.encode())
            size = sizes[chunks % len(sizes)]
            chunk = make_chunk(job, shard, cursor, batch, size, now_ms=NOW)
            add(outcome, chunk)
            reports.append(chunk.report)
            exhausted, chunks = chunk.exhausted, chunks + 1
    merged = merge_reports(reports)
    outcome.findings = {(f.flag, f.column): (f.count, f.examples) for f in merged.findings}
    assert outcome.cursor.sequence == chunks
    assert outcome.cursor.at == batches[-1].cursor
    return outcome


def add(outcome: Outcome, chunk: Chunk) -> None:
    outcome.keys += chunk.keys
    outcome.payloads += chunk.payloads
    outcome.partitions += chunk.partitions
    outcome.refused += zip(chunk.quarantined.keys, chunk.quarantined.payloads, strict=True)
    outcome.cursor = chunk.cursor


@moderate
@given(st.data())
def test_any_cut_of_a_shard_writes_the_same_rows_with_the_same_digest_and_counts(data: st.DataObject) -> None:
    name, mode = data.draw(st.sampled_from(sorted(JOBS)))
    job, rows = JOBS[name, mode], data.draw(rows_of(name))
    shard = shard_of(SYMBOLS, START * 1_000, (START + 12 * MINUTE) * 1_000)
    whole = run(job, shard, rows, [slice(0, rows.num_rows)], [1_000])
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    pieces = data.draw(pieces_of(rows.num_rows))
    cut = run(job, shard, rows, pieces, sizes)
    assert (cut.keys, cut.payloads, cut.partitions) == (whole.keys, whole.payloads, whole.partitions)
    assert cut.refused == whole.refused
    assert cut.findings == whole.findings
    for counted in ("rows", "rejected", "outside", "dropped", "digest", "newest", "last", "seen"):
        assert getattr(cut.cursor, counted) == getattr(whole.cursor, counted), counted
    fetched = cut.cursor.rows + cut.cursor.rejected + cut.cursor.outside + cut.cursor.dropped
    assert fetched == rows.num_rows
