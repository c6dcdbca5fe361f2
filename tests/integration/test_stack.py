"""The embedded stack, started for real: what it survives, what it keeps, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from operations.stack import EmbeddedStack, StackState, find_stack
from operations.stack.health import inspect
from streams.clock import Deadline, now
from streams.errors import StackError

pytestmark = pytest.mark.kafka

SEAMLESS = Path(sys.executable).with_name("seamless")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A stack that these tests may break; each test leaves it running."""
    with EmbeddedStack(tmp_path_factory.mktemp("own"), die_with_parent=True) as stack:
        yield stack


def topics(stack: EmbeddedStack) -> set[str]:
    return set(AdminClient({"bootstrap.servers": stack.bootstrap_servers}).list_topics(timeout=10).topics)


def create_topic(stack: EmbeddedStack, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for created in admin.create_topics([NewTopic(name, 1)]).values():
        created.result(10)


def registry(stack: EmbeddedStack) -> SchemaRegistryClient:
    """Return a client to be closed by `with`."""
    return SchemaRegistryClient({"url": stack.registry_url})


def subjects(stack: EmbeddedStack) -> list[str]:
    with registry(stack) as client:
        return list(client.get_subjects())


def register(stack: EmbeddedStack, subject: str) -> None:
    with registry(stack) as client:
        client.register_schema(subject, record_schema("price"))


def record_schema(*fields: str) -> Schema:
    body = {"type": "record", "name": "Row", "fields": [{"name": name, "type": "long"} for name in fields]}
    return Schema(json.dumps(body), "AVRO")


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = Deadline(seconds)
    while not condition():
        if deadline.passed():
            pytest.fail(f"still not so after {seconds:.0f} s: {what}")
        sleep(0.05)


def conditions(stack: EmbeddedStack) -> dict[str, str]:
    return {part.part: part.condition for part in inspect(stack.state, now())}


def test_a_started_stack_is_found_healthy_and_of_the_promised_versions(stack: EmbeddedStack) -> None:
    found = find_stack(stack.dir)
    assert found is not None
    assert found.bootstrap_servers == stack.bootstrap_servers
    assert [part.condition for part in inspect(found, now())] == ["healthy", "healthy"]
    with (stack.dir / "logs" / "kafka.log").open() as log:
        assert any("Kafka version: 4.3.1" in line for line in log)
    with (stack.dir / "logs" / "registry.log").open() as log:
        assert any("apicurio-registry-app 3.3.3" in line for line in log)


def test_an_unknown_topic_is_not_created_by_asking_for_it(stack: EmbeddedStack, world: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    described = admin.list_topics(f"{world}.misspelt", timeout=10)
    assert described.topics[f"{world}.misspelt"].error is not None
    assert f"{world}.misspelt" not in topics(stack)


def test_an_incompatible_schema_is_refused_with_409(stack: EmbeddedStack, world: str) -> None:
    subject = f"{world}.raw-value"
    with registry(stack) as client:
        client.register_schema(subject, record_schema("price"))
        client.set_compatibility(subject, "FULL_TRANSITIVE")
        with pytest.raises(SchemaRegistryError) as refusal:
            client.register_schema(subject, record_schema("price", "size"))
        assert refusal.value.http_status_code == 409
        assert len(client.get_versions(subject)) == 1


def test_two_stacks_side_by_side_know_nothing_of_each_other(
    stack: EmbeddedStack, own: EmbeddedStack, world: str
) -> None:
    create_topic(own, f"{world}.only-here")
    register(own, f"{world}.only-here")
    assert f"{world}.only-here" in topics(own)
    assert f"{world}.only-here" not in topics(stack)
    assert f"{world}.only-here" not in subjects(stack)


def test_starting_what_runs_changes_nothing(own: EmbeddedStack) -> None:
    before = own.state
    after = own.start()
    assert (after.kafka, after.registry, after.ports) == (before.kafka, before.registry, before.ports)


def test_a_running_stack_refuses_to_move_to_another_port(own: EmbeddedStack) -> None:
    with pytest.raises(StackError, match="seamless down"):
        EmbeddedStack(own.dir, kafka_port=1).start()
    assert conditions(own) == {"kafka": "healthy", "registry": "healthy"}


def test_a_killed_broker_is_seen_and_mended_on_the_same_port(own: EmbeddedStack, world: str) -> None:
    create_topic(own, f"{world}.kept")
    before = own.state
    own.kill_broker()
    assert conditions(own)["kafka"] == "dead"
    assert find_stack(own.dir) is None
    after = own.start()
    assert after.ports == before.ports
    assert after.registry == before.registry
    assert conditions(own) == {"kafka": "healthy", "registry": "healthy"}
    assert f"{world}.kept" in topics(own)


def test_a_killed_registry_comes_back_with_its_schemas(own: EmbeddedStack, world: str) -> None:
    register(own, f"{world}.kept")
    before = own.state
    own.kill_registry()
    assert conditions(own)["registry"] == "dead"
    after = own.start_registry()
    assert after.kafka == before.kafka
    assert f"{world}.kept" in subjects(own)


def test_topics_and_schemas_survive_a_stop_and_are_wiped_by_fresh(own: EmbeddedStack, world: str) -> None:
    create_topic(own, f"{world}.kept")
    register(own, f"{world}.kept")
    ports = own.state.ports
    own.stop()
    assert conditions(own) == {"kafka": "stopped", "registry": "stopped"}
    assert own.start().ports == ports
    assert f"{world}.kept" in topics(own)
    assert f"{world}.kept" in subjects(own)
    own.start(fresh=True)
    assert f"{world}.kept" not in topics(own)
    assert f"{world}.kept" not in subjects(own)


def test_without_java_on_path_it_starts_and_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from operations.stack import EmbeddedStack\n"
        "EmbeddedStack(Path(sys.argv[1]), die_with_parent=True).start()\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    bare = {name: value for name, value in os.environ.items() if name not in {"PATH", "JAVA_HOME"}}
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "stack")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=bare | {"PATH": str(tmp_path)},
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        state = find_stack(tmp_path / "stack")
        assert state is not None
        parent.kill()
    until(lambda: not alive(state), "both JVMs ended with their parent")


def test_an_interrupted_start_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    starting = subprocess.Popen([SEAMLESS, "up", "--dir", folder], stderr=subprocess.PIPE)
    with starting:
        until(lambda: bool(java_in(folder)), "a JVM runs", 60)
        starting.send_signal(signal.SIGINT)
    assert starting.returncode != 0
    assert java_in(folder) == []
    assert find_stack(folder) is None


def alive(state: StackState) -> list[int]:
    parts = (state.kafka, state.registry)
    return [part.pid for part in parts if part is not None and part.process.alive()]


def java_in(folder: Path) -> list[int]:
    """Return the JVMs whose command line names the folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or [])
        and "java" in process.info["cmdline"][0]
    ]
