"""Who works: the members of the workers' group, and which partitions of the queues the group has given each."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from coordinator.ownership import Place
from coordinator.queue_offsets import worker_group
from streams.clients import admin_config
from streams.clock import Deadline
from streams.offsets import patiently
from streams.settings import Settings

__all__ = ["Member", "Members"]

_ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as the group knows it; `host` is the machine and process that it names itself."""

    host: str
    places: tuple[Place, ...]


class Members:
    """Asks the broker; one object may be asked often.

    Args:
        settings: whose world's workers are meant.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._group = settings, worker_group(settings.world)

    def now(self) -> list[Member]:
        """Return the members there are, by name; one that was killed is there until its session ends.

        Raises:
            BrokerError: if Kafka does not answer.
        """
        return patiently(self._ask, Deadline(_ANSWER_SECONDS), f"the members of {self._group} cannot be listed")

    def _ask(self) -> list[Member]:
        # A client of its own each time: one that lived through the death of a broker may get no answer any more.
        admin = AdminClient(admin_config(self._settings))
        try:
            asked = admin.describe_consumer_groups([self._group], request_timeout=_ANSWER_SECONDS)
            found = asked[self._group].result().members or []
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise
        members = []
        for member in found:
            given = member.assignment.topic_partitions if member.assignment else []
            places = tuple(sorted(Place(p.topic, p.partition) for p in given))
            members.append(Member(member.client_id, places))
        return sorted(members, key=lambda m: m.host)
