"""A batch of raw rows becomes normalized rows, rejects with reasons, new states and a report."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from rich.console import Console

from schemas.avro import parse_record
from schemas.conformance import ConformancePipeline, ConformanceResult, Failure, Origin, Part, Reason
from schemas.contract import Contract, load_contract
from schemas.errors import ContractError
from schemas.events import load_event
from schemas.findings import Severity
from schemas.grid import NANOS
from schemas.keystate import KeyStates
from schemas.report import ConformanceReport, FindingCount, OffsetRange, merge_reports

MINUTE = 60 * NANOS
START = 1_704_205_800  # 2024-01-02 14:30 UTC
NAN = float("nan")

OHLCV, TRADE, QUOTE = (load_contract(name) for name in ("ohlcv", "trade", "quote"))


def bars(*minutes: float, symbol: str = "AAPL", **changes: Any) -> pl.DataFrame:
    """Sound bars at minutes after the start."""
    n = len(minutes)
    columns: dict[str, Any] = {
        "symbol": [symbol] * n,
        "event_time": pl.Series([int((START + m * 60) * 1_000_000) for m in minutes], dtype=pl.Int64).cast(
            pl.Datetime("us", "UTC")
        ),
        "open": [10.0] * n,
        "high": [11.0] * n,
        "low": [9.0] * n,
        "close": [10.5] * n,
        "volume": [100.0] * n,
    }
    return pl.DataFrame({**columns, **changes})


def trades(*rows: tuple[int, str, float]) -> pl.DataFrame:
    """Trades of one symbol: nanoseconds after the start, id, price."""
    return pl.DataFrame(
        {
            "symbol": ["AAPL"] * len(rows),
            "event_time": pl.Series([START * NANOS + r[0] for r in rows], dtype=pl.Int64).cast(
                pl.Datetime("ns", "UTC")
            ),
            "trade_id": [r[1] for r in rows],
            "price": [r[2] for r in rows],
            "size": [1.0] * len(rows),
            "side": ["buy"] * len(rows),
        }
    )


def pipeline(
    contract: Contract = OHLCV, mode: Literal["shadow", "blocking"] = "blocking", **more: Any
) -> ConformancePipeline:
    if contract is OHLCV:
        more.setdefault("interval_ns", MINUTE)
    return ConformancePipeline(contract, mode, dataset="d", world="w", **more)


def flags(result: ConformanceResult) -> list[list[str]]:
    """Names of the findings of each accepted row."""
    return [[f.name for f in result.contract.explain(bits)] for bits in result.batch.column("flags").to_pylist()]


def counts(result: ConformanceResult) -> dict[tuple[str, str | None], int]:
    return {(f.flag, f.column): f.count for f in result.report.findings}


def test_sound_bars_pass_as_they_are() -> None:
    result = pipeline().run(bars(0, 1, 2))
    assert result.rows is None
    assert result.rejected == []
    assert len(result.dropped) == 0
    assert result.report.findings == ()
    assert flags(result) == [[], [], []]
    assert result.accepted.schema["event_time"] == pl.Datetime("us", "UTC")
    assert result.accepted["event_time"][0] == datetime(2024, 1, 2, 14, 30, tzinfo=UTC)


def test_shadow_passes_every_row_with_its_flags_where_blocking_rejects() -> None:
    raw = bars(0, 1, 2, 2, close=[10.5, NAN, 10.5, 10.5], low=[9.0, 9.0, 12.0, 12.0])
    shadow = pipeline(mode="shadow").run(raw)
    assert shadow.batch.num_rows == 4
    assert flags(shadow) == [[], ["non_finite"], *[["high_below_low", "low_above_body"]] * 2]
    assert shadow.rejected == []
    blocking = pipeline().run(raw)
    assert blocking.batch.num_rows == 1
    assert blocking.rows is not None
    assert blocking.rows.tolist() == [0]
    assert [r.row for r in blocking.rejected] == [1, 2, 3]
    assert blocking.rejected[0].reasons == (Reason("non_finite", "close"),)
    assert blocking.rejected[1].reasons == (
        Reason("high_below_low", "high,low"),
        Reason("low_above_body", "low,open,close"),
    )
    assert counts(shadow) == counts(blocking)


def test_blocking_drops_duplicates_and_passes_revisions() -> None:
    raw = bars(0, 0, 0, close=[10.5, 10.5, 10.6])
    result = pipeline().run(raw)
    assert result.dropped.tolist() == [1]
    assert flags(result) == [[], ["revision"]]
    assert result.batch.column("close").to_pylist() == [10.5, 10.6]
    assert (result.report.rows_in, result.report.rows_out, result.report.rows_dropped) == (3, 2, 1)
    shadow = pipeline(mode="shadow").run(raw)
    assert flags(shadow) == [[], ["duplicate_ts"], ["revision"]]


def test_the_last_64_rows_of_a_key_are_remembered_by_default() -> None:
    p = pipeline(TRADE)
    states = p.new_states()
    states.apply(p.run(trades(*((i, str(i), 5.0) for i in range(65))), states).delta)
    assert p.run(trades((1, "1", 5.0)), states).dropped.tolist() == [0]
    assert p.run(trades((0, "0", 5.0)), states).dropped.tolist() == []


def test_warnings_of_order_pass_flagged() -> None:
    result = pipeline(lateness_ns=2 * MINUTE).run(bars(0, 10, 9, 5))
    assert flags(result) == [[], ["gap"], ["out_of_order"], ["out_of_order", "late"]]


def test_lateness_is_judged_in_the_contracts_own_units() -> None:
    for contract, frame in (
        (OHLCV, bars(10, 5, 4.99)),
        (TRADE, trades((5 * NANOS, "1", 1.0), (0, "2", 1.0), (-1, "3", 1.0))),
    ):
        result = pipeline(contract).run(frame)
        assert ["late" in names for names in flags(result)] == [False, False, True]


def test_a_contract_may_reject_what_is_late() -> None:
    strict = Contract.parse({**OHLCV.schema, "severities": {"late": "violation"}})
    result = pipeline(strict, interval_ns=MINUTE, lateness_ns=0).run(bars(1, 0))
    assert [r.row for r in result.rejected] == [1]
    assert result.rejected[0].reasons == (Reason("late", "event_time"),)


def test_a_quarantined_row_is_not_remembered_so_it_is_no_duplicate_when_it_is_replayed() -> None:
    p = pipeline()
    states = p.new_states()
    first = p.run(bars(0, 1, 1, close=[10.5, -1.0, -1.0]), states)
    assert [r.row for r in first.rejected] == [1, 2]
    assert first.report.count("duplicate_ts") == 0
    states.apply(first.delta)
    assert states.all_records()[0].rows == 1
    replayed = p.run(bars(1), states)
    assert flags(replayed) == [[]]


def test_two_trades_in_one_nanosecond_are_two_trades_and_keep_their_nanosecond() -> None:
    result = pipeline(TRADE).run(trades((123, "1", 5.0), (123, "2", 5.0), (123, "2", 5.0)))
    assert result.batch.column("event_time").to_pylist() == [START * NANOS + 123] * 2
    assert result.dropped.tolist() == [2]
    assert flags(result) == [[], []]


def test_a_locked_quote_passes_and_a_crossed_one_does_not() -> None:
    raw = pl.DataFrame(
        {
            "symbol": ["A", "A"],
            "ts": ["2024-01-02T14:30:00.000000001Z", "2024-01-02T14:30:00.000000002Z"],
            "sequence": [1, 2],
            "bid": [10.0, 10.0],
            "ask": [10.0, 9.0],
            "bid_size": [1.0, 1.0],
            "ask_size": [1.0, 1.0],
        }
    )
    result = pipeline(QUOTE).run(raw)
    assert result.batch.num_rows == 1
    assert result.rejected[0].reasons == (Reason("crossed_quote", "ask,bid"),)
    assert result.batch.column("event_time").to_pylist() == [START * NANOS + 1]


def test_a_symbol_of_two_partitions_is_two_keys() -> None:
    p = pipeline()
    origin = Origin(np.array([0, 3], np.int32), np.array([5, 5]))
    result = p.run(bars(0, 0), origin=origin)
    assert len(result.dropped) == 0
    assert result.report.ranges == (
        OffsetRange(partition=0, first=5, last=5, rows=1),
        OffsetRange(partition=3, first=5, last=5, rows=1),
    )


def test_states_are_not_changed_until_the_delta_is_applied() -> None:
    p = pipeline()
    states = p.new_states()
    delta = p.run(bars(0), states).delta
    assert p.run(bars(0), states).dropped.tolist() == []
    states.apply(delta)
    assert p.run(bars(0), states).dropped.tolist() == [0]


def test_without_states_a_batch_stands_alone() -> None:
    p = pipeline()
    assert p.run(bars(0)).report.findings == p.run(bars(0)).report.findings == ()


@pytest.mark.parametrize("empty", [bars(), bars().to_arrow(), []])
def test_an_empty_batch_gives_an_empty_result(empty: Any) -> None:
    states = KeyStates(64)
    result = pipeline().run(empty, states)
    assert result.batch.num_rows == 0
    assert result.batch.schema == OHLCV.columns
    assert result.report.rows_in == 0
    assert result.report.ranges == ()
    assert states.records(result.delta) == []


def test_a_batch_of_which_every_row_is_rejected_touches_no_state() -> None:
    p = pipeline()
    states = p.new_states()
    result = p.run(bars(0, 1, close=[NAN, -1.0]), states)
    assert result.batch.num_rows == 0
    assert [r.row for r in result.rejected] == [0, 1]
    assert states.records(result.delta) == []


def test_failures_are_rejected_in_both_modes_with_their_detail() -> None:
    for mode in ("shadow", "blocking"):
        p = pipeline(mode=mode)  # type: ignore[arg-type]
        part = Part(_batch(bars(0, 1)), None, np.array([0, 2]))
        failures = [Failure(3, "unknown_schema", "nobody knows 9"), Failure(1, "undecodable", "poison")]
        result = p.run([part], failures=failures)
        assert [(r.row, r.reasons) for r in result.rejected] == [
            (1, (Reason("undecodable", None, "poison"),)),
            (3, (Reason("unknown_schema", None, "nobody knows 9"),)),
        ]
        assert result.rows is not None
        assert result.rows.tolist() == [0, 2]
        assert result.report.rows_in == 4
        assert counts(result) == {("unknown_schema", None): 1, ("undecodable", None): 1}


def test_a_batch_of_failures_alone_has_no_rows() -> None:
    result = pipeline().run([], failures=[Failure(0, "undecodable", "x"), Failure(1, "undecodable", "y")])
    assert result.batch.num_rows == 0
    assert [r.row for r in result.rejected] == [0, 1]
    assert result.report.findings[0].examples == ("0:0", "0:1")


def _batch(frame: pl.DataFrame) -> pa.RecordBatch:
    return frame.to_arrow().combine_chunks().to_batches()[0] if len(frame) else pa.RecordBatch.from_pylist([])


def test_one_part_may_hold_its_rows_in_any_order() -> None:
    frame = bars(1, 0, close=[10.1, 10.2])
    result = pipeline().run([Part(_batch(frame), None, np.array([1, 0]))])
    assert result.batch.column("close").to_pylist() == [10.2, 10.1]
    assert flags(result) == [[], []]


@pytest.mark.parametrize(
    ("places", "failures"), [([0, 0], []), ([0, 2], []), ([0, 1], [1]), ([0, 1], [5]), (None, [1]), ([0], [])]
)
def test_parts_that_do_not_make_a_batch_are_a_bug_and_refused(places: list[int] | None, failures: list[int]) -> None:
    rows = None if places is None else np.array(places)
    with pytest.raises(ValueError, match="all the rows of a batch, each once"):
        pipeline().run(
            [Part(_batch(bars(0, 1)), None, rows)], failures=[Failure(f, "undecodable", "") for f in failures]
        )


def test_an_origin_of_other_rows_is_a_bug_and_refused() -> None:
    with pytest.raises(ValueError, match="the origin tells of 3 rows, but the batch has 2"):
        pipeline().run(bars(0, 1), origin=Origin.of_file(3))


def test_parts_of_different_raw_schemas_meet_in_arrival_order() -> None:
    vendor = bars(1, 3).rename({"symbol": "ticker", "event_time": "ts"}).with_columns(pl.col("close").cast(pl.String))
    result = pipeline().run(
        [Part(_batch(bars(0, 2)), None, np.array([0, 2])), Part(_batch(vendor), None, np.array([1, 3]))]
    )
    assert flags(result) == [[], ["dtype_cast"], [], ["dtype_cast"]]
    assert result.report.findings[0].examples == ("0:1", "0:3")


def test_a_finding_of_several_parts_is_counted_once_with_the_first_examples_of_all() -> None:
    vendors = [bars(m, m + 2).with_columns(pl.col("close").cast(pl.String)) for m in (1, 0)]
    parts = [Part(_batch(v), None, np.array([1 - i, 3 - i])) for i, v in enumerate(vendors)]
    result = pipeline().run(parts)
    assert counts(result) == {("dtype_cast", "close"): 4}
    assert result.report.findings[0].examples == ("0:0", "0:1", "0:2", "0:3")


def test_an_unreadable_time_is_given_the_records_in_shadow_mode() -> None:
    for contract, frame in ((TRADE, trades((0, "1", 5.0), (1, "2", 5.0))), (OHLCV, bars(0, 1))):
        raw = frame.with_columns(event_time=pl.Series(["never", "2024-01-02T14:30:00Z"]))
        origin = Origin(np.zeros(2, np.int32), np.arange(2), lambda: np.array([1_704_205_860_123, -1]))
        result = pipeline(contract, "shadow").run(raw, origin=origin)
        assert "invalid_timestamp" in flags(result)[0]
        assert result.accepted["event_time"].to_list() == [
            datetime(2024, 1, 2, 14, 31, 0, 123_000, tzinfo=UTC),
            datetime(2024, 1, 2, 14, 30, tzinfo=UTC),
        ]
        assert [r.reasons for r in pipeline(contract).run(raw, origin=origin).rejected] == [
            (Reason("invalid_timestamp", "event_time"),)
        ]


def test_a_producer_that_writes_the_contract_itself_is_not_believed_any_year() -> None:
    rows = _plain(bars(0, 1))
    rows[1]["event_time"] *= 1_000  # nanoseconds by mistake
    batch = pa.RecordBatch.from_pylist([{**row, "flags": 0} for row in rows], schema=OHLCV.columns)
    result = pipeline().run([Part(batch, OHLCV.record)])
    assert [(r.row, r.reasons) for r in result.rejected] == [(1, (Reason("invalid_timestamp", "event_time"),))]


def test_unreadable_times_of_every_part_are_given_the_records() -> None:
    parts = [Part(_batch(bars(0).with_columns(event_time=pl.lit("never"))), None, np.array([i])) for i in range(2)]
    origin = Origin(np.zeros(2, np.int32), np.arange(2), lambda: np.array([1_000, 2_000]))
    result = pipeline(mode="shadow").run(parts, origin=origin)
    assert result.batch.column("event_time").to_pylist() == [1_000_000, 2_000_000]


def test_record_timestamps_are_not_asked_for_where_every_time_is_read() -> None:
    def fail() -> Any:
        raise AssertionError("nobody needs them")

    pipeline(mode="shadow").run(bars(0), origin=Origin(np.zeros(1, np.int32), np.zeros(1, np.int64), fail))


@pytest.mark.parametrize("raw", [OHLCV.record, None])
@pytest.mark.parametrize("close", [10.5, NAN])
def test_incoming_flags_are_never_passed_on(raw: Any, close: float) -> None:
    rows = [{**row, "flags": 2**40 + 1} for row in _plain(bars(0, 1, close=[10.5, close]))]
    batch = pa.RecordBatch.from_pylist(rows, schema=OHLCV.columns)
    result = pipeline(mode="shadow").run([Part(batch, raw)] if raw else batch)
    assert not any(bits & 2**40 for bits in result.batch.column("flags").to_pylist())


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.with_columns(pl.col("event_time").to_physical()).to_dicts()


def test_a_missing_symbol_is_rejected_and_nobody_remembers_it() -> None:
    p = pipeline()
    states = p.new_states()
    result = p.run(bars(0, 1).with_columns(symbol=pl.Series([None, "A"])), states)
    assert result.rejected[0].reasons == (Reason("missing_value", "symbol"),)
    assert [r.key for r in states.records(result.delta)] == ["A"]


def test_a_value_that_could_not_be_had_is_one_finding_and_not_two() -> None:
    raw = bars(0, 1, 2).with_columns(close=pl.Series(["much", None, "10.5"]))
    result = pipeline().run(raw)
    assert [r.reasons for r in result.rejected] == [
        (Reason("dtype_mismatch", "close"),),
        (Reason("missing_value", "close"),),
    ]


def test_naive_times_are_read_in_the_datasets_zone() -> None:
    raw = bars(0).with_columns(event_time=pl.lit("2024-01-02 09:30:00"))
    result = pipeline(timezone="America/New_York").run(raw)
    assert result.accepted["event_time"][0] == datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    assert flags(result) == [["ts_cast", "ts_timezone_normalized"]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"timezone": "America/Gotham"}, "timezone 'America/Gotham' is unknown"),
        ({"calendar": "GOTHAM"}, "calendar 'GOTHAM' is unknown"),
        ({"memory": 0}, "memory is 0: at least one row"),
        ({"lateness_ns": -1}, "lateness is -1 ns: it must not be negative"),
        ({"interval_ns": 0}, "the interval must be at most 1d"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_first_row(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        pipeline(**more)


def test_a_column_that_is_missing_without_default_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="column 'close' is missing"):
        pipeline().run(bars(0).drop("close"))


# Reports ------------------------------------------------------------------------------------------------------


def report() -> ConformanceReport:
    raw = bars(0, 1, 1, 3, 4, close=[10.5, NAN, 10.5, 10.5, -1.0], vendor=["x"] * 5)
    origin = Origin(np.array([0, 0, 1, 0, 1], np.int32), np.array([100, 101, 7, 103, 9]))
    return pipeline(version=3).run(raw, origin=origin).report


def test_a_report_tells_what_was_found_and_where() -> None:
    found = report()
    assert (found.dataset, found.world, found.mode, found.contract) == ("d", "w", "blocking", OHLCV.name)
    assert (found.contract_fingerprint, found.contract_version) == (OHLCV.fingerprint, 3)
    assert (found.rows_in, found.rows_out, found.rows_quarantined, found.rows_dropped) == (5, 3, 2, 0)
    assert found.ranges == (
        OffsetRange(partition=0, first=100, last=103, rows=3),
        OffsetRange(partition=1, first=7, last=9, rows=2),
    )
    assert found.findings[0] == FindingCount(
        flag="non_finite", severity=Severity.VIOLATION, column="close", count=1, examples=("0:101",)
    )
    assert found.count("gap") == found.count("gap", "event_time") == 1
    assert found.count("gap", "close") == 0
    assert found.violations == 3
    assert found.ignored_columns == ("vendor",)


def test_a_report_gives_the_first_five_examples() -> None:
    result = pipeline().run(bars(*range(9), close=[NAN] * 9))
    assert result.report.findings[0].count == 9
    assert result.report.findings[0].examples == ("0:0", "0:1", "0:2", "0:3", "0:4")


def test_reports_of_one_dataset_add_up() -> None:
    one, other = report(), report()
    merged = merge_reports([one, other])
    assert (merged.rows_in, merged.rows_out, merged.rows_quarantined) == (10, 6, 4)
    assert merged.ranges[0] == OffsetRange(partition=0, first=100, last=103, rows=6)
    assert merged.count("non_finite") == 2
    assert merged.findings[0].examples == ("0:101", "0:101")
    assert merged.ignored_columns == ("vendor",)
    assert merge_reports([one]).model_dump() == one.model_dump()
    newer, newest = (datetime(2024, 1, day, tzinfo=UTC) for day in (2, 3))
    dated = [one.model_copy(update={"newest": at}) for at in (newer, newest, None)]
    assert merge_reports(dated).newest == newest


def test_reports_that_do_not_belong_together_are_not_merged() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_reports([])
    with pytest.raises(ValueError, match="different datasets or contracts"):
        merge_reports([report(), report().model_copy(update={"dataset": "other"})])


def test_a_report_comes_back_from_json_and_from_avro_as_it_was() -> None:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    found = report().model_copy(update={"created_at": at, "newest": at - timedelta(microseconds=1)})
    assert ConformanceReport.model_validate_json(found.model_dump_json()) == found
    for kept in (found, found.model_copy(update={"created_at": None, "contract_version": None})):
        schema = fastavro.parse_schema(load_event("conformance_report"))
        data = io.BytesIO()
        fastavro.schemaless_writer(data, schema, kept.to_avro(), strict=True)
        data.seek(0)
        datum = fastavro.schemaless_reader(data, schema)
        assert isinstance(datum, dict)
        assert ConformanceReport.from_avro(datum) == kept


def test_a_report_is_a_table_for_people() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report().table())
    text = console.export_text()
    assert "non_finite" in text
    assert "0:101" in text
    assert "5 rows in = 3 out + 2 quarantined + 0 duplicates dropped" in text
    console.print(pipeline().run(bars(0)).report.table())
    assert "none" in console.export_text()


def test_the_raw_record_tells_what_its_integers_are() -> None:
    raw = parse_record(
        {
            "type": "record",
            "name": "Vendor",
            "fields": [
                {"name": "ticker", "type": "string"},
                {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                *({"name": n, "type": "float"} for n in ("o", "h", "l", "c")),
            ],
        }
    )
    rows = [{"ticker": "A", "ts": START * 1_000, "o": 10.0, "h": 11.0, "l": 9.0, "c": 10.0}]
    batch = pa.RecordBatch.from_pylist(
        rows, schema=pa.schema([("ticker", pa.string()), ("ts", pa.int64()), *((n, pa.float32()) for n in "ohlc")])
    )
    result = pipeline().run([Part(batch, raw)])
    assert flags(result) == [["missing_column"]]
    assert counts(result) == {("missing_column", "volume"): 1}
    assert result.batch.column("event_time").to_pylist() == [START * 1_000_000]
