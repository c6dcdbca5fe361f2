"""`seamless archive info`, `optimize` and `verify`: the tables in numbers, made fast, and proven."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console

if TYPE_CHECKING:
    from streams.archive.proof import SourceProof
    from streams.archive.reader import ArchiveSnapshot
    from streams.settings import Settings

__all__ = ["info", "optimize", "verify"]

UNSOUND = 1
DatasetOption = Annotated[
    list[str] | None, typer.Option("--dataset", "-d", help="Only this dataset; repeat for more.", show_default=False)
]


def info(
    dataset: DatasetOption = None, config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False
) -> None:
    """Show how large each table is, of when its rows are, and how far it has come."""
    from streams.archive.info import info_of
    from streams.cli.coverage import short_time

    settings = settings_from(config, world)
    found = [info_of(snapshot) for snapshot in _snapshots(settings, dataset)]
    if as_json:
        _print([one.as_record() for one in found])
        return
    from rich.table import Table

    table = Table("dataset", "rows", "files", "size", "first", "last", "version", box=None, pad_edge=False)
    for one in found:
        span = [short_time(t) if t is not None else "" for t in (one.first, one.last)]
        table.add_row(one.dataset, f"{one.rows:,}", f"{one.files:,}", _size(one.bytes), *span, str(one.version))
    if found:
        console().print(table)
    else:
        typer.echo(f"Nothing is archived at {settings.archive.url}: `seamless archive run` does it.")


def optimize(
    dataset: DatasetOption = None, config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False
) -> None:
    """Merge files of each table into few large ones, and delete what nobody reads any more; archivers may run on."""
    from streams.archive.maintenance import maintain
    from streams.archive.table import CommitRefused, DatasetTable
    from streams.errors import ArchiveError

    settings = settings_from(config, world)
    records = []
    for snapshot in _snapshots(settings, dataset):
        name, before = snapshot.dataset, snapshot.files.height
        try:
            done = maintain(settings, DatasetTable(settings, name), thorough=True)
        except CommitRefused as refused:
            raise ArchiveError(f"somebody else maintains the table of {name} at this moment: try again") from refused
        records.append(
            {"dataset": name, "files_before": before, "files": done.files, "merged": done.merged,
             "bytes": done.bytes, "deleted": done.dropped}
        )  # fmt: skip
        if not as_json:
            now = f"{done.files:,} of {_size(done.bytes)}"
            typer.echo(f"{name}: {before:,} files are {now}; {done.dropped:,} old ones deleted.")
    if as_json:
        _print(records)


def verify(
    dataset: DatasetOption = None, config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False
) -> None:
    """Prove from tables and topics that each committed record is archived once; exit with 1 if one is not."""
    from streams.archive.verify import verify_table

    settings = settings_from(config, world)
    records = [
        _as_record(snapshot.dataset, proof)
        for snapshot in _snapshots(settings, dataset)
        for proof in verify_table(settings, snapshot)
    ]
    if as_json:
        _print(records)
    else:
        _draw_proof(records)
    if not all(record["sound"] for record in records):
        raise typer.Exit(UNSOUND)


def _as_record(dataset: str, proof: SourceProof) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "topic": proof.source.topic,
        "partition": proof.source.partition,
        "position": proof.position,
        "rows": proof.rows,
        "checked": proof.checked,
        "behind": proof.behind,
        "sound": proof.sound,
        "problems": list(proof.problems),
    }


def _draw_proof(records: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("topic", "partition", "rows", "compared", "behind", "", box=None, pad_edge=False)
    for record in records:
        words = Text("; ".join(record["problems"]), "red") if record["problems"] else Text("each once", "green")
        numbers = [f"{record[name]:,}" for name in ("rows", "checked", "behind")]
        table.add_row(Text(record["topic"], overflow="fold"), str(record["partition"]), *numbers, words)
    console().print(table)


def _snapshots(settings: Settings, names: list[str] | None) -> Iterator[ArchiveSnapshot]:
    """Yield the newest version of each table that there is."""
    from streams.archive.reader import ArchiveReader

    reader = ArchiveReader(settings)
    for name in names or sorted(settings.datasets):
        snapshot = reader.snapshot(name)
        if snapshot is not None:
            yield snapshot


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1_024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1_024
    return f"{count:,.1f} TB"


def _print(datum: Any) -> None:
    typer.echo(json.dumps(datum, indent=2))
