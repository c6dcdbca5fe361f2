"""What a policy does to a batch: whom canary picks, what strict refuses, who waits, and what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch import Failure, Part
from schemas.bounded import Recent
from schemas.codec import Decoded
from schemas.contract import load_contract
from schemas.report import MOST_SCHEMAS, OTHERS, SchemaCount, merge_schemas
from streams.governing import Governed, govern
from streams.schema_audit import AuditEntry
from streams.schema_news import SchemaNews
from streams.schema_policy import SchemaPolicy, in_share
from streams.subject_versions import Verdict, judge_versions
from tests.support.examples import examples

GOOD, STRANGE, BAD, NEW = 1, 2, 3, 4
VERDICTS = {
    GOOD: Verdict(1),
    STRANGE: Verdict(None, "unknown_schema", "not registered"),
    BAD: Verdict(2, "incompatible_schema", "field x"),
    NEW: None,
}


def batch(ids: list[int], failures: list[Failure] | None = None) -> Decoded:
    """A decoded batch whose row n was written with ids[n]; 0 stands for rows that failed."""
    rows = {i: np.flatnonzero(np.array(ids) == i) for i in dict.fromkeys(ids) if i}
    parts = [Part(pa.RecordBatch.from_pydict({"row": at}), None, at) for at in rows.values()]
    return Decoded(parts, list(rows), failures or [])


def judge(policy: SchemaPolicy, ids: list[int], **more: Any) -> Governed:
    return govern(
        policy,
        VERDICTS,
        batch(ids, more.pop("failures", None)),
        key_of=lambda row: f"key{row}".encode(),
        producer_of=lambda row: "feed" if row == 0 else None,
        schema_of=lambda row: 9,
        **more,
    )


def passed(found: Governed) -> list[int]:
    return sorted(int(r) for p in found.decoded.parts for r in p.batch.column("row").to_pylist())


def refused(found: Governed) -> dict[int, str]:
    return {f.row: f.flag for f in found.decoded.failures}


def test_optional_passes_what_decodes_and_counts_what_strict_would_refuse() -> None:
    found = judge(SchemaPolicy("bars"), [GOOD, STRANGE, BAD, NEW, STRANGE])
    assert passed(found) == [0, 1, 2, 3, 4]
    assert not refused(found)
    assert {(c.schema_id, c.reason, c.rows, c.refused) for c in found.counts} == {
        (GOOD, None, 1, 0),
        (STRANGE, "unknown_schema", 2, 0),
        (BAD, "incompatible_schema", 1, 0),
        (NEW, None, 1, 0),
    }


def test_strict_refuses_with_the_reason_and_lets_wait_what_nobody_judged_yet() -> None:
    found = judge(SchemaPolicy("bars", "strict"), [GOOD, STRANGE, BAD, NEW, GOOD])
    assert passed(found) == [0, 4]
    assert refused(found) == {1: "unknown_schema", 2: "incompatible_schema"}
    assert found.decoded.waiting == {NEW}
    assert sum(c.rows for c in found.counts) == 4
    assert sum(c.refused for c in found.counts) == 2


def test_rows_that_no_registry_can_decode_are_counted_as_refused_in_every_mode() -> None:
    failures = [Failure(1, "unknown_schema", "nobody has it"), Failure(2, "undecodable", "damaged")]
    for mode in ("optional", "canary", "strict"):
        found = judge(SchemaPolicy("bars", mode), [GOOD, 0, 0], failures=failures)
        assert (9, "unknown_schema", 1, 1) in {(c.schema_id, c.reason, c.rows, c.refused) for c in found.counts}
        assert sum(c.rows for c in found.counts) == 2


@examples(50)
@given(
    ids=st.lists(st.sampled_from([GOOD, STRANGE, BAD]), min_size=1, max_size=40),
    share=st.floats(0, 1),
)
def test_canary_refuses_as_strict_does_for_its_share_and_predicts_all_that_strict_refuses(
    ids: list[int], share: float
) -> None:
    canary = judge(SchemaPolicy("bars", "canary", share=share), ids)
    strict = judge(SchemaPolicy("bars", "strict"), ids)
    share_of = {row: flag for row, flag in refused(strict).items() if in_share(f"key{row}".encode(), share)}
    assert refused(canary) == share_of
    predicted = {(c.schema_id, c.reason): c.rows for c in canary.counts if c.reason}
    assert predicted == {(c.schema_id, c.reason): c.refused for c in strict.counts if c.reason}
    assert sorted([*passed(canary), *refused(canary)]) == list(range(len(ids)))


def test_canary_judges_named_producers_whatever_their_keys() -> None:
    policy = SchemaPolicy("bars", "canary", share=0, producers=frozenset({"feed"}))
    assert set(refused(judge(policy, [STRANGE, STRANGE]))) == {0}


def test_an_exception_lets_pass_what_would_be_refused_and_says_so() -> None:
    found = judge(SchemaPolicy("bars", "strict"), [GOOD, STRANGE, BAD], excepted=frozenset({"unknown_schema"}))
    assert passed(found) == [0, 1]
    assert refused(found) == {2: "incompatible_schema"}
    assert {c.schema_id: c.excepted for c in found.counts} == {GOOD: False, STRANGE: True, BAD: False}
    # Whoever looks ahead from another mode learns that strict will let them pass.
    for mode in ("optional", "canary"):
        ahead = judge(SchemaPolicy("bars", mode, share=0), [STRANGE], excepted=frozenset({"unknown_schema"}))
        assert [c.excepted for c in ahead.counts] == [True]


def test_a_key_is_always_in_the_share_or_never_and_a_greater_share_keeps_it() -> None:
    keys = [f"SYM{n}".encode() for n in range(10_000)]
    tenth = {k for k in keys if in_share(k, 0.1)}
    assert 800 < len(tenth) < 1_200
    assert tenth <= {k for k in keys if in_share(k, 0.3)}
    assert all(in_share(k, 1.0) for k in keys)
    assert not any(in_share(k, 0.0) for k in keys)
    assert not in_share(None, 1.0)


@pytest.mark.parametrize("mode", ["optional", "canary", "strict"])
def test_a_policy_survives_its_record(mode: Any) -> None:
    policy = SchemaPolicy("bars", mode, "BACKWARD", 0.25, frozenset({"a", "b"}), "me", "why", 1_700_000_000_123)
    assert SchemaPolicy.from_avro(policy.to_avro()) == policy


def test_a_mode_of_another_release_is_no_policy() -> None:
    with pytest.raises(ValueError, match="unknown"):
        SchemaPolicy.from_avro(SchemaPolicy("bars").to_avro() | {"mode": "lenient"})


def test_versions_are_judged_as_the_registry_would_have_at_their_registration() -> None:
    contract = load_contract("ohlcv")
    text = {**contract.schema, "fields": [dict(f) for f in contract.schema["fields"]]}
    next(f for f in text["fields"] if f["name"] == "volume")["type"] = "string"
    lacking = {"type": "record", "name": "Lacking", "fields": [{"name": "ticker", "type": "string"}]}
    versions = [(1, 10, contract.schema), (2, 11, text), (3, 10, contract.schema), (4, 12, lacking)]
    found = judge_versions(versions, contract, "FULL_TRANSITIVE")
    assert found[10] == Verdict(1)
    assert found[11].reason == "incompatible_schema"
    assert "field volume" in found[11].detail
    assert "event_time" in found[12].detail
    # The contract casts text to numbers; where nothing is asked between versions that is enough.
    assert judge_versions(versions, contract, "NONE")[11] == Verdict(2)


def test_a_report_holds_the_most_frequent_schemas_and_counts_the_others_together() -> None:
    counts = [SchemaCount(schema_id=n, rows=n, reason="unknown_schema", refused=n) for n in range(1, 1_001)]
    for merged in (merge_schemas(counts), merge_schemas((*merge_schemas(counts[:500]), *counts[500:]))):
        assert len(merged) <= MOST_SCHEMAS
        assert sum(c.rows for c in merged) == sum(c.refused for c in merged) == 500_500
        assert merged[0].schema_id == OTHERS
        assert merged[-1].schema_id == 1_000


def test_the_trail_is_told_of_a_refusal_once_it_is_committed_and_of_a_fleet_of_them_in_measure() -> None:
    def report(*ids: int) -> Any:
        counts = tuple(SchemaCount(schema_id=n, rows=1, refused=1, reason="unknown_schema") for n in ids)
        return type("Report", (), {"schemas": counts, "findings": (), "schema_mode": "strict"})()

    news = SchemaNews("bars", "w.raw.bars-value", "normalizer")
    assert [e.schema_id for e in news.entries(report(7), 0)] == [7]
    assert [e.schema_id for e in news.entries(report(7), 0)] == [7]  # the first was never committed
    news.told()
    assert not news.entries(report(7), 0)
    optional = SchemaCount(schema_id=8, rows=1, reason="unknown_schema", excepted=True)
    passed = type("Report", (), {"schemas": (optional,), "findings": (), "schema_mode": "optional"})()
    assert not news.entries(passed, 0)
    found = news.entries(report(*range(100_000)), 0)
    assert 100 < len(found) < 1_000


def test_an_entry_survives_its_record() -> None:
    entry = AuditEntry(1_700_000_000_123, "me", "promoted", "bars", evidence=("one", "two"), forced=True)
    assert AuditEntry.from_avro(entry.to_avro()) == entry


def test_a_bounded_memory_keeps_what_was_used_last() -> None:
    recent: Recent[int, int] = Recent(3)
    for n in range(3):
        recent.put(n, n)
    assert recent.get(0) == 0
    recent.put(3, 3)
    assert [recent.get(n) for n in range(4)] == [0, None, 2, 3]
    for n in range(100_000):
        recent.put(n, n)
    assert len(recent) == 3
