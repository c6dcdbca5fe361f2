"""Tables of the archive for tests without Kafka: rows in, as an archiver would have committed them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.contract import Contract, load_contract
from streams.archive.layout import SYSTEM, Layout, Source
from streams.archive.table import DatasetTable, Move, Snapshot
from streams.settings import Settings, load_settings

__all__ = ["FakeArchive", "Stored", "archive_settings", "stored_rows", "wider"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """A row and where it came from."""

    row: Row
    as_of: int
    offset: int
    topic: str = "normalized"
    partition: int = 0
    version: int = 1


def archive_settings(folder: Path, *, contract: str = "ohlcv", interval: str | None = "1m", **dataset: Any) -> Settings:
    """Return settings with the dataset `bars` and an archive in a folder."""
    wanted = {"contract": contract, "interval": interval, "partitions": 2, **dataset}
    values = {"archive": {"url": str(folder)}, "datasets": {"bars": {k: v for k, v in wanted.items() if v is not None}}}
    return load_settings(None, {}, values, stack=lambda: None)


def stored_rows(contract: Contract, rows: Sequence[Stored]) -> pa.Table:
    """Return rows as a decoder gives them: the contract's plain columns, then the system's."""
    columns = contract.columns
    table = pa.Table.from_pylist([{n: s.row.get(n) for n in columns.names} for s in rows], schema=columns)
    values = {
        "_as_of": [s.as_of for s in rows],
        "_topic": [s.topic for s in rows],
        "_partition": [s.partition for s in rows],
        "_offset": [s.offset for s in rows],
        "_contract_version": [s.version for s in rows],
    }
    for name, kind in SYSTEM.items():
        table = table.append_column(pa.field(name, kind), pa.array(values[name], kind))
    return table


class FakeArchive:
    """A dataset's table that a test writes itself."""

    def __init__(self, settings: Settings, contract: Contract | None = None) -> None:
        self.settings = settings
        wanted = settings.dataset("bars")
        self.contract = contract or load_contract(wanted.contract)
        self.layout = Layout.of(self.contract, wanted.interval_ns())
        self.table = DatasetTable(settings, "bars")
        self._snapshot: Snapshot = self.table.create(self.layout, 1)

    def add(self, *rows: Stored) -> None:
        """Commit rows, with the offsets that they reach."""
        moves: dict[Source, Move] = {}
        for stored in rows:
            source = Source(f"{self.settings.world}.{stored.topic}.bars", stored.partition)
            to = max(stored.offset + 1, moves[source].to if source in moves else 0)
            moves[source] = Move(self._snapshot.position(source), to)
        self._snapshot.commit(self.layout.stored(stored_rows(self.contract, rows)), moves)

    def adopt(self, contract: Contract, version: int) -> None:
        """Write under a newer contract from now on."""
        self.contract, self.layout = contract, Layout(contract, self.layout.period)
        self._snapshot.adopt(contract, version)


def wider(contract: Contract) -> Contract:
    """Return a contract with two more fields."""
    schema: dict[str, Any] = copy.deepcopy(dict(contract.schema))
    schema["fields"].insert(-1, {"name": "trades", "type": "long", "default": 7})
    schema["fields"].insert(-1, {"name": "note", "type": ["null", "string"], "default": None})
    return Contract.parse(schema)
