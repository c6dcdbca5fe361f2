"""Break a promise on purpose, and see how long it takes until somebody is told. Changes nothing without --yes.

    python scripts/inject_sla_violation.py deadline --dataset ohlcv.us.1d
    python scripts/inject_sla_violation.py deadline --dataset ohlcv.us.1d --by 1.5 --yes

It produces observations that are marked as synthetic, and so are the breach and the alert; then it waits for the breach
that the agent writes, and for the alert at each Alertmanager of the settings. docs/alerting.md says what to look at.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from streams import topics
from streams.alerting.alertmanager import Alertmanager
from streams.alerting.drill import Drill, planned
from streams.alerting.feed import BreachFeed
from streams.cli.context import settings_from
from streams.clients import producer_config
from streams.clock import Deadline, monotonic, now
from streams.delivery import Delivery
from streams.durations import spelled
from streams.errors import SeamlessError
from streams.events import EventCodec
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.breach import Breach

T = TypeVar("T")
app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_LOOK_AGAIN = 0.1
_FLUSH_S = 30.0


class NotSeen(SeamlessError):  # noqa: N818 - an outcome of the drill
    """What was waited for did not come."""


@app.command()
def inject(
    objective: Annotated[str, typer.Argument(help="Name of the objective, as `seamless sla objectives` shows them.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Needed if it is for more than one.", show_default=False)
    ] = None,
    by: Annotated[float, typer.Option("--by", help="What is observed, as a multiple of what is promised.")] = 1.5,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Observations (default: enough).", show_default=False)
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the breach behind the window, and for alerts.")
    ] = 60.0,
    alert: Annotated[bool, typer.Option("--alert/--no-alert", help="Whether to wait for alerts, too.")] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings file.", show_default=False)] = None,
    world: Annotated[str | None, typer.Option("--world", "-w", help="Isolation domain.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Break a promise on purpose, and see how long it takes until somebody is told."""
    settings = settings_from(config, world)
    drill = planned(settings, objective, dataset, by, count)
    told: dict[str, Any] = {"world": settings.world, "objective": objective, **_numbers(drill), "done": yes}
    say = Console(stderr=as_json, highlight=False)
    say.print(f"In the world {settings.world}: {drill.described()}", soft_wrap=True)
    if drill.shared:
        say.print(
            "That is a real reader's objective: its own observations are judged along with these.", soft_wrap=True
        )
    if yes:
        _run(settings, drill, wait, alert and bool(settings.alerting.alertmanagers), say, told)
    else:
        say.print("Nothing was done. Do it with --yes.")
    if as_json:
        typer.echo(json.dumps(told, indent=2))


def _run(settings: Settings, drill: Drill, wait: float, alerts: bool, say: Console, told: dict[str, Any]) -> None:
    with Registry(settings.registry) as registry, _stopping() as stop:
        feed = BreachFeed(settings, registry, stop)
        _check_quiet(feed, drill)
        at, began = now(), monotonic()
        _produce(settings, registry, drill, at)
        closes = drill.closes_at(at, settings.sla_agent.grace_ms)
        until_closed = (closes - at).total_seconds()
        say.print(
            f"Produced. The agent judges them in {spelled(until_closed)}, at {closes:%H:%M:%S} UTC.", soft_wrap=True
        )
        with say.status("waiting for the breach"):
            breach = _breach(feed, drill, at, until_closed + wait)
        took = monotonic() - began
        told["breach"] = {"id": breach.id, "seconds": took, "seconds_behind_window": took - until_closed}
        behind = spelled(max(0.0, took - until_closed))
        say.print(
            f"Breach {breach.id} ({breach.severity}) after {spelled(took)}, {behind} behind its window.", soft_wrap=True
        )
    told["alerts"] = {}
    for url in settings.alerting.alertmanagers if alerts else ():
        with say.status(f"waiting for the alert at {url}"):
            _await_alert(Alertmanager(str(url), settings.alerting), breach, wait)
        took = monotonic() - began
        told["alerts"][str(url)] = {"seconds": took}
        say.print(f"Alert at {url} after {spelled(took)}.", soft_wrap=True)
    if not alerts:
        say.print("No alert was waited for: there is --no-alert, or no Alertmanager in the settings.", soft_wrap=True)


def _check_quiet(feed: BreachFeed, drill: Drill) -> None:
    """Refuse to begin while the promise is broken already: then no breach would open."""
    known: dict[str, Breach] = {breach.id: breach for breach in feed.past() if _is_of(breach, drill)}
    for breach in known.values():
        if breach.is_open:
            raise NotSeen(
                f"{breach.objective} is broken since {breach.opened_at:%Y-%m-%d %H:%M:%S} UTC (breach {breach.id}), so "
                "no other would open. Wait until it is over."
            )


def _produce(settings: Settings, registry: Registry, drill: Drill, at: datetime) -> None:
    topic = topics.sla_observations(settings.world)
    codec = EventCodec(registry, topic, "sla_observation")
    told = list(drill.observations(settings.world, at, f"drill-{uuid.uuid4().hex[:12]}"))
    delivery = Delivery(producer_config(settings), topic)
    delivery.send([codec.encode(each.datum()) for each in told], [each.objective.encode() for each in told])
    delivery.flush(_FLUSH_S)


def _breach(feed: BreachFeed, drill: Drill, at: datetime, seconds: float) -> Breach:
    deadline = Deadline(seconds)
    for breaches in feed.following(_LOOK_AGAIN):
        for breach in breaches:
            if _is_of(breach, drill) and breach.state == "opened" and breach.window_end > at:
                return breach
        if deadline.passed():
            break
    raise NotSeen(
        f"No breach within {spelled(seconds)}. Check that `seamless sla-agent` runs with these settings, and its "
        "/healthz."
    )


def _is_of(breach: Breach, drill: Drill) -> bool:
    series = drill.watch.series
    return (breach.objective, breach.dataset, breach.consumer) == (drill.watch.name, series.dataset, series.consumer)


def _await_alert(alertmanager: Alertmanager, breach: Breach, seconds: float) -> None:
    deadline = Deadline(seconds)
    wanted = {"world_id": breach.world, "objective": breach.objective}
    try:
        while not any(a["annotations"].get("breach_id") == breach.id for a in alertmanager.active(wanted)):
            if deadline.passed():
                raise NotSeen(
                    f"Alertmanager at {alertmanager.url} has no alert of it after {spelled(seconds)}. Check that "
                    "`seamless alert-bridge` runs with these settings, and its /healthz."
                )
            sleep(_LOOK_AGAIN)
    finally:
        alertmanager.close()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    stop = threading.Event()
    try:
        yield stop
    finally:
        stop.set()


def _numbers(drill: Drill) -> dict[str, Any]:
    series = drill.watch.series
    return {
        "dataset": series.dataset,
        "consumer": series.consumer,
        "phase": series.phase,
        "promise": drill.watch.promise,
        "observed": drill.observed,
        "promised": drill.promised,
        "observations": drill.count,
        "bad": drill.bad,
    }


if __name__ == "__main__":
    try:
        app()
    except NotSeen as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except SeamlessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
