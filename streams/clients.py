"""Configurations of Kafka clients: one place where the choices that correctness rests on are made.

Every producer hashes keys with murmur2, as the Java clients do: librdkafka's own default (CRC32) would put a symbol
into different partitions of topics that must be co-partitioned. Every consumer reads committed rows only, and none
ever jumps to another offset by itself: a lost offset is an error, not a reason to begin again.
"""

from __future__ import annotations

from typing import Any

from streams.client_log import client_logger
from streams.settings import Settings

__all__ = ["admin_config", "consumer_config", "producer_config", "reader_config"]

Config = dict[str, Any]

# A quarantined row wraps a raw record, which may itself be as large as the broker's default limit of one megabyte.
_MAX_MESSAGE_BYTES = 2 * 1024 * 1024


def admin_config(settings: Settings) -> Config:
    """Return the configuration of an admin client."""
    return _base(settings)


def consumer_config(settings: Settings, group: str) -> Config:
    """Return the configuration of a member of a consumer group (KIP-848) that commits inside transactions."""
    normalizer = settings.normalizer
    return {
        **_base(settings),
        "group.id": group,
        "group.protocol": "consumer",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "queued.min.messages": normalizer.queued_min_messages,
        "queued.max.messages.kbytes": normalizer.queued_max_kbytes,
        "fetch.min.bytes": normalizer.fetch_min_bytes,
        "fetch.wait.max.ms": normalizer.fetch_wait_max_ms,
        "fetch.queue.backoff.ms": 5,
    }


def reader_config(settings: Settings, *, read_committed: bool = True) -> Config:
    """Return the configuration of a consumer that assigns partitions itself and commits nothing."""
    return {
        **_base(settings),
        # librdkafka wants a group's name even where none is joined; nothing is ever committed under it.
        "group.id": f"{settings.world}.reader",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed" if read_committed else "read_uncommitted",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 5,
    }


def producer_config(
    settings: Settings,
    *,
    transactional_id: str | None = None,
    transaction_timeout_ms: int | None = None,
    linger_ms: float = 5.0,
    compression: str = "none",
) -> Config:
    """Return the configuration of an idempotent producer, transactional if it has an id."""
    config: Config = {
        **_base(settings),
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "compression.type": compression,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": 500_000,
        "queue.buffering.max.kbytes": 256 * 1024,
    }
    if transactional_id is not None:
        timeout = transaction_timeout_ms or settings.normalizer.transaction_timeout_ms
        config |= {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": timeout,
            # librdkafka insists that a message's life is no longer than its transaction's.
            "message.timeout.ms": timeout,
        }
    return config


def _base(settings: Settings) -> Config:
    """Return what all clients share: a broker that comes back is found again within a second."""
    return {
        "reconnect.backoff.max.ms": 1_000,
        **settings.kafka.client_config(),
        "logger": client_logger(),
    }
