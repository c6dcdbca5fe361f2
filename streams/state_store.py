"""The compacted topic of conformance states: written inside transactions, read in full when partitions are assigned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from schemas.keystate import KeyRecord
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.offsets import end_offsets, is_hopeless
from streams.settings import Settings

__all__ = ["StateStore", "end_offsets"]

_HASH = np.dtype("<u8")


class StateStore:
    """Reads and writes the states of one dataset's keys.

    Args:
        topic: the state topic; co-partitioned with the raw topic.
        time_units: event-time units per second of the contract in use.
    """

    def __init__(self, settings: Settings, topic: str, codec: EventCodec, time_units: int) -> None:
        self._settings, self._topic, self._codec, self._units = settings, topic, codec, time_units

    def encode(self, records: Iterable[KeyRecord]) -> tuple[list[bytes], list[bytes], list[int]]:
        """Return payloads, keys and partitions to write."""
        payloads, keys, partitions = [], [], []
        for record in records:
            datum = {
                "partition": record.partition,
                "newest": record.newest,
                "rows": record.rows,
                "identities": record.identities.astype(_HASH).tobytes(),
                "contents": record.contents.astype(_HASH).tobytes(),
                "time_units": self._units,
            }
            payloads.append(self._codec.encode(datum))
            keys.append(record.key.encode())
            partitions.append(record.partition)
        return payloads, keys, partitions

    def restore(self, partitions: Iterable[int], deadline: Deadline) -> list[KeyRecord]:
        """Read the states of partitions up to their high watermarks.

        A reader of committed records sees only what is below the last stable offset, so stopping there would miss what
        an open transaction of the previous owner may still commit. Reading goes on until the transaction ended.

        Raises:
            BrokerError: if the high watermarks were not reached in time.
        """
        wanted = [TopicPartition(self._topic, p) for p in partitions]
        ends = end_offsets(self._settings, wanted, stable=False, deadline=deadline)
        pending = {p for p, end in ends.items() if end > 0}
        newest: dict[tuple[int, bytes], KeyRecord | None] = {}
        if not pending:
            return []
        reader = Consumer(reader_config(self._settings))
        try:
            reader.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in pending])
            while pending:
                if deadline.passed():
                    raise BrokerError(
                        f"the states in {self._topic} could not be read to the end within {deadline.seconds:g} s "
                        f"(partitions {sorted(pending)}): a transaction may be open; raise "
                        "seamless.normalizer.restore_deadline_s or look at the broker"
                    )
                for message in reader.consume(10_000, min(0.5, deadline.left())):
                    self._take(message, ends, pending, newest)
        finally:
            reader.close()
        return [record for record in newest.values() if record is not None]

    def _take(
        self,
        message: Any,
        ends: dict[int, int],
        pending: set[int],
        newest: dict[tuple[int, bytes], KeyRecord | None],
    ) -> None:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if is_hopeless(error) or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise BrokerError(f"the states in {self._topic} cannot be read: {error.str()}")
            return  # The broker is away for a while; the deadline tells when it is too long.
        partition, offset = message.partition(), message.offset()
        if error is None:
            newest[partition, message.key()] = self._decode(message)
            offset += 1
        # The end of a partition lies behind control records, which are not delivered.
        if offset >= ends[partition]:
            pending.discard(partition)

    def _decode(self, message: Any) -> KeyRecord | None:
        if message.value() is None:
            return None
        datum = self._codec.decode(message.value())
        if datum["time_units"] != self._units:
            # Another resolution: hashes and times mean something else. Beginning anew is right, if forgetful.
            return None
        return KeyRecord(
            partition=datum["partition"],
            key=message.key().decode(),
            newest=datum["newest"],
            rows=datum["rows"],
            identities=np.frombuffer(datum["identities"], _HASH).astype(np.uint64),
            contents=np.frombuffer(datum["contents"], _HASH).astype(np.uint64),
        )
