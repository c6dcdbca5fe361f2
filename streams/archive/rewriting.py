"""Files of a table replaced by one that has the same rows, sorted; and what is left over, deleted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

from streams.archive.layout import Layout
from streams.archive.table import ROW_GROUP, CommitRefused, Snapshot, explained
from streams.clock import now_ms

__all__ = ["MAINTENANCE", "merge_files", "tidy"]

MAINTENANCE = "seamless-maintenance"
"""The Delta application that every merge moves, so that two which know nothing of each other cannot both be made."""


def merge_files(snapshot: Snapshot, period: date, paths: Sequence[str]) -> int:
    """Replace files of one period by one, in one commit, and return its bytes.

    Raises:
        CommitRefused: if another merge came first; the table is as that one left it.
        ArchiveUnavailable: if the storage does not answer.
    """
    layout, schema = snapshot.layout, snapshot.schema
    column = schema.get_field_index(layout.period)
    stored = schema.remove(column)
    turn = (snapshot.table.transaction_version(MAINTENANCE) or 0) + 1
    with explained(snapshot.url):
        rows = _sorted(snapshot, paths, stored, layout)
        path = f"{layout.period}={period.isoformat()}/part-{uuid.uuid4()}-merged.zstd.parquet"
        size = _write(snapshot, path, rows)
        values: dict[str, str | None] = {layout.period: period.isoformat()}
        now = now_ms()
        stats = json.dumps(_statistics(rows, layout))
        actions: list[AddAction | RemoveAction] = [AddAction(path, size, values, now, False, stats)]
        actions += [RemoveAction(old, False, now, None, values) for old in paths]
        try:
            snapshot.table.create_write_transaction(
                actions,
                "append",
                schema,
                [layout.period],
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(MAINTENANCE, turn)], max_commit_retries=30
                ),
            )
        except CommitFailedError as error:
            raise CommitRefused(str(error)) from error
        snapshot.refresh()
    return size


def tidy(snapshot: Snapshot, keep_hours: int) -> int:
    """Delete files that were replaced, or left by a process that died, so many hours ago, and the log's old versions.

    Returns:
        How many files were deleted.
    """
    with explained(snapshot.url), suppress(CommitFailedError):  # somebody else does the same
        dropped = snapshot.table.vacuum(
            retention_hours=keep_hours, dry_run=False, enforce_retention_duration=False, full=True
        )
        snapshot.table.create_checkpoint()
        snapshot.table.cleanup_metadata()
        snapshot.refresh()
        return len(set(dropped))
    return 0


def _sorted(snapshot: Snapshot, paths: Sequence[str], stored: pa.Schema, layout: Layout) -> pa.Table:
    frame = pl.scan_parquet(
        [f"{snapshot.url}/{path}" for path in paths],
        schema=pl.DataFrame(stored.empty_table()).schema,
        hive_partitioning=False,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=snapshot.options,
        glob=False,
    ).collect()
    return frame.sort(layout.order).to_arrow().cast(stored)


def _write(snapshot: Snapshot, path: str, rows: pa.Table) -> int:
    files = pyarrow.fs.PyFileSystem(DeltaStorageHandler(snapshot.url, snapshot.options))
    with files.open_output_stream(path) as out:
        pq.write_table(rows, out, compression="zstd", row_group_size=ROW_GROUP, write_statistics=True)
        size: int = out.tell()
    return size


def _statistics(rows: pa.Table, layout: Layout) -> dict[str, Any]:
    least, most, nulls = {}, {}, {}
    for name in layout.statistics:
        column = pl.Series(rows.column(name))
        nulls[name] = column.null_count()
        if column.null_count() < len(column):
            least[name], most[name] = _as_json(column.min()), _as_json(column.max())
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value
