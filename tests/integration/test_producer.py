"""The governed producer on a real broker and registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from operations.stack import EmbeddedStack
from schemas.coerce import FrameError
from streams import topics
from streams.delivery import Delivery, DeliveryFailed, DeliveryFailure
from streams.errors import BrokerError, ContractError, RegistryError, SettingsError
from streams.partitioning import partition_of
from streams.producer import GovernedProducer, ProduceRefused
from streams.settings import DatasetSettings, KafkaSettings
from tests.support.bars import good_bar
from tests.support.worlds import DATASET, World, make_world

pytestmark = pytest.mark.kafka

SYMBOLS = ["AAPL", "MSFT", "NVDA", "BRK.B"]


@pytest.fixture
def bars_world(stack: EmbeddedStack, world: str, tmp_path: Path) -> World:
    return make_world(stack, world, tmp_path)


def bars(minutes: int, symbols: list[str] = SYMBOLS, **changes: Any) -> pl.DataFrame:
    rows = [good_bar(s, m, **changes) for m in range(minutes) for s in symbols]
    return pl.DataFrame(rows).drop("flags").with_columns(pl.from_epoch("event_time", "us").dt.replace_time_zone("UTC"))


def test_rows_arrive_under_the_registered_schema_in_the_partition_of_their_symbol(bars_world: World) -> None:
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        sent = producer.send(bars(25))
    assert sent.rows == 100
    assert producer.counts.delivered == 100
    found = bars_world.read(bars_world.topic("raw"))
    assert len(found) == 100
    for message in found:
        key = message.key()
        assert key.decode() in SYMBOLS
        assert message.partition() == partition_of(key, 4)
        assert message.value()[1:5] == bars_world.raw_schema.id.to_bytes(4, "big")


def test_pandas_and_pyarrow_frames_and_single_rows_are_the_same_bytes(bars_world: World) -> None:
    frame = bars(1, ["AAPL"])
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        for one in (frame, frame.to_pandas(), frame.to_arrow()):
            producer.send(one)
        producer.send_row(frame.row(0, named=True))
    found = bars_world.read(bars_world.topic("raw"))
    assert len(found) == 4
    assert len({m.value() for m in found}) == 1


def test_a_frame_with_one_violation_is_refused_as_a_whole(bars_world: World) -> None:
    frame = bars(3).with_columns(pl.when(pl.int_range(12) == 7).then(0.0).otherwise("low").alias("low"))
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        with pytest.raises(ProduceRefused, match=r"row 7: non_positive_price \(low\)") as refused:
            producer.send(frame)
        assert [r.row for r in refused.value.rejected] == [7]
        assert refused.value.report.count("non_positive_price", "low") == 1
    assert producer.counts.refused == 12
    assert bars_world.read(bars_world.topic("raw")) == []


def test_a_refused_frame_is_not_remembered_so_the_mended_one_is_no_duplicate(bars_world: World) -> None:
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        with pytest.raises(ProduceRefused):
            producer.send(bars(2, low=-1.0))
        assert producer.send(bars(2)).report.findings == ()


def test_a_violation_is_sent_where_a_warning_is_chosen(bars_world: World) -> None:
    with GovernedProducer(DATASET, bars_world.settings, on_violation="warn") as producer:
        assert producer.send(bars(2, low=-1.0)).report.violations == 8
    assert len(bars_world.read(bars_world.topic("raw"))) == 8


def test_duplicates_and_disorder_across_frames_are_warnings_and_are_sent(bars_world: World) -> None:
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        producer.send(bars(5, ["AAPL"]))
        again = producer.send(bars(2, ["AAPL"]))
    assert again.report.count("duplicate_ts") == 2
    assert again.report.count("out_of_order") == 2
    assert producer.counts.delivered == 7


def test_a_check_sends_and_remembers_nothing(bars_world: World) -> None:
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        assert producer.check(bars(5)).rows_in == 20
        with pytest.raises(ProduceRefused):
            producer.check(bars(1, low=-1.0))
        assert producer.send(bars(5)).report.count("duplicate_ts") == 0


def test_a_column_that_does_not_fit_is_named_and_nothing_is_sent(bars_world: World) -> None:
    with GovernedProducer(DATASET, bars_world.settings) as producer:
        with pytest.raises(FrameError, match="'vwap'"):
            producer.send(bars(1).with_columns(vwap=1.0))
        with pytest.raises(FrameError, match="'close'"):
            producer.send(bars(1).with_columns(close=pl.lit("1.5")))
        assert producer.counts.sent == 0


def test_a_vendors_rows_are_keyed_by_the_column_that_becomes_the_symbol(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    names = ["ticker", "date", "o", "h", "l", "c"]
    raw = {"type": "record", "name": "Vendor", "fields": [{"name": n, "type": "string"} for n in names]}
    vendor = make_world(stack, world, tmp_path, raw=raw)
    row = dict(zip(names, ["AAPL", "2024-01-02T10:00:00Z", "1.10", "2", "1", "1.5"], strict=True))
    with GovernedProducer(DATASET, vendor.settings) as producer:
        report = producer.send_row(row).report
    assert report.count("dtype_cast") == 4
    assert [m.key() for m in vendor.read(vendor.topic("raw"))] == [b"AAPL"]


def test_a_producer_registers_nothing_and_says_who_does(bars_world: World) -> None:
    settings = bars_world.settings.model_copy(update={"datasets": {"other": DatasetSettings(contract="ohlcv")}})
    with pytest.raises(RegistryError, match="seamless schema register"):
        GovernedProducer("other", settings)
    subject = topics.subject(topics.raw(bars_world.name, "other"))
    assert bars_world.registry.latest(subject) is None


def test_a_raw_schema_that_does_not_fit_the_contract_is_refused_at_the_start(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    raw = {"type": "record", "name": "V", "fields": [{"name": "symbol", "type": "string"}]}
    with pytest.raises(ContractError, match="field close"):
        GovernedProducer(DATASET, make_world(stack, world, tmp_path, raw=raw).settings)


def test_an_unknown_dataset_is_refused_with_the_known_ones(bars_world: World) -> None:
    with pytest.raises(SettingsError, match="known: bars"):
        GovernedProducer("nosuch", bars_world.settings)


def test_a_missing_topic_is_said_at_the_start_and_not_after_minutes(bars_world: World) -> None:
    with pytest.raises(BrokerError, match="seamless topics apply"):
        Delivery(bars_world.settings.kafka.client_config(), f"{bars_world.name}.raw.nosuch")


def test_a_record_that_kafka_does_not_take_is_counted_told_and_raised(bars_world: World) -> None:
    told: list[DeliveryFailure] = []
    delivery = Delivery(
        {**bars_world.settings.kafka.client_config(), "message.max.bytes": 2_000_000},
        bars_world.topic("raw"),
        told.append,
    )
    delivery.send([b"fine", b"x" * 1_500_000, b"y" * 3_000_000], [b"a", b"b", b"c"])
    with pytest.raises(DeliveryFailed, match="2 records were not delivered"):
        delivery.flush(30)
    assert {f.key for f in told} == {b"b", b"c"}
    assert (delivery.sent, delivery.failed, delivery.waiting) == (3, 2, 0)
    delivery.flush(5)  # what was told once is not told again


def test_a_full_queue_makes_the_producer_wait_and_loses_nothing(bars_world: World) -> None:
    small = {**bars_world.settings.kafka.client_config(), "queue.buffering.max.messages": 10, "linger.ms": 1}
    delivery = Delivery(small, bars_world.topic("raw"))
    delivery.send([b"x"] * 500, [b"k"] * 500)
    delivery.flush(30)
    assert len(bars_world.read(bars_world.topic("raw"))) == 500


def test_records_that_are_still_waiting_are_said(bars_world: World) -> None:
    slow = {**bars_world.settings.kafka.client_config(), "linger.ms": 5_000}
    delivery = Delivery(slow, bars_world.topic("raw"))
    delivery.send([b"x"], [b"k"])
    with pytest.raises(DeliveryFailed, match="1 records are still waiting"):
        delivery.flush(0.0)
    delivery.flush(30)


def test_a_closed_producer_sends_no_more(bars_world: World) -> None:
    producer = GovernedProducer(DATASET, bars_world.settings)
    producer.close()
    assert producer.close().sent == 0
    with pytest.raises(BrokerError, match="closed"):
        producer.send(bars(1))


def test_a_refused_client_property_is_a_setting_to_correct(bars_world: World) -> None:
    kafka = KafkaSettings(
        bootstrap_servers=bars_world.settings.kafka.bootstrap_servers, client={"no.such.property": "1"}
    )
    with pytest.raises(SettingsError, match=r"seamless\.kafka\.client"):
        GovernedProducer(DATASET, bars_world.settings.model_copy(update={"kafka": kafka}))
