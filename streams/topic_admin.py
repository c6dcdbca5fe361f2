"""Topics on the broker: what is there, missing or different. Creates; never alters, never deletes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from streams.clock import Deadline
from streams.errors import BrokerError, SettingsError
from streams.settings_kafka import KafkaSettings
from streams.topics import TopicSpec

__all__ = ["Drift", "ExistingTopic", "TopicAdmin", "TopicChange", "plan_topics"]

# librdkafka reports every failed connection on standard error; ours say it once, with a remedy
_QUIET = logging.getLogger("librdkafka.admin")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as the broker has it; `config` holds every effective value, defaults included."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Drift:
    """One way in which a topic is not as wanted: `what` is `partitions` or the name of a configuration."""

    what: str
    wanted: str
    actual: str


@dataclass(frozen=True, slots=True)
class TopicChange:
    """The verdict on one wanted topic; `drift` is empty unless the action is `drift`."""

    spec: TopicSpec
    action: Literal["create", "in_sync", "drift"]
    drift: tuple[Drift, ...] = ()


def plan_topics(wanted: Iterable[TopicSpec], existing: Mapping[str, ExistingTopic]) -> list[TopicChange]:
    """Compare the wanted topics with those that exist, by name; the order is that of `wanted`.

    Drift is only reported: more partitions would part keys from their state, a shorter retention deletes.
    """
    changes = []
    for spec in wanted:
        found = existing.get(spec.name)
        if found is None:
            changes.append(TopicChange(spec, "create"))
        else:
            drift = tuple(_drift(spec, found))
            changes.append(TopicChange(spec, "drift" if drift else "in_sync", drift))
    return changes


def _drift(spec: TopicSpec, found: ExistingTopic) -> Iterable[Drift]:
    if found.partitions != spec.partitions:
        yield Drift("partitions", str(spec.partitions), str(found.partitions))
    if spec.replication_factor not in (-1, found.replication_factor):
        yield Drift("replication_factor", str(spec.replication_factor), str(found.replication_factor))
    for name, value in spec.config.items():
        actual = found.config.get(name, "")
        if actual != value:
            yield Drift(name, value, actual)


class TopicAdmin:
    """The broker's topics, through its admin interface.

    Every method raises BrokerError if the broker cannot be reached or refuses, within `timeout` seconds.
    """

    def __init__(self, settings: KafkaSettings, *, timeout: float = 15.0) -> None:
        self._servers = settings.bootstrap_servers
        self._timeout = timeout
        try:
            self._client = AdminClient(settings.client_config(), logger=_QUIET)
        except KafkaException as error:
            raise SettingsError(
                f"Kafka's client refuses seamless.kafka.client: {_reason(error)}. Correct or remove it."
            ) from None

    def existing(self, names: Iterable[str]) -> dict[str, ExistingTopic]:
        """Return those of the named topics that exist."""
        wanted = set(names)
        try:
            found = self._client.list_topics(timeout=self._timeout).topics
            there = sorted(wanted & found.keys())
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in there]
            answers = self._client.describe_configs(resources, request_timeout=self._timeout) if resources else {}
            configs = {resource.name: _values(future.result(self._timeout)) for resource, future in answers.items()}
        except (KafkaException, TimeoutError) as error:
            raise self._unreachable("list", error) from error
        return {
            name: ExistingTopic(
                name=name,
                partitions=len(found[name].partitions),
                replication_factor=min(len(each.replicas) for each in found[name].partitions.values()),
                config=configs[name],
            )
            for name in there
        }

    def plan(self, wanted: Iterable[TopicSpec]) -> list[TopicChange]:
        """Compare the wanted topics with the broker's."""
        specs = list(wanted)
        return plan_topics(specs, self.existing(spec.name for spec in specs))

    def apply(self, wanted: Iterable[TopicSpec]) -> list[TopicChange]:
        """Create the wanted topics that are missing, wait until they can be used, return what was planned.

        A topic that somebody else creates at the same moment is no error. Raises BrokerError naming those
        topics that could not be created, after creating the others.
        """
        changes = self.plan(wanted)
        missing = [change.spec for change in changes if change.action == "create"]
        if not missing:
            return changes
        beaten = self._create(missing)
        found = self.existing(beaten)
        return [plan_topics([change.spec], found)[0] if change.spec.name in beaten else change for change in changes]

    def _create(self, specs: list[TopicSpec]) -> set[str]:
        """Create topics and wait for them; return the names of those that somebody else created first."""
        new = [
            NewTopic(spec.name, spec.partitions, spec.replication_factor, config=dict(spec.config)) for spec in specs
        ]
        failed: dict[str, str] = {}
        beaten: set[str] = set()
        try:
            futures = self._client.create_topics(new, operation_timeout=self._timeout, request_timeout=self._timeout)
        except KafkaException as error:
            raise self._unreachable("create", error) from error
        for name, future in futures.items():
            try:
                future.result(self._timeout)
            except (KafkaException, TimeoutError) as error:
                if _code(error) == KafkaError.TOPIC_ALREADY_EXISTS:
                    beaten.add(name)
                else:
                    failed[name] = _reason(error)
        # how many partitions another gave a topic is not known yet
        self._await({s.name: 1 if s.name in beaten else s.partitions for s in specs if s.name not in failed})
        if failed:
            named = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise BrokerError(
                f"{len(failed)} of {len(specs)} topics could not be created: {named}. "
                "Mend the cause and run `seamless topics apply` again; it leaves what is there alone."
            )
        return beaten

    def _await(self, partitions: Mapping[str, int]) -> None:
        """Wait until every partition has a leader, so that whoever comes next can write at once."""
        deadline = Deadline(self._timeout)
        while True:
            try:
                found = self._client.list_topics(timeout=max(deadline.left(), 0.1)).topics
            except KafkaException as error:
                raise self._unreachable("list", error) from error
            late = [name for name, count in partitions.items() if _led(found.get(name)) < count]
            if not late:
                return
            if deadline.passed():
                raise BrokerError(
                    f"{', '.join(late)}: created, but without a leader after {self._timeout:g} s. "
                    "Check that enough brokers run, then go on."
                )

    def _unreachable(self, what: str, error: BaseException) -> BrokerError:
        return BrokerError(
            f"Kafka at {self._servers} did not {what} topics: {_reason(error)}. Check that it runs and that "
            "seamless.kafka is right; `seamless up` starts one."
        )


def _led(topic: Any) -> int:
    """Return how many partitions of a topic's metadata have a leader."""
    if topic is None or topic.error is not None:
        return 0
    return sum(1 for partition in topic.partitions.values() if partition.leader >= 0)


def _values(entries: Mapping[str, Any]) -> dict[str, str]:
    return {name: entry.value for name, entry in entries.items() if entry.value is not None}


def _code(error: BaseException) -> int | None:
    first = error.args[0] if error.args else None
    return first.code() if isinstance(first, KafkaError) else None


def _reason(error: BaseException) -> str:
    first = error.args[0] if error.args else None
    text = first.str() if isinstance(first, KafkaError) else str(error)
    return (text or "no answer in time").rstrip(".")
