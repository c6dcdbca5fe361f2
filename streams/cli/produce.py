"""`seamless produce`: replay a file into a dataset's raw topic, as fast as it happened, faster, or at once."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.clock import monotonic

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from streams.producer import GovernedProducer
    from streams.replay import Replay

__all__ = ["produce"]

INTERRUPTED = 130
_CHUNK_ROWS = 10_000
_LONGEST_NAP = 0.2  # so that Ctrl-C and the progress bar are never far behind


def produce(
    file: Annotated[
        Path, typer.Argument(help="A .csv or .parquet file with the raw schema's columns.", metavar="FILE")
    ],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="The dataset that the rows belong to.")],
    speed: Annotated[
        str, typer.Option("--speed", help="Pace in event time: a multiple of real time such as 100x, or max.")
    ] = "max",
    on_violation: Annotated[
        Literal["refuse", "warn"] | None,
        typer.Option(
            "--on-violation", help="What rows that break the contract do (default: the settings').", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Send the first N rows only.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the rows of a file in event-time order; refused as a whole before any is sent if rows break the contract."""
    # Imported when needed: no other command should wait for it.
    from schemas.conformance import Rejected
    from streams.producer import GovernedProducer, ProduceRefused
    from streams.replay import parse_speed

    pace = parse_speed(speed)
    settings = settings_from(config, world)
    settings.dataset(dataset)
    stop = Event()
    with GovernedProducer(dataset, settings, name=f"seamless-produce-{dataset}", on_violation=on_violation) as producer:
        frame, replay, rows = _load(file, producer, limit, pace)
        try:  # the whole file, so that none of it is sent if any of it will be refused
            producer.check(frame)
        except ProduceRefused as refused:
            of_file = [Rejected(int(rows[r.row]), r.reasons) for r in refused.rejected]
            raise ProduceRefused(refused.report, of_file) from None
        began = monotonic()
        with _stopped_by_ctrl_c(stop):
            try:
                _send(producer, frame, replay, stop, quiet=as_json)
                producer.close()
            finally:  # also where records failed: the sum is never owed
                took = monotonic() - began
                if as_json:
                    typer.echo(json.dumps(_summary(producer, len(frame), took, stop.is_set())))
                else:
                    typer.echo(_words(producer, len(frame), took, stop.is_set()))
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)


def _load(
    file: Path, producer: GovernedProducer, limit: int | None, speed: float | None
) -> tuple[pl.DataFrame, Replay, npt.NDArray[np.intp]]:
    """Read the file by the raw schema; return it in event-time order, its pace, and each row's place in the file."""
    import numpy as np

    from schemas.times import read_times
    from streams.errors import ContractError
    from streams.files import columns_of_schema, read_frame
    from streams.replay import Replay
    from streams.schema_checks import source_of

    contract, raw = producer.contract, producer.schema
    frame = read_frame(file, columns_of_schema(raw), dates=True)
    column = source_of(contract.record.fields[contract.event_time], raw.fields)
    if column is None or column not in frame.columns:
        raise ContractError(
            f"{file}: column {column or contract.event_time!r}, the event time, is missing; "
            f"the file has {', '.join(frame.columns)}"
        )
    times = read_times(frame[column], raw.fields[column].logical, contract.time_units, producer.timezone).values
    order = np.argsort(times, kind="stable")[:limit]
    return frame[order], Replay(times[order], contract.time_units, speed), order


def _send(producer: GovernedProducer, frame: pl.DataFrame, replay: Replay, stop: Event, *, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("sending", total=len(frame))
        began, done = monotonic(), 0
        while done < len(frame) and not stop.is_set():
            upto = min(replay.due(monotonic() - began), done + _CHUNK_ROWS)
            if upto > done:
                producer.send(frame[done:upto])
                done = upto
                progress.update(task, completed=done)
            else:
                stop.wait(min(_LONGEST_NAP, replay.wait(done, monotonic() - began)))


class _stopped_by_ctrl_c:  # noqa: N801 - reads as what it does
    """Let the first Ctrl-C set an event, so that no row is lost from the count, and the second one end it all."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._interrupted)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, *_: object) -> None:
        self._stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _summary(producer: GovernedProducer, rows: int, took: float, stopped: bool) -> dict[str, object]:
    counts = producer.counts
    return {
        "dataset": producer.dataset,
        "topic": producer.topic,
        "rows": rows,
        "sent": counts.sent,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "seconds": round(took, 3),
        "interrupted": stopped,
    }


def _words(producer: GovernedProducer, rows: int, took: float, stopped: bool) -> str:
    counts = producer.counts
    rate = f"{counts.delivered / took:,.0f} rows/s" if took > 0 else ""
    text = f"{counts.delivered:,} of {rows:,} rows delivered to {producer.topic} in {took:.1f} s ({rate})."
    return f"Stopped. {text}" if stopped else text
