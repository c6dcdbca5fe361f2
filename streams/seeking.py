"""To read on from a place, whatever the consumer does with the partition now."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, TopicPartition

__all__ = ["read_from"]


def read_from(consumer: Consumer, where: TopicPartition) -> None:
    """Seek a partition that is assigned, and let it be fetched."""
    try:
        consumer.seek(where)
    except KafkaException:
        # It was not being fetched, as after an error: only an assignment starts that again.
        consumer.incremental_unassign([where])
        consumer.incremental_assign([where])
    consumer.resume([where])
