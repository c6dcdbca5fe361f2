"""The quarantine on a real broker: rows are found, replayed once, dismissed, and pass after a fix."""

from __future__ import annotations

import copy
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from streams import topics
from streams.clients import producer_config
from streams.errors import BrokerError, SettingsError
from streams.offsets import end_offsets
from streams.quarantine_store import QuarantinedRow, QuarantineStore, RowChoice
from streams.quarantined import REPLAY_HEADER
from tests.support.bars import good_bar
from tests.support.normalizing import normalize
from tests.support.processes import running
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

EVERY = RowChoice()
AT = 1_700_000_000_000


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    """A world whose quarantine holds three kinds of rows in one partition, and its good rows normalized."""
    made = make_world(stack, world, tmp_path, dataset={"partitions": 2}, quarantine={"max_share": 1.0})
    codec = ReferenceCodec(parse_record(made.raw_schema.schema), made.raw_schema.id)
    bars = [good_bar("A", 0), good_bar("A", 1, close=float("nan")), good_bar("A", 2, volume=-1.0)]
    made.produce([*((0, b"A", codec.encode_one(bar)) for bar in bars), (0, b"A", b"poison")])
    normalize(made)
    return made


def store_of(world: World) -> QuarantineStore:
    return QuarantineStore(world.settings, DATASET, world.registry)


def replay(world: World, choice: RowChoice = EVERY, **arguments: Any) -> int:
    return store_of(world).settle(choice, "replayed", by="me", reason=None, now_ms=AT, **arguments)


def raw(world: World) -> list[bytes | None]:
    return [m.value() for m in world.read(world.topic("raw"))]


def seamless(folder: Path, world: World, *arguments: str, code: int = 0) -> str:
    log = folder / "quarantine.log"
    log.unlink(missing_ok=True)
    with running(["quarantine", *arguments, "--config", str(world.config)], log) as process:
        assert process.wait(60) == code, process.output()
        assert "Traceback" not in process.output()
        return process.output()


def test_rows_are_found_by_reason_and_by_column(made: World) -> None:
    store = store_of(made)
    assert [r.flags for r in store.rows(EVERY)] == [["non_finite"], ["negative_size"], ["undecodable"]]
    assert [r.flags for r in store.rows(RowChoice(flag="non_finite"))] == [["non_finite"]]
    assert [r.flags for r in store.rows(RowChoice(column="volume"))] == [["negative_size"]]
    assert list(store.rows(RowChoice(flag="non_finite", column="volume"))) == []


def test_a_replayed_row_goes_to_its_partition_byte_for_byte_and_names_its_origin(made: World) -> None:
    before = raw(made)
    assert replay(made, RowChoice(flag="undecodable")) == 1
    last = made.read(made.topic("raw"))[-1]
    assert (last.partition(), last.key(), last.value()) == (0, b"A", b"poison")
    [row] = store_of(made).rows(RowChoice("replayed"))
    assert dict(last.headers() or []) == {REPLAY_HEADER: f"{made.topic('quarantine')}:{row.name}".encode()}
    assert raw(made) == [*before, b"poison"]


def test_a_row_is_replayed_once_however_often_it_is_asked_for(made: World) -> None:
    assert replay(made) == 3
    assert replay(made) == 0
    assert len(raw(made)) == 7


def test_a_row_that_fails_again_is_quarantined_with_the_row_that_it_came_from(made: World) -> None:
    [first] = store_of(made).rows(RowChoice(flag="non_finite"))
    replay(made, RowChoice(flag="non_finite"))
    normalize(made)
    [again] = store_of(made).rows(RowChoice("open", flag="non_finite"))
    assert again.name != first.name
    assert again.datum["replay_of"] == f"{made.topic('quarantine')}:{first.name}"
    replay(made, RowChoice(flag="non_finite"))
    last = made.read(made.topic("raw"))[-1]
    assert len(last.headers() or []) == 1, "only the newest origin is named"


def test_a_dismissed_row_stays_and_is_never_replayed(made: World) -> None:
    store = store_of(made)
    names = frozenset(r.name for r in store.rows(RowChoice(flag="undecodable")))
    chosen = RowChoice(names=names)
    assert store.settle(chosen, "dismissed", by="me", reason="noise", now_ms=AT) == 1
    assert [r.status for r in store.rows(RowChoice(None))] == ["open", "open", "dismissed"]
    assert replay(made) == 2


def test_replays_at_once_send_every_row_once(made: World, stack: EmbeddedStack) -> None:
    made.produce((1, b"k%d" % n, b"poison %d" % n) for n in range(3_000))
    normalize(made)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            replay(made)
        except BrokerError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("run the command again" in str(f) for f in failures), failures
    replay(made)
    sent = Counter(value for value in raw(made) if (value or b"").startswith(b"poison "))
    assert set(sent.values()) == {2}, "once by the producer and once by the replay"
    assert list(store_of(made).rows(EVERY)) == []


def test_a_replay_that_is_overtaken_after_it_chose_its_rows_sends_none_of_them(made: World) -> None:
    class Overtaken(QuarantineStore):
        def rows(self, choice: RowChoice) -> Iterator[QuarantinedRow]:
            chosen = list(super().rows(choice))
            assert replay(made) == len(chosen) == 3
            return iter(chosen)

    with pytest.raises(BrokerError, match="0 rows were replayed, then another replay of this dataset took over"):
        Overtaken(made.settings, DATASET, made.registry).settle(EVERY, "replayed", by="me", reason=None, now_ms=AT)
    assert len(raw(made)) == 7


def test_a_replay_that_dies_between_transactions_goes_on_where_it_was(made: World) -> None:
    made.produce((1, None, b"poison %d" % n) for n in range(1_200))
    normalize(made)

    class Died(BaseException):
        pass

    def die(done: int) -> None:
        raise Died

    with pytest.raises(Died):
        replay(made, progress=die)
    assert replay(made) == 1_203 - 500
    assert set(Counter(raw(made)).values()) == {1, 2}
    assert list(store_of(made).rows(EVERY)) == []


def test_a_replay_that_dies_within_a_transaction_has_sent_nothing_of_it(made: World) -> None:
    """What a killed process leaves open is aborted by the next replay, which reads the states only after that."""
    [row] = store_of(made).rows(RowChoice(flag="undecodable"))
    name = f"{made.name}.quarantine.{DATASET}"
    dead = Producer(producer_config(made.settings, transactional_id=name, transaction_timeout_ms=60_000))
    dead.init_transactions(30)
    dead.begin_transaction()
    store = store_of(made)
    store._send_raw(dead, row)
    store._note(dead, row, "replayed", "me", None, AT)
    assert dead.flush(30) == 0
    assert replay(made, RowChoice(flag="undecodable")) == 1
    assert Counter(raw(made))[b"poison"] == 2


def test_a_failed_replay_holds_up_no_reader_of_the_raw_topic(made: World) -> None:
    class Failing(QuarantineStore):
        def _note(self, producer: Producer, *arguments: Any) -> None:
            assert producer.flush(30) == 0
            raise KafkaException(KafkaError(KafkaError.POLICY_VIOLATION))

    store = Failing(made.settings, DATASET, made.registry)
    with pytest.raises(BrokerError, match=r"0 rows were replayed.*run the command again"):
        store.settle(EVERY, "replayed", by="me", reason=None, now_ms=AT)
    where = [TopicPartition(made.topic("raw"), 0)]
    stable, written = (end_offsets(made.settings, where, stable=stable)[0] for stable in (True, False))
    assert stable == written > 4


def test_rows_pass_after_the_contract_was_loosened(made: World, stack: EmbeddedStack) -> None:
    looser = copy.deepcopy(made.contract_schema.schema)
    [volume] = [f for f in looser["fields"] if f["name"] == "volume"]
    volume["min"] = -10
    del volume["role"]
    assert made.registry.register(topics.subject(made.topic("normalized")), looser).version == 2
    assert replay(made) == 3
    run = normalize(made)
    assert run.value("seamless_rows_out_total", dataset="bars") == 1
    assert [r.flags for r in store_of(made).rows(EVERY)] == [["non_finite"], ["undecodable"]]
    assert {r.datum["contract_version"] for r in store_of(made).rows(EVERY)} == {2}


def test_the_command_lists_shows_dismisses_and_replays(made: World, tmp_path: Path) -> None:
    listed = json.loads(seamless(tmp_path, made, "list", DATASET, "--json"))
    assert [row["reasons"][0]["flag"] for row in listed] == ["non_finite", "negative_size", "undecodable"]
    name = listed[2]["row"]
    shown = json.loads(seamless(tmp_path, made, "show", DATASET, name, "--json"))
    assert (shown["value"], shown["decoded"]) == (b"poison".hex(), None)
    bar = json.loads(seamless(tmp_path, made, "show", DATASET, listed[0]["row"], "--json"))
    assert (bar["decoded"]["symbol"], bar["decoded"]["close"]) == ("A", "nan")
    assert "close = 'nan'" in seamless(tmp_path, made, "show", DATASET, listed[0]["row"])
    assert "undecodable" in seamless(tmp_path, made, "show", DATASET, name)
    said = seamless(tmp_path, made, "replay", DATASET, "--all", "--dry-run")
    assert "3 rows would be replayed" in said
    assert "1 row dismissed" in seamless(tmp_path, made, "dismiss", DATASET, "--row", name, "--why", "noise")
    assert "2 rows replayed" in seamless(tmp_path, made, "replay", DATASET, "--all")
    again = seamless(tmp_path, made, "replay", DATASET, "--all")
    assert "0 rows replayed" in again
    assert "--status all" in again
    assert len(raw(made)) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", DATASET), "say which rows"),
        (("replay", DATASET, "--all", "--reason", "gap"), "say which rows"),
        (("replay", DATASET, "--row", "seven"), "PARTITION:OFFSET"),
        (("show", DATASET, "0:999"), "no quarantined row 0:999"),
        (("list", DATASET, "--status", "shut"), "--status 'shut' is unknown"),
        (("list", "tics"), "There is no dataset 'tics'"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    stack: EmbeddedStack, world: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1})
    assert said in " ".join(seamless(tmp_path, made, *arguments, code=2).split())


def test_a_store_of_a_dataset_that_is_not_configured_is_refused(made: World) -> None:
    with pytest.raises(SettingsError, match="tics"):
        QuarantineStore(made.settings, "tics", made.registry)
