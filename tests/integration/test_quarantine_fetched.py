"""Quarantined rows that backfill fetched: shown like any other, and never sent to the raw topic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from operations.stack import EmbeddedStack
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.conformance import Reason, Rejected
from schemas.contract import Contract
from streams.clients import producer_config
from streams.quarantine_store import NotReplayable, QuarantineStore, RowChoice
from streams.quarantined import wrap_fetched
from tests.support.bars import good_bar
from tests.support.normalizing import normalize
from tests.support.processes import running
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

AT = 1_700_000_000_000
SOURCE = "files:bars/*.parquet"


@pytest.fixture
def made(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    """A world whose quarantine holds one raw record and one row that was fetched, in one partition."""
    made = make_world(stack, world, tmp_path, dataset={"partitions": 1}, quarantine={"max_share": 1.0})
    codec = ReferenceCodec(parse_record(made.raw_schema.schema), made.raw_schema.id)
    made.produce([(0, b"A", codec.encode_one(good_bar("A", 0, volume=-1.0)))])
    normalize(made)
    datum = wrap_fetched(
        b"A",
        {"Ticker": "A", "Close": float("nan"), "Volume": 3},
        41,
        Rejected(0, (Reason("non_finite", "close"),)),
        source=SOURCE,
        dataset=DATASET,
        world=made.name,
        contract=Contract.parse(made.contract_schema.schema),
        contract_version=1,
        now_ms=AT,
    )
    producer = Producer(producer_config(made.settings))
    producer.produce(made.topic("quarantine"), made.event_codec("quarantine", "quarantined_row").encode(datum), b"A", 0)
    assert producer.flush(30) == 0
    return made


def store_of(world: World) -> QuarantineStore:
    return QuarantineStore(world.settings, DATASET, world.registry)


def replay(world: World, choice: RowChoice) -> int:
    return store_of(world).settle(choice, "replayed", by="me", reason=None, now_ms=AT)


def test_a_replay_of_everything_sends_raw_records_alone_and_one_of_a_fetched_row_is_refused(made: World) -> None:
    raw, fetched = store_of(made).rows(RowChoice())
    assert (raw.fetched_from, raw.came_from) == (None, "0:0")
    assert (fetched.fetched_from, fetched.came_from) == (SOURCE, f"{SOURCE}, row 41")
    with pytest.raises(NotReplayable, match=r"request their range"):
        replay(made, RowChoice(names=frozenset({raw.name, fetched.name})))
    assert len(made.read(made.topic("raw"))) == 1
    assert replay(made, RowChoice()) == 1
    assert len(made.read(made.topic("raw"))) == 2
    with pytest.raises(NotReplayable, match=r"backfill fetched this row from files:bars"):
        replay(made, RowChoice())
    assert store_of(made).settle(RowChoice(), "dismissed", by="me", reason="mended", now_ms=AT) == 1


def test_the_commands_show_where_it_was_fetched_from_and_its_columns(made: World, tmp_path: Path) -> None:
    def seamless(*arguments: str, code: int = 0) -> str:
        log = tmp_path / "quarantine.log"
        log.unlink(missing_ok=True)
        with running(["quarantine", *arguments, "--config", str(made.config)], log) as process:
            assert process.wait(60) == code, process.output()
            return process.output()

    listed = json.loads(seamless("list", DATASET, "--json"))
    assert [(row["topic"], row["offset"]) for row in listed][1] == (f"backfill:{SOURCE}", 41)
    assert json.loads(listed[1]["value"]) == {"Ticker": "A", "Close": "nan", "Volume": 3}
    assert f"{SOURCE}, row 41" in seamless("list", DATASET).replace("\n", "")
    assert SOURCE in seamless("show", DATASET, listed[1]["row"])
    refusal = seamless("replay", DATASET, "--row", listed[1]["row"], code=2)
    assert "request their range" in " ".join(refusal.split())
    assert "Traceback" not in refusal
