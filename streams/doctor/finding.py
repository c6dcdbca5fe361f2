"""What a check of the doctor found: one line for a person, with the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "State", "fine", "problem", "unknown", "warning"]

State = Literal["ok", "warning", "problem", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what was looked at: `broker`, `topics`, `registry`, `schemas`, `normalizer`, ...
        state: `ok`; `warning`, which somebody should know; `problem`, by which something does not work; `unknown`, as
            something that is needed to look is broken itself.
        says: what was found.
        remedy: how to mend it; empty where there is nothing to mend.
    """

    check: str
    state: State
    says: str
    remedy: str = ""


def fine(check: str, says: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """Return what somebody should know."""
    return Finding(check, "warning", says, remedy)


def problem(check: str, says: str, remedy: str) -> Finding:
    """Return what does not work."""
    return Finding(check, "problem", says, remedy)


def unknown(check: str, why: str) -> Finding:
    """Return that it could not be looked at."""
    return Finding(check, "unknown", f"not looked at, as {why}", "Mend that first, then look again.")
