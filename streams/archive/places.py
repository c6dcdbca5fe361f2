"""Where the archiver goes on in a partition: what the table says, if that can be true. Pure."""

from __future__ import annotations

from streams.archive.layout import Borders, Source
from streams.errors import DatasetStopped

__all__ = ["choose_place"]


def choose_place(
    source: Source, position: int | None, borders: Borders, *, accept_loss: bool, dataset: str, url: str
) -> int:
    """Return the offset to read from.

    Args:
        position: what the table says, None if it has nothing of the partition.
        borders: the offsets that the partition begins and ends at.
        accept_loss: begin at the oldest record where the table's offset is not there.

    Raises:
        DatasetStopped: if going on would leave a gap in the table, or repeat rows.
    """
    oldest, end = borders.oldest, borders.end
    if position is None:
        return oldest
    if oldest <= position <= end:
        return position
    if accept_loss:
        return oldest
    where = f"{source.topic} partition {source.partition}"
    if position < oldest:
        raise DatasetStopped(
            f"offsets {position} to {oldest - 1} of {where} were deleted by retention before they were archived: the "
            f"table at {url} would have a gap. Start once with --accept-loss to go on without them, and lengthen "
            f"seamless.datasets.{dataset}.retention"
        )
    raise DatasetStopped(
        f"the table at {url} holds {where} up to offset {position}, but the topic ends at {end}: it was made anew or "
        "cut off, or the table is of another cluster. Choose another seamless.archive.url, or start once with "
        "--accept-loss to take the topic as the continuation"
    )
