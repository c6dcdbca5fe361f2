"""How `seamless backfill` shows jobs, shards, verdicts and explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coordinator.protocol import JobStatus, Planned, ShardStatus
from coordinator.shards import ShardState

if TYPE_CHECKING:
    from coordinator.audit import Place
    from coordinator.explain import Explanation
    from coordinator.verify import Verdict

__all__ = ["show_explanation", "show_job", "show_jobs", "show_planned", "show_shards", "show_verdict", "span"]

_COLOURS = {
    "done": "green", "running": "cyan", "pending": "", "paused": "yellow", "parked": "yellow", "cancelling": "yellow",
    "failed": "red", "incomplete": "red", "cancelled": "dim", "skipped": "dim",
}  # fmt: skip
_SYMBOLS_SHOWN = 3


def show_planned(planned: Planned, console: Console) -> None:
    """Show what a request would do."""
    job = planned.job
    if planned.shards:
        show_shards(planned.shards, console, planned=True)
    if planned.queued > len(planned.shards) > 0:
        console.print(f"and {planned.queued - len(planned.shards):,} shards more")
    console.print(Text(f"{job.id}: {job.dataset}, {_symbols(job.symbols)}, {span(job.start, job.end)}"), soft_wrap=True)
    if planned.queued:
        rows = sum(s.estimated_rows for s in planned.shards) if len(planned.shards) == planned.queued else 0
        about = f", about {rows or job.estimated_rows:,} rows from {job.source}"
        console.print(f"{planned.queued:,} shards would be queued{about}.", soft_wrap=True)
        others = job.shards - planned.queued
        if others > 0:
            console.print(f"{others:,} shards of the same rows are there or on their way: nothing is fetched twice.")
    else:
        console.print(f"Nothing would be queued: {planned.reason or 'all of it is there or on its way'}.")


def show_shards(shards: Iterable[ShardStatus], console: Console, *, planned: bool = False) -> None:
    """Show shards, one a line."""
    columns = ["shard", "symbols", "range, UTC", "rows", "partition"]
    table = _table(*columns, *([] if planned else ["state", "attempt", "held by"]))
    for number in (3, 4):
        table.columns[number].justify = "right"
    for s in shards:
        rows = f"{s.estimated_rows:,}" if planned else f"{s.rows:,} of {s.estimated_rows:,}"
        cells = [s.id, _symbols(s.symbols), span(s.start, s.end), rows, f"{'urgent ' if s.urgent else ''}{s.partition}"]
        if not planned:
            cells += [s.state.value, f"{s.epoch}.{s.attempt}", s.host or "-"]
        table.add_row(*(Text(cell, _COLOURS.get(cell, "")) for cell in cells))
        if s.error:
            table.add_row("", Text(s.error, "red"))
    console.print(table)


def show_jobs(jobs: Sequence[JobStatus], console: Console) -> None:
    """Show jobs, one a line."""
    if not jobs:
        console.print("There is no backfill. Ask for one: seamless backfill request DATASET --symbols ... --start ...")
        return
    table = _table("job", "dataset", "state", "done", "shards", "rows", "range, UTC", "asked")
    for number in (3, 4, 5):
        table.columns[number].justify = "right"
    for job in jobs:
        done = job.shards_by_state.get(ShardState.DONE, 0)
        table.add_row(
            job.id,
            job.dataset,
            Text(job.state, _COLOURS.get(job.state, "")),
            f"{job.ratio:.1%}",
            f"{done:,} of {job.shards:,}",
            f"{job.rows:,}",
            span(job.start, job.end),
            f"{job.created_at:%Y-%m-%d %H:%M}",
        )
    console.print(table)


def show_job(job: JobStatus, shards: Sequence[ShardStatus], console: Console, *, more: bool) -> None:
    """Show one job, and some of its shards."""
    table = Table(show_header=False, box=None, pad_edge=False)
    by_state = ", ".join(f"{count:,} {state.value}" for state, count in job.shards_by_state.items()) or "none"
    for name, value in (
        ("job", job.id),
        ("state", job.state),
        ("dataset", job.dataset),
        ("symbols", _symbols(job.symbols)),
        ("range", span(job.start, job.end)),
        ("source", job.source),
        ("as of", _time(job.as_of)),
        ("asked", f"{_time(job.created_at)}{f' by {job.requested_by}' if job.requested_by else ''}"),
        ("asked anew", "never" if job.epoch == 1 else f"{job.epoch - 1} times"),
        ("urgent", "yes" if job.urgent else "no"),
        ("shards", by_state),
        ("rows", f"{job.rows:,} of about {job.estimated_rows:,}"),
        ("done", f"{job.ratio:.1%}"),
    ):
        table.add_row(name, Text(value, _COLOURS.get(value, "") if name == "state" else ""))
    console.print(table)
    if shards:
        console.print()
        show_shards(shards, console)
    if more:
        console.print("There are more shards: --shards shows all")


def show_verdict(verdict: Verdict, console: Console) -> None:
    """Show what was found of a job."""
    for problem in verdict.problems:
        name = f"{problem.shard}: " if problem.shard else ""
        console.print(Text.assemble((f"{problem.kind} ", "bold red"), f"{name}{problem.text}"), soft_wrap=True)
        for place in problem.rows:
            console.print(Text(f"    {_place(place)}", "dim"), soft_wrap=True)
    for note in verdict.notes:
        console.print(Text(f"note {note}", "dim"), soft_wrap=True)
    if verdict.complete:
        text = f"Complete: {verdict.shards:,} shards, {verdict.rows:,} rows, each exactly once."
        console.print(Text(text, "bold green"), soft_wrap=True)
        if verdict.certificate is not None:
            console.print(Text(f"root {verdict.certificate.root}"), soft_wrap=True)
    else:
        text = f"Not proven: {verdict.job}, of {verdict.shards:,} shards; problems: {len(verdict.problems):,}."
        console.print(Text(text, "bold red"), soft_wrap=True)


def show_explanation(found: Explanation, console: Console) -> None:
    """Show who held a shard: a line for each lease, then a sentence for each event."""
    console.print(Text(found.shard, "bold"))
    if found.holdings:
        table = _table("held by", "epoch", "attempt", "from", "for", "rows", "ended")
        for number in (1, 2, 4, 5):
            table.columns[number].justify = "right"
        for h in found.holdings:
            lasted = "-" if h.ended is None else f"{(h.ended - h.began) / 1_000:.1f} s"
            rows = f"{h.rows_before:,} → {'' if h.rows_after is None else f'{h.rows_after:,}'}"
            table.add_row(h.host, str(h.lease_epoch), str(h.attempt), _ms(h.began), lasted, rows, h.how)
        console.print(table)
    for step in found.steps:
        console.print(Text.assemble((f"{_ms(step.at)}  ", "dim"), step.text), soft_wrap=True)
    if not found.steps:
        console.print("No lease of it is recorded.")
    console.print(Text(found.now), soft_wrap=True)


def span(start: datetime, end: datetime) -> str:
    """Return a range in UTC; days where both borders are midnight."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if (start.hour, start.minute, start.second, end.hour, end.minute, end.second) == (0,) * 6:
        return f"{start:%Y-%m-%d} to {end:%Y-%m-%d}"
    return f"{_time(start)} to {_time(end)}"


def _table(*headings: str) -> Table:
    """Return a table that folds and cuts nothing off; of the first column, a name to be copied, not even that."""
    table = Table(*headings, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    return table


def _time(at: datetime) -> str:
    text = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{at.microsecond:06d}Z" if at.microsecond else "Z")


def _ms(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _symbols(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:_SYMBOLS_SHOWN])
    return shown if len(symbols) <= _SYMBOLS_SHOWN else f"{shown} and {len(symbols) - _SYMBOLS_SHOWN:,} more"


def _place(place: Place) -> str:
    when = _time(datetime.fromtimestamp(place.time / 1e9, UTC))
    return f"partition {place.partition}, offset {place.offset}: {place.symbol or '?'} {when}"
