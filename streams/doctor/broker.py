"""What the doctor asks Kafka: brokers, their settings, rights, and how far groups are.

It joins no group, and writes nothing but for `probed_time`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
    libversion,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from streams.clients import admin_config, producer_config
from streams.errors import BrokerError
from streams.offsets import end_offsets, oldest_offsets
from streams.settings import Settings

__all__ = ["Broker", "Group", "Place", "client_version"]

_NEWEST: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND}
_HIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
_REFUSED = _HIDDEN | {KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}

# What fails is told once, as a finding.
_QUIET = logging.getLogger("librdkafka.doctor")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


@dataclass(frozen=True, slots=True)
class Place:
    """A partition: its oldest record, its end, and where a group goes on in it (None: nowhere yet)."""

    partition: int
    oldest: int
    end: int
    committed: int | None = None

    @property
    def waiting(self) -> int:
        """How many records the group has still to read."""
        return self.end - max(self.committed if self.committed is not None else self.oldest, self.oldest)


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group in one topic."""

    name: str
    members: int
    places: tuple[Place, ...]


def client_version() -> tuple[int, ...]:
    """Return the version of librdkafka, such as (2, 16, 0)."""
    return tuple(int(part) for part in libversion()[0].split("-")[0].split("."))


class Broker:
    """Asks a cluster; each method raises BrokerError if it does not answer within `timeout` seconds."""

    def __init__(self, settings: Settings, timeout: float = 10.0) -> None:
        self._settings, self._timeout = settings, timeout
        config: dict[str, Any] = {**admin_config(settings), "logger": _QUIET}
        self._admin = AdminClient(config)

    def brokers(self) -> list[str]:
        """Return the addresses at which the brokers say that they are reached."""
        try:
            found = self._admin.list_topics(timeout=self._timeout).brokers.values()
        except KafkaException as error:
            raise self._silent(error) from error
        return sorted(f"{broker.host}:{broker.port}" for broker in found)

    def config(self) -> dict[str, str] | None:
        """Return the settings in effect of one broker; None if these credentials may not see them."""
        try:
            brokers = self._admin.list_topics(timeout=self._timeout).brokers
            asked = ConfigResource(ConfigResource.Type.BROKER, str(min(brokers)))
            answers = self._admin.describe_configs([asked], request_timeout=self._timeout)
            entries = answers[asked].result(self._timeout)
        except (KafkaException, TimeoutError, ValueError) as error:
            if _code(error) == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                return None
            raise self._silent(error) from error
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def topic_rights(self, names: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return what we may do with the topics that exist, such as READ; nothing if not even DESCRIBE."""
        wanted = TopicCollection(sorted(names))
        asked = self._admin.describe_topics(
            wanted, include_authorized_operations=True, request_timeout=self._timeout
        )  # fmt: skip
        return self._rights(asked)

    def group_rights(self, names: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return what we may do with groups, also with ones that nobody is in yet."""
        asked = self._admin.describe_consumer_groups(
            sorted(names), include_authorized_operations=True, request_timeout=self._timeout
        )
        return self._rights(asked)

    def _rights(self, asked: dict[str, Any]) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for name, future in asked.items():
            try:
                allowed = future.result(self._timeout).authorized_operations
                found[name] = frozenset(operation.name for operation in allowed or ())
            except (KafkaException, TimeoutError) as error:
                code = _code(error)
                if code in _HIDDEN:
                    found[name] = frozenset()
                elif code not in _MISSING:
                    raise self._silent(error) from error
        return found

    def newest_stamp(self, places: Iterable[tuple[str, int]]) -> int | None:
        """Return the newest timestamp among partitions, in milliseconds since the epoch; None if all are empty."""
        asked = self._admin.list_offsets(
            {TopicPartition(topic, partition): _NEWEST for topic, partition in places}, request_timeout=self._timeout
        )
        try:
            stamps = [future.result(self._timeout).timestamp for future in asked.values()]
        except (KafkaException, TimeoutError) as error:
            raise self._silent(error) from error
        return max((stamp for stamp in stamps if stamp >= 0), default=None)

    def probed_time(self, topic: str) -> int:
        """Return the broker's time, in milliseconds since the epoch, by a record in a topic that is deleted again."""
        spec = NewTopic(topic, 1, -1, config={"message.timestamp.type": "LogAppendTime"})
        try:
            self._admin.create_topics([spec], request_timeout=self._timeout)[topic].result(self._timeout)
        except (KafkaException, TimeoutError) as error:
            raise self._silent(error) from error
        told: list[tuple[KafkaError | None, Message]] = []
        config: dict[str, Any] = {**producer_config(self._settings, linger_ms=0), "logger": _QUIET}
        producer = Producer(config)
        try:
            producer.produce(topic, b"", on_delivery=lambda error, message: told.append((error, message)))
            producer.flush(self._timeout)
            if not told:
                raise BrokerError(f"no record could be written to {topic} in time")
            refusal, message = told[0]
            if refusal is not None:
                raise self._silent(KafkaException(refusal))
            return int(message.timestamp()[1])
        finally:
            producer.purge()
            self._admin.delete_topics([topic], request_timeout=self._timeout)[topic].exception(self._timeout)

    def group(self, name: str, topic: str, partitions: Iterable[int]) -> Group:
        """Return how far a group is in the partitions of a topic, which exists."""
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        committed = self._committed(name, wanted)
        oldest = oldest_offsets(self._settings, wanted)
        places = (
            Place(partition, oldest[partition], end, committed.get(partition))
            for partition, end in end_offsets(self._settings, wanted, stable=True).items()
        )
        return Group(name, self._members(name), tuple(sorted(places, key=lambda place: place.partition)))

    def _members(self, name: str) -> int:
        try:
            asked = self._admin.describe_consumer_groups([name], request_timeout=self._timeout)
            return len(asked[name].result(self._timeout).members or [])
        except (KafkaException, TimeoutError) as error:
            if _is_unknown_group(error):
                return 0
            raise self._silent(error) from error

    def _committed(self, name: str, wanted: list[TopicPartition]) -> dict[int, int]:
        try:
            asked = self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name, wanted)], request_timeout=self._timeout
            )
            found = asked[name].result(self._timeout).topic_partitions or []
        except (KafkaException, TimeoutError) as error:
            if _is_unknown_group(error):
                return {}
            raise self._silent(error) from error
        return {place.partition: place.offset for place in found if place.error is None and place.offset >= 0}

    def _silent(self, error: BaseException) -> BrokerError:
        cause = error.args[0] if error.args else None
        reason = cause.str() if isinstance(cause, KafkaError) else str(error) or "no answer in time"
        what = "refuses what these credentials ask" if _code(error) in _REFUSED else "does not answer"
        return BrokerError(f"Kafka at {self._settings.kafka.bootstrap_servers} {what}: {reason}")


def _is_unknown_group(error: BaseException) -> bool:
    return _code(error) == KafkaError.GROUP_ID_NOT_FOUND


def _code(error: BaseException) -> int | None:
    cause = error.args[0] if error.args else None
    return cause.code() if isinstance(cause, KafkaError) else None
