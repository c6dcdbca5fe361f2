"""A whole system in a world of its own that may be broken: every process, at an address that a restart keeps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from operations.stack import EmbeddedStack
from operations.testing.faults import FaultInjection
from operations.testing.ports import free_port
from operations.testing.processes import Process
from operations.testing.worlds import SeamlessWorld, settings_of
from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.contract import load_contract
from streams import Provider, topics
from streams.archive.table import DatasetTable
from streams.clients import producer_config
from streams.health import Health, HealthServer
from streams.registry import Registry
from tests.support.bars import good_bar
from tests.support.processes import WITH_TEST_SOURCES

__all__ = ["PROCESSES", "Plant", "Rows"]

PROCESSES: Mapping[str, tuple[str, ...]] = {
    "coordinator": ("coordinator",),
    "normalizer": ("normalize",),
    "worker": ("worker",),
    "second-worker": ("worker",),
    "archiver": ("archive", "run"),
    "sla-agent": ("sla-agent",),
    "alert-bridge": ("alert-bridge",),
}


class Plant:
    """Processes by the names of PROCESSES, in one world; a context manager.

    Attributes:
        faults: what can be made wrong; sources of `settings` may come from it.
        world: where they run.
        ports: at which each serves its metrics; a reader's, too.
        python_path: PYTHONPATH of whoever is to find the sources of tests.
    """

    def __init__(self, faults: FaultInjection, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self.faults = faults
        self.ports = {process: free_port() for process in PROCESSES}
        self._running: dict[str, Process] = {}
        self._held = ExitStack()
        at = {"host": "127.0.0.1", "port": self.ports["coordinator"]}
        stack: EmbeddedStack = faults.stack
        values = {
            "metrics": {"host": "127.0.0.1", "port": 0},
            **settings,
            "world": name,
            "kafka": {"bootstrap_servers": stack.bootstrap_servers},
            "registry": {"url": faults.registry_url()},
            "coordinator": {**settings.get("coordinator", {}), **at},
            "coordinator_url": f"http://127.0.0.1:{at['port']}",
        }
        path = settings_of(None, values, folder)
        self.python_path = os.pathsep.join([WITH_TEST_SOURCES["PYTHONPATH"], *faults.paths()])
        self.world = self._held.enter_context(SeamlessWorld(stack, path, {"PYTHONPATH": self.python_path}))

    @property
    def targets(self) -> dict[str, str]:
        """Addresses of all processes and readers, as host:port by the name of their job."""
        return {f"seamless-{name}": f"127.0.0.1:{port}" for name, port in self.ports.items()}

    def start(self, *names: str) -> None:
        """Start processes that do not run."""
        for name in names:
            at = {"SEAMLESS_METRICS__PORT": str(self.ports[name])}
            self._running[name] = self.world.run(*PROCESSES[name], environ=at)

    def kill(self, *names: str) -> None:
        """End processes as a power cut would."""
        for name in names:
            self._running[name].kill()

    def restart(self, *names: str) -> None:
        """Ask processes to end, wait until they have, and start them again."""
        for name in names:
            self._running[name].terminate()
        self.start(*names)

    def suspend(self, name: str) -> None:
        """Let a process do nothing, as a frozen machine does."""
        self._running[name].signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let it go on."""
        self._running[name].signal(signal.SIGCONT)

    def output(self) -> str:
        """Return the end of what each process said, for a failure's message."""
        return "\n".join(f"--- {name}\n{process.output()[-2_000:]}" for name, process in self._running.items())

    def reader(self, consumer: str) -> Provider:
        """Return a provider in this process that serves its metrics."""
        provider = self._held.enter_context(Provider(self.world.settings, consumer))
        server = self._held.enter_context(HealthServer(self.world.settings.metrics, provider.metrics, Health()))
        self.ports[consumer] = int(str(server.url).rstrip("/").rsplit(":", 1)[1])
        return provider

    @contextmanager
    def archive_away(self, dataset: str) -> Iterator[None]:
        """Take a dataset's table away while the block runs: it can neither be read nor written."""
        table = Path(DatasetTable(self.world.settings, dataset).url)
        away = table.with_name(f"{table.name}.away")
        table.rename(away)
        table.touch()
        try:
            yield
        finally:
            table.unlink()
            away.rename(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.heal()  # or there may be no broker to take leave of
        self._held.close()


class Rows:
    """Raw bars of a dataset, as a producer writes them that no library stops.

    Args:
        subject: whose schema is written, the contract with some `fields` more; that of the raw topic if not given.
    """

    def __init__(self, plant: Plant, dataset: str, subject: str | None = None, *fields: Mapping[str, Any]) -> None:
        settings = plant.world.settings
        self._topic = topics.raw(settings.world, dataset)
        schema = load_contract(settings.dataset(dataset).contract).schema
        schema = {**schema, "fields": [*schema["fields"], *fields]}
        with Registry(settings.registry) as registry:
            registered = registry.register(subject or topics.subject(self._topic), schema)
        self._codec = ReferenceCodec(parse_record(schema), registered.id)
        self._producer = Producer(producer_config(settings))

    def send(self, symbol: str, minutes: Iterable[int], **changes: Any) -> None:
        """Write a bar of each minute; `changes` replace fields of all of them."""
        for minute in minutes:
            self._put(symbol, self._codec.encode_one(good_bar(symbol, minute, **changes)))

    def repeat(self, symbol: str, minute: int, times: int) -> None:
        """Write the same bar again and again, as fast as the broker takes it."""
        payload = self._codec.encode_one(good_bar(symbol, minute))
        for _ in range(times):
            self._put(symbol, payload)

    def flush(self) -> None:
        """Return when all have arrived."""
        assert self._producer.flush(60) == 0

    def _put(self, symbol: str, payload: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, payload, symbol.encode())
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return
