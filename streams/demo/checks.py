"""Comparison of what was found with what was expected: nothing less, nothing more, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Check", "Facts", "Value", "compare"]

Value: TypeAlias = int | float | str
Facts: TypeAlias = dict[tuple[str, str], Value]
"""What is known, by group and name."""


@dataclass(frozen=True, slots=True)
class Check:
    """One fact as it must be and as it is; None where it is in one of them only."""

    group: str
    name: str
    expected: Value | None
    found: Value | None

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return self.expected is not None and self.expected == self.found


def compare(expected: Mapping[tuple[str, str], Value], found: Mapping[tuple[str, str], Value]) -> list[Check]:
    """Compare every fact that is expected, and then every one that was found and not expected."""
    surplus = [key for key in found if key not in expected]
    return [Check(*key, expected.get(key), found.get(key)) for key in (*expected, *surplus)]
