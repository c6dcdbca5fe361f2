"""Tells of leases what no transaction can: that one was revoked, lost, refused or given back."""

from __future__ import annotations

from confluent_kafka import KafkaException, Producer

from coordinator.lease_event import LeaseEvent
from coordinator.records import ControlPlane
from streams.clients import producer_config
from streams.log import get_logger
from streams.settings import Settings

__all__ = ["LeaseEventWriter"]

log = get_logger(__name__)


class LeaseEventWriter:
    """Writes lease events outside transactions. They explain; nothing is decided by them, so one may get lost."""

    def __init__(self, settings: Settings, plane: ControlPlane) -> None:
        self._plane = plane
        self._producer = Producer(producer_config(settings))

    def tell(self, event: LeaseEvent) -> None:
        """Send an event, without waiting for the broker."""
        record = self._plane.encode(event)
        try:
            self._producer.produce(record.topic, record.payload, record.key, record.partition)
            self._producer.poll(0)
        except (KafkaException, BufferError) as error:
            log.warning("lease_event_lost", shard=event.shard, lease_event=event.event.value, error=str(error))

    def close(self, seconds: float) -> None:
        """Send what is waiting, for so long at most."""
        self._producer.flush(seconds)
