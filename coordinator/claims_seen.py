"""Which queue partitions had a shard claimed: a group without an offset there has lost it, and must not begin anew."""

from __future__ import annotations

import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from coordinator.ownership import Place
from coordinator.records import ControlPlane
from coordinator.shards import Progress
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.log import get_logger
from streams.offsets import end_offsets, is_hopeless
from streams.registry import RegistryUnavailable
from streams.settings import Settings

__all__ = ["ClaimsSeen"]

log = get_logger(__name__)

_BATCH = 10_000
_POLL_SECONDS = 0.2


class ClaimsSeen:
    """Reads the progress topic when it is first asked, and from then on only what is new; any thread may ask."""

    def __init__(self, settings: Settings, plane: ControlPlane, *, deadline_s: float) -> None:
        self._settings, self._plane, self._deadline_s = settings, plane, deadline_s
        self._reader: Consumer | None = None
        self._reached: dict[int, int] = {}
        self._claimed: set[Place] = set()
        self._lock = threading.Lock()

    def untouched(self, place: Place) -> bool:
        """Whether no shard of a partition was ever claimed.

        Raises:
            BrokerError: if the progress topic could not be read to its end in time.
        """
        with self._lock:
            self._catch_up()
            return place not in self._claimed

    def close(self) -> None:
        """Let go of Kafka."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _catch_up(self) -> None:
        deadline = Deadline(self._deadline_s)
        topic = self._plane.progress
        places = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(self._plane.partitions[topic])]
        ends = end_offsets(self._settings, places, stable=False, deadline=deadline)
        if self._reader is None:
            self._reader = Consumer(reader_config(self._settings))
            self._reader.assign(places)
            self._reached = dict.fromkeys(ends, 0)
        while any(self._reached[p] < end for p, end in ends.items()):
            if deadline.passed():
                raise BrokerError(f"{topic} could not be read to its end within {deadline.seconds:g} s")
            for message in self._reader.consume(_BATCH, _POLL_SECONDS):
                partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
                if error is None:
                    self._take(message.value())
                    self._reached[partition] = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._reached[partition] = max(self._reached[partition], offset)
                elif is_hopeless(error):
                    raise BrokerError(f"{topic} cannot be read: {error.str()}")

    def _take(self, value: str | bytes | None) -> None:
        try:
            event = self._plane.decode(self._plane.progress, value if isinstance(value, bytes) else b"")
        except RegistryUnavailable:
            raise
        except Exception as error:  # damaged, or of a kind that a newer release writes
            log.warning("progress_unreadable", topic=self._plane.progress, error=str(error))
            return
        # One that was queued again had ended, and nobody ends what nobody claimed.
        if isinstance(event, Progress) and (event.attempt > 0 or event.shard.epoch > 1):
            self._claimed.add(Place(self._plane.queue(urgent=event.shard.urgent), event.shard.partition))
