"""Opening what a stream reads: the archive's table at one version, and Kafka from exactly where that ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from schemas.contract import Contract
from streams import topics
from streams.archive.layout import HISTORY, NORMALIZED, Source
from streams.archive.reader import ArchiveReader, ArchiveSnapshot
from streams.errors import ArchiveUnavailable, BrokerError
from streams.provider.calls import Timeout
from streams.provider.kit import Degraded
from streams.provider.live_reader import LiveReader
from streams.provider.phase_run import Failed
from streams.provider.phases import Phases
from streams.provider.stream_position import StreamPosition
from streams.registry import RegistryUnavailable
from streams.settings import Settings
from streams.sla_policy import Phase

__all__ = ["Lacks", "Opening"]

_PARTS: dict[Phase, str] = {"storage_wait": "archive", "live_wait": "broker"}


class Lacks:
    """What a stream goes on without, by phase, and why; each look at what is away is counted, and the first is logged.

    Args:
        degraded: what the stream's provider goes on without.
    """

    def __init__(self, dataset: str, degraded: Degraded) -> None:
        self._dataset, self._degraded = dataset, degraded
        self.reasons: dict[str, str] = {}

    def add(self, phase: Phase, reason: str) -> None:
        """Note that what a phase waits for is away."""
        self._degraded.without(self._dataset, _PARTS[phase], reason)
        self.reasons[phase] = reason

    def back(self, phase: Phase) -> None:
        """Note that it is there again."""
        if self.reasons.pop(phase, None) is not None:
            self._degraded.answered(self._dataset, _PARTS[phase])


class Opening:
    """Opens archive and topics for one position of one stream.

    Attributes:
        snapshot: None if nothing was archived, if the archive is away, or if Kafka alone has all that is needed.
        skipped: partitions in which Kafka has no longer what was not dealt with, and where reading began instead.
        names: `normalized` and `history`, by the name of the topic.
    """

    def __init__(self, settings: Settings, archive: ArchiveReader, position: StreamPosition, lacks: Lacks) -> None:
        self._settings, self._archive, self._lacks = settings, archive, lacks
        self.position = position
        self.snapshot: ArchiveSnapshot | None = None
        self.skipped: dict[Source, int] = {}
        world, dataset = settings.world, position.dataset
        self._topics = {NORMALIZED: topics.normalized(world, dataset), HISTORY: topics.history(world, dataset)}
        self.names: dict[str, str] = {topic: short for short, topic in self._topics.items()}

    @property
    def archived(self) -> dict[Source, int]:
        """The offsets up to which the snapshot holds everything."""
        return {} if self.snapshot is None else self.snapshot.positions

    def archive(self, phases: Phases) -> None:
        """Open the newest version of the dataset's table.

        Raises:
            SeamlessSLAExceeded, ArchiveUnavailable: if it cannot be had, and the policy says to fail then.
        """
        with phases.phase("storage_wait") as phase:
            found = phase.retry(lambda: self._archive.snapshot(self.position.dataset), ArchiveUnavailable)
        if isinstance(found, Timeout | Failed):
            self._lacks.add("storage_wait", found.reason)
        else:
            self._lacks.back("storage_wait")
            self.snapshot = found

    def topics(self, phases: Phases, fixed: tuple[Contract, int] | None) -> LiveReader | None:
        """Open the topics where the archive ends, or before that if the position says so.

        Returns:
            None if they cannot be read and the policy goes on without.

        Raises:
            SeamlessSLAExceeded, BrokerError, RegistryUnavailable: as the policy says.
            BrokerError: in any case if rows are neither in Kafka nor in the archive any more.
        """
        symbols = self.position.symbols
        given_up: list[bool] = []

        def make(starts: Mapping[Source, int]) -> tuple[LiveReader, list[Source]]:
            reader = LiveReader(self._settings, self.position.dataset, symbols, starts, fixed=fixed)
            try:
                gone = reader.gone()
            except BaseException:
                reader.close()
                raise
            if given_up:
                reader.close()  # nobody waits for it any more
            return reader, gone

        with phases.phase("live_wait") as phase:
            found = phase.retry(lambda: make(self._starts()), (BrokerError, RegistryUnavailable))
            if isinstance(found, Timeout | Failed):
                given_up.append(True)
                self._lacks.add("live_wait", found.reason)
                return None
        self._lacks.back("live_wait")
        reader, gone = found
        if gone:
            reader.close()
            reader = self._behind(phases, gone, make)
        return reader

    def sources(self, offsets: Mapping[str, Mapping[int, int]]) -> dict[Source, int]:
        """Return a position's offsets by partition."""
        return {Source(self._topics[t], p): offset for t, parts in offsets.items() for p, offset in parts.items()}

    def _behind(
        self,
        phases: Phases,
        gone: Sequence[Source],
        make: Callable[[Mapping[Source, int]], tuple[LiveReader, list[Source]]],
    ) -> LiveReader:
        """Begin behind what retention has deleted, if the archive has it."""
        if self.snapshot is None:
            self.archive(phases)
        starts = self._starts()
        self.skipped = {source: self.archived.get(source, starts[source]) for source in gone}
        reader, still = make({**starts, **self.skipped})
        if still:
            reader.close()
            lost = ", ".join(f"{s.topic} partition {s.partition} from offset {self.skipped[s]}" for s in still)
            raise BrokerError(
                f"Rows were deleted by retention before they were archived: {lost}. The series has a gap there: begin "
                "a new stream behind it, look whether `seamless archive run` keeps up, and lengthen "
                f"seamless.datasets.{self.position.dataset}.retention."
            )
        return reader

    def _starts(self) -> dict[Source, int]:
        """Return where to begin: behind the archive, but not behind what was not dealt with."""
        since, taken = self.sources(self.position.since), self.sources(self.position.taken)
        starts = dict(self.archived)
        for source, offset in taken.items():
            starts[source] = min(offset, starts.get(source, 0))
        for source, offset in since.items():
            starts[source] = max(offset, starts.get(source, 0))
        # A partition of which neither says anything is read from its oldest record. One that a position was at the very
        # beginning of is not: whoever comes back wants to know if what was there is gone.
        return {source: offset for source, offset in starts.items() if offset or source in since or source in taken}
