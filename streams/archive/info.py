"""A table in numbers: how large, of when, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from streams.archive.layout import Source
from streams.archive.reader import ArchiveSnapshot

__all__ = ["TableInfo", "info_of"]


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What there is to know of a dataset's table without reading it.

    Attributes:
        rows: all that were archived; of some identities there may be several.
        periods: how many years, months or days the files are parted by.
        first, last: event times, nanoseconds since the epoch; None if there is no row.
        positions: the offset to go on from in each partition.
    """

    dataset: str
    url: str
    version: int
    contract: str
    contract_version: int
    rows: int
    files: int
    bytes: int
    periods: int
    first: int | None
    last: int | None
    positions: Mapping[Source, int]

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        record = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        record["positions"] = {f"{s.topic}/{s.partition}": offset for s, offset in sorted(self.positions.items())}
        return record


def info_of(snapshot: ArchiveSnapshot) -> TableInfo:
    """Return what a snapshot's log says."""
    files, span = snapshot.files, snapshot.span()
    period = f"partition.{snapshot.layout.period}"
    return TableInfo(
        dataset=snapshot.dataset,
        url=snapshot.url,
        version=snapshot.version,
        contract=snapshot.contract.name,
        contract_version=snapshot.contract_version,
        rows=int(files["num_records"].sum()) if files.height else 0,
        files=files.height,
        bytes=int(files["size_bytes"].sum()) if files.height else 0,
        periods=files[period].n_unique() if files.height else 0,
        first=span[0] if span else None,
        last=span[1] if span else None,
        positions=snapshot.positions,
    )
