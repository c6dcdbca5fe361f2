"""Every finding that conformance can make: its bit in a row's `flags`, its severity, and what it means.

Bits 0 to 31 are Seamless's own and never change meaning. Bits 32 to 62 belong to the record rules of a
contract, which names its bits itself so that adding a rule never shifts another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["FIRST_RULE_BIT", "LAST_RULE_BIT", "STANDARD", "Finding", "Severity"]

FIRST_RULE_BIT = 32
LAST_RULE_BIT = 62


class Severity(StrEnum):
    """What a finding does to its row: a warning marks it, a violation sends it to quarantine in blocking mode."""

    WARNING = "warning"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that can be said of a row.

    Attributes:
        name: stable name, used in reports, metrics and reasons.
        bit: position in `flags`; `flags & (1 << bit)` tells whether the row has it.
        severity: warning or violation.
        doc: one sentence for users.
        adjustable: whether a contract may choose another severity.
    """

    name: str
    bit: int
    severity: Severity
    doc: str
    adjustable: bool = True

    @property
    def mask(self) -> int:
        """The finding's bit as a mask."""
        return 1 << self.bit


_W, _V = Severity.WARNING, Severity.VIOLATION

STANDARD: dict[str, Finding] = {
    finding.name: finding
    for finding in (
        Finding("dtype_cast", 0, _W, "A value was cast from another type to the contract's."),
        Finding("ts_cast", 1, _W, "A time was parsed from text or from an epoch whose unit was inferred."),
        Finding("ts_timezone_normalized", 2, _W, "A naive or foreign time was converted to UTC."),
        Finding("missing_column", 3, _W, "The raw schema lacks a column; the contract's default was used."),
        Finding(
            "duplicate_ts",
            4,
            _W,
            "The row's identity was seen with equal content; blocking mode drops the row.",
            adjustable=False,
        ),
        Finding(
            "revision",
            5,
            _W,
            "The row's identity was seen with other content; readers take the newest.",
            adjustable=False,
        ),
        Finding("gap", 6, _W, "Bars that the interval and the calendar expect are missing before this row."),
        Finding("out_of_order", 7, _W, "The row is older than the newest row of its key."),
        Finding("late", 8, _W, "The row is older than the newest row of its key by more than the lateness."),
        Finding("non_finite", 9, _V, "A number is NaN or infinite."),
        Finding("invalid_timestamp", 10, _V, "A time could not be read, or lies outside 1900 to 2200.", False),
        Finding("dtype_mismatch", 11, _V, "A value cannot be cast to the contract's type.", False),
        Finding("missing_value", 12, _V, "A value is null where the contract demands one.", False),
        Finding("undecodable", 13, _V, "The payload is not a datum of its schema.", False),
        Finding("unknown_schema", 14, _V, "The payload names a schema id that the registry does not know.", False),
        Finding("incompatible_schema", 15, _V, "The contract cannot conform the payload's schema.", False),
        Finding("non_positive_price", 16, _V, "A price is zero or negative."),
        Finding("negative_size", 17, _V, "A size is negative."),
        Finding("below_min", 18, _V, "A number is below the contract's bound."),
        Finding("above_max", 19, _V, "A number is above the contract's bound."),
    )
}
