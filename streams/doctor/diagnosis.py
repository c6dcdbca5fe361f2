"""All checks in an order in which causes come before what follows from them."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psutil

from coordinator.queue_offsets import worker_group
from streams import topics
from streams.archive.consumer import archiver_group
from streams.build import VERSION
from streams.clock import now
from streams.dataset_checks import problems_of_datasets
from streams.doctor.acl_checks import acl_findings, comparable, readable, unseen_settings
from streams.doctor.broker import Broker, Group, client_version
from streams.doctor.finding import Finding, fine, problem, unknown
from streams.doctor.group_checks import group_findings
from streams.doctor.kafka_checks import broker_findings, topic_findings
from streams.doctor.place_checks import (
    clock_finding,
    disk_finding,
    port_findings,
    stamp_finding,
    told_time,
    version_finding,
)
from streams.doctor.registry_checks import schema_findings
from streams.doctor.service_checks import archive_findings, coordinator_findings, local_archive
from streams.errors import SeamlessError
from streams.normalizer_job import normalizer_group
from streams.registry import Registry
from streams.schema_admin import check_subjects, wanted_subjects
from streams.settings import LoadedSettings, Settings
from streams.sla.store import agent_group
from streams.topic_admin import TopicAdmin, TopicChange

__all__ = ["diagnosed"]

_NO_BROKER = "the broker does not answer"
_NO_TOPICS = "topics are missing, differ or may not be read"


def diagnosed(loaded: LoadedSettings, timeout: float = 10.0, *, probe: bool = False) -> Iterator[Finding]:
    """Yield what is found, as it is found; nothing is changed but by a probe, and no group is joined.

    Args:
        loaded: the settings and where they are from.
        timeout: seconds to wait for one answer.
        probe: whether to ask for the broker's time by a record in a topic that is made for it and deleted again.
    """
    settings = loaded.settings
    yield version_finding(VERSION, platform.python_version(), client_version())
    yield from _of_settings(loaded)
    changes: list[TopicChange] | None = None
    broker = Broker(settings, timeout)
    try:
        yield fine("broker", f"answers, as {', '.join(broker.brokers())}")
        config = broker.config()
        yield from broker_findings(settings, config) if config is not None else [unseen_settings()]
        specs = topics.topics_for(settings)
        rights = broker.topic_rights(spec.name for spec in specs)
        yield from acl_findings(rights, broker.group_rights(_groups(settings)))
        seen = [spec for spec in specs if comparable(spec.name, rights)]
        changes = TopicAdmin(settings.kafka, timeout=timeout).plan(seen)
        yield from topic_findings(changes)
        changes = [change for change in changes if readable(change.spec.name, rights)]
        yield from _of_clock(settings, broker, changes, probe)
    except SeamlessError as error:
        yield problem("broker", str(error), "Start it, or correct seamless.kafka; `seamless up` starts one.")
        yield unknown("topics", _NO_BROKER)
    yield from _of_registry(settings)
    yield from _of_groups(settings, broker, changes)
    yield from coordinator_findings(settings, timeout)
    yield from _of_machine(settings)


def _groups(settings: Settings) -> list[str]:
    world = settings.world
    return [
        worker_group(world),
        agent_group(world),
        *(name(world, dataset) for dataset in settings.datasets for name in (normalizer_group, archiver_group)),
    ]


def _of_clock(settings: Settings, broker: Broker, changes: list[TopicChange], probe: bool) -> Iterator[Finding]:
    """Compare the broker's clock; rows of these topics are stamped by it, those of others by who wrote them."""
    if not probe:
        places = [
            (change.spec.name, partition)
            for change in changes
            if change.action != "create" and change.spec.config.get("message.timestamp.type") == "LogAppendTime"
            for partition in range(change.spec.partitions)
            if not any(drift.what in ("partitions", "message.timestamp.type") for drift in change.drift)
        ]
        stamp = broker.newest_stamp(places) if places else None
        yield stamp_finding(None if stamp is None else _moment(stamp), now())
        return
    began = now()
    try:
        there = _moment(broker.probed_time(f"{settings.world}.doctor.{uuid.uuid4().hex[:8]}"))
    except SeamlessError as error:
        yield unknown("clock", str(error))
        return
    ended = now()
    yield clock_finding("broker", there, min(max(there, began), ended))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


def _of_settings(loaded: LoadedSettings) -> Iterator[Finding]:
    settings = loaded.settings
    wrong = problems_of_datasets(settings, loaded.origins)
    for each in wrong:
        yield problem("settings", str(each), "Correct it; `seamless config check` looks again.")
    if not settings.datasets:
        yield problem("settings", "there is no dataset", 'Add a table such as [datasets."ohlcv.us.1d"].')
    elif not wrong:
        yield fine("settings", f"world {settings.world}, {len(settings.datasets)} datasets")


def _of_registry(settings: Settings) -> Iterator[Finding]:
    try:
        with Registry(settings.registry) as registry:
            registry.subjects()
            yield fine("registry", f"answers at {settings.registry.url}")
            there = told_time(f"{settings.registry.url}/subjects?limit=1")
            if there is not None:
                yield clock_finding("registry", there, now())
            yield from schema_findings(check_subjects(registry, wanted_subjects(settings)))
    except SeamlessError as error:
        yield problem("registry", str(error), "Start it, or correct seamless.registry; `seamless up` starts one.")
        yield unknown("schemas", "the registry does not answer")


def _of_groups(settings: Settings, broker: Broker, changes: list[TopicChange] | None) -> Iterator[Finding]:
    if changes is None:
        yield unknown("groups", _NO_BROKER)
        return
    there = {change.spec.name: change.spec.partitions for change in changes if change.action != "create"}
    wrong = {change.spec.name for change in changes for drift in change.drift if drift.what == "partitions"}

    def group(name: str, topic: str) -> Group | None:
        return broker.group(name, topic, range(there[topic])) if topic in there and topic not in wrong else None

    def judged(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            yield from look()
        except SeamlessError as error:
            yield problem(check, str(error), "Mend the broker, then look again.")

    for name in sorted(settings.datasets):
        yield from judged("normalizer", lambda name=name: _of_normalizer(settings, name, group))  # type: ignore[misc]
        yield from judged("archive", lambda name=name: _of_archive(settings, name, group))  # type: ignore[misc]
    yield from judged("worker", lambda: _of_workers(settings, group))


Look = Callable[[str, str], Group | None]


def _of_normalizer(settings: Settings, dataset: str, look: Look) -> Iterator[Finding]:
    found = look(normalizer_group(settings.world, dataset), topics.raw(settings.world, dataset))
    if found is None:
        yield unknown("normalizer", _NO_TOPICS)
    else:
        yield from group_findings("normalizer", f"raw rows of {dataset}", "seamless normalize", found)


def _of_archive(settings: Settings, dataset: str, look: Look) -> Iterator[Finding]:
    found = look(archiver_group(settings.world, dataset), topics.normalized(settings.world, dataset))
    yield from archive_findings(settings, dataset, () if found is None else found.places)


def _of_workers(settings: Settings, look: Look) -> Iterator[Finding]:
    for queue in (topics.backfill_shards_urgent(settings.world), topics.backfill_shards(settings.world)):
        found = look(worker_group(settings.world), queue)
        if found is None:
            yield unknown("worker", _NO_TOPICS)
            return
        yield from group_findings("worker", f"shards of {queue}", "seamless worker", found)


def _of_machine(settings: Settings) -> Iterator[Finding]:
    from operations.stack.state import find_stack

    yield from port_findings("seamless.metrics", settings.metrics.host, settings.metrics.port, "/healthz")
    yield from port_findings("seamless.coordinator", settings.coordinator.host, settings.coordinator.port, "/healthz")
    places = {}
    if (archive := local_archive(settings)) is not None:
        places["archive"] = archive
    if (stack := find_stack()) is not None:
        places["embedded stack"] = stack.dir
    for what, folder in places.items():
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        usage = psutil.disk_usage(str(there))
        yield disk_finding(what, there, usage.free, usage.total)
