"""However rows are cut into batches, and through whatever restarts: the findings are those of a plain loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.conformance import ConformancePipeline, ConformanceResult, Failure, Origin, Part
from schemas.contract import Contract, load_contract
from schemas.grid import NANOS
from schemas.keystate import KeyRecord, KeyStates
from schemas.report import merge_reports
from tests.support.examples import examples

moderate = examples(50)

MINUTE = 60 * NANOS
START = 1_704_205_800 * NANOS
ORDER_FINDINGS = ("out_of_order", "late", "gap", "duplicate_ts", "revision")
CONTRACTS = {name: load_contract(name) for name in ("ohlcv", "trade", "quote")}

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Rows of one dataset, and how it is judged."""

    contract: Contract
    mode: Literal["shadow", "blocking"]
    interval_ns: int | None
    lateness_ns: int
    memory: int
    rows: list[Row]
    partitions: list[int]

    def pipeline(self) -> ConformancePipeline:
        return ConformancePipeline(
            self.contract,
            self.mode,
            interval_ns=self.interval_ns,
            lateness_ns=self.lateness_ns,
            memory=self.memory,
        )

    def batch(self, positions: Sequence[int]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([self.rows[i] for i in positions], schema=self.contract.columns)

    def origin(self, start: int, end: int) -> Origin:
        return Origin(np.array(self.partitions[start:end], np.int32), np.arange(start, end, dtype=np.int64))


def bar(symbol: str, minute: int, good: bool, variant: int) -> Row:
    price = 100.0 + variant
    return {
        "symbol": symbol,
        "event_time": (START + minute * MINUTE) // 1_000,
        "open": price,
        "high": price if good else price - 1,
        "low": price,
        "close": price,
        "volume": 1.0,
        "flags": 0,
    }


def trade(symbol: str, minute: int, good: bool, variant: int) -> Row:
    return {
        "symbol": symbol,
        "event_time": START + minute * NANOS,
        "trade_id": str(minute % 4),
        "price": 5.0 if good else -5.0,
        "size": float(variant),
        "side": ("buy", "sell")[variant % 2],
        "flags": 0,
    }


def quote(symbol: str, minute: int, good: bool, variant: int) -> Row:
    return {
        "symbol": symbol,
        "event_time": START + minute * NANOS,
        "sequence": minute % 2,
        "bid": 10.0,
        "ask": 10.0 if good else float("nan"),
        "bid_size": float(variant),
        "ask_size": 0.0,
        "flags": 0,
    }


MAKERS = {"ohlcv": bar, "trade": trade, "quote": quote}


def with_severities(contract: Contract, severities: dict[str, str]) -> Contract:
    return Contract.parse({**json.loads(json.dumps(contract.schema)), "severities": severities})


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(sorted(MAKERS)))
    # Mostly rising times with steps back, holes and repetitions, so that every finding is frequent.
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 0, 2, -1, -3, -8]), max_size=30))
    minutes = np.cumsum([0, *steps]).tolist()
    rows = [
        MAKERS[name](
            draw(st.sampled_from("AB")),
            minute,
            draw(st.integers(0, 5)) > 0,
            draw(st.integers(0, 3)) // 3,
        )
        for minute in minutes[1:]
    ]
    rejecting = draw(st.sets(st.sampled_from(["out_of_order", "late", "gap"])))
    return Case(
        with_severities(CONTRACTS[name], dict.fromkeys(sorted(rejecting), "violation")),
        draw(st.sampled_from(["shadow", "blocking"])),
        MINUTE if name == "ohlcv" else None,
        draw(st.sampled_from([0, NANOS, 2 * MINUTE])),
        draw(st.integers(1, 5)),
        rows,
        draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))),
    )


@dataclass
class Memory:
    """What the oracle remembers of a key."""

    newest: int | None = None
    seen: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=list)


def is_good(row: Row) -> bool:
    return (
        row.get("price", 1) > 0 and row.get("high", 0) >= row.get("low", 0) and row.get("ask", 0) == row.get("ask", 0)
    )


def oracle(case: Case) -> list[set[str]]:
    """The findings of order for each row, one row after the other, as the documentation words them."""
    contract = case.contract
    unit = NANOS // contract.time_units
    keys: dict[tuple[int, str], Memory] = {}
    found = []
    for row, partition in zip(case.rows, case.partitions, strict=True):
        findings: set[str] = set()
        found.append(findings)
        if not is_good(row):
            continue
        memory = keys.setdefault((partition, row["symbol"]), Memory())
        time = row["event_time"]
        if memory.newest is not None:
            if time < memory.newest:
                findings.add("out_of_order")
            if time < memory.newest and (memory.newest - time) * unit > case.lateness_ns:
                findings.add("late")
            if case.interval_ns and time * unit // case.interval_ns - memory.newest * unit // case.interval_ns > 1:
                findings.add("gap")
        memory.newest = time if memory.newest is None else max(time, memory.newest)
        if any(contract.findings[f].severity == "violation" for f in findings):
            continue
        identity = tuple(row[n] for n in contract.identity)
        content = tuple(row[n] for n in contract.content)
        for seen, before in reversed(memory.seen):
            if seen == identity:
                findings.add("duplicate_ts" if before == content else "revision")
                break
        memory.seen = [*memory.seen, (identity, content)][-case.memory :]
    return found


def through_bytes(states: KeyStates) -> KeyStates:
    """Store the states and read them again, as another process does."""
    fresh = KeyStates(states.memory)
    fresh.restore(
        KeyRecord(
            record.partition,
            record.key,
            record.newest,
            record.rows,
            np.frombuffer(record.identities.astype("<u8").tobytes(), "<u8").astype(np.uint64),
            np.frombuffer(record.contents.astype("<u8").tobytes(), "<u8").astype(np.uint64),
        )
        for record in states.all_records()
    )
    return fresh


def run_in_pieces(case: Case, cuts: Sequence[int], restart: bool) -> tuple[list[ConformanceResult], KeyStates]:
    pipeline, results = case.pipeline(), []
    states = pipeline.new_states()
    borders = [0, *sorted(min(c, len(case.rows)) for c in cuts), len(case.rows)]
    for start, end in pairwise(borders):
        part = Part(case.batch(range(start, end)), case.contract.record)
        results.append(pipeline.run([part], states, origin=case.origin(start, end)))
        states.apply(results[-1].delta)
        if restart:
            states = through_bytes(states)
    return results, states


def accepted(results: Sequence[ConformanceResult]) -> list[str]:
    return [repr(row) for r in results for row in r.batch.to_pylist()]


def rejected(results: Sequence[ConformanceResult]) -> list[Any]:
    """Rejected and dropped rows by their positions in the whole."""
    found, start = [], 0
    for r in results:
        found += [(start + x.row, x.reasons) for x in r.rejected]
        found += [(start + int(i), "dropped") for i in r.dropped]
        start += r.report.rows_in
    return found


def remembered(states: KeyStates) -> dict[tuple[int, str], tuple[Any, ...]]:
    return {
        (r.partition, r.key): (r.newest, r.rows, r.identities.tolist(), r.contents.tolist())
        for r in states.all_records()
        if r.rows or r.newest > np.iinfo(np.int64).min
    }


@moderate
@given(cases())
def test_the_vectorised_findings_are_those_of_a_plain_loop(case: Case) -> None:
    shadow = Case(case.contract, "shadow", *(getattr(case, n) for n in list(case.__dataclass_fields__)[2:]))
    (result, *_), _ = run_in_pieces(shadow, [], restart=False)
    names = [{f.name for f in case.contract.explain(flags)} for flags in result.batch.column("flags").to_pylist()]
    assert [n & set(ORDER_FINDINGS) for n in names] == oracle(case)
    assert [not n - set(ORDER_FINDINGS) for n in names] == [is_good(row) for row in case.rows]


@moderate
@given(cases(), st.lists(st.integers(0, 30), max_size=6), st.booleans())
def test_any_cut_into_batches_and_any_restart_gives_the_same_rows_flags_reports_and_states(
    case: Case, cuts: list[int], restart: bool
) -> None:
    whole, after_whole = run_in_pieces(case, [], restart=False)
    pieces, after_pieces = run_in_pieces(case, cuts, restart)
    assert accepted(pieces) == accepted(whole)
    assert sorted(rejected(pieces), key=str) == sorted(rejected(whole), key=str)
    assert remembered(after_pieces) == remembered(after_whole)
    merged = merge_reports([r.report for r in pieces])
    assert {(f.flag, f.column): (f.count, f.examples) for f in merged.findings} == {
        (f.flag, f.column): (f.count, f.examples) for f in whole[0].report.findings
    }
    assert merged.ranges == whole[0].report.ranges


@moderate
@given(cases())
def test_no_row_is_lost_or_made_up(case: Case) -> None:
    (result, *_), _ = run_in_pieces(case, [], restart=False)
    report = result.report
    places = set(range(len(case.rows))) if result.rows is None else set(result.rows.tolist())
    gone = {r.row for r in result.rejected}, set(result.dropped.tolist())
    assert places.isdisjoint(gone[0])
    assert places.isdisjoint(gone[1])
    assert sorted([*places, *gone[0], *gone[1]]) == list(range(len(case.rows)))
    assert (report.rows_out, report.rows_quarantined, report.rows_dropped) == (len(places), *map(len, gone))
    assert report.rows_in == len(case.rows)
    if case.mode == "shadow":
        assert report.rows_out == report.rows_in
    else:
        flags = result.batch.column("flags").to_pylist()
        assert not any(f.severity == "violation" for flag in flags for f in case.contract.explain(flag))
        assert not any(flag & case.contract.findings["duplicate_ts"].mask for flag in flags)


@moderate
@given(cases(), st.data())
def test_rows_may_come_in_parts_of_any_order_with_failures_between_them(case: Case, data: st.DataObject) -> None:
    (whole, *_), _ = run_in_pieces(case, [], restart=False)
    n = len(case.rows)
    failed = sorted(data.draw(st.sets(st.integers(0, n + 4), max_size=5)))
    failed = [f for i, f in enumerate(failed) if f <= n + i]
    total = n + len(failed)
    places = np.array([i for i in range(total) if i not in set(failed)], np.int64)
    order = data.draw(st.permutations(range(n)))
    cut = data.draw(st.integers(0, n))
    parts = [
        Part(case.batch(piece), case.contract.record, places[np.array(piece, np.int64)])
        for piece in (order[:cut], order[cut:])
    ]
    partitions, offsets = np.zeros(total, np.int32), np.full(total, 1_000, np.int64)
    partitions[places], offsets[places] = case.partitions, np.arange(n)

    result = case.pipeline().run(
        parts,
        origin=Origin(partitions, offsets),
        failures=[Failure(i, "undecodable", "poison") for i in failed],
    )

    assert accepted([result]) == accepted([whole])
    own = [r for r in result.rejected if r.reasons[0].flag != "undecodable"]
    assert [(r.row, r.reasons) for r in own] == [(int(places[r.row]), r.reasons) for r in whole.rejected]
    assert [r.row for r in result.rejected if r not in own] == failed
    assert result.dropped.tolist() == places[whole.dropped].tolist()
    kept = np.arange(n) if whole.rows is None else whole.rows
    found = np.arange(total) if result.rows is None else result.rows
    assert found.tolist() == places[kept].tolist()
    assert result.report.findings[: len(whole.report.findings)] == whole.report.findings
