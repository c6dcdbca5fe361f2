"""`seamless backfill watch`: a job as it runs, as bars on a terminal, as lines elsewhere, or as JSON lines."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coordinator.protocol import BackfillCoordinator, CoordinatorUnavailable, JobStatus, ProgressEvent, ShardStatus
from coordinator.shards import ShardState
from streams.cli.backfill_board import Board, Move
from streams.clock import monotonic

__all__ = ["ENDED", "exit_code", "watch_job"]

ENDED = frozenset({"done", "failed", "incomplete", "cancelled"})
INTERRUPTED = 130
_LOOK_SECONDS = 0.5
_LINE_SECONDS = 5.0
_AWAY_SECONDS = 60.0
_MOST_RUNNING = 1_000
_WIDTH = 24


def exit_code(job: JobStatus) -> int:
    """Return the code that a command ends with: 0 if the job is done, 1 if not."""
    return 0 if job.state == "done" else 1


def watch_job(coordinator: BackfillCoordinator, job: str, *, as_json: bool) -> int:
    """Watch a job until it ends and return the command's exit code; Ctrl-C ends the watching and nothing else.

    Raises:
        NotFound: if there is no such job.
        CoordinatorUnavailable: if the coordinator is away for long.
    """
    console = Console(highlight=False)
    board = Board(coordinator.job(job), monotonic())
    show: _Show = _Json() if as_json else _Bars(console) if console.is_terminal else _Lines()
    try:
        with _changes(coordinator, job) as changes, show.going():
            _follow(coordinator, board, changes, show)
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped watching; {job} goes on. Watch it again: seamless backfill watch {job}. "
            f"End it: seamless backfill cancel {job}",
            err=as_json,
        )
        return INTERRUPTED
    show.ended(board)
    return exit_code(board.job)


class _Show(Protocol):
    """A way to show it."""

    def going(self) -> Any: ...

    def change(self, event: ProgressEvent, move: Move | None) -> None: ...

    def look(self, board: Board, now: float) -> None: ...

    def ended(self, board: Board) -> None: ...


Changes = queue.SimpleQueue[ProgressEvent]


@contextmanager
def _changes(coordinator: BackfillCoordinator, job: str) -> Iterator[Changes]:
    """Collect changes on a thread; what it misses while the coordinator is away, the next look tells."""
    found: Changes = queue.SimpleQueue()
    stop = threading.Event()
    current: list[Iterator[ProgressEvent]] = []

    def collect() -> None:
        while not stop.is_set():
            try:
                current[:] = [coordinator.watch(job)]
                for event in current[0]:
                    found.put(event)
                    if stop.is_set():
                        return
            except Exception:  # whatever it is, the main thread meets it, too, and tells
                stop.wait(_LOOK_SECONDS)

    thread = threading.Thread(target=collect, name="watch", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        for each in current:
            close = getattr(each, "close", None)
            with suppress(Exception):  # a generator that is waiting cannot be closed; its thread is a daemon
                close() if close is not None else None


def _follow(coordinator: BackfillCoordinator, board: Board, changes: Changes, show: _Show) -> None:
    looked, answered = float("-inf"), monotonic()
    while True:
        now = monotonic()
        if now - looked >= _LOOK_SECONDS:
            try:
                # The job last: once it has ended, nothing of it runs.
                running = _running(coordinator, board.job.id)
                board.refresh(coordinator.job(board.job.id), running, now)
                answered = now
            except CoordinatorUnavailable:
                if now - answered > _AWAY_SECONDS:
                    raise
            looked = now
            show.look(board, now)
        over = board.job.state in ENDED
        with suppress(queue.Empty):
            while True:
                event = changes.get(timeout=0 if over else max(0.0, looked + _LOOK_SECONDS - monotonic()))
                show.change(event, board.take(event, monotonic()))
        if over:
            return


def _running(coordinator: BackfillCoordinator, job: str) -> list[ShardStatus]:
    return list(coordinator.shards(job=job, state=ShardState.RUNNING, limit=_MOST_RUNNING).items)


class _Json:
    """One JSON object a line."""

    @contextmanager
    def going(self) -> Iterator[None]:
        yield

    def change(self, event: ProgressEvent, move: Move | None) -> None:
        typer.echo(json.dumps(event.model_dump(mode="json") | ({"move": move.text} if move else {})))

    def look(self, board: Board, now: float) -> None:
        pass

    def ended(self, board: Board) -> None:
        typer.echo(json.dumps({"kind": "ended", **board.job.model_dump(mode="json")}))


class _Lines:
    """A line every few seconds, and one for each lease that moved."""

    def __init__(self) -> None:
        self._next, self._last = float("-inf"), ""

    @contextmanager
    def going(self) -> Iterator[None]:
        yield

    def change(self, event: ProgressEvent, move: Move | None) -> None:
        if move is not None:
            typer.echo(f"{event.at:%H:%M:%S}  {move.text}")

    def look(self, board: Board, now: float) -> None:
        if now < self._next and board.job.state not in ENDED:
            return
        self._next = now + _LINE_SECONDS
        line = _summary(board, now)
        if line != self._last:
            typer.echo(line)
        self._last = line

    def ended(self, board: Board) -> None:
        typer.echo(_verdict(board.job))


class _Bars:
    """Bars for the job, its workers and its shards, as many as the terminal has lines for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    @contextmanager
    def going(self) -> Iterator[None]:
        with self._live:
            yield

    def change(self, event: ProgressEvent, move: Move | None) -> None:
        if move is not None:
            style = "red" if move.grave else "yellow"
            self._console.print(Text.assemble((f"{event.at:%H:%M:%S}  ", "dim"), (move.text, style)), soft_wrap=True)

    def look(self, board: Board, now: float) -> None:
        self._live.update(self._picture(board, now))

    def ended(self, board: Board) -> None:
        style = "green" if board.job.state == "done" else "bold red"
        self._console.print(Text(_verdict(board.job), style), soft_wrap=True)

    def _picture(self, board: Board, now: float) -> RenderableType:
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(board.job.id, "bold"), _bar(board.share(), _WIDTH * 2), Text(_summary(board, now, short=True))
        )
        workers = board.workers(now)
        room = max(2, self._console.height - 5)
        shown_workers = workers[: max(1, room // 3)]
        shards = sorted(board.running.values(), key=lambda r: (r.host, r.partition))
        shown = shards[: max(1, room - len(shown_workers))]
        parts: list[RenderableType] = [head]
        if shown_workers:
            table = _grid("worker", "shards", "rows/s", right=(1, 2))
            for worker in shown_workers:
                table.add_row(worker.host, str(worker.shards), f"{worker.rate:,.0f}")
            parts.append(table)
        if shown:
            table = _grid("shard", "partition", "", "rows", "held by", right=(1, 3))
            for shard in shown:
                share = shard.rows / shard.estimated_rows if shard.estimated_rows else 0.0
                table.add_row(
                    shard.id, str(shard.partition), _bar(min(1.0, share), _WIDTH), f"{shard.rows:,}", shard.host
                )
            parts.append(table)
        if hidden := len(shards) - len(shown):
            parts.append(Text(f"and {hidden:,} shards more", "dim"))
        return Group(*parts)


def _grid(*headings: str, right: tuple[int, ...] = ()) -> Table:
    table = Table(*headings, box=None, pad_edge=False, header_style="dim")
    for number in right:
        table.columns[number].justify = "right"
    return table


def _bar(share: float, width: int) -> ProgressBar:
    return ProgressBar(total=1.0, completed=share, width=width)


def _summary(board: Board, now: float, *, short: bool = False) -> str:
    job, rate, left = board.job, board.rate(now), board.seconds_left(now)
    done = job.shards_by_state.get(ShardState.DONE, 0)
    parts = [f"{board.share():.1%}", f"{done:,} of {job.shards:,} shards", f"{job.rows:,} rows"]
    if job.state not in ENDED:
        parts.append(f"{rate:,.0f} rows/s")
        if left is not None and rate > 0:
            parts.append(f"{_duration(left)} left")
        if not board.running and job.state not in ("paused", "cancelling"):
            parts.append("nobody works on it: start `seamless worker`")
    text = f"{job.state}: {', '.join(parts)}"
    return text if short else f"{job.id} {text}"


def _verdict(job: JobStatus) -> str:
    text = f"{job.id} is {job.state}: {job.rows:,} rows, {job.ratio:.1%}"
    if job.state == "done":
        return f"{text}. Prove it: seamless backfill verify {job.id}"
    others = ", ".join(f"{count:,} {state}" for state, count in job.shards_by_state.items() if state != ShardState.DONE)
    return f"{text}; of {job.shards:,} shards {others or 'none is missing'}. See seamless backfill show {job.id}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
