"""Faults on demand in a test's world: in force from the call to `end()`, the end of a `with` block or of the test."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlencode, urlsplit

from operations.stack import EmbeddedStack
from operations.testing.proxy import Proxy
from operations.testing.retries import RetriesEnd
from operations.testing.sources import SCHEME, make_available
from streams.clock import monotonic
from streams.sla_policy import Phase, SLAPolicy

__all__ = ["Fault", "FaultInjection", "SourceFault"]

T = TypeVar("T")
F = TypeVar("F", bound="Fault")
How = Literal["refuse", "hang"]
_TARGETS: Final[Mapping[Phase, str]] = {
    "storage_wait": "storage",
    "backfill_wait": "coordinator",
    "live_wait": "broker",
}
_GRACE_S = 0.5
_QUIET_S = 1.0


class Fault:
    """Something that is wrong until `end`; as a context manager, until the end of the block."""

    def __init__(self, name: str, undo: Callable[[], object]) -> None:
        self.name = name
        self._undo: Callable[[], object] | None = undo

    def end(self) -> None:
        """Put it right; a second call does nothing."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class SourceFault(Fault):
    """A source that misbehaves.

    Attributes:
        specification: what to give as a dataset's or a request's source.
    """

    def __init__(self, specification: str, undo: Callable[[], object]) -> None:
        super().__init__("source", undo)
        self.specification = specification


class FaultInjection:
    """Makes faults in one stack, and undoes them all when it is closed.

    Attributes:
        seed: what is left to chance follows from it alone.
        random: chance, for moments and choices of the test's own.
        registry, coordinator: proxies in front of both, which a world's settings name in their place; the coordinator's
            is None where there is none.
    """

    def __init__(
        self,
        stack: EmbeddedStack,
        folder: Path,
        *,
        seed: int = 0,
        coordinator_port: int | None = None,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Prepare; nothing is wrong yet.

        Args:
            folder: for files that sources in other processes look at.
            tell: is told each fault in words.
        """
        self.stack, self.seed = stack, seed
        self.random = Random(seed)  # noqa: S311 - chance that can be had again is what is wanted
        self._folder, self._tell = folder, tell
        self._faults: list[Fault] = []
        self._marks: list[Path] = []
        self._delayed: list[float] = []
        self._broker_touched = False
        self._began = monotonic()
        self.registry = Proxy("127.0.0.1", stack.state.ports.registry)
        self.coordinator = None if coordinator_port is None else Proxy("127.0.0.1", coordinator_port)
        make_available(folder)
        sys.path.insert(0, str(folder))

    def registry_url(self) -> str:
        """Return the registry's address through its proxy."""
        return self.registry.url + urlsplit(self.stack.registry_url).path

    def paths(self) -> list[str]:
        """Return what processes need on PYTHONPATH to have the sources that misbehave."""
        return [str(self._folder)]

    # The broker

    def broker_paused(self) -> Fault:
        """Suspend the broker (SIGSTOP): connections stay, and nothing is answered."""
        self._broker_touched = True
        self._signal(signal.SIGSTOP)
        return self._begun(Fault("the broker is paused", lambda: self._signal(signal.SIGCONT)))

    def broker_killed(self) -> Fault:
        """Kill the broker (SIGKILL); the end starts it again on the same port and waits until it answers."""
        self._broker_touched = True
        self.stack.kill_broker()
        return self._begun(Fault("the broker is killed", self.stack.restart_broker))

    # What is behind a proxy

    def registry_hidden(self, how: How = "refuse") -> Fault:
        """Hide the registry: connections are refused, or accepted and never answered (hang)."""
        return self._hidden("the registry", self.registry, how)

    def coordinator_hidden(self, how: How = "refuse") -> Fault:
        """Hide the coordinator in the same way.

        Raises:
            ValueError: if the world has none.
        """
        if self.coordinator is None:
            raise ValueError("this world has no coordinator: mark the test with seamless_world(with_coordinator=True)")
        return self._hidden("the coordinator", self.coordinator, how)

    # Sources

    def source(
        self,
        inner: str,
        *,
        slow: float = 0.0,
        fails: int = 0,
        retry_after: float | None = None,
        broken: str | None = None,
        hangs: bool = False,
        corrupt: float = 0.0,
        wrong: Literal["batch", "columns"] | None = None,
    ) -> SourceFault:
        """Return a source around another one that misbehaves, in this and in other processes, until the fault ends.

        Args:
            inner: the other source, such as `files:bars/*.parquet`.
            slow: seconds before each batch.
            fails: so many times in all it raises what may be tried again.
            retry_after: seconds that it then asks to be left alone.
            broken: it raises what need not be tried again, with this reason.
            hangs: it does not come back.
            corrupt: share of the rows, 0 to 1, that lose a value; the seed says which.
            wrong: it gives no batch, or a batch of something else.
        """
        number = len(self._marks)
        healed, marks = self._folder / f"healed-{number}", self._folder / f"marks-{number}"
        self._marks.append(marks)
        wanted: dict[str, Any] = {
            "healed": healed,
            "marks": marks,
            "seed": self.seed,
            "pace": slow or None,
            "hurry": healed if slow else None,
            "fail": fails or None,
            "state": self._folder / f"failed-{number}" if fails else None,
            "after": retry_after,
            "broken": broken,
            "hang": healed if hangs else None,
            "corrupt": corrupt or None,
            "wrong": wrong,
        }
        options = urlencode({name: value for name, value in wanted.items() if value is not None})
        fault = SourceFault(f"{SCHEME}:{options}|{inner}", healed.touch)
        fault.name = f"{inner} misbehaves: {options}"
        return self._begun(fault)

    # Phases of a fetch in this process

    def phase_delayed(self, phase: Phase, seconds: float, *, jitter: float = 0.0) -> Fault:
        """Delay each call of a phase in this process by `seconds`, and up to `jitter` more, as a slow dependency does.

        Raises:
            ValueError: if no calls are made in that phase.
        """
        if phase not in _TARGETS:
            raise ValueError(f"no calls are made in the phase {phase}; there are {', '.join(_TARGETS)}")
        from streams.provider.calls import Target

        kind, over, original = _TARGETS[phase], threading.Event(), Target.start

        def start(target: Target, call: Callable[[], T], limit: float | None) -> Any:
            if target.kind != kind:
                return original(target, call, limit)
            pause = seconds + self.random.uniform(0, jitter)

            def late() -> T:
                self._delayed.append(monotonic())
                over.wait(pause)
                return call()

            return original(target, late, limit)

        def undo() -> None:
            over.set()
            Target.start = original  # type: ignore[method-assign]

        Target.start = start  # type: ignore[assignment, method-assign]
        return self._begun(Fault(f"{phase} is delayed by {seconds:g} s and up to {jitter:g} s more", undo))

    # All of them

    def retries_end_before(
        self, deadline: float | SLAPolicy, *, grace: float = _GRACE_S, quiet: float = _QUIET_S
    ) -> RetriesEnd:
        """Return a context manager that fails the test if its block meets no fault, or goes on after a deadline.

        Nor may anything try again behind it: for `quiet` seconds after the deadline no try is seen at a hidden registry
        or coordinator, at a source or in a delayed phase. Clients of Kafka go on connecting as long as they are open,
        and so are not looked at.

        Args:
            deadline: seconds, or the policy whose `total_deadline` it is.
            grace: seconds after the deadline that are no failure, as threads are woken late.

        Raises:
            ValueError: if there is no deadline.
        """
        seconds = deadline.total_deadline if isinstance(deadline, SLAPolicy) else deadline
        if seconds is None:
            raise ValueError("the policy has no total_deadline, so retries need never end")
        return RetriesEnd(seconds, grace, quiet, self._attempts, self.heal)

    def heal(self) -> None:
        """End every fault, the last one first."""
        while self._faults:
            self._faults.pop().end()

    def close(self) -> None:
        """End every fault, and see to it that the stack is whole where it was broken."""
        try:
            self.heal()
            if self._broker_touched:
                self.stack.start()
        finally:
            sys.path.remove(str(self._folder))
            for proxy in (self.registry, self.coordinator):
                if proxy is not None:
                    proxy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begun(self, fault: F) -> F:
        self._faults.append(fault)
        self._tell(f"{monotonic() - self._began:8.3f} s  {fault.name}")
        return fault

    def _hidden(self, name: str, proxy: Proxy, how: How) -> Fault:
        (proxy.cut if how == "refuse" else proxy.hang)()
        return self._begun(Fault(f"{name} is hidden ({how})", proxy.mend))

    def _signal(self, number: signal.Signals) -> None:
        broker = self.stack.state.kafka
        if broker is not None:
            broker.process.send(number)

    def _attempts(self) -> list[float]:
        found = [*self._delayed, *self.registry.attempts, *(self.coordinator.attempts if self.coordinator else ())]
        for marks in self._marks:
            if marks.exists():
                found += [float(line.split()[0]) for line in marks.read_text("utf-8").splitlines()]
        return found
