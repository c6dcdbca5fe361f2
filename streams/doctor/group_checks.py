"""Whether somebody reads each topic, and whether what they were to read next is still there."""

from __future__ import annotations

from collections.abc import Iterator

from streams.doctor.broker import Group
from streams.doctor.finding import Finding, fine, problem, warning

__all__ = ["group_findings"]


def group_findings(check: str, what: str, command: str, group: Group) -> Iterator[Finding]:
    """Judge a group.

    Args:
        check: its name, such as `normalizer`.
        what: what is read, in words, such as `raw rows of ohlcv.us.1d`.
        command: starts another member.
    """
    lost = [p for p in group.places if p.committed is not None and p.committed < p.oldest]
    beyond = [p for p in group.places if p.committed is not None and p.committed > p.end]
    for place in lost:
        yield problem(
            check,
            f"{what}: records {place.committed} to {place.oldest - 1} of partition {place.partition} were deleted "
            "before they were read",
            f"`{command} --accept-loss` goes on behind them; raise the topic's retention.",
        )
    for place in beyond:
        yield problem(
            check,
            f"{what}: the group is at {place.committed} of partition {place.partition}, which ends at {place.end}",
            f"The topic was made anew. Delete the group {group.name}, then start `{command}` again.",
        )
    waiting = sum(place.waiting for place in group.places)
    if not group.members and waiting:
        yield problem(check, f"{what}: {waiting} records wait, and nobody reads them", f"Start one: `{command}`")
    elif not group.members:
        yield warning(check, f"{what}: nobody reads them, and none waits", f"Start one: `{command}`")
    elif not lost and not beyond:
        yield fine(check, f"{what}: {group.members} read them, {waiting} records wait")
