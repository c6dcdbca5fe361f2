"""The embedded stack: a real Kafka and a real schema registry in a folder, without Docker or a Java."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Final, Self

from operations.stack.aot import keep_recording
from operations.stack.broker import broker_part, format_storage, is_formatted
from operations.stack.filelock import exclusive
from operations.stack.install import Installation, install
from operations.stack.parts import Part
from operations.stack.paths import stack_dir
from operations.stack.placement import FixedPorts, choose_ports
from operations.stack.processes import tail
from operations.stack.registry import registry_part
from operations.stack.settings import KAFKA_HEAP
from operations.stack.state import FIELDS, STATE_FILE, Field, PartState, StackState, read_state, write_state
from operations.stack.supervisor import PortTakenError, Run, await_answers, end, launch
from streams.clock import Deadline, now
from streams.errors import StackError

__all__ = ["KAFKA_HEAP_VARIABLE", "START_TIMEOUT_S", "EmbeddedStack"]

KAFKA_HEAP_VARIABLE: Final = "SEAMLESS_STACK_KAFKA_HEAP"

START_TIMEOUT_S: Final = 120.0
"""Ten times what a start takes, for machines that are busy with other things."""

_PORT_ATTEMPTS = 3
_UNRESPONSIVE_S = 10.0
_LOCK_WAIT_S = 180.0
_POLL_S = 0.05


class EmbeddedStack:
    """One stack in one folder; as a context manager it starts on entry and stops on exit.

    Every method may be called in any state of the folder: what already runs is kept, what is dead is started,
    what hangs is replaced. Methods that start or stop hold the folder's lock, against other processes too.
    """

    def __init__(
        self,
        dir: Path | None = None,  # noqa: A002 - the name of the option and of the state's field
        *,
        kafka_port: int | None = None,
        registry_port: int | None = None,
        kafka_heap: str | None = None,
        kafka_settings: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        train: bool = False,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        """Describe a stack; nothing starts yet.

        Args:
            dir: Where data, logs and state live (see `paths.stack_dir` for the default).
            kafka_port: A port the broker must listen on; a free one if not given.
            registry_port: A port the registry must listen on; a free one if not given.
            kafka_heap: The broker's heap as the JVM takes it, e.g. "1g"; else SEAMLESS_STACK_KAFKA_HEAP,
                else `settings.KAFKA_HEAP`.
            kafka_settings: Broker settings that differ from `settings.BROKER_SETTINGS`, for measuring what they do.
            die_with_parent: End the JVMs when this process ends, even by SIGKILL.
            train: Record ahead-of-time caches where there are none: later starts take half the time, and the
                first graceful stop 10 to 20 s.
            notify: Is told in a few words what is being done.
        """
        self.dir = stack_dir(dir)
        self._fixed = FixedPorts(kafka_port, registry_port)
        self._kafka_settings = dict(kafka_settings or {})
        self._heap = _checked_heap(kafka_heap or os.environ.get(KAFKA_HEAP_VARIABLE) or KAFKA_HEAP)
        self._die_with_parent = die_with_parent
        self._train = train
        self._notify = notify or (lambda _text: None)

    # What it is

    @property
    def state(self) -> StackState:
        """What was started here last; raise StackError if nothing ever was."""
        state = read_state(self.dir)
        if state is None:
            raise StackError(f"No stack has been started in {self.dir}. Start one: seamless up")
        return state

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address as Kafka clients take it."""
        return self.state.bootstrap_servers

    @property
    def registry_url(self) -> str:
        """The registry's address as confluent-kafka's SchemaRegistryClient takes it."""
        return self.state.registry_url

    def broker_log_tail(self, lines: int = 40) -> str:
        """Return the end of the broker's log."""
        return tail(self.dir / "logs" / "kafka.log", lines)

    def registry_log_tail(self, lines: int = 40) -> str:
        """Return the end of the registry's log."""
        return tail(self.dir / "logs" / "registry.log", lines)

    # Starting and stopping

    def start(self, *, fresh: bool = False, timeout_s: float = START_TIMEOUT_S) -> StackState:
        """Return once both parts answer, starting or mending what is needed; `fresh` wipes all data first.

        What this call has started is ended again if it does not succeed, also by Ctrl-C. Raise StackError
        with the reason and the remedy.
        """
        with self._locked():
            previous = read_state(self.dir)
            if fresh:
                self._wipe(previous)
                previous = None
            installation = self._install()
            for attempt in range(1, _PORT_ATTEMPTS + 1):
                try:
                    return self._bring_up(installation, previous, Deadline(timeout_s))
                except PortTakenError:
                    if attempt == _PORT_ATTEMPTS:
                        raise
                    previous = read_state(self.dir)
            raise AssertionError("unreachable: the last attempt returns or raises")

    def stop(self) -> bool:
        """End both parts, the registry first; return whether anything ran. The data stays."""
        with self._locked():
            state = read_state(self.dir)
            if state is None:
                return False
            return self._end(state)

    def __enter__(self) -> Self:
        """Start the stack."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the stack."""
        self.stop()

    # Breaking and mending single parts, for tests of what survives it

    def kill_broker(self) -> None:
        """SIGKILL the broker and return when it is gone."""
        if self.state.kafka is not None:
            self.state.kafka.process.kill()

    def kill_registry(self) -> None:
        """SIGKILL the registry and return when it is gone."""
        if self.state.registry is not None:
            self.state.registry.process.kill()

    def restart_broker(self, *, timeout_s: float = START_TIMEOUT_S) -> StackState:
        """End the broker if it runs (gracefully) and start it on the same ports; return when it answers."""
        with self._locked():
            state = self.state
            self._end(state, ["kafka"])
            return self._launch(self._install(), self.state, Deadline(timeout_s), ["kafka"])

    def start_registry(self, *, timeout_s: float = START_TIMEOUT_S) -> StackState:
        """Start the registry on its port if it does not run; return when it answers."""
        with self._locked():
            return self._launch(self._install(), self.state, Deadline(timeout_s), ["registry"])

    # How

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"The stack's folder {self.dir} cannot be made: {error}.") from error

        def refusal() -> StackError:
            return StackError(
                f"Another process is starting or stopping the stack in {self.dir}. "
                "Wait for it, or use another folder (--dir)."
            )

        with exclusive(self.dir / ".lock", wait_s=_LOCK_WAIT_S, refusal=refusal):
            yield

    def _install(self) -> Installation:
        self._notify("checking the installation")
        return install()

    def _wipe(self, state: StackState | None) -> None:
        if state is not None:
            self._notify("stopping")
            self._end(state)
        for name in ("kafka", ".kafka-format", "registry", "logs"):
            shutil.rmtree(self.dir / name, ignore_errors=True)
        for name in (STATE_FILE, "kafka.properties"):
            (self.dir / name).unlink(missing_ok=True)

    def _bring_up(self, installation: Installation, previous: StackState | None, deadline: Deadline) -> StackState:
        ports = choose_ports(previous, self._fixed)
        state = StackState(dir=self.dir, ports=ports, started_at=now())
        if previous is not None:
            if previous.registry is not None and ports.kafka != previous.ports.kafka:
                previous.registry.process.kill()  # it would look for its broker on the old port for ever
            since = previous.started_at if previous.running else state.started_at
            state = previous.model_copy(update={"ports": ports, "started_at": since})
        write_state(state)
        return self._launch(installation, state, deadline)

    def _launch(
        self, installation: Installation, state: StackState, deadline: Deadline, fields: Sequence[Field] = FIELDS
    ) -> StackState:
        """Start those of the parts that do not answer, and return the new state once all of them do."""
        parts: dict[Field, Part] = {
            "registry": registry_part(installation, self.dir, state.ports),
            "kafka": broker_part(installation, self.dir, state.ports, heap=self._heap, differing=self._kafka_settings),
        }
        lacking = {field: parts[field] for field in fields if not _answers(parts[field], state.part(field))}
        started: list[Run] = []

        def start_one(part: Part) -> Run:
            nonlocal state
            run = launch(part, die_with_parent=self._die_with_parent, train=self._train)
            started.append(run)
            # Written at once: whoever comes after a crash of this process finds what it had started.
            state = state.model_copy(update={_field_of(part, parts): run.state})
            write_state(state)
            return run

        try:
            waiting = []
            for field, part in lacking.items():
                if field == "kafka" and not is_formatted(self.dir):
                    self._notify("formatting Kafka's storage")
                    format_storage(installation, self.dir, state.ports)
                self._notify(f"starting {part.name} {part.version}")
                waiting.append(start_one(part))
            if waiting:
                self._notify("waiting for " + " and ".join(part.name for part in lacking.values()))
            await_answers(waiting, deadline, start_one)
        except BaseException:
            for run in started:
                run.state.process.kill()
                if run.state.training is not None:
                    keep_recording(run.state.training)
            write_state(state.model_copy(update=dict.fromkeys(lacking)))
            raise
        return state

    def _end(self, state: StackState, fields: Sequence[Field] = FIELDS) -> bool:
        """End the parts, the registry first, and note that they are gone; return whether any ran."""
        running = [part for part in map(state.part, fields) if part is not None and part.process.alive()]
        if any(part.training for part in running):
            self._notify("stopping, and keeping what makes the next start faster (once)")
        end(running)
        write_state(state.model_copy(update=dict.fromkeys(fields)))
        return bool(running)


def _checked_heap(heap: str) -> str:
    if not re.fullmatch(r"\d+[kmgKMG]", heap):
        raise StackError(f'"{heap}" is not a heap size. Write a number and k, m or g, for example 384m or 1g.')
    return heap


def _field_of(part: Part, parts: Mapping[Field, Part]) -> Field:
    return next(field for field, known in parts.items() if known is part)


def _answers(part: Part, known: PartState | None) -> bool:
    """Return whether the part runs and answers; one that runs but stays silent is killed."""
    if known is None or not known.process.alive():
        return False
    patience = Deadline(_UNRESPONSIVE_S)
    while not part.answers():
        if patience.passed() or not known.process.alive():
            known.process.kill()
            return False
        sleep(_POLL_S)
    return True
