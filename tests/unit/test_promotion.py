"""The gate before a stricter mode: each condition holds or fails by its own evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.findings import Severity
from schemas.report import ConformanceReport, FindingCount, SchemaCount
from streams.promotion import Condition, Evidence, Thresholds, conditions, next_mode
from streams.schema_policy import SchemaPolicy

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GOOD = SchemaCount(schema_id=1, version=1, rows=100)
STRANGE = SchemaCount(schema_id=2, rows=5, reason="unknown_schema")
THRESHOLDS = Thresholds(window=timedelta(hours=24), rows=1_000, hours=12)
CANARY = SchemaPolicy("bars", "canary", at=round((NOW - timedelta(hours=6)).timestamp() * 1_000))


def report(hours_ago: float, *schemas: SchemaCount, findings: tuple[FindingCount, ...] = (), **more: Any) -> Any:
    return ConformanceReport(
        dataset="bars",
        world="w",
        mode="blocking",
        contract="Bar",
        contract_fingerprint="x",
        rows_in=more.pop("rows", 100),
        rows_out=100,
        rows_quarantined=0,
        rows_dropped=0,
        ranges=(),
        findings=findings,
        created_at=NOW - timedelta(hours=hours_ago),
        schema_mode=more.pop("mode", "canary"),
        schemas=schemas or (GOOD,),
    )


def evidence(*reports: ConformanceReport, **more: Any) -> Evidence:
    known = {
        "policy": CANARY,
        "raw_level": "FULL_TRANSITIVE",
        "contract_level": "FULL_TRANSITIVE",
        "exception_problems": (),
        "now": NOW,
    }
    return Evidence(reports=reports, **{**known, **more})


def condition(name: str, found: Evidence, **more: Any) -> Condition:
    return next(c for c in conditions(found, replace(THRESHOLDS, **more)) if c.name == name)


def broken(severity: str, *, excepted: bool = False) -> tuple[FindingCount, ...]:
    flag = FindingCount(
        flag="non_finite", severity=Severity(severity), column="low", count=3, examples=(), excepted=excepted
    )
    return (flag,)


def test_the_road_has_three_stations_and_an_end() -> None:
    assert [next_mode(m) for m in ("optional", "canary", "strict")] == ["canary", "strict", None]


def test_with_good_evidence_every_condition_holds_and_says_by_what() -> None:
    found = conditions(evidence(report(5, rows=500), report(1, rows=500)), THRESHOLDS)
    assert [c.name for c in found] == ["conformance", "canary", "producers", "compatibility", "exceptions"]
    assert all(c.holds for c in found), found
    assert str(found[1]).startswith("pass  canary: clean for 1,000 rows and 5.0 h")


@pytest.mark.parametrize(("window", "told"), [(timedelta(hours=36), "36 h"), (timedelta(seconds=90), "90 s")])
def test_a_window_is_told_in_hours_or_where_it_is_shorter_in_seconds(window: timedelta, told: str) -> None:
    assert condition("conformance", evidence(report(0)), window=window).says.endswith(f"of the last {told}")
    assert f"in the last {told}," in condition("conformance", evidence(), window=window).says


def test_canary_is_asked_for_before_strict_only() -> None:
    optional = evidence(report(1, mode="optional"), policy=SchemaPolicy("bars"))
    assert "canary" not in {c.name for c in conditions(optional, THRESHOLDS)}


def test_conformance_fails_for_violations_and_where_nothing_is_known_and_not_for_what_is_excepted() -> None:
    assert not condition("conformance", evidence()).holds
    assert not condition("conformance", evidence(report(25))).holds
    bad = condition("conformance", evidence(report(1, findings=broken("violation"))))
    assert not bad.holds
    assert "non_finite in low (3 rows)" in bad.says
    assert condition("conformance", evidence(report(1, findings=broken("warning")))).holds
    by = condition("conformance", evidence(report(1, findings=broken("warning", excepted=True))))
    assert by.holds
    assert "by exception only: non_finite in low" in by.says


def test_canary_has_to_be_clean_for_long_enough_since_it_was_last_not() -> None:
    assert not condition("canary", evidence()).holds
    assert not condition("canary", evidence(report(1, rows=999))).holds
    assert condition("canary", evidence(report(1, rows=1_000))).holds
    assert condition("canary", evidence(report(5)), hours=4).holds
    dirty = report(3, GOOD, STRANGE, rows=900)
    since = condition("canary", evidence(report(5, rows=900), dirty, report(2, rows=900)))
    assert not since.holds
    assert "clean for 900 rows and 2.0 h" in since.says
    assert "unknown_schema (5 rows)" in since.says
    assert not condition("canary", evidence(report(5, rows=5_000), dirty)).holds
    # What was before canary began, or in another mode, says nothing about it.
    assert not condition("canary", evidence(report(7, rows=5_000), report(1, rows=5_000, mode="optional"))).holds


def test_producers_have_to_write_registered_schemas_or_excepted_ones() -> None:
    assert not condition("producers", evidence()).holds
    stranger = condition("producers", evidence(report(1, GOOD, STRANGE)))
    assert not stranger.holds
    assert "id 2 (5 rows, unknown_schema)" in stranger.says
    registered = report(1, SchemaCount(schema_id=2, version=2, rows=7))
    assert condition("producers", evidence(report(2, STRANGE), registered)).holds
    assert condition("producers", evidence(report(1, STRANGE.model_copy(update={"excepted": True})))).holds
    unjudged = SchemaCount(schema_id=3, rows=1)
    assert not condition("producers", evidence(report(1, unjudged))).holds


@pytest.mark.parametrize(
    ("raw", "contract", "asked", "holds"),
    [
        ("FULL_TRANSITIVE", "FULL_TRANSITIVE", "FULL_TRANSITIVE", True),
        ("BACKWARD", "FULL_TRANSITIVE", "FULL_TRANSITIVE", False),
        ("BACKWARD", "FULL_TRANSITIVE", "BACKWARD", True),
        ("FULL_TRANSITIVE", "NONE", "BACKWARD", False),
    ],
)
def test_the_registry_has_to_guard_what_strict_asks(raw: str, contract: str, asked: str, holds: bool) -> None:
    policy = replace(CANARY, compatibility=asked)
    found = condition("compatibility", evidence(policy=policy, raw_level=raw, contract_level=contract))
    assert found.holds is holds
    if not holds and contract == "FULL_TRANSITIVE":
        assert f"`seamless schema compatibility bars {asked} --reason ...`" in found.says


def test_expired_exceptions_fail_and_are_named() -> None:
    found = condition("exceptions", evidence(exception_problems=["exception bars: it has expired"]))
    assert not found.holds
    assert found.says == "exception bars: it has expired"
