"""Between which offsets the partitions of a dataset's topics lie, asked of the broker."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import TopicPartition

from streams.archive.layout import Borders, Source
from streams.clock import Deadline
from streams.offsets import end_offsets, oldest_offsets
from streams.settings import Settings

__all__ = ["borders_of"]

_ANSWER_SECONDS = 10.0


def borders_of(settings: Settings, sources: Iterable[Source], *, stable: bool) -> dict[Source, Borders]:
    """Return the borders of partitions.

    Args:
        stable: whether the end is the last stable offset, up to which all is committed or aborted; else the end is that
            of the log.

    Raises:
        BrokerError: if the broker does not answer, or a partition does not exist.
    """
    found: dict[Source, Borders] = {}
    wanted = sorted(sources)
    for topic in {source.topic for source in wanted}:
        places = [TopicPartition(topic, s.partition) for s in wanted if s.topic == topic]
        oldest = oldest_offsets(settings, places, deadline=Deadline(_ANSWER_SECONDS))
        ends = end_offsets(settings, places, stable=stable, deadline=Deadline(_ANSWER_SECONDS))
        found |= {Source(topic, p): Borders(oldest[p], ends[p]) for p in oldest}
    return found
