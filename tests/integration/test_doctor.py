"""The doctor against a real system that is whole, and against the same one broken in many ways."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from coordinator.local import LocalBackfillCoordinator
from operations.stack import EmbeddedStack
from operations.testing.ports import free_port
from operations.testing.worlds import SeamlessWorld, settings_of
from schemas.contract import load_contract
from streams import topics
from streams.archive.layout import Source
from streams.archive.table import DatasetTable
from streams.clients import admin_config
from streams.doctor.broker import Broker
from streams.doctor.diagnosis import diagnosed
from streams.doctor.finding import Finding
from streams.normalizer_job import normalizer_group
from streams.registry import Registry
from streams.settings import load_with_origins
from streams.topic_admin import TopicAdmin
from tests.support.archiving import Writer, delete_before
from tests.support.bars import good_bar
from tests.support.processes import SEAMLESS
from tests.support.progress import until
from tests.support.serving import serving
from tests.support.worlds import World

pytestmark = pytest.mark.kafka

BARS = {"contract": "ohlcv", "interval": "1m", "calendar": "24/7", "mode": "blocking", "partitions": 1}
TIMEOUT_S = 4.0


def acl(make: Any, kind: ResourceType, name: str, who: str, operation: AclOperation) -> Any:
    """Return what allows a user something from everywhere, or the filter that finds it."""
    return make(kind, name, ResourcePatternType.LITERAL, who, "*", operation, AclPermissionType.ALLOW)


class Broken:
    """An installation that tests break: its settings as they will be read, and what is there."""

    def __init__(self, world: SeamlessWorld, folder: Path) -> None:
        self.world, self.settings = world, world.settings
        self._folder = folder
        self.changes: dict[str, Any] = {}
        self.admin = AdminClient(admin_config(world.settings))
        self.raw = topics.raw(world.name, "bars")
        self.acls: list[tuple[ResourceType, str, str, AclOperation]] = []

    def look(self) -> list[Finding]:
        """Return what the doctor finds with the settings as they are changed by now."""
        config = settings_of(self.world.config, self.changes, self._folder)
        return list(diagnosed(load_with_origins(config, env={}), TIMEOUT_S))

    def delete(self, *names: str) -> None:
        """Delete topics, and return when the broker does not know them any more."""
        for future in self.admin.delete_topics(list(names)).values():
            future.result(30)
        until(lambda: not set(names) & set(self.admin.list_topics(timeout=10).topics), 30, "the end of topics")

    def create(self, name: str, partitions: int, **config: str) -> None:
        """Create a topic as somebody else would."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        for future in self.admin.create_topics([NewTopic(name, partitions, 1, config=settings)]).values():
            future.result(30)
        until(lambda: name in self.admin.list_topics(timeout=10).topics, 30, name)

    def allow_others(self, kind: ResourceType, name: str, *ours: AclOperation) -> None:
        """Let another user do all with a topic or a group, and us only what is named; return when it is so."""
        rules = [(AclOperation.ALL, "User:another"), *((operation, "User:ANONYMOUS") for operation in ours)]
        self.acls += [(kind, name, who, operation) for operation, who in rules]
        for future in self.admin.create_acls([acl(AclBinding, *each) for each in self.acls]).values():
            future.result(30)
        broker = Broker(self.settings)
        ask = broker.topic_rights if kind is ResourceType.TOPIC else broker.group_rights
        until(
            lambda: "WRITE" not in ask([name])[name] and ("READ" in ask([name])[name]) == bool(ours), 30, "the rights"
        )

    def allow_all_again(self) -> None:
        """Take back what others were allowed, or this world's topics could not be deleted."""
        if self.acls:
            for future in self.admin.delete_acls([acl(AclBindingFilter, *each) for each in self.acls]).values():
                future.result(30)

    def write(self, count: int) -> None:
        """Write rows into the normalized topic."""
        registry = Registry(self.settings.registry)
        found = registry.latest(topics.subject(topics.normalized(self.world.name, "bars")))
        assert found is not None
        writer = Writer(World(self.settings, self.world.config, registry, found, found))
        writer.live(good_bar("AAA", minute) for minute in range(count))
        writer.close()

    def write_raw(self, count: int) -> None:
        """Write rows into the raw topic."""
        registry = Registry(self.settings.registry)
        found = registry.latest(topics.subject(self.raw))
        assert found is not None
        world = World(self.settings, self.world.config, registry, found, found)
        world.produce((0, b"AAA", b"row") for _ in range(count))

    def commit(self, offset: int) -> None:
        """Set the offset of the normalizers' group."""
        group = normalizer_group(self.world.name, "bars")
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(self.raw, 0, offset)])]
        self.admin.alter_consumer_group_offsets(asked)[group].result(30)


@pytest.fixture
def broken(seamless_world: SeamlessWorld, tmp_path: Path) -> Iterator[Broken]:
    found = Broken(seamless_world, tmp_path)
    yield found
    found.allow_all_again()


@contextmanager
def answering(status: int, body: bytes = b"{}") -> Iterator[int]:
    """Answer every request of HTTP with one status, on a port that is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class names it

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[int]:
    """Take connections and say nothing, as a process that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


Break = Callable[[Broken], Any]


def nothing_there(section: str, key: str, form: str) -> Break:
    def change(found: Broken) -> None:
        found.changes[section] = {key: form % free_port()}

    return change


def no_contract(found: Broken) -> None:
    found.changes["datasets"] = {"bars": {"contract": "ohlcw"}}


def no_datasets(found: Broken) -> None:
    found.changes["datasets"] = {"bars": None}


@contextmanager
def broker_hangs(found: Broken) -> Iterator[None]:
    with silent() as port:
        found.changes["kafka"] = {"bootstrap_servers": f"127.0.0.1:{port}"}
        yield


@contextmanager
def broker_is_something_else(found: Broken) -> Iterator[None]:
    with answering(200) as port:
        found.changes["kafka"] = {"bootstrap_servers": f"127.0.0.1:{port}"}
        yield


@contextmanager
def registry_hangs(found: Broken) -> Iterator[None]:
    with silent() as port:
        found.changes["registry"] = {"url": f"http://127.0.0.1:{port}", "timeout": 1.0}
        yield


def registry_answers(status: int) -> Break:
    @contextmanager
    def change(found: Broken) -> Iterator[None]:
        with answering(status) as port:
            found.changes["registry"] = {"url": f"http://127.0.0.1:{port}"}
            yield

    return change


def other_world(found: Broken) -> None:
    found.changes["world"] = f"{found.world.name[-12:]}-new"


def topic_deleted(found: Broken) -> None:
    found.delete(topics.quarantine(found.world.name, "bars"))


def partitions_differ(found: Broken) -> None:
    found.changes["datasets"] = {"bars": {"partitions": 3}}


def retention_differs(found: Broken) -> None:
    found.changes["datasets"] = {"bars": {"retention": "3d"}}


def state_not_compacted(found: Broken) -> None:
    name = topics.conformance_state(found.world.name, "bars")
    found.delete(name)
    found.create(name, 1, cleanup_policy="delete")


def level_lowered(found: Broken) -> None:
    with Registry(found.settings.registry) as registry:
        registry.set_compatibility(topics.subject(topics.normalized(found.world.name, "bars")), "NONE")


def newer_contract(found: Broken) -> None:
    schema = load_contract("ohlcv").schema
    column = {"name": "venue", "type": "string", "default": ""}
    with Registry(found.settings.registry) as registry:
        registry.register(
            topics.subject(topics.normalized(found.world.name, "bars")),
            {**schema, "fields": [*schema["fields"], column]},
        )


def rows_and_no_normalizer(found: Broken) -> None:
    found.write_raw(7)


def rows_deleted_unread(found: Broken) -> None:
    found.write_raw(7)
    found.commit(2)
    delete_before(World(found.settings, found.world.config, *[None] * 3), found.raw, 0, 5)  # type: ignore[arg-type]


def offsets_of_another_cluster(found: Broken) -> None:
    found.commit(7)


def archive_is_a_file(found: Broken) -> None:
    place = found.world.folder / "file"
    place.write_text("", "utf-8")
    found.changes["archive"] = {"url": str(place)}


def rows_and_no_archive(found: Broken) -> None:
    found.write(5)


def table_of_another_cluster(found: Broken) -> None:
    found.write(5)
    process = found.world.run("archive", "run", "--until-end")
    assert process.wait(90) == 0, process.output()
    snapshot = DatasetTable(found.settings, "bars").load()
    assert snapshot is not None
    assert snapshot.position(Source(topics.normalized(found.world.name, "bars"), 0))
    found.delete(topics.normalized(found.world.name, "bars"))
    found.changes["archive"] = {"url": str(found.settings.archive.url)}  # the folder of the changed settings is another
    TopicAdmin(found.settings.kafka).apply(topics.topics_for(found.settings))


@contextmanager
def no_coordinator_but_a_web_page(found: Broken) -> Iterator[None]:
    with answering(404) as port:
        found.changes["coordinator_url"] = f"http://127.0.0.1:{port}"
        yield


@contextmanager
def token_of_another(found: Broken) -> Iterator[None]:
    coordinator = LocalBackfillCoordinator(found.settings)
    try:
        with serving(coordinator, found.settings, token="theirs") as service:
            found.changes |= {"coordinator_url": service.url, "coordinator": {"token": "ours"}}
            yield
    finally:
        coordinator.close()


def port_taken(section: str) -> Break:
    @contextmanager
    def change(found: Broken) -> Iterator[None]:
        with answering(404, b"not ours") as port:
            found.changes[section] = {"host": "127.0.0.1", "port": port}
            yield

    return change


def no_coordinator(found: Broken) -> None:
    found.changes["coordinator_url"] = f"http://127.0.0.1:{free_port()}"


def may_not_write(found: Broken) -> None:
    found.allow_others(ResourceType.TOPIC, topics.quarantine(found.world.name, "bars"), AclOperation.READ)


def may_not_see(found: Broken) -> None:
    found.allow_others(ResourceType.TOPIC, found.raw)


def may_not_join(found: Broken) -> None:
    found.allow_others(ResourceType.GROUP, normalizer_group(found.world.name, "bars"))


WAYS: list[tuple[Break, str, str, str, str]] = [
    (no_contract, "settings", "problem", "ohlcw", "seamless config check"),
    (no_datasets, "settings", "problem", "no dataset", "datasets."),
    (
        nothing_there("kafka", "bootstrap_servers", "127.0.0.1:%d"),
        "broker",
        "problem",
        "does not answer",
        "seamless up",
    ),
    (broker_hangs, "broker", "problem", "does not answer", "seamless.kafka"),
    (broker_is_something_else, "broker", "problem", "does not answer", "seamless.kafka"),
    (
        nothing_there("registry", "url", "http://127.0.0.1:%d"),
        "registry",
        "problem",
        "cannot be reached",
        "seamless up",
    ),
    (registry_hangs, "registry", "problem", "did not answer in time", "seamless.registry"),
    (registry_answers(404), "registry", "problem", "404", "seamless.registry"),
    (registry_answers(401), "registry", "problem", "401", "seamless.registry"),
    (registry_answers(503), "registry", "problem", "503", "seamless.registry"),
    (other_world, "topics", "problem", "missing", "seamless topics apply"),
    (other_world, "schemas", "problem", "not registered", "seamless schema register"),
    (topic_deleted, "topics", "problem", "quarantine.bars is missing", "seamless topics apply"),
    (partitions_differ, "topics", "problem", "partitions is 1, wanted 3", "settings"),
    (retention_differs, "topics", "warning", "retention.ms", "Kafka's own tools"),
    (state_not_compacted, "topics", "problem", "cleanup.policy is delete", "Kafka's own tools"),
    (level_lowered, "schemas", "warning", "guarded as NONE", "seamless schema register"),
    (newer_contract, "schemas", "problem", "version 2 is in force", "newest contract"),
    (may_not_write, "acls", "problem", "may not write the topic", "--operation Write --topic"),
    (may_not_see, "acls", "problem", "may not describe, read, write the topic", "--operation Describe"),
    (may_not_join, "acls", "problem", "may not describe, read the group", "--group"),
    (rows_and_no_normalizer, "normalizer", "problem", "7 records wait, and nobody", "seamless normalize"),
    (rows_deleted_unread, "normalizer", "problem", "records 2 to 4 of partition 0 were deleted", "--accept-loss"),
    (
        offsets_of_another_cluster,
        "normalizer",
        "problem",
        "is at 7 of partition 0, which ends at 0",
        "Delete the group",
    ),
    (archive_is_a_file, "archive", "problem", "cannot be written", "seamless.archive.url"),
    (rows_and_no_archive, "archive", "problem", "there is no table", "seamless archive run"),
    (table_of_another_cluster, "archive", "problem", "of partition 0, which ends at 0", "another"),
    (no_coordinator, "coordinator", "problem", "does not answer", "seamless coordinator"),
    (no_coordinator_but_a_web_page, "coordinator", "problem", "is no coordinator", "seamless.coordinator_url"),
    (token_of_another, "coordinator", "problem", "refuses our token", "SEAMLESS_COORDINATOR__TOKEN"),
    (port_taken("metrics"), "ports", "problem", "cannot be had", "seamless.metrics.port"),
    (port_taken("coordinator"), "ports", "problem", "cannot be had", "seamless.coordinator.port"),
]


@pytest.mark.seamless_world(
    datasets={"bars": BARS}, archive={"url": "archive"}, coordinator={"port": 0}, topics={"shard_partitions": 1}
)
@pytest.mark.parametrize(
    ("way", "check", "state", "says", "remedy"),
    WAYS,
    ids=[f"{i}-{way[0].__name__}-{way[1]}" for i, way in enumerate(WAYS)],
)
def test_what_is_broken_is_found_with_its_remedy(
    broken: Broken, way: Break, check: str, state: str, says: str, remedy: str
) -> None:
    entered = way(broken)
    if entered is None:
        found = broken.look()
    else:
        with entered:
            found = broken.look()
    hits = [f for f in found if (f.check, f.state) == (check, state) and says in f.says and remedy in f.remedy]
    assert hits, "\n".join(map(str, found))


@pytest.mark.seamless_world(
    datasets={"bars": BARS}, archive={"url": "archive"}, topics={"shard_partitions": 1}, with_coordinator=True
)
def test_a_system_that_works_is_fine_and_the_command_says_so(seamless_world: SeamlessWorld) -> None:
    world = seamless_world
    for command in (("normalize",), ("worker",), ("archive", "run")):
        world.run(*command)
    last: list[dict[str, str]] = []

    def whole() -> bool:
        nonlocal last
        done = subprocess.run(
            [SEAMLESS, "doctor", "--json", "--config", world.config], capture_output=True, text=True, check=False
        )
        last = json.loads(done.stdout)
        assert done.returncode == int(any(f["state"] == "problem" for f in last)), done.stderr
        return all(f["state"] == "ok" for f in last)

    until(whole, 90, "a system that is fine", lambda: json.dumps([f for f in last if f["state"] != "ok"], indent=2))
    checks = {f["check"] for f in last}
    assert checks >= {"versions", "settings", "broker", "acls", "topics", "registry", "clock", "schemas", "normalizer"}
    assert checks >= {"worker", "archive", "coordinator", "ports", "disk"}


@pytest.mark.seamless_world(datasets={"bars": BARS}, topics={"shard_partitions": 1})
def test_a_probe_compares_the_brokers_clock_and_leaves_no_topic(broken: Broken) -> None:
    found = list(diagnosed(load_with_origins(broken.world.config, env={}), TIMEOUT_S, probe=True))
    told = [f for f in found if f.check == "clock" and "broker" in f.says]
    assert [(f.state, f.says) for f in told] == [("ok", "that of the broker and ours agree within 5 s")]
    mine = f"{broken.world.name}.doctor."
    until(lambda: not [t for t in broken.admin.list_topics(timeout=10).topics if t.startswith(mine)], 30, "its end")


def test_settings_that_cannot_be_read_are_a_problem_and_no_trace(stack: EmbeddedStack, tmp_path: Path) -> None:
    config = tmp_path / "seamless.toml"
    config.write_text("[kafka]\nbootstrap_server = 'x'\n", "utf-8")
    done = subprocess.run([SEAMLESS, "doctor", "--config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PROBLEM" in done.stdout
    assert "bootstrap_server" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
