"""What keeps a table fast and small: merging files, dropping what nobody reads any more, forgetting old versions.

Nothing of it changes a row. A merge is one commit that takes files out and puts one in, beside appends; whoever reads
an earlier version goes on with the files of that, which stay for `seamless.archive.keep_removed`. Delta lets two such
commits take the same file out, which would double its rows; so each moves an application transaction of its own, and of
two that were begun from one version the second is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event

from streams.archive.archiver import Archiver
from streams.archive.compaction import Merge, choose_merges, files_of
from streams.archive.rewriting import merge_files
from streams.archive.rewriting import tidy as delete_leftovers
from streams.archive.table import CommitRefused, DatasetTable, Snapshot
from streams.clock import monotonic
from streams.errors import ArchiveError
from streams.log import get_logger
from streams.metrics import Metrics
from streams.settings import Settings

__all__ = ["Maintained", "care_for", "maintain"]

log = get_logger(__name__)

_MEGABYTE = 1024 * 1024
_TIDY_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Maintained:
    """What was done, and what the table is now.

    Attributes:
        merges: how many times files were merged.
        merged: how many files were replaced by them.
        dropped: how many files were deleted for good.
    """

    merges: int
    merged: int
    dropped: int
    files: int
    bytes: int


def maintain(settings: Settings, table: DatasetTable, *, thorough: bool = False, tidy: bool = True) -> Maintained:
    """Do once what there is to do.

    Args:
        thorough: merge all that fits together, and not only what is worth it.
        tidy: delete files that no version needs, and versions that are too old.

    Raises:
        ArchiveUnavailable: if the storage does not answer.
        CommitRefused: if somebody else maintains the table at this moment.
    """
    snapshot = table.load()
    if snapshot is None:
        return Maintained(0, 0, 0, 0, 0)
    archive = settings.archive
    merges = merged = 0
    while True:
        files = files_of(snapshot.files(), snapshot.layout.period)
        chosen = choose_merges(files, archive.target_file_mb * _MEGABYTE, archive.compact_files, thorough=thorough)
        if not chosen:
            break
        for merge in chosen:
            _merge(table, snapshot, merge)
            merges, merged = merges + 1, merged + len(merge.files)
    dropped = delete_leftovers(snapshot, archive.keep_removed_hours()) if tidy else 0
    return Maintained(merges, merged, dropped, len(files), sum(file.size for file in files))


def _merge(table: DatasetTable, snapshot: Snapshot, merge: Merge) -> None:
    began = monotonic()
    size = merge_files(snapshot, merge.period, [file.path for file in merge.files])
    log.info(
        "files_compacted",
        dataset=table.dataset,
        period=merge.period.isoformat(),
        files=len(merge.files),
        rows=sum(file.rows for file in merge.files),
        bytes_before=merge.size,
        bytes_after=size,
        seconds=round(monotonic() - began, 3),
    )


def care_for(archiver: Archiver, settings: Settings, metrics: Metrics, stop: Event) -> None:
    """Maintain the table of an archiver's dataset as long as it runs, while it has the dataset's first partition."""
    interval = settings.archive.maintain_interval_s
    tidied: float | None = None
    while interval and not stop.wait(interval):
        if not archiver.maintains:
            continue
        tidy = tidied is None or monotonic() - tidied > _TIDY_SECONDS
        try:
            found = maintain(settings, archiver.table, tidy=tidy)
        except CommitRefused as refused:
            log.info("maintenance_refused", dataset=archiver.dataset, reason=str(refused))
        except ArchiveError as error:
            log.warning("maintenance_failed", dataset=archiver.dataset, error=str(error))
        except Exception:
            # Rows go on being archived; that files are not merged is told by the metric and the log.
            log.exception("maintenance_crashed", dataset=archiver.dataset)
        else:
            tidied = monotonic() if tidy else tidied
            metrics.archive_files.set(found.files, dataset=archiver.dataset)
            metrics.archive_bytes.set(found.bytes, dataset=archiver.dataset)
