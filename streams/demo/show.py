"""What the demo says: a story in steps, each with what happens and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from schemas.avro import AvroRecord
    from schemas.contract import Contract
    from schemas.report import ConformanceReport
    from streams.demo.checks import Check, Value
    from streams.demo.coverage import Coverage
    from streams.demo.examples import Example
    from streams.demo.scenario import Fault
    from streams.demo.strategy import SymbolResult
    from streams.quarantine_store import QuarantinedRow

__all__ = ["HISTORY", "LIVE", "NOTHING", "Show", "sparkline"]

LIVE, HISTORY, NOTHING = "█", "▒", "·"
"""A quarter of a year whose bars came by the feed, by backfill, or not at all."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_PREVIEW = 38
_ALWAYS = frozenset({"dtype_cast", "ts_cast", "ts_timezone_normalized"})


class Show:
    """Tells the story on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0

    def title(self, text: str) -> None:
        """Say what this is."""
        self._console.print(Panel(Text(text), title="[bold]Seamless demo", title_align="left", border_style="cyan"))

    def step(self, name: str, why: str) -> None:
        """Begin a step."""
        self._step += 1
        self._console.print()
        self._console.rule(f"[bold cyan]{self._step} · {name}", align="left", style="cyan")
        self._console.print(Padding(Text(why, "dim"), (0, 2), expand=False))

    def done(self, text: str, note: str = "") -> None:
        """Say that something is done; a note stands behind it."""
        self._console.print(Text.assemble("  ", ("✓ ", "green"), text, (f"   {note}", "dim")), soft_wrap=True)

    def event(self, mark: str, text: str, note: str = "", *, style: str = "bold red") -> None:
        """Say that something happens that nobody wished for."""
        self._console.print(Text.assemble("  ", (f"{mark} ", style), text, (f"   {note}", "dim")), soft_wrap=True)

    def command(self, text: str) -> None:
        """Show a command that does the same; a whole line, to be copied."""
        self._console.print(Text(f"    {text}", "dim"), soft_wrap=True)

    def remark(self, text: str) -> None:
        """Say more about it."""
        self._console.print(Padding(Text(text, "dim"), (0, 2, 0, 4), expand=False))

    def wrong(self, text: str) -> None:
        """Say that something went otherwise than it must; the counts will tell, too."""
        self._console.print(Text.assemble("  ", ("✗ ", "bold red"), text))

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something takes a while; what is yielded changes the text."""
        with self._console.status(text) as status:
            yield status.update

    @contextmanager
    def progress(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how far something has come; what is yielded is told the number done."""
        columns = (
            SpinnerColumn(),
            TextColumn(text),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
            TimeElapsedColumn(),
        )
        hidden = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as progress:
            task = progress.add_task(text, total=total)
            yield lambda done: progress.update(task, completed=done)

    @property
    def width(self) -> int:
        """Columns that a picture may have."""
        return self._console.width - 2

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Show a picture that moves, and is gone at the end; what is yielded takes its newest state."""
        if not self._console.is_terminal:
            yield lambda _: None
            return
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            yield lambda what: live.update(Padding(what, (1, 0, 0, 2), expand=False))

    def draw(self, what: RenderableType) -> None:
        """Show a picture that stays."""
        self._indented(what)
        self._console.print()

    def schemas(self, raw: AvroRecord, contract: Contract) -> None:
        """Show which of the vendor's fields becomes which of the contract's."""
        table = _table("the vendor's field", "", "the contract's field", "how")
        for field in contract.record.fields.values():
            source = next((raw.fields[n] for n in (field.name, *field.aliases) if n in raw.fields), None)
            if source is None:
                table.add_row("", "→", f"{field.name} {field.type}", "written by conformance, one bit a finding")
                continue
            zone = source.attributes.get("timezone")
            how = f"{source.type} to {field.type}" if source.type != field.type else "as it is"
            if zone:
                how = f"text on the clock of {zone} to UTC"
            table.add_row(f"{source.name} {source.type}", "→", f"{field.name} {field.logical or field.type}", how)
        self._indented(table)

    def faults(self, faults: Sequence[Fault]) -> None:
        """Show what is wrong with the feed."""
        table = _table("fault", "bar", "what is sent", "what must come of it")
        for fault in faults:
            table.add_row(fault.name, fault.where, fault.story, fault.outcome)
        self._indented(table)
        self._console.print()

    def refusal(self, message: str) -> None:
        """Show what the governed producer said."""
        self._indented(Panel(Text(message), title="the producer refuses", title_align="left", border_style="red"))
        self._console.print()

    def report(self, report: ConformanceReport) -> None:
        """Show what was flagged, by finding and column."""
        self._indented(report.table())

    def quarantine(self, rows: Sequence[QuarantinedRow]) -> None:
        """Show the quarantined rows with their reasons and the bytes that were kept."""
        table = _table("row", "raw", "reasons", "the record, byte for byte")
        for row in rows:
            datum = row.datum
            reasons = [" · ".join(filter(None, (r["flag"], r["column"], r["detail"]))) for r in datum["reasons"]]
            raw = f"{datum['partition']}:{datum['offset']}"
            table.add_row(row.name, raw, Text("\n".join(reasons)), Text(_printable(datum["value"]), "dim"))
        self._indented(table)

    def examples(self, examples: Sequence[Example]) -> None:
        """Show rows as the vendor wrote them, and what became of them."""
        table = _table("", "Date", "Close", "", "event_time, UTC", "close", "flags")
        for e in examples:
            flags = " ".join(flag for flag in e.flags if flag not in _ALWAYS) or "-"
            close = f"{e.close:.2f}"
            date, price = Text(f'"{e.raw["Date"]}"', "dim"), Text(f'"{e.raw["Close"]}"', "dim")
            table.add_row(e.raw["Ticker"], date, price, "→", f"{e.event_time:%Y-%m-%d %H:%M}", close, flags)
        self._indented(table)
        routine = "Each is flagged dtype_cast and ts_cast too, and all but the one in UTC ts_timezone_normalized."
        self._indented(Text(routine, "dim"))

    def coverage(self, rows: Sequence[Coverage], signals: Mapping[str, int]) -> None:
        """Show which quarters of each symbol have bars, and from where.

        Args:
            signals: by symbol, to be shown beside the feed's bars; none: the backfill's bars are.
        """
        years = range(rows[0].year, rows[0].year + -(-len(rows[0].quarters) // 4)) if rows else ()
        line = "".join(f"{year % 100:02d}  " for year in years).rstrip()
        table = _table("", "feed", "signals" if signals else "backfill", line, right=(1, 2))
        for row in rows:
            strip = Text(row.quarters)
            for sign, style in ((LIVE, "cyan"), (HISTORY, "green"), (NOTHING, "dim")):
                strip.highlight_regex(f"{sign}+", style)
            beside = signals[row.symbol] if signals else row.history
            table.add_row(row.symbol, f"{row.live:,}", f"{beside:,}", strip)
        self._indented(table)

    def strategy(self, results: Sequence[SymbolResult]) -> None:
        """Show what the strategy saw of each symbol."""
        table = _table("", "bars", "first day", "last day", "last close", "signals", "closes", right=(1, 4, 5))
        for r in results:
            close, line = f"{r.closes[-1]:,.2f}", Text(sparkline(r.closes, 30), "cyan")
            table.add_row(r.symbol, f"{len(r.closes):,}", str(r.first), str(r.last), close, str(r.signals), line)
        self._indented(table)

    def checks(self, checks: Sequence[Check]) -> None:
        """Show every count as it must be and as it is, in two columns where there is room."""
        tables = []
        for half in _halves(checks):
            table = _table("", "expected", "found", "", right=(1, 2), gap=1)
            last = ""
            for check in half:
                if check.group != last:
                    table.add_row(f"[bold]{check.group}[/]")
                    last = check.group
                mark = Text("✓", "green") if check.ok else Text("✗", "bold red")
                name = Text(f" {_short(check.name)}", "" if check.ok else "red")
                table.add_row(name, _value(check.expected), _value(check.found), mark)
            tables.append(table)
        self._indented(Columns(tables, padding=(0, 1)))

    def verdict(self, checks: Sequence[Check], seconds: float) -> None:
        """Say whether all is as it must be."""
        wrong = [check for check in checks if not check.ok]
        took = f"It took {seconds:.1f} s, from nothing to here."
        if not wrong:
            text = Text(f"All {len(checks)} counts are what they must be. {took}", "bold green")
            self._console.print(Panel(text, border_style="green"))
            return
        lines = [Text(f"{len(wrong)} of {len(checks)} counts are not what they must be:", "bold red")]
        lines += [Text(f"{c.group}: {c.name}: expected {_value(c.expected)}, found {_value(c.found)}") for c in wrong]
        self._console.print(Panel(Group(*lines), border_style="red"))

    def commands(self, commands: Sequence[tuple[str, str]]) -> None:
        """Show commands to go on with; whole lines, to be copied."""
        for what, command in commands:
            self._console.print(Text(f"# {what}", "dim"))
            self._console.print(Text(command), soft_wrap=True)

    def _indented(self, what: RenderableType) -> None:
        self._console.print()
        self._console.print(Padding(what, (0, 0, 0, 2), expand=False))


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as blocks, each the last of its share; the lowest and the highest span the height."""
    if not values:
        return ""
    count = min(width, len(values))
    chosen = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    low, span = min(chosen), max(chosen) - min(chosen)
    return "".join(_BLOCKS[round((v - low) / span * (len(_BLOCKS) - 1)) if span else 0] for v in chosen)


def _table(*headings: str, right: tuple[int, ...] = (), gap: int = 2) -> Table:
    table = Table(*headings, box=None, padding=(0, gap, 0, 0), header_style="bold", pad_edge=False)
    for number in right:
        table.columns[number].justify = "right"
    return table


def _halves(checks: Sequence[Check]) -> tuple[Sequence[Check], Sequence[Check]]:
    """Part the checks between groups, as close to the middle as can be."""
    borders = [i for i in range(1, len(checks)) if checks[i].group != checks[i - 1].group] or [len(checks)]
    at = min(borders, key=lambda i: abs(i - len(checks) / 2))
    return checks[:at], checks[at:]


def _short(name: str) -> str:
    """Leave out columns that say nothing more: times have one, and a rule's name tells its own."""
    flag, _, column = name.partition(" · ")
    return flag if column == "event_time" or "," in column else name


def _value(value: Value | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _printable(payload: bytes | None) -> str:
    text = "".join(chr(b) if 32 <= b < 127 else "·" for b in payload or b"")
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
