"""`seamless backfill`: ask for history, watch it come, steer it, and prove that it is complete."""

from __future__ import annotations

import getpass
import json
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streams.cli.asked import moment_of, symbols_of
from streams.cli.backfill_proof import explain, verify
from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.errors import SettingsError

if TYPE_CHECKING:
    from coordinator.protocol import BackfillCoordinator, BackfillRequest, JobStatus, ShardStatus
    from streams.settings import Settings

__all__ = ["app"]

app = typer.Typer(name="backfill", help="History: ask for it, watch it come, prove that it is complete.",
                  no_args_is_help=True)  # fmt: skip

_SHARDS_SHOWN = 20
_PAGE = 1_000

DatasetArgument = Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")]
JobArgument = Annotated[str, typer.Argument(help="The job's id.", metavar="JOB")]
SymbolsOption = Annotated[
    str, typer.Option("--symbols", "-s", help="Symbols, with commas between; or @FILE, which holds one a line.")
]
StartOption = Annotated[
    str,
    typer.Option(
        "--start", help="First day or moment, such as 2024-01-31; without a zone, in the dataset's time zone."
    ),
]
EndOption = Annotated[str, typer.Option("--end", help="Day or moment after the last, not part of the range.")]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="scheme:what, such as files:bars/*.parquet (default: the dataset's).",
                 show_default=False),
]  # fmt: skip
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", help="What was known at this moment (default: the newest).", show_default=False),
]
RowsOption = Annotated[int, typer.Option("--target-rows", min=1, help="Rows that a shard should have, about.")]
UrgentOption = Annotated[bool, typer.Option("--urgent", help="Somebody waits for it: before what is not urgent.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept with the order.", show_default=False)]


@app.command()
def plan(
    dataset: DatasetArgument,
    symbols: SymbolsOption,
    start: StartOption,
    end: EndOption,
    source: SourceOption = None,
    as_of: AsOfOption = None,
    target_rows: RowsOption = 50_000,
    urgent: UrgentOption = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which shards a request would queue; does nothing."""
    settings = settings_from(config, world)
    request_ = _request(settings, dataset, symbols, start, end, source, as_of, target_rows, urgent)
    with closing(_open(settings)) as coordinator:
        planned = coordinator.plan(request_)
    if as_json:
        _print(planned.model_dump(mode="json"))
        return
    from streams.cli.backfill_show import show_planned

    show_planned(planned, _console())


@app.command()
def request(
    dataset: DatasetArgument,
    symbols: SymbolsOption,
    start: StartOption,
    end: EndOption,
    source: SourceOption = None,
    as_of: AsOfOption = None,
    target_rows: RowsOption = 50_000,
    urgent: UrgentOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch until it is done; exit with 1 if it fails.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for history. The same request again changes nothing, or queues what had failed."""
    from streams.cli.backfill_show import span

    settings = settings_from(config, world)
    request_ = _request(settings, dataset, symbols, start, end, source, as_of, target_rows, urgent)
    with closing(_open(settings)) as coordinator:
        planned = coordinator.request(request_)
        job = planned.job
        if as_json:
            typer.echo(json.dumps(planned.model_dump(mode="json"), indent=None if wait else 2))
        else:
            known = "" if planned.created else " It was asked for before."
            typer.echo(f"{job.id}: {job.dataset}, {len(job.symbols):,} symbols, {span(job.start, job.end)}.{known}")
            if planned.queued:
                typer.echo(f"{planned.queued:,} shards queued, of {job.shards:,} that fetch it; it is {job.state}.")
            else:
                typer.echo(f"Nothing to queue: {planned.reason or f'it is {job.state}'}.")
            if planned.queued and not wait:
                typer.echo(f"Watch it: seamless backfill watch {job.id}")
        if wait:
            raise typer.Exit(_watch(coordinator, job.id, as_json))


@app.command("list")
def list_jobs(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Of this one only.", show_default=False)
    ] = None,
    state: Annotated[str | None, typer.Option("--state", help="In this state only.", show_default=False)] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the jobs, newest first."""
    from typing import get_args

    from coordinator.protocol import JobState
    from streams.cli.backfill_show import show_jobs

    if state is not None and state not in get_args(JobState):
        raise SettingsError(f"--state {state}: no job is ever that; use {', '.join(get_args(JobState))}")
    wanted: Any = state
    with closing(_open(settings_from(config, world))) as coordinator:
        jobs = coordinator.jobs(dataset=dataset, state=wanted)
    if as_json:
        _print([job.model_dump(mode="json") for job in jobs])
    else:
        show_jobs(jobs, _console())


@app.command()
def show(
    job: JobArgument,
    shards: Annotated[bool, typer.Option("--shards", help="All shards, and not only some.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one job, and shards of it: those first that are not done."""
    from coordinator.shards import ShardState
    from streams.cli.backfill_show import show_job

    with closing(_open(settings_from(config, world))) as coordinator:
        status = coordinator.job(job)
        found: list[ShardStatus] = []
        for state in sorted(ShardState, key=lambda s: s is ShardState.DONE):
            after = None
            while status.shards_by_state.get(state) and (shards or len(found) <= _SHARDS_SHOWN):
                page = coordinator.shards(job=job, state=state, limit=_PAGE, after=after)
                found += page.items
                after = page.next
                if after is None:
                    break
    shown = found if shards else found[:_SHARDS_SHOWN]
    if as_json:
        _print(status.model_dump(mode="json") | {"shard_list": [s.model_dump(mode="json") for s in shown]})
    else:
        show_job(status, shown, _console(), more=len(shown) < len(found))


@app.command()
def watch(
    job: JobArgument,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Watch a job until it ends; Ctrl-C leaves it running. Exit with 0 if it is done, 1 if it failed."""
    with closing(_open(settings_from(config, world))) as coordinator:
        raise typer.Exit(_watch(coordinator, job, as_json))


@app.command()
def cancel(
    job: JobArgument,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a job: shards that run end at their next chunk, the others are not begun."""
    with closing(_open(settings_from(config, world))) as coordinator:
        _tell(coordinator.cancel(job, reason=reason), as_json)


@app.command()
def pause(
    job: JobArgument,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a job's shards out of the queue at their next chunk; `resume` goes on from there."""
    with closing(_open(settings_from(config, world))) as coordinator:
        _tell(coordinator.pause(job, reason=reason), as_json)


@app.command()
def resume(
    job: JobArgument, config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False
) -> None:
    """Let a paused job go on where it was."""
    with closing(_open(settings_from(config, world))) as coordinator:
        _tell(coordinator.resume(job), as_json)


def _open(settings: Settings) -> BackfillCoordinator:
    from coordinator import open_coordinator

    return open_coordinator(settings)


def _watch(coordinator: BackfillCoordinator, job: str, as_json: bool) -> int:
    from streams.cli.backfill_watch import watch_job

    return watch_job(coordinator, job, as_json=as_json)


def _request(
    settings: Settings, dataset: str, symbols: str, start: str, end: str, source: str | None, as_of: str | None,
    target_rows: int, urgent: bool,
) -> BackfillRequest:  # fmt: skip
    from pydantic import ValidationError

    from coordinator.protocol import BackfillRequest

    zone = settings.dataset(dataset).timezone
    try:
        return BackfillRequest(
            dataset=dataset,
            symbols=tuple(symbols_of(symbols)),
            start=moment_of("--start", start, zone),
            end=moment_of("--end", end, zone),
            source=source,
            as_of=None if as_of is None else moment_of("--as-of", as_of, zone),
            target_rows=target_rows,
            urgent=urgent,
            requested_by=getpass.getuser(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from None


def _tell(job: JobStatus, as_json: bool) -> None:
    if as_json:
        _print(job.model_dump(mode="json"))
        return
    left = sum(count for state, count in job.shards_by_state.items() if not state.ended)
    more = f"; {left:,} shards have yet to answer" if left and job.state in ("cancelling", "paused") else ""
    typer.echo(f"{job.id} is {job.state}: {job.rows:,} rows, {job.ratio:.1%}{more}.")


def _console() -> Console:
    return console()


def _print(datum: Any) -> None:
    typer.echo(json.dumps(datum, indent=2))


for _command in (verify, explain):
    app.command()(_command)
