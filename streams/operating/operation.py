"""What was done to a running system: one record for each deed, as the operations topic keeps them for ever; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["AS_SET", "ROLLBACKS", "Change", "Operation", "dataset_of"]

AS_SET = "as the settings say"
ROLLBACKS = ("shadow", "sla", "storage-first")
"""The rollbacks there are, by the name of their command."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation changes.

    Attributes:
        target: `conformance/<dataset>`, `provider/<dataset>`, or as `streams.operating.override.sla_target` has it.
        before, after: what was and is set at run time; None leaves it to the settings.
        was: what was in force before, in words.
    """

    target: str
    before: str | None
    after: str | None
    was: str = ""

    @property
    def dataset(self) -> str | None:
        """The dataset that it is about; None if it is about more."""
        return dataset_of(self.target)

    @property
    def now(self) -> str:
        """What is in force after it, in words."""
        return self.after or AS_SET


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; the fields are those of `events/operation.avsc`.

    Attributes:
        at: milliseconds since the epoch.
        what: override, shadow, sla, storage-first, undo or deploy.
    """

    id: str
    at: int
    by: str
    what: str
    reason: str
    changes: tuple[Change, ...] = ()
    undoes: str | None = None
    version: str | None = None

    @property
    def when(self) -> datetime:
        """When it was done, in UTC."""
        return datetime.fromtimestamp(self.at / 1_000, UTC)

    @property
    def dataset(self) -> str | None:
        """The one dataset that it is about; None if it is about several, or about none."""
        found = {change.dataset for change in self.changes}
        return found.pop() if len(found) == 1 else None

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        return {**asdict(self), "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> Operation:
        """Return the operation of a datum, written with any version of the event."""
        at = datum["at"]
        return cls(
            datum["id"],
            at if isinstance(at, int) else round(at.timestamp() * 1_000),
            datum["by"],
            datum["what"],
            datum["reason"],
            tuple(Change(c["target"], c["before"], c["after"], c.get("was", "")) for c in datum["changes"]),
            datum.get("undoes"),
            datum.get("version"),
        )


def dataset_of(target: str) -> str | None:
    """Return the dataset that a target is about; None if it is about more. No name in one has a slash."""
    parts = target.split("/")
    if parts[0] in ("conformance", "provider"):
        return parts[1]
    return parts[-1] if len(parts) > 2 and parts[-2] == "datasets" else None
