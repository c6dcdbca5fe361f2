"""What is in force after all operations, and what a rollback or its undoing would change; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from streams.operating.operation import ROLLBACKS, Change, Operation, dataset_of

__all__ = ["Held", "Standing"]


@dataclass(frozen=True, slots=True)
class Held:
    """What a target is set to, None for nothing, and by which operation."""

    value: str | None
    by: Operation


@dataclass
class Standing:
    """What follows from the operations so far.

    Attributes:
        held: by target, what the newest operation about it has set.
        done: all operations, oldest first.
    """

    held: dict[str, Held] = field(default_factory=dict)
    done: list[Operation] = field(default_factory=list)

    def take(self, operation: Operation) -> None:
        """Take in the next operation."""
        self.done.append(operation)
        for change in operation.changes:
            self.held[change.target] = Held(change.after, operation)

    def value(self, target: str) -> str | None:
        """Return what is set for a target; None where the settings are in force."""
        held = self.held.get(target)
        return None if held is None else held.value

    def under(self, part: str) -> dict[str, Held]:
        """Return what is set of one part, such as `sla`, by target."""
        found = {t: h for t, h in self.held.items() if t.startswith(part + "/") and h.value is not None}
        return dict(sorted(found.items()))

    def rollbacks(self, what: str | None = None, dataset: str | None = None) -> list[Operation]:
        """Return the rollbacks of which something is still in force, oldest first."""
        wanted = ROLLBACKS if what is None else (what,)
        return [o for o in self.done if o.what in wanted and self.still(o, dataset)]

    def still(self, operation: Operation, dataset: str | None = None) -> list[Change]:
        """Return what of an operation is in force, and was not set anew since."""
        return [
            change
            for change in operation.changes
            if self.held[change.target].by is operation and dataset in (None, dataset_of(change.target))
        ]

    def setting(self, part: str, value: str, datasets: Iterable[str], was: Callable[[str], str]) -> tuple[Change, ...]:
        """Return the changes by which each dataset's target of a part is set to a value, without those that have it.

        Args:
            was: tells what is in force for a dataset, in words; a dataset for which it is the value needs no change.
        """
        found = ((f"{part}/{name}", was(name)) for name in datasets)
        return tuple(Change(target, self.value(target), value, now) for target, now in found if now != value)

    def previous_set(self, dataset: str | None = None) -> tuple[Change, ...]:
        """Return the changes by which SLA overrides go back to what they were before the newest that is in force.

        Nothing where a rollback is newer than any override.
        """
        for operation in reversed(self.done):
            ours = [c for c in self.still(operation, dataset) if c.target.startswith("sla/")]
            if ours and operation.what == "sla":
                return ()
            if ours:
                return _back(ours)
        return ()

    def without_overrides(self, dataset: str | None = None) -> tuple[Change, ...]:
        """Return the changes by which no SLA override is left, so that the settings are in force."""
        found = self.under("sla").items()
        return tuple(Change(t, h.value, None, h.value or "") for t, h in found if dataset in (None, dataset_of(t)))

    def undoing(self, operation: Operation, dataset: str | None = None) -> tuple[Change, ...]:
        """Return the changes that put back what an operation replaced, without what was set anew since."""
        return _back(self.still(operation, dataset))


def _back(changes: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(Change(c.target, c.after, c.before, c.now) for c in changes)
