"""Where a stream stands: enough to go on from in another process, without a gap and without a duplicate.

What a stream has dealt with is said by offsets, and by event time where it reads history in the order of time:

- records below `since` are dealt with, whatever their event time;
- of records from `since` up to `taken`, those before `reached` are (all of them, where `reached` is None: it is live);
- of records at `taken` or behind, none is.

A record is dealt with if it was given to the reader, was superseded by one that was, or was told of as late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.archive.layout import Source
from streams.errors import SettingsError

__all__ = ["Offsets", "StreamPosition", "advanced"]

Offset = Annotated[int, Field(ge=0)]
Offsets = Mapping[str, Mapping[int, Offset]]
"""Next offsets by topic (`normalized`, `history`) and partition."""


class StreamPosition(BaseModel):
    """A stream's place. Keep `str(position)` beside your results; `StreamPosition.parse` reads it.

    Attributes:
        dataset, world: what is read.
        symbols: those that are read; None for all.
        start: event time at which the stream began, nanoseconds since the epoch; None for the first row there is.
        since, taken: offsets by topic and partition; one that is not named is 0.
        reached: event time up to which (and without which) history was read; None once the stream is live.
        last: event time of the newest row given, by symbol.
        ties: what else identifies the rows given at that time, by symbol; of contracts that have more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    world: str
    symbols: tuple[str, ...] | None = None
    start: int | None = None
    since: dict[str, dict[int, Offset]] = {}
    taken: dict[str, dict[int, Offset]] = {}
    reached: int | None = None
    last: dict[str, int] = {}
    ties: dict[str, list[list[Any]]] = {}

    def __str__(self) -> str:
        return self.model_dump_json(exclude_defaults=True)

    @classmethod
    def parse(cls, text: str | Self) -> Self:
        """Read a position; SettingsError if the text is none."""
        if isinstance(text, cls):
            return text
        try:
            return cls.model_validate_json(str(text))
        except ValidationError as error:
            where = ", ".join(sorted({".".join(map(str, e["loc"])) or "it" for e in error.errors()}))
            raise SettingsError(
                f"This is no position of a stream ({where}): give what `str(stream.position)` gave."
            ) from None

    def check(self, world: str, dataset: str, symbols: tuple[str, ...] | None) -> None:
        """Raise SettingsError if this is the position of another stream."""
        for name, own, wanted in (
            ("world", self.world, world),
            ("dataset", self.dataset, dataset),
            ("symbols", self.symbols, symbols),
        ):
            if own != wanted:
                raise SettingsError(
                    f"The position is of a stream whose {name} was {_said(own)}, not {_said(wanted)}: "
                    "go on with the same, or begin a new stream."
                )


def advanced(
    offsets: Mapping[str, Mapping[int, int]], by: Mapping[Source, int], topics: Mapping[str, str]
) -> dict[str, dict[int, int]]:
    """Return offsets moved on to those of some partitions; none ever moves back.

    Args:
        topics: `normalized` and `history`, by the name of the topic.
    """
    found = {topic: dict(parts) for topic, parts in offsets.items()}
    for source, offset in by.items():
        parts = found.setdefault(topics[source.topic], {})
        parts[source.partition] = max(offset, parts.get(source.partition, 0))
    return found


def _said(value: object) -> str:
    if value is None:
        return "all"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
