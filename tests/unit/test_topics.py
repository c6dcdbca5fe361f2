"""The table of topics: names that cannot collide, co-partitioning, and plans that never destroy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams import topics
from streams.settings import DatasetSettings, Settings
from streams.topic_admin import ExistingTopic, plan_topics
from streams.topics import TOPICS, Cleanup, Kind, Partitions, TopicSpec, topic_name, topics_for
from tests.support.examples import examples


def settings_with(*names: str, world: str = "live", **dataset: object) -> Settings:
    return Settings(
        world=world,
        datasets={name: DatasetSettings.model_validate({"contract": "ohlcv", **dataset}) for name in names},
    )


def test_every_kind_has_exactly_one_row() -> None:
    assert set(TOPICS) == set(Kind)
    assert all(row.kind is kind for kind, row in TOPICS.items())


@pytest.mark.parametrize("row", TOPICS.values(), ids=lambda row: row.kind.value)
def test_every_row_says_what_it_holds_in_a_sentence(row: topics.TopicDefinition) -> None:
    assert row.holds.endswith(".")
    assert row.key
    assert row.value


@pytest.mark.parametrize(
    ("accessor", "name"),
    [
        (topics.raw, "w.raw.d.1"),
        (topics.normalized, "w.normalized.d.1"),
        (topics.history, "w.history.d.1"),
        (topics.quarantine, "w.quarantine.d.1"),
        (topics.quarantine_state, "w.quarantine.state.d.1"),
        (topics.conformance_state, "w.conformance.state.d.1"),
    ],
)
def test_topics_of_a_dataset_are_named_by_world_and_dataset(accessor: Callable[[str, str], str], name: str) -> None:
    assert accessor("w", "d.1") == name


@pytest.mark.parametrize(
    ("accessor", "name"),
    [
        (topics.conformance_reports, "w.conformance.reports"),
        (topics.backfill_shards, "w.backfill.shards"),
        (topics.backfill_shards_urgent, "w.backfill.shards.urgent"),
        (topics.backfill_progress, "w.backfill.progress"),
        (topics.backfill_control, "w.backfill.control"),
        (topics.backfill_leases, "w.backfill.leases"),
        (topics.backfill_dlq, "w.backfill.dlq"),
        (topics.sla_observations, "w.sla.observations"),
        (topics.sla_breaches, "w.sla.breaches"),
        (topics.sla_state, "w.sla.state"),
        (topics.schema_governance, "w.schema.governance"),
        (topics.schema_audit, "w.schema.audit"),
        (topics.operations, "w.operations"),
    ],
)
def test_topics_of_a_world_are_named_by_it(accessor: Callable[[str], str], name: str) -> None:
    assert accessor("w") == name


def test_the_subject_of_a_topic_governs_its_values() -> None:
    assert topics.subject(topics.raw("live", "ohlcv.us.1d")) == "live.raw.ohlcv.us.1d-value"


@pytest.mark.parametrize("name", ["", "A", "a b", ".a", "a.", "a..b", "a/b", "state", "state.x", "state_x", "a" * 220])
def test_a_name_that_no_topic_could_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"dataset|name|too long"):
        topics.raw("live", name)


@pytest.mark.parametrize("name", ["statement", "state-x", "states.x", "x.state", "a-b_c.d"])
def test_a_name_that_only_resembles_a_reserved_one_is_fine(name: str) -> None:
    assert topics.raw("live", name) == f"live.raw.{name}"


@pytest.mark.parametrize("world", ["", "Live", "a.b", "-a", "a" * 41])
def test_a_world_that_no_topic_could_carry_is_refused(world: str) -> None:
    with pytest.raises(ValueError, match="world"):
        topics.backfill_shards(world)


def test_a_dataset_is_asked_for_exactly_where_the_topic_has_one() -> None:
    with pytest.raises(ValueError, match="needs a dataset"):
        topic_name(Kind.RAW, "live")
    with pytest.raises(ValueError, match="belongs to no dataset"):
        topic_name(Kind.SCHEMA_AUDIT, "live", "x")


@st.composite
def dataset_names(draw: st.DrawFn) -> str:
    """Names of few words, most of them words of topics, so that names nearly meet."""
    words = st.sampled_from(["a", "1", "state", "raw", "quarantine", "reports", "x" * 60])
    name = draw(words)
    for word in draw(st.lists(words, max_size=3)):
        name += draw(st.sampled_from("._-")) + word
    assume(len(name) < 150 and name.replace("_", ".").split(".")[0] != "state")
    return name


@examples(40)
@given(names=st.sets(dataset_names(), max_size=6))
def test_accepted_datasets_never_share_a_topic_even_as_kafka_reads_names(names: set[str]) -> None:
    if topics.colliding_datasets(names):
        return
    wanted = [spec.name for spec in topics_for(settings_with(*names))]
    assert len({name.replace(".", "_") for name in wanted}) == len(wanted)
    assert all(len(name) <= topics.MAX_TOPIC_NAME for name in wanted)


def test_worlds_share_no_topic() -> None:
    here = {spec.name for spec in topics_for(settings_with("x", world="live"))}
    there = {spec.name for spec in topics_for(settings_with("x", world="paper"))}
    assert not here & there


def test_the_topics_of_a_dataset_are_co_partitioned() -> None:
    specs = [spec for spec in topics_for(settings_with("x", partitions=7)) if spec.dataset == "x"]
    assert {spec.partitions for spec in specs} == {7}
    assert {spec.kind for spec in specs} == {k for k, row in TOPICS.items() if row.partitions is Partitions.DATASET}


def test_state_is_compacted_and_never_expires() -> None:
    for spec in topics_for(settings_with("x")):
        compacted = TOPICS[spec.kind].cleanup is Cleanup.COMPACT
        assert spec.config["cleanup.policy"] == ("compact" if compacted else "delete")
        assert ("retention.ms" in spec.config) is not compacted


def test_backfilled_rows_of_long_ago_are_not_expired_by_their_event_time() -> None:
    by_kind = {spec.kind: spec for spec in topics_for(settings_with("x", retention="1d"))}
    assert by_kind[Kind.HISTORY].config["message.timestamp.type"] == "LogAppendTime"
    assert by_kind[Kind.NORMALIZED].config["message.timestamp.type"] == "CreateTime"
    assert by_kind[Kind.HISTORY].config["retention.ms"] == "86400000"


def test_a_quarantined_record_has_room_for_a_whole_raw_record() -> None:
    by_kind = {spec.kind: spec for spec in topics_for(settings_with("x"))}
    assert int(by_kind[Kind.QUARANTINE].config["max.message.bytes"]) > 1_048_588


def existing(spec: TopicSpec, **changes: object) -> ExistingTopic:
    topic = ExistingTopic(spec.name, spec.partitions, 1, {**spec.config, "flush.ms": "1"})
    return dataclasses.replace(topic, **changes)  # type: ignore[arg-type]


def test_a_missing_topic_is_created_and_a_present_one_is_in_sync() -> None:
    wanted = topics_for(settings_with("x"))
    plan = plan_topics(wanted, {spec.name: existing(spec) for spec in wanted[1:]})
    assert [change.action for change in plan] == ["create"] + ["in_sync"] * (len(wanted) - 1)
    assert [change.spec for change in plan] == wanted


@pytest.mark.parametrize(
    ("changes", "what", "actual"),
    [
        ({"partitions": 99}, "partitions", "99"),
        ({"config": {"cleanup.policy": "compact"}}, "cleanup.policy", "compact"),
        ({"config": {}}, "retention.ms", ""),
    ],
)
def test_a_difference_is_reported_and_nothing_else_is_done(changes: dict[str, object], what: str, actual: str) -> None:
    (spec,) = (s for s in topics_for(settings_with("x")) if s.kind is Kind.RAW)
    (change,) = plan_topics([spec], {spec.name: existing(spec, **changes)})
    assert change.action == "drift"
    assert (what, actual) in {(drift.what, drift.actual) for drift in change.drift}


def test_copies_are_compared_only_where_the_settings_name_a_number() -> None:
    (spec,) = (s for s in topics_for(settings_with("x")) if s.kind is Kind.RAW)
    three = dataclasses.replace(spec, replication_factor=3)
    assert plan_topics([spec], {spec.name: existing(spec)})[0].action == "in_sync"
    assert plan_topics([three], {spec.name: existing(spec)})[0].drift[0].what == "replication_factor"


def test_topics_that_nobody_wants_are_not_mentioned() -> None:
    assert plan_topics([], {"other": ExistingTopic("other", 1, 1, {})}) == []
