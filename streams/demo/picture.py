"""The backfill as a picture: a line for each symbol, a cell for each shard, and in it who writes it and how far."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coordinator.protocol import ShardStatus
from coordinator.shards import ShardState
from streams.demo.filling import Filling, label

__all__ = ["grid", "moving"]

_COLOURS = ("cyan", "magenta", "yellow")
_WIDEST, _NARROWEST = 9, 5
_SYMBOL = 6
_BAR = 40


def moving(filling: Filling, width: int) -> RenderableType:
    """Draw a backfill that runs, for a console of so many columns: all of it, its shards, and its workers."""
    head = Table.grid(padding=(0, 2))
    done, all_ = filling.count(ShardState.DONE), filling.job.shards
    head.add_row(
        ProgressBar(total=1.0, completed=filling.share(), width=min(_BAR, width // 2)),
        f"{filling.share():.0%}",
        f"{done} of {all_} shards",
        f"{sum(s.rows for s in filling.shards):,} of {filling.job.estimated_rows:,} rows",
        f"{filling.seconds:.1f} s",
    )
    return Group(head, Text(), grid(filling, width), Text(), _workers(filling))


def grid(filling: Filling, width: int) -> Table:
    """Draw the shards."""
    starts = sorted({shard.start for shard in filling.shards})
    cell = max(_NARROWEST, min(_WIDEST, (width - _SYMBOL) // max(1, len(starts)) - 1))
    table = Table("", *(f"{start:%Y-%m}" for start in starts), box=None, padding=(0, 1, 0, 0), pad_edge=False,
                  header_style="dim")  # fmt: skip
    cells = {(", ".join(shard.symbols), shard.start): shard for shard in filling.shards}
    for symbols in sorted({symbols for symbols, _ in cells}):
        row = (cells.get((symbols, start)) for start in starts)
        table.add_row(symbols, *(Text() if shard is None else _cell(filling, shard, cell) for shard in row))
    return table


def _cell(filling: Filling, shard: ShardStatus, width: int) -> Text:
    writers = filling.writers(shard)
    if not writers:
        return Text("·" * width, "dim")
    dead = filling.kill is not None and writers == (filling.kill.number,) and shard.state is ShardState.RUNNING
    name = "→".join(map(str, writers)) + ("†" if dead else "")
    room = width - len(name)
    full = round(room * shard.rows / max(1, shard.estimated_rows))
    if shard.state is not ShardState.DONE:
        full = min(full, room - 1)
    style = "red" if dead else _colour(writers[-1])
    return Text.assemble((name, f"bold {style}"), ("█" * full, style), ("·" * (room - full), "dim"))


def _workers(filling: Filling) -> Table:
    table = Table.grid(padding=(0, 2))
    for number in sorted(filling.numbers.values()):
        mine = [s for s in filling.shards if filling.numbers.get(s.host) == number]
        held = next((s for s in mine if s.state is ShardState.RUNNING), None)
        kill = filling.kill
        if kill is not None and kill.number == number:
            ago = "" if filling.takeover else f" {filling.seconds - kill.seconds:.0f} s ago; the group waits for it"
            doing = Text(f"killed{ago}", "red")
        elif held is None:
            doing = Text("waits", "dim")
        else:
            doing = Text(f"{label(held)}: {held.rows} of {held.estimated_rows} rows")
        done = sum(s.state is ShardState.DONE for s in mine)
        table.add_row(Text(f"worker {number}", f"bold {_colour(number)}"), f"{done} shards done", doing)
    return table


def _colour(number: int) -> str:
    return _COLOURS[(number - 1) % len(_COLOURS)]
