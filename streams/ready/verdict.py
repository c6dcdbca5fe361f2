"""What one line of the definition of done came to: whether it holds, by what evidence, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["State", "Verdict", "exit_code", "failed", "passed", "unknown"]

State = Literal["pass", "fail", "unknown"]

READY, NOT_READY, NOT_CHECKED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line.

    Attributes:
        check: which part of the definition: `conformance`, `leases`, `objectives`, `schemas`, `rollbacks`, `tests`,
            `runbooks` or `doctor`.
        state: `pass`; `fail`; `unknown`, as what is needed to look did not answer.
        says: the evidence.
        remedy: what to do; empty where it holds.
        dataset: which one it is about; None if it is about the system.
    """

    check: str
    state: State
    says: str
    remedy: str = ""
    dataset: str | None = None


def passed(check: str, says: str, dataset: str | None = None) -> Verdict:
    """Return that a line holds."""
    return Verdict(check, "pass", says, "", dataset)


def failed(check: str, says: str, remedy: str, dataset: str | None = None) -> Verdict:
    """Return that a line does not hold."""
    return Verdict(check, "fail", says, remedy, dataset)


def unknown(check: str, why: str) -> Verdict:
    """Return that a line could not be looked at."""
    return Verdict(check, "unknown", why, "Mend that first (`seamless doctor` says more), then look again.")


def exit_code(found: list[Verdict]) -> int:
    """Return 0 if every line holds, 2 if one could not be looked at, else 1.

    An incomplete look goes before what it found: who asks again once it is complete may be told something else.
    """
    states = {verdict.state for verdict in found}
    return NOT_CHECKED if "unknown" in states else NOT_READY if "fail" in states else READY
