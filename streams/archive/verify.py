"""The proof that a table is exactly what its topics say: read from both, and compared offset by offset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from coordinator.topic_reader import TopicReader
from streams import topics
from streams.archive.layout import HISTORY, NORMALIZED, Borders, Source
from streams.archive.proof import SourceProof, prove
from streams.archive.reader import ArchiveSnapshot
from streams.settings import Settings

__all__ = ["verify_table"]

Ints = npt.NDArray[np.int64]


def verify_table(settings: Settings, snapshot: ArchiveSnapshot) -> Iterator[SourceProof]:
    """Yield a proof for each partition of the two topics; what the archiver commits meanwhile does no harm.

    Raises:
        ArchiveUnavailable: if the storage does not answer.
        BrokerError: if a topic cannot be read to its end.
    """
    held = snapshot.offsets()
    for kind, topic in ((HISTORY, topics.history), (NORMALIZED, topics.normalized)):
        name = topic(settings.world, snapshot.dataset)
        with TopicReader(settings, name) as reader:
            committed = _committed(reader)
            for partition in range(reader.partitions):
                source = Source(name, partition)
                mine = held.get((kind, partition), np.zeros(0, np.int64))
                borders = Borders(reader.oldest[partition], reader.ends[partition])
                yield prove(source, snapshot.positions.get(source), mine, borders, committed[partition])


def _committed(reader: TopicReader) -> list[Ints]:
    """Return the offsets of each partition's committed records."""
    found: list[list[Ints]] = [[] for _ in range(reader.partitions)]
    for batch in reader.batches():
        partitions = np.array([m.partition() for m in batch], np.int32)
        offsets = np.array([m.offset() for m in batch], np.int64)
        for partition in np.unique(partitions).tolist():
            found[partition].append(offsets[partitions == partition])
    return [np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64) for parts in found]
