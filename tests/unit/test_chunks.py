"""What one transaction of a shard writes: rows that were asked for, refused ones aside, and a cursor to go on from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from coordinator.chunks import Chunk
from coordinator.cursor import Cursor
from coordinator.source import SourceError
from schemas.codec_reference import ReferenceCodec
from schemas.contract import load_contract
from schemas.errors import ContractError
from streams.partitioning import partition_of
from tests.support.bars import MINUTE, START, good_bar
from tests.support.shard_jobs import CONTRACT_ID, NOW, cursor_of, job_of, one_chunk, shard_of

CONTRACT = load_contract("ohlcv")
SHARD = shard_of(("A", "B"), START * 1_000, (START + 10 * MINUTE) * 1_000)


def batch(*bars: dict[str, Any]) -> pa.RecordBatch:
    rows = pa.RecordBatch.from_pylist(list(bars), schema=CONTRACT.columns)
    times = rows.column("event_time").cast(pa.timestamp("us", "UTC"))
    return rows.set_column(rows.schema.get_field_index("event_time"), "event_time", times)


def decoded(payloads: list[bytes]) -> list[dict[str, Any]]:
    codec = ReferenceCodec(CONTRACT.record, CONTRACT_ID)
    return [codec.decode_one(p) for p in payloads]


def refused(chunk: Chunk) -> list[dict[str, Any]]:
    codec = job_of().quarantine_codec
    return [codec.decode(p) for p in chunk.quarantined.payloads]


def test_rows_become_records_of_the_contract_under_their_symbol_in_its_partition() -> None:
    chunk = one_chunk(job_of(), SHARD, batch(good_bar("A", 0), good_bar("B", 0), good_bar("A", 1)))
    assert decoded(chunk.payloads) == [good_bar("A", 0), good_bar("B", 0), good_bar("A", 1)]
    assert chunk.keys == [b"A", b"B", b"A"]
    assert chunk.partitions == [partition_of(s, 4) for s in "ABA"]
    assert chunk.exhausted
    assert (chunk.cursor.at, chunk.cursor.skip, chunk.cursor.sequence, chunk.cursor.rows) == ("end", 0, 1, 3)
    assert chunk.cursor.newest == (START + MINUTE) * 1_000
    assert chunk.report.rows_in == chunk.report.rows_out == 3
    assert chunk.report.created_at == datetime.fromtimestamp(NOW / 1_000, UTC)


def test_rows_of_other_symbols_and_times_are_counted_and_neither_written_nor_judged() -> None:
    broken = good_bar("OTHER", 1, high=float("nan"))
    rows = batch(good_bar("A", -1), good_bar("A", 0), broken, good_bar("A", 1), good_bar("A", 10))
    chunk = one_chunk(job_of(), SHARD, rows)
    assert decoded(chunk.payloads) == [good_bar("A", 0), good_bar("A", 1)]
    assert (chunk.cursor.outside, chunk.cursor.rejected) == (3, 0)
    assert chunk.quarantined.keys == []
    assert chunk.cursor.last == {"A": START + MINUTE}
    assert chunk.report.rows_in == 2


def test_a_row_that_breaks_the_contract_goes_to_quarantine_as_the_source_gave_it() -> None:
    rows = batch(good_bar("OTHER", 0), good_bar("A", 0), good_bar("A", 1, high=float("nan")))
    chunk = one_chunk(job_of(), SHARD, rows)
    assert chunk.cursor.rejected == 1
    assert chunk.quarantined.keys == [b"A"]
    (row,) = refused(chunk)
    assert (row["topic"], row["partition"], row["offset"]) == ("backfill:files:bars.parquet", -1, 2)
    assert [(r["flag"], r["column"]) for r in row["reasons"]] == [("non_finite", "high")]
    assert json.loads(row["value"]) == {**good_bar("A", 1), "high": "nan", "event_time": "2023-11-14 22:15:00+00:00"}
    assert (row["contract_version"], row["timestamp_ms"], row["schema_id"]) == (3, -1, None)
    assert [(f.flag, f.examples) for f in chunk.report.findings] == [("non_finite", ("-1:2",))]


def test_shadow_mode_writes_a_broken_row_with_its_flags() -> None:
    chunk = one_chunk(job_of(mode="shadow"), SHARD, batch(good_bar("A", 1, high=float("nan"))))
    (row,) = decoded(chunk.payloads)
    assert [f.name for f in CONTRACT.explain(row["flags"])] == ["non_finite"]
    assert chunk.cursor.rejected == 0


@pytest.mark.parametrize("mode", ["shadow", "blocking"])
def test_a_row_whose_time_or_symbol_cannot_be_read_goes_to_quarantine_in_either_mode(mode: Any) -> None:
    times = ["soon", "2023-11-14T22:15:00Z", "2023-11-14T22:16:00Z"]
    bars = [good_bar("A", 0) | {"symbol": s, "event_time": t} for s, t in zip(["A", None, "A"], times, strict=True)]
    rows = pa.RecordBatch.from_pylist(bars)
    chunk = one_chunk(job_of(mode=mode), SHARD, rows)
    reasons = [{(r["flag"], r["column"]) for r in row["reasons"]} for row in refused(chunk)]
    assert reasons == [{("invalid_timestamp", "event_time")}, {("missing_value", "symbol")}]
    assert chunk.quarantined.keys == [b"A", None]
    assert (chunk.cursor.rows, chunk.cursor.rejected, chunk.cursor.outside) == (1, 2, 0)
    report = chunk.report
    assert (report.rows_in, report.rows_out, report.rows_quarantined) == (3, 1, 2)


def test_a_vendors_columns_are_found_by_their_aliases_cast_and_read_in_the_datasets_zone() -> None:
    rows = pa.RecordBatch.from_pydict(
        {
            "Ticker": pa.array(["A", "A"]).dictionary_encode(),
            "Date": ["2024-01-02 09:30", "2024-01-02 09:31"],
            "Open": ["1.5", "2"],
            "High": [3, 3],
            "Low": pa.array([1, 1], pa.float32()),
            "Close": pa.array([2.0, 2.0]),
            "exchange": ["X", "X"],
        }
    )
    start = int(datetime(2024, 1, 2, 14, 30, tzinfo=UTC).timestamp()) * 10**9
    chunk = one_chunk(job_of(timezone="America/New_York"), shard_of(("A",), start, start + 60 * 10**9), rows)
    (row,) = decoded(chunk.payloads)
    assert (row["event_time"], row["open"], row["high"], row["volume"]) == (start // 1_000, 1.5, 3.0, 0.0)
    assert {f.name for f in CONTRACT.explain(row["flags"])} == {
        "dtype_cast",
        "ts_cast",
        "ts_timezone_normalized",
        "missing_column",
    }
    assert chunk.cursor.outside == 1
    assert chunk.report.ignored_columns == ("exchange",)


def test_a_batch_larger_than_a_chunk_is_cut_and_goes_on_where_it_was_cut() -> None:
    rows = batch(*(good_bar("A", m) for m in range(5)))
    first = one_chunk(job_of(), SHARD, rows, chunk_rows=2)
    assert (first.exhausted, first.cursor.at, first.cursor.skip, len(first.payloads)) == (False, None, 2, 2)
    second = one_chunk(job_of(), SHARD, rows, chunk_rows=3, cursor=first.cursor)
    assert (second.exhausted, second.cursor.at, second.cursor.skip) == (True, "end", 0)
    assert decoded(first.payloads + second.payloads) == [good_bar("A", m) for m in range(5)]


def test_a_row_repeated_across_chunks_is_dropped_and_a_gap_between_them_is_found() -> None:
    first = one_chunk(job_of(), SHARD, batch(good_bar("A", 0), good_bar("A", 1)))
    rows = batch(good_bar("A", 1), good_bar("A", 4))
    second = one_chunk(job_of(), SHARD, rows, cursor=Cursor.decode(first.cursor.encode()))
    assert second.cursor.dropped == 1
    (row,) = decoded(second.payloads)
    assert [f.name for f in CONTRACT.explain(row["flags"])] == ["gap"]


def test_a_row_revised_across_chunks_is_written_as_a_revision() -> None:
    first = one_chunk(job_of(), SHARD, batch(good_bar("A", 1)))
    second = one_chunk(job_of(), SHARD, batch(good_bar("A", 1, price=120.0)), cursor=first.cursor)
    (row,) = decoded(second.payloads)
    assert [f.name for f in CONTRACT.explain(row["flags"])] == ["revision"]


def test_a_memory_too_large_for_the_cursor_gives_the_same_bytes_to_who_resumes_and_who_goes_on() -> None:
    symbols = tuple(f"SYM{i:04d}" for i in range(400))
    shard = shard_of(symbols, START * 1_000, (START + 10 * MINUTE) * 1_000)
    first = one_chunk(job_of(), shard, batch(*(good_bar(s, 0) for s in symbols)))
    assert len(first.cursor.last) == 400
    rows = batch(*(good_bar(s, 3) for s in symbols))
    going_on = one_chunk(job_of(), shard, rows, cursor=first.cursor)
    resumed = one_chunk(job_of(), shard, rows, cursor=Cursor.decode(first.cursor.encode()))
    assert going_on == resumed


def test_an_empty_batch_moves_the_cursor_and_writes_nothing() -> None:
    chunk = one_chunk(job_of(), SHARD, batch())
    assert (chunk.payloads, chunk.cursor.at, chunk.exhausted) == ([], "end", True)
    assert chunk.cursor.digest == cursor_of(SHARD).digest


def test_a_source_that_gives_another_batch_than_before_is_refused() -> None:
    cursor = Cursor(SHARD.id, 1, 1, skip=3)
    with pytest.raises(SourceError, match="3 rows of a batch are done, but now it has 1") as caught:
        one_chunk(job_of(), SHARD, batch(good_bar("A", 0)), cursor=cursor)
    assert not caught.value.retryable


def test_a_source_without_a_column_of_times_is_refused_by_name() -> None:
    rows = pa.RecordBatch.from_pydict({"symbol": ["A"], "when": [1]})
    with pytest.raises(ContractError, match=r"'event_time' is missing.*symbol, when"):
        one_chunk(job_of(), SHARD, rows)
