"""Look at the leases of backfill shards, and put right what is stuck. Changes nothing without --yes.

    python scripts/lease_recover.py list --all
    python scripts/lease_recover.py release 3 --yes

It asks the coordinator service that --url or seamless.coordinator_url names; where neither does, it reads the topics.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coordinator import open_coordinator
from coordinator.protocol import BackfillCoordinator, JobStatus, LeaseStatus, NotFound, ShardStatus
from streams.cli.context import settings_from
from streams.clock import Deadline
from streams.errors import SeamlessError
from streams.settings import Settings
from streams.topics import Kind

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file.", show_default=False)]
WorldOption = Annotated[str | None, typer.Option("--world", "-w", help="Isolation domain.", show_default=False)]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="The coordinator service (default: the settings').", show_default=False)
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="Its bearer token (default: the settings'); other users of this machine can see arguments.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept with the order.", show_default=False)]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the workers' answer.")]

_LOOK_AGAIN = 0.2


@app.command("list")
def list_leases(
    everything: Annotated[bool, typer.Option("--all", help="Also those that get on.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the leases that are stalled: no progress for seamless.coordinator.stalled_after_s."""
    with _coordinator(_settings(config, world, url, token)) as coordinator:
        found = coordinator.leases(stalled=None if everything else True)
    if as_json:
        typer.echo(json.dumps([lease.model_dump(mode="json") for lease in found], indent=2))
    elif found:
        Console(highlight=False).print(_leases(found))
    else:
        typer.echo("No shard runs." if everything else "No lease is stalled; --all lists those that get on.")


@app.command()
def release(
    partition: Annotated[int, typer.Argument(min=0, help="Partition of the queue.")],
    urgent: Annotated[bool, typer.Option("--urgent", help="Of the urgent queue.")] = False,
    reason: ReasonOption = None,
    wait: WaitOption = 15.0,
    yes: YesOption = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the lease of a partition's shard; whoever owns the partition then claims it anew, from its cursor."""
    with _coordinator(_settings(config, world, url, token)) as coordinator:

        def look() -> LeaseStatus | None:
            held = [x for x in coordinator.leases() if x.partition == partition and _is_urgent(x) == urgent]
            return held[0] if held else None

        before = look()
        if before is None:
            queue = "urgent" if urgent else "ordinary"
            raise NotFound(f"no shard of partition {partition} of the {queue} queue runs: `list --all` shows which do")
        after: LeaseStatus | None = before
        if yes:
            coordinator.release(partition, urgent=urgent, reason=reason)
            after = _awaited(look, lambda now: now is None or _lease_key(now) != _lease_key(before), wait)
    done = "released" if yes else "would be released"
    _report(f"The lease of partition {partition}, {before.shard}, {done}.", before, after, yes, as_json)
    if yes and after is not None and _lease_key(after) == _lease_key(before):
        typer.echo(f"Nobody has claimed it anew within {wait:g} s: is its holder alive, or another worker?", err=True)
        raise typer.Exit(1)


@app.command()
def skip(
    shard: Annotated[str, typer.Argument(help="The shard's id.")],
    reason: ReasonOption = None,
    wait: WaitOption = 15.0,
    yes: YesOption = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a shard up, so that what stands behind it in its partition comes next."""
    with _coordinator(_settings(config, world, url, token)) as coordinator:
        before = after = coordinator.shard(shard)
        if yes:
            coordinator.skip(shard, reason=reason)
            after = _awaited(lambda: coordinator.shard(shard), lambda now: now.state.ended, wait)
    _report(f"{shard} {'skipped' if yes else 'would be skipped'}.", before, after, yes, as_json)
    if yes and not after.state.ended:
        typer.echo("It is ordered; a worker ends the shard when it comes to it.", err=True)


@app.command()
def retry(
    shard: Annotated[str, typer.Argument(help="The shard's id.")],
    yes: YesOption = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a shard that failed, was skipped or was cancelled again, from its cursor."""
    with _coordinator(_settings(config, world, url, token)) as coordinator:
        before = coordinator.shard(shard)
        after = coordinator.retry(shard) if yes else before
    _report(f"{shard} {'queued again' if yes else 'would be queued again'}.", before, after, yes, as_json)


@app.command("rebuild-offsets")
def rebuild_offsets(
    yes: YesOption = False, config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False
) -> None:
    """Commit the workers' offsets anew where the group lost them, as one does that was empty for a week.

    Where a partition goes on is read from the progress topic. Offsets that are there are left alone. No worker may run.
    """
    from coordinator.recovery import rebuild

    places = rebuild(settings_from(config, world), commit=yes)
    lost = [place for place in places if place.lost]
    if as_json:
        named = ("queue", "partition", "committed", "offset", "shard", "cursor", "skipped", "lost")
        shown: list[dict[str, Any]] = [{name: getattr(place, name) for name in named} for place in places]
        typer.echo(json.dumps({"done": yes, "places": shown}, indent=2))
        return
    table = Table("queue", "partition", "before", "after", "goes on with", box=None, pad_edge=False)
    for place in places:
        cells = (place.queue, str(place.partition), "none" if place.lost else str(place.committed))
        goes_on = f"{place.shard or 'what comes next'}{' at its cursor' if place.cursor else ''}"
        table.add_row(*cells, str(place.offset) if place.lost else "as it is", goes_on if place.lost else "")
        if place.skipped:
            table.add_row("", "", "", "", Text(f"behind {', '.join(place.skipped)}, which have not ended", "red"))
    Console(highlight=False).print(table)
    verb = "were" if yes else "would be"
    typer.echo(f"{len(lost)} of {len(places)} offsets {verb} committed." + ("" if yes else " Do it with --yes."))


def _settings(config: Path | None, world: str | None, url: str | None, token: str | None) -> Settings:
    settings = settings_from(config, world)
    changed: dict[str, Any] = {}
    if url is not None:
        changed["coordinator_url"] = url
    if token is not None:
        changed["coordinator"] = settings.coordinator.model_copy(update={"token": SecretStr(token)})
    return settings.model_copy(update=changed)


@contextmanager
def _coordinator(settings: Settings) -> Iterator[BackfillCoordinator]:
    coordinator = open_coordinator(settings)
    try:
        yield coordinator
    finally:
        coordinator.close()


def _is_urgent(lease: LeaseStatus) -> bool:
    return lease.queue.endswith(f".{Kind.BACKFILL_SHARDS_URGENT.value}")


def _lease_key(lease: LeaseStatus) -> tuple[str, int, str]:
    return lease.shard, lease.attempt, lease.member


def _awaited(look: Callable[[], Any], enough: Callable[[Any], bool], seconds: float) -> Any:
    deadline = Deadline(seconds)
    while True:
        found = look()
        if enough(found) or deadline.passed():
            return found
        sleep(_LOOK_AGAIN)


Shown = LeaseStatus | ShardStatus | JobStatus


def _report(text: str, before: Shown, after: Shown | None, done: bool, as_json: bool) -> None:
    if as_json:
        after_ = None if after is None else after.model_dump(mode="json")
        typer.echo(json.dumps({"done": done, "before": before.model_dump(mode="json"), "after": after_}, indent=2))
        return
    typer.echo(text)
    table = Table("", "before", "after" if done else "", box=None, pad_edge=False)
    now = {} if after is None else after.model_dump(mode="json")
    for name, value in before.model_dump(mode="json").items():
        if name in ("symbols", "cursor", "digest"):
            continue
        changed = done and now.get(name) != value
        table.add_row(name, Text(str(value)), Text(str(now.get(name, "-")), "yellow") if changed else "")
    Console(highlight=False).print(table)
    if not done:
        typer.echo("Nothing was done. Do it with --yes.")


def _leases(leases: list[LeaseStatus]) -> Table:
    table = Table("queue", "partition", "shard", "held by", "epoch", "attempt", "rows", "silent for", "",
                  box=None, pad_edge=False)  # fmt: skip
    for number in (1, 4, 5, 6, 7):
        table.columns[number].justify = "right"
    for x in leases:
        stalled = Text("stalled", "red") if x.stalled else Text("")
        rows, silent = f"{x.rows:,}", f"{x.seconds_since_progress:,.0f} s"
        table.add_row(x.queue, str(x.partition), x.shard, x.host, str(x.epoch), str(x.attempt), rows, silent, stalled)
    return table


if __name__ == "__main__":
    try:
        app()
    except SeamlessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
