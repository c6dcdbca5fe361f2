"""The partition of a key, against Kafka's own test vectors; against a real producer in tests/integration."""

from __future__ import annotations

import pytest

from streams.partitioning import murmur2, partition_of, partitions_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [  # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafkas_own_tests(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@pytest.mark.parametrize(
    ("key", "partition"),
    [  # as librdkafka's murmur2_random put them into a topic of 12 partitions
        ("AAPL", 9), ("MSFT", 6), ("NVDA", 5), ("007", 10), ("BRK.B", 3), ("BTC-USD", 9), ("Ünïcode", 5), ("ES=F", 3),
        ("a", 4), ("", 9),
    ],
)  # fmt: skip
def test_the_partition_is_where_a_real_producer_put_the_key(key: str, partition: int) -> None:
    assert partition_of(key, 12) == partition


def test_text_is_hashed_as_utf_8() -> None:
    assert partition_of("Ünïcode", 1_000) == partition_of("Ünïcode".encode(), 1_000)


def test_each_partition_is_listed_once_and_in_order() -> None:
    keys = [f"SYM{i}" for i in range(50)]
    assert partitions_of(keys, 4) == [0, 1, 2, 3]
    assert partitions_of(["AAPL"], 8) == [partition_of("AAPL", 8)]


def test_a_topic_without_partitions_holds_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        partition_of("AAPL", 0)
