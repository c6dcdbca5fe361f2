"""Rows written with an earlier version of the contract are judged by its rules, and reports tell them apart."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.avro import parse_record
from schemas.conformance import ConformancePipeline, Part
from schemas.contract import Contract, load_contract
from schemas.report import merge_reports
from tests.support.bars import good_bar

V1 = load_contract("ohlcv")


def second() -> Contract:
    """The next version: volume may be at most 50, and a new rule asks for a tight spread of high and low."""
    schema: dict[str, Any] = copy.deepcopy(V1.schema)
    next(f for f in schema["fields"] if f["name"] == "volume")["max"] = 50
    schema["rules"] = [*schema["rules"], {"name": "wide_bar", "sql": "high - low < 5", "bit": 40}]
    return Contract.parse(schema)


V2 = second()


def part(contract: Contract, rows: list[dict[str, Any]], at: list[int]) -> Part:
    return Part(pa.RecordBatch.from_pylist(rows, schema=contract.columns), contract.record, np.array(at, np.int64))


def pipeline() -> ConformancePipeline:
    return ConformancePipeline(V2, "blocking", interval_ns=60 * 10**9, version=2, earlier={1: V1})


def bars(*minutes: int, **changes: Any) -> list[dict[str, Any]]:
    return [good_bar("A", m, **changes) for m in minutes]


def test_each_row_is_judged_by_the_rules_of_the_version_that_it_was_written_with() -> None:
    much = {"volume": 60.0, "high": 110.0}
    found = pipeline().run([part(V1, bars(0, 2, **much), [0, 2]), part(V2, bars(1, 3, **much), [1, 3])])
    assert [r.row for r in found.rejected] == [1, 3]
    assert {x.flag for r in found.rejected for x in r.reasons} == {"above_max", "wide_bar"}
    assert not any(flags & V2.violation_mask for flags in found.accepted["flags"])


def test_what_an_earlier_version_asks_is_still_asked_of_its_rows_and_the_report_names_it() -> None:
    wrong = {"low": -1.0}
    found = pipeline().run([part(V1, bars(0, **wrong), [0]), part(V2, bars(1, **wrong), [1])])
    assert [r.row for r in found.rejected] == [0, 1]
    counts = {(f.contract_version, f.count) for f in found.report.findings if f.flag == "non_positive_price"}
    assert counts == {(1, 1), (None, 1)}
    merged = merge_reports([found.report, found.report])
    assert {(f.contract_version, f.count) for f in merged.findings if f.flag == "non_positive_price"} == {
        (1, 2),
        (None, 2),
    }


def test_a_vendors_rows_are_judged_by_the_newest() -> None:
    vendor = parse_record({**V1.schema, "name": "Vendor", "namespace": "vendor"})
    batch = pa.RecordBatch.from_pylist(bars(0, volume=60.0), schema=V1.columns)
    assert pipeline().run([Part(batch, vendor)]).report.count("above_max") == 1
    assert not pipeline().run([Part(batch, V1.record)]).rejected


def test_a_batch_of_an_earlier_version_alone_keeps_order_and_duplicates_as_any_other() -> None:
    found = pipeline().run([Part(pa.RecordBatch.from_pylist(bars(0, 0, 3, volume=60.0), schema=V1.columns), V1.record)])
    assert not found.rejected
    assert len(found.dropped) == 1
    assert found.report.count("gap") == 1
