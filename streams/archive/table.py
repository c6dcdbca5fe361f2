"""One dataset's Delta table: the only module that commits to it, each time with the offsets up to which it then holds.

The offsets are Delta application transactions: the application is a partition of a topic (`layout.app_id`), its version
the offset to go on from. A commit is made from the very snapshot in which these versions were compared with the offsets
that its rows follow. Delta refuses it if another commit has moved one of them since; so of two processes that hold the
same rows, one commits and the other learns of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError

from schemas.contract import Contract
from streams.archive.layout import Layout, Source, app_id, table_url
from streams.durations import duration_ns
from streams.errors import ArchiveError, ArchiveUnavailable
from streams.settings import Settings

__all__ = ["CommitRefused", "DatasetTable", "Move", "Snapshot", "explained"]

CONTRACT, CONTRACT_VERSION = "seamless.contract", "seamless.contract_version"
ROW_GROUP = 65_536
_COMMIT_RETRIES = 30
_CHECKPOINT_EVERY = 50


class CommitRefused(Exception):  # noqa: N818 - an outcome that is expected whenever two write
    """Somebody else has committed what was to be committed; the table has to be read again."""


@dataclass(frozen=True, slots=True)
class Move:
    """How far a commit moves a source: from the version that the table has (None: none yet) to the next offset."""

    base: int | None
    to: int


class DatasetTable:
    """Where the table of a dataset is, and how to open it. May be shared between threads.

    Attributes:
        url: the table's folder or address.
    """

    def __init__(self, settings: Settings, dataset: str) -> None:
        self.dataset = dataset
        self.url = table_url(settings.archive.url, settings.world, dataset)
        self._options = settings.archive.storage_options()
        self._archive = settings.archive

    def load(self) -> Snapshot | None:
        """Return the newest version of the table, None if there is none.

        Raises:
            ArchiveUnavailable: if the storage cannot be reached.
        """
        with explained(self.url):
            try:
                return Snapshot(DeltaTable(self.url, storage_options=self._options), self.url, self._options)
            except TableNotFoundError:
                return None

    def create(self, layout: Layout, contract_version: int) -> Snapshot:
        """Return the table's newest version; makes the table if nobody has yet.

        Raises:
            ArchiveUnavailable: if the storage cannot be reached.
        """
        found = self.load()
        if found is not None:
            return found
        configuration = {
            CONTRACT: _as_text(layout.contract),
            CONTRACT_VERSION: str(contract_version),
            "delta.dataSkippingStatsColumns": ",".join(layout.statistics),
            "delta.checkpointInterval": str(_CHECKPOINT_EVERY),
            "delta.logRetentionDuration": _interval(self._archive.keep_versions),
            "delta.deletedFileRetentionDuration": _interval(self._archive.keep_removed),
        }
        with explained(self.url):
            try:
                made = DeltaTable.create(
                    self.url,
                    layout.schema,
                    mode="ignore",
                    partition_by=[layout.period],
                    name=self.dataset,
                    configuration=configuration,
                    storage_options=self._options,
                    raise_if_key_not_exists=False,
                )
                return Snapshot(made, self.url, self._options)
            except DeltaError:
                found = self.load()  # Another archiver was faster.
                if found is None:
                    raise
                return found


class Snapshot:
    """One version of a table; a commit through it moves it to the version that it made. For one thread.

    Attributes:
        table: delta-rs's own.
        url, options: where it is, and the options of the storage, secrets in the clear.
        contract, contract_version: the newest under which rows were written here.
    """

    def __init__(self, table: DeltaTable, url: str, options: dict[str, str] | None) -> None:
        self.table, self.url, self.options = table, url, options
        self._read_contract()

    @property
    def version(self) -> int:
        """The version of the table."""
        return self.table.version()

    @property
    def layout(self) -> Layout:
        """The shape of the table."""
        [period] = self.table.metadata().partition_columns
        return Layout(self.contract, period)  # type: ignore[arg-type]  # whoever made the table took one of these

    @property
    def schema(self) -> pa.Schema:
        """The table's columns."""
        return pa.schema(self.table.schema().to_arrow())

    def position(self, source: Source) -> int | None:
        """Return the offset to go on from in a partition; None if nothing of it was ever committed."""
        with explained(self.url):  # It is looked up in the log.
            return self.table.transaction_version(app_id(source))

    def refresh(self) -> int:
        """Move to the newest version of the table, and return its number; ArchiveUnavailable if it cannot be read."""
        before = self.version
        with explained(self.url):
            self.table.update_incremental()
        if self.version != before:
            self._read_contract()
        return self.version

    def positions(self, sources: Iterable[Source]) -> dict[Source, int]:
        """Return the offsets to go on from, of those partitions that have one."""
        found = ((source, self.position(source)) for source in sources)
        return {source: offset for source, offset in found if offset is not None}

    def files(self) -> pl.DataFrame:
        """Return a row per file: path, size_bytes, num_records, `partition.*`, and `min.*` and `max.*` of columns."""
        with explained(self.url):
            return pl.DataFrame(pa.table(self.table.get_add_actions(flatten=True)))

    def commit(self, rows: pa.Table | None, moves: Mapping[Source, Move]) -> None:
        """Append rows, which the table's layout has sorted, and move the sources that they came from; both or neither.

        Args:
            rows: stored rows; columns that the table does not have are added to it. None to move sources only.

        Raises:
            CommitRefused: if a source is not, or no longer, where a move begins.
            ArchiveUnavailable: if the storage failed; the commit may have been made all the same.
            ArchiveError: if the rows do not fit the table.
        """
        for source, move in moves.items():
            if self.position(source) != move.base:
                raise CommitRefused(f"{app_id(source)} is at {self.position(source)}, and not at {move.base}")
        properties = CommitProperties(
            app_transactions=[Transaction(app_id(source), move.to) for source, move in moves.items()],
            max_commit_retries=_COMMIT_RETRIES,
        )
        with explained(self.url):
            try:
                if rows is None or not rows.num_rows:
                    period = self.table.metadata().partition_columns
                    self.table.create_write_transaction([], "append", self.schema, period, commit_properties=properties)
                    self.table.update_incremental()
                else:
                    self._append(rows, properties)
            except CommitFailedError as error:
                raise CommitRefused(str(error)) from error
            except SchemaMismatchError as error:
                raise ArchiveError(f"{self.url}: rows do not fit the table: {error}") from error

    def adopt(self, contract: Contract, version: int) -> None:
        """Note a newer version of the contract, which reads of the table from now on have the columns of.

        Raises:
            CommitRefused, ArchiveUnavailable: as `commit`.
        """
        properties = {CONTRACT: _as_text(contract), CONTRACT_VERSION: str(version)}
        with explained(self.url):
            try:
                self.table.alter.set_table_properties(properties, raise_if_not_exists=False)
                self.table.update_incremental()
            except CommitFailedError as error:
                raise CommitRefused(str(error)) from error
        self._read_contract()

    def _append(self, rows: pa.Table, properties: CommitProperties) -> None:
        have = self.schema
        missing = [f for f in have if f.name not in rows.schema.names]
        for field in missing:  # The contract has given them up.
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        new = [n for n in rows.schema.names if n not in have.names]
        write_deltalake(
            self.table,
            rows.select([*have.names, *new]),
            mode="append",
            schema_mode="merge" if new else None,
            commit_properties=properties,
            writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP),
        )

    def _read_contract(self) -> None:
        configuration = self.table.metadata().configuration
        text, number = configuration.get(CONTRACT), configuration.get(CONTRACT_VERSION)
        if text is None or number is None:
            raise ArchiveError(
                f"{self.url} is a Delta table of something else: it names no contract. Choose another "
                "seamless.archive.url"
            )
        self.contract, self.contract_version = Contract.parse(json.loads(text)), int(number)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Tell errors of the storage from those that are ours."""
    try:
        yield
    except (TableNotFoundError, CommitFailedError, SchemaMismatchError):
        raise
    except (DeltaError, OSError) as error:
        raise ArchiveUnavailable(
            f"the archive at {url} cannot be reached: {' '.join(str(error).split())[:300]}. Check that "
            "seamless.archive.url and seamless.archive.storage are right"
        ) from error


def _as_text(contract: Contract) -> str:
    return json.dumps(contract.schema, separators=(",", ":"), ensure_ascii=False)


def _interval(span: str) -> str:
    return f"interval {duration_ns(span) // 1_000_000_000} seconds"
