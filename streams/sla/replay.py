"""What would have been told of recorded observations, under whatever objectives: nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.topic_reader import TopicReader
from streams import topics
from streams.events import EventCodec
from streams.partitioning import partition_of
from streams.registry import Registry
from streams.settings import Settings
from streams.sla.breach import Breach
from streams.sla.objectives import Objectives, SeriesKey
from streams.sla.partition import PartitionWindows
from streams.sla.records import TICK, told
from streams.sla.verdict import Links

__all__ = ["Replayed", "replay"]

MS = 1_000_000


@dataclass(slots=True)
class Replayed:
    """What a replay found.

    Attributes:
        breaches: records as an agent would have written them, in the order of their time.
        records, observations, late, unreadable: how many there were.
        unrecorded: objectives on how new the rows of a dataset are of which nothing is said, as `objective: dataset`:
            that is recorded only while some objective watches it.
    """

    breaches: list[Breach] = field(default_factory=list)
    records: int = 0
    observations: int = 0
    late: int = 0
    unreadable: int = 0
    unrecorded: list[str] = field(default_factory=list)


def replay(
    settings: Settings, registry: Registry, *, since_ms: int = 0, progress: Callable[[int, int], None] | None = None
) -> Replayed:
    """Fold all observations that are recorded, as an agent that was there from `since_ms` on would have.

    Backfill jobs are left out: of them the log of observations says nothing.

    Args:
        since_ms: records with older timestamps are left out, milliseconds since the epoch.
        progress: is told how many records were read, and of how many.

    Raises:
        BrokerError, RegistryError: if they cannot be read.
    """
    world, agent = settings.world, settings.sla_agent
    codec = EventCodec(registry, topics.sla_observations(world), "sla_observation")
    objectives, links = Objectives(settings), Links(world, agent.runbook_url, agent.dashboard_url)
    found, recorded = Replayed(), set[SeriesKey]()
    homes = [watch for watch in objectives.of_datasets() if watch.kind == "staleness"]
    with TopicReader(settings, topics.sla_observations(world)) as reader:
        windows = {
            partition: PartitionWindows(
                objectives,
                links,
                agent.grace_ms * MS,
                [watch for watch in homes if partition_of(str(watch.series), reader.partitions) == partition],
            )
            for partition in range(reader.partitions)
        }
        total = sum(reader.ends[p] - reader.oldest[p] for p in range(reader.partitions))
        for batch in reader.batches():
            for message in batch:
                partition, offset, payload = message.partition() or 0, message.offset() or 0, message.value()
                at_ms = message.timestamp()[1]
                found.records += 1
                if at_ms < since_ms:
                    continue
                own = windows[partition]
                if payload is not None:
                    try:
                        each = told(codec.decode(payload))
                        own.fold(offset, each)
                        recorded |= set() if each is None else {each.series}
                    except Exception:
                        found.unreadable += 1
                elif message.key() == TICK:
                    own.tick(offset, at_ms * MS)
            if progress is not None:
                progress(found.records, total)
    for own in windows.values():
        output = own.drain()
        found.breaches += output.breaches
        found.observations += output.observations
        found.late += output.late.total()
    silent = [watch for watch in homes if watch.series not in recorded]
    found.unrecorded = [f"{watch.name}: {watch.series.dataset}" for watch in silent]
    unsaid = {(watch.name, watch.series.dataset) for watch in silent}
    found.breaches = [each for each in found.breaches if (each.objective, each.dataset) not in unsaid]
    found.breaches.sort(key=lambda breach: (breach.at, breach.id, breach.sequence))
    return found
