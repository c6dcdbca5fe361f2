"""An act of the demo: Kafka hangs, a promise to a reader is broken, somebody is told, and it is kept again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import sleep

from operations.stack.processes import ProcessRef, tail
from streams import topics
from streams.alerting.feed import BreachFeed
from streams.clock import Deadline, monotonic, now
from streams.demo.checks import Facts
from streams.demo.failed import DemoFailed
from streams.demo.pager import Notice, Pager, paging
from streams.demo.place import DATASET, PROMISE_S, READER, WINDOW_S, Place
from streams.demo.show import Show
from streams.durations import spelled
from streams.provider.provider import Provider
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.breach import Breach
from streams.sla.store import Codecs, read_states
from streams.sla_policy import SLAPolicy
from streams.topic_admin import TopicAdmin

__all__ = ["Promise", "Watch", "break_promise", "watching"]

_AGENT, _BRIDGE = "sla-agent", "alert-bridge"
_BEGUN_SECONDS = _OVER_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOOK_SECONDS = _PAUSE_SECONDS = 0.1
_LOG_LINES = 15
_CAUGHT_UP = "alert_bridge_caught_up"
_FROM, _UNTIL = "2013-01-02", "2013-03-02"
_GIVES_UP_S = 2 * PROMISE_S
_POLICY = SLAPolicy(max_wait_live=_GIVES_UP_S, total_deadline=_GIVES_UP_S, min_coverage=0, on_violation="partial_fill")


@dataclass(frozen=True, slots=True)
class Watch:
    """The processes that watch promises, and who is told."""

    place: Place
    agent: ProcessRef
    bridge: ProcessRef
    pager: Pager

    def require_alive(self) -> None:
        """Raise DemoFailed if one of them has ended."""
        for name, process in ((_AGENT, self.agent), (_BRIDGE, self.bridge)):
            if not process.alive():
                raise DemoFailed(f"{name} ended. Its log says:\n{tail(self.place.log(name), _LOG_LINES)}")

    def end(self) -> None:
        """Ask them to end; DemoFailed if one does not."""
        self.agent.send(signal.SIGTERM)
        self.bridge.send(signal.SIGTERM)
        deadline = Deadline(_STOP_SECONDS)
        if not (self.agent.wait(deadline) and self.bridge.wait(deadline)):
            raise DemoFailed(f"{_AGENT} or {_BRIDGE} did not end within {_STOP_SECONDS:g} s of being asked to")


@dataclass(frozen=True, slots=True)
class Promise:
    """What came of it: the records of the breach, and what somebody was told of it."""

    breaches: tuple[Breach, ...]
    notices: tuple[Notice, ...]

    def facts(self) -> Facts:
        """Return what is checked of it."""
        return {
            ("a promise", "breaches opened"): sum(each.state == "opened" for each in self.breaches),
            ("a promise", "breaches resolved"): sum(each.state == "resolved" for each in self.breaches),
            ("a promise", "alerts that fired"): sum(each.firing for each in self.notices),
            ("a promise", "alerts that resolved"): sum(not each.firing for each in self.notices),
        }


@contextmanager
def watching(place: Place) -> Iterator[Watch]:
    """Run an agent, a bridge and a pager while the block runs."""
    with paging(place.folder / "alertmanager") as pager:
        started: list[ProcessRef] = []
        try:
            started.append(agent := place.start("sla-agent", _AGENT))
            started.append(bridge := place.start("alert-bridge", _BRIDGE, SEAMLESS_ALERTING__ALERTMANAGERS=pager.url))
            yield Watch(place, agent, bridge, pager)
        finally:
            for process in started:
                process.kill()


def break_promise(show: Show, settings: Settings, registry: Registry, broker: ProcessRef, watch: Watch) -> Promise:
    """Stop the broker for a moment while somebody reads; tell what follows, as it comes.

    Raises:
        DemoFailed: if agent or bridge ends, or what must follow does not within a minute.
        SeamlessError: as the provider may refuse.
    """
    show.step(
        "A promise is broken, and kept again",
        f"A reader was promised an answer within {spelled(PROMISE_S)}; an agent watches that, a bridge tells "
        f"Alertmanager. Now Kafka hangs. Seconds are counted from there.",
    )
    with show.busy("agent and bridge start"):
        _await_ready(settings, registry, watch)
    show.done(f"process {watch.agent.pid} watches", "seamless sla-agent")
    by = f"to {watch.pager.alertmanager}, which calls a webhook of the demo"
    if watch.pager.alertmanager is None:
        by = "to the demo itself, in the place of Alertmanager, which is not on the path"
    show.done(f"process {watch.bridge.pid} tells of breaches, {by}", "seamless alert-bridge")
    with Provider(settings, READER) as provider:
        reader = _Reader(provider)
        with show.busy(f"{READER} reads"):
            usual = reader.settle()
        show.done(f"{READER} asks, and is answered after {usual:.2f} s")
        began = _hang(show, broker, reader)
        with reader.asking():
            promise = _follow(show, settings, registry, watch, began)
    watch.end()
    return promise


class _Reader:
    """Asks for a few weeks, with what Kafka has of them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def ask(self) -> float:
        """Return how long it took, seconds."""
        return self._provider.fetch(DATASET, None, _FROM, _UNTIL, sla=_POLICY, live=True).timings["total"]

    def settle(self) -> float:
        """Ask until answers have been in time for two windows, as the first may not be; return how long it took."""
        slow_at: float | None = None
        while True:
            took = self.ask()
            if took > PROMISE_S:
                slow_at = monotonic()
            elif slow_at is None or monotonic() - slow_at > 2 * WINDOW_S:
                return took

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask again and again while the block runs, on a thread of its own."""
        stop = threading.Event()

        def ask() -> None:
            while not stop.wait(_PAUSE_SECONDS):
                self.ask()

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            try:
                yield
            finally:
                stop.set()
            asked.result()


def _await_ready(settings: Settings, registry: Registry, watch: Watch) -> None:
    codecs, deadline = Codecs(settings, registry), Deadline(_BEGUN_SECONDS)
    topic = topics.sla_state(settings.world)
    partitions = range(TopicAdmin(settings.kafka).existing([topic])[topic].partitions)
    while not (
        _CAUGHT_UP in watch.place.log(_BRIDGE).read_text("utf-8") and _all_watched(settings, codecs, partitions)
    ):
        watch.require_alive()
        if deadline.passed():
            raise DemoFailed(f"agent and bridge were not ready within {deadline.seconds:g} s")
        sleep(_LOOK_SECONDS)


def _all_watched(settings: Settings, codecs: Codecs, partitions: range) -> bool:
    """Whether an agent has closed windows in each partition of the observations."""
    states = read_states(settings, codecs, partitions)
    return len([s for s in states if s["key"] == "" and s["watermark"] is not None]) == len(partitions)


def _hang(show: Show, broker: ProcessRef, reader: _Reader) -> datetime:
    """Let the broker hang for as long as a fetch waits for it; return when that began."""
    began = now()
    broker.send(signal.SIGSTOP)
    try:
        show.event("†", _at(0.0, "Kafka hangs: it is stopped, its connections stay"), f"kill -STOP {broker.pid}")
        took = reader.ask()
        show.event(
            "!",
            _at(_since(began), f"{READER} has what the archive has: its policy gives up on Kafka after {took:.2f} s"),
            style="bold yellow",
        )
    finally:
        broker.send(signal.SIGCONT)
    show.done(_at(_since(began), "Kafka goes on where it was"), f"kill -CONT {broker.pid}")
    return began


def _follow(show: Show, settings: Settings, registry: Registry, watch: Watch, began: datetime) -> Promise:
    """Tell of the breach that began since, until somebody was told that it is over."""
    breaches: list[Breach] = []
    notices: list[Notice] = []
    deadline = Deadline(_OVER_SECONDS)
    for found in BreachFeed(settings, registry, threading.Event()).following(_LOOK_SECONDS):
        for breach in found:
            if breach.opened_at > began and (not breaches or breach.id == breaches[0].id):
                breaches.append(breach)
                _tell_breach(show, breach, _since(began))
        told = watch.pager.of(breaches[0].id) if breaches else []
        for notice in told[len(notices) :]:
            notices.append(notice)
            _tell_notice(show, watch.pager, notice, began)
        if notices and not notices[-1].firing:
            return Promise(tuple(breaches), tuple(notices))
        watch.require_alive()
        if deadline.passed():
            raise DemoFailed(
                f"after {deadline.seconds:g} s there were {len(breaches)} records of a breach and {len(notices)} "
                f"alerts. The logs of {_AGENT} and {_BRIDGE} are in {watch.place.log(_AGENT).parent}"
            )
    raise AssertionError("a feed that nobody stops has no end")


def _tell_breach(show: Show, breach: Breach, seconds: float) -> None:
    observed = "nothing" if breach.observed is None else spelled(round(breach.observed, 2))
    text = _at(seconds, f"breach {breach.id[:8]} {breach.state}: {breach.promise}; there was {observed}")
    if breach.is_open:
        show.event("!", text, "seamless sla status", style="bold yellow")
    else:
        show.done(text, topics.sla_breaches(breach.world))


def _tell_notice(show: Show, pager: Pager, notice: Notice, began: datetime) -> None:
    seconds = (notice.at - began).total_seconds()
    by = "the bridge" if pager.alertmanager is None else "Alertmanager"
    name = f"{notice.labels['alertname']} ({notice.labels['severity']})"
    if notice.firing:
        show.event("!", _at(seconds, f"{by} tells: {name} fires"), style="bold yellow")
    else:
        show.done(_at(seconds, f"{by} tells: {name} is over"))


def _since(began: datetime) -> float:
    return (now() - began).total_seconds()


def _at(seconds: float, text: str) -> str:
    return f"{seconds:4.1f} s  {text}"
