"""Ends of partitions, asked of the broker, and patience with a broker that does not answer at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import wait
from time import sleep
from typing import TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams.clients import admin_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.settings import Settings

__all__ = ["connect", "end_offsets", "is_hopeless", "oldest_offsets", "patiently"]

Answer = TypeVar("Answer")

_OLDEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_AGAIN_SECONDS = 0.1
_REQUEST_SECONDS = 10.0
_HOPELESS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.UNSUPPORTED_VERSION,
}


def is_hopeless(error: KafkaError) -> bool:
    """Whether asking again cannot help, as somebody has to change something first."""
    return error.fatal() or error.code() in _HOPELESS


def connect(admin: AdminClient, topic: str) -> None:
    """Connect a client that was just made, before it is asked for offsets.

    librdkafka first looks for the leaders of partitions. If it is not connected by then, it looks again after 1 or 3 s:
    without this, one fresh client in 25 was seen to take so long for what takes milliseconds.

    Raises:
        KafkaException: if no broker answers.
    """
    admin.list_topics(topic, timeout=_REQUEST_SECONDS)


def patiently(call: Callable[[], Answer], deadline: Deadline, what: str) -> Answer:
    """Return what a call to the broker returns, made again while it fails and there is time.

    Raises:
        BrokerError: beginning with `what`, if it failed until the deadline, or cannot succeed.
    """
    while True:
        try:
            return call()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if is_hopeless(cause) or deadline.passed():
                raise BrokerError(f"{what}: {cause.str()}") from error
        sleep(_AGAIN_SECONDS)


def end_offsets(
    settings: Settings, wanted: Iterable[TopicPartition], *, stable: bool, deadline: Deadline | None = None
) -> dict[int, int]:
    """Return the end of each partition: the last stable offset, or (not stable) the high watermark.

    Args:
        deadline: how long to ask again while the broker does not answer; None for once.

    Raises:
        BrokerError: if the broker does not answer, or a partition does not exist.
    """
    isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
    return _offsets(settings, wanted, _LATEST, isolation, deadline)


def oldest_offsets(
    settings: Settings, wanted: Iterable[TopicPartition], *, deadline: Deadline | None = None
) -> dict[int, int]:
    """Return the offset of the oldest record of each partition; arguments and errors are those of `end_offsets`."""
    return _offsets(settings, wanted, _OLDEST, IsolationLevel.READ_UNCOMMITTED, deadline)


def _offsets(
    settings: Settings,
    wanted: Iterable[TopicPartition],
    which: OffsetSpec,
    isolation: IsolationLevel,
    deadline: Deadline | None,
) -> dict[int, int]:
    partitions = list(wanted)
    if not partitions:
        return {}
    admin = AdminClient(admin_config(settings))

    def ask() -> dict[int, int]:
        connect(admin, partitions[0].topic)
        asked = admin.list_offsets(
            dict.fromkeys(partitions, which), isolation_level=isolation, request_timeout=_REQUEST_SECONDS
        )
        wait(asked.values())  # A client that is let go while it waits for answers may crash.
        return {p.partition: int(future.result().offset) for p, future in asked.items()}

    what = f"the ends of {partitions[0].topic} cannot be found (`seamless topics apply` makes missing topics)"
    return patiently(ask, deadline or Deadline(0), what)
