"""Modes of schema governance on a real broker and a real registry: who passes, who is refused, and from when on."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from operations.stack import EmbeddedStack
from operations.testing.proxy import Proxy
from schemas.report import MOST_SCHEMAS
from schemas.wire import header
from streams import topics
from streams.clock import Deadline, now
from streams.errors import ContractError
from streams.producer import GovernedProducer, ProduceRefused
from streams.registry import Registry
from streams.schema_policy import in_share
from streams.settings import RegistrySettings
from tests.support.bars import good_bar
from tests.support.governing import Writer, audit_of, reports_of, set_mode
from tests.support.normalizing import Run, normalize, normalizing
from tests.support.progress import committed, finished, until
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

SYMBOLS = [f"S{n}" for n in range(20)]
LOOSE: dict[str, Any] = {"quarantine": {"max_share": 1.0}}


@pytest.fixture
def bars(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    return make_world(stack, world, tmp_path, dataset={"partitions": 2}, **LOOSE)


def stranger(world: World) -> Writer:
    """A writer whose schema the contract can conform, and that stands under another subject."""
    return Writer(world, subject=f"{world.name}.elsewhere-value", name="venue", type="string", default="")


def incompatible(world: World) -> Writer:
    """A writer whose schema stands under the raw subject, and breaks what earlier versions promised."""
    world.registry.set_compatibility(topics.subject(world.topic("raw")), "NONE")
    return Writer(world, name="close", type="string")


def quarantined(world: World) -> Counter[str]:
    codec = world.event_codec("quarantine", "quarantined_row")
    found = (codec.decode(m.value() or b"") for m in world.read(world.topic("quarantine")))
    return Counter(reason["flag"] for row in found for reason in row["reasons"])


def keep_sending(producer: GovernedProducer, row: dict[str, Any], in_time: Deadline) -> None:
    while not in_time.passed():
        producer.send_row(row)


def test_optional_passes_unregistered_schemas_and_counts_them_and_strict_refuses_them_with_reasons(bars: World) -> None:
    Writer(bars).write(SYMBOLS, range(3))
    stranger(bars).write(SYMBOLS, range(3, 5))
    incompatible(bars).write(SYMBOLS, range(5, 6))
    run = normalize(bars)
    assert not bars.read(bars.topic("quarantine"))
    subject = topics.subject(bars.topic("raw"))
    failures = "seamless_schema_validation_failures_total"
    assert run.value(failures, subject=subject, mode="optional", reason="unknown_schema") == 40
    assert run.value(failures, subject=subject, mode="optional", reason="incompatible_schema") == 20

    set_mode(bars, "strict")
    Writer(bars).write(SYMBOLS, range(6, 8))
    stranger(bars).write(SYMBOLS, range(8, 10))
    incompatible(bars).write(SYMBOLS, range(10, 11))
    run = normalize(bars)
    assert quarantined(bars) == {"unknown_schema": 40, "incompatible_schema": 20}
    assert len(bars.read(bars.topic("normalized"))) == 120 + 40
    assert run.value(failures, subject=subject, mode="strict", reason="unknown_schema") == 40
    refusals = {(e.schema_id, e.version) for e in audit_of(bars) if e.what == "refused"}
    assert refusals == {(stranger(bars).id, None), (incompatible(bars).id, 2)}


def test_a_mode_reaches_a_running_normalizer_within_seconds_and_no_row_is_judged_by_two(bars: World) -> None:
    writer = stranger(bars)
    with normalizing(bars) as run:
        writer.write(SYMBOLS, range(10))
        until(lambda: finished(bars), 60, "the first rows")
        set_mode(bars, "strict")
        in_time = Deadline(5)
        minute = 10
        while run.normalizer._gate.policy.mode != "strict":
            assert not in_time.passed(), "the mode did not arrive"
            writer.write(SYMBOLS, range(minute, minute + 1))
            minute += 1
        writer.write(SYMBOLS, range(minute, minute + 5))
        until(lambda: finished(bars), 60, "all rows")
    judged: dict[str | None, set[int]] = {}
    for report in reports_of(bars):
        (span,) = report.ranges
        judged.setdefault(report.schema_mode, set()).update(range(span.first, span.last + 1))
        refused = sum(c.refused for c in report.schemas)
        assert refused == (report.rows_in if report.schema_mode == "strict" else 0)
    assert set(judged) == {"optional", "strict"}
    assert not judged["optional"] & judged["strict"]
    assert max(judged["optional"]) + 1 == min(judged["strict"])
    assert len(bars.read(bars.topic("quarantine"))) == len(judged["strict"])


def test_canary_refuses_its_share_and_named_producers_and_predicts_all_that_strict_refuses(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    found = {}
    for mode in ("canary", "strict"):
        made = make_world(stack, f"{world[:30]}-{mode}", tmp_path, dataset={"schema_mode": mode}, **LOOSE)
        Writer(made).write(SYMBOLS, range(5))
        stranger(made).write(SYMBOLS, range(5, 9))
        incompatible(made).write(SYMBOLS, range(9, 11))
        normalize(made)
        found[mode] = made
    counts = {mode: [c for r in reports_of(made) for c in r.schemas if c.reason] for mode, made in found.items()}
    predicted, refused = Counter[str | None](), Counter[str | None]()
    for c in counts["canary"]:
        predicted[c.reason] += c.rows
    for c in counts["strict"]:
        refused[c.reason] += c.refused
    assert predicted == refused == {"unknown_schema": 80, "incompatible_schema": 40}
    in_canary = [s for s in SYMBOLS if in_share(s.encode(), 0.1)]
    assert quarantined(found["canary"]) == {k: n * len(in_canary) // 20 for k, n in refused.items()} or not in_canary


def test_a_producer_that_strict_refuses_does_not_start_and_one_that_runs_stops_within_seconds(bars: World) -> None:
    incompatible(bars)
    frame = [good_bar("A", m) | {"close": "100.5"} for m in range(3)]
    with GovernedProducer(DATASET, bars.settings, name="feed") as producer:
        producer.send_row(frame[0])
        set_mode(bars, "strict")
        with pytest.raises(ContractError, match="field close"):
            keep_sending(producer, frame[1], Deadline(5))
    with pytest.raises(ContractError, match="bars is strict at FULL_TRANSITIVE, which refuses version 2"):
        GovernedProducer(DATASET, bars.settings, name="feed")
    set_mode(bars, "optional")
    with GovernedProducer(DATASET, bars.settings, name="feed") as producer:
        producer.send_row(frame[2])
    assert [e.by for e in audit_of(bars) if e.what == "refused"] == ["feed", "feed"]


def test_canary_by_name_refuses_a_producer_and_knows_its_rows_by_their_header(bars: World) -> None:
    set_mode(bars, "canary", share=0.0, producers=frozenset({"feed"}))
    with GovernedProducer(DATASET, bars.settings, name="feed") as producer:
        producer.send_row(good_bar("A", 0))
    with GovernedProducer(DATASET, bars.settings, name="other") as producer:
        producer.send_row(good_bar("A", 1))
    headers = [m.headers() for m in bars.read(bars.topic("raw"))]
    assert sorted(map(str, headers)) == sorted(map(str, [[("seamless-producer", b"feed")], None]))
    incompatible(bars)
    with pytest.raises(ContractError, match="the producers feed"):
        GovernedProducer(DATASET, bars.settings, name="feed")
    GovernedProducer(DATASET, bars.settings, name="other").close()


def test_strict_lets_known_ids_flow_while_the_registry_is_away_and_others_wait_for_it(
    stack: EmbeddedStack, bars: World
) -> None:
    set_mode(bars, "strict")
    known, later = Writer(bars), Writer(bars, name="venue", type="string", default="")
    known.world.registry.schema_by_id(later.id)
    where = urlsplit(stack.registry_url)
    with Proxy(where.hostname or "", where.port or 0) as proxy:
        registry = Registry(RegistrySettings(url=proxy.url + where.path, timeout=1.0))
        with registry, normalizing(bars, registry=registry) as run:
            known.write(["A"], range(5))
            until(lambda: committed(bars).get(0) == 5, 60, "rows of a known id")
            proxy.hang()
            known.write(["A"], range(5, 10))
            until(lambda: committed(bars).get(0) == 10, 10, "rows of a known id during the outage")
            newest = Writer(bars, name="lot", type="int", default=0)
            newest.write(["A"], range(10, 15))
            until(lambda: run.value("seamless_registry_wait", dataset=DATASET) == 1, 30, "the wait")
            proxy.mend()
            until(lambda: committed(bars).get(0) == 15, 60, "all rows")
    assert not bars.read(bars.topic("quarantine"))


def test_rows_of_an_earlier_contract_are_judged_by_its_rules_also_by_the_producer(bars: World) -> None:
    schema = copy.deepcopy(bars.contract_schema.schema)
    next(f for f in schema["fields"] if f["name"] == "volume")["max"] = 50
    bars.registry.register(topics.subject(bars.topic("normalized")), schema)
    with GovernedProducer(DATASET, bars.settings) as producer:
        producer.send_row(good_bar("A", 0, volume=60.0))
    bars.registry.register(topics.subject(bars.topic("raw")), schema)
    with GovernedProducer(DATASET, bars.settings, on_violation="warn") as producer:
        producer.send_row(good_bar("A", 1, volume=60.0))
    with GovernedProducer(DATASET, bars.settings) as producer, pytest.raises(ProduceRefused, match="above_max"):
        producer.send_row(good_bar("A", 2, volume=60.0))
    normalize(bars)
    assert quarantined(bars) == {"above_max": 1}
    assert len(bars.read(bars.topic("normalized"))) == 1


def test_a_fleet_of_unregistered_ids_is_refused_without_asking_for_each_and_told_in_measure(
    stack: EmbeddedStack, bars: World
) -> None:
    set_mode(bars, "strict")
    Writer(bars).write(["A"], range(3))
    fleet = 20_000
    bars.produce((0, b"A", header(1_000_000 + n) + b"?") for n in range(fleet))
    asked: list[int] = []
    registry = Registry(RegistrySettings(url=stack.registry_url))
    real = registry.schema_by_id

    def counting(schema_id: int) -> Any:
        asked.append(schema_id)
        return real(schema_id)

    registry.schema_by_id = counting  # type: ignore[method-assign]
    run = Run(bars, registry=registry).to_end()
    assert len(asked) < 100
    assert quarantined(bars) == {"unknown_schema": fleet}
    subject = topics.subject(bars.topic("raw"))
    labels = {"subject": subject, "mode": "strict", "reason": "unknown_schema"}
    assert run.value("seamless_schema_validation_failures_total", **labels) == fleet
    assert max(len(r.schemas) for r in reports_of(bars)) <= MOST_SCHEMAS
    assert 0 < len([e for e in audit_of(bars) if e.what == "refused"]) < 1_000
    gate = run.normalizer._gate
    assert len(gate._versions._strangers) <= 20_000
    assert len(gate._raw_schemas._unknown) < 100


def test_a_row_passes_by_exception_until_its_end_and_reports_trail_and_metrics_say_so(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    last = now().date() + timedelta(days=3)
    file = tmp_path / "exceptions.toml"
    entry = (
        '[[exception]]\ndataset = "bars"\nfield = "low"\nreason = "zeros"\nowner = "a"\napprover = "b"\nexpires = {}\n'
    )
    file.write_text(entry.format(last))
    made = make_world(stack, world, tmp_path, conformance={"exceptions": str(file)}, **LOOSE)
    with GovernedProducer(DATASET, made.settings) as producer:
        producer.send_row(good_bar("A", 0, low=-1.0))
        with pytest.raises(ProduceRefused, match="open"):
            producer.send_row(good_bar("A", 1, open=-1.0))
    run = normalize(made)
    assert len(made.read(made.topic("normalized"))) == 1
    assert {(f.flag, f.excepted) for r in reports_of(made) for f in r.findings} == {("non_positive_price", True)}
    (told,) = [e for e in audit_of(made) if e.what == "exception"]
    assert "non_positive_price in low" in (told.reason or "")
    assert run.value("seamless_schema_exceptions_active", dataset=DATASET) == 1
    assert run.value("seamless_schema_exceptions_expiring", dataset=DATASET) == 1

    file.write_text(entry.format(now().date() - timedelta(days=1)))
    Writer(made).write(["A"], range(2, 3), low=-1.0)
    run = normalize(made)
    assert quarantined(made) == {"non_positive_price": 1}
    assert run.value("seamless_schema_exceptions_active", dataset=DATASET) == 0
