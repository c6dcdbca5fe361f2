"""Whether each dataset's schemas are judged strictly, or approved exceptions say until when not; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from schemas.exceptions import Exceptions
from streams.ready.verdict import Verdict, failed, passed
from streams.schema_policy import SchemaPolicy

__all__ = ["schema_verdict"]

CHECK = "schemas"
# What strict refuses: a dataset that is not strict needs an exception of each.
_REFUSED = ("unknown_schema", "incompatible_schema")


def schema_verdict(policy: SchemaPolicy, exceptions: Exceptions, problems: Sequence[str], today: date) -> Verdict:
    """Judge a dataset.

    Args:
        policy: what is in force for it.
        problems: what is wrong with its exceptions, as `Exceptions.problems` tells it.
        today: in UTC.
    """
    dataset = policy.dataset
    if problems:
        return failed(
            CHECK,
            "; ".join(problem.removeprefix("exception ") for problem in problems),
            "Correct the file that conformance.exceptions names; `seamless schema check` looks again.",
            dataset,
        )
    active = exceptions.active(dataset, today)
    if policy.mode == "strict":
        but = f", with {len(active)} exceptions in force" if active else ""
        return passed(CHECK, f"{policy.words()}, by {policy.by}{but}", dataset)
    covering = [next((e for e in active if e.field is None and e.rule == rule), None) for rule in _REFUSED]
    approved = [each for each in covering if each is not None]
    if len(approved) == len(_REFUSED):
        first = min(approved, key=lambda e: e.expires)
        return passed(
            CHECK,
            f"{policy.words()}, by an exception until {first.expires}: {first.reason} ({first.owner}, approved by "
            f"{first.approver})",
            dataset,
        )
    missing = [rule for rule, found in zip(_REFUSED, covering, strict=True) if found is None]
    return failed(
        CHECK,
        f"{policy.words()}, and no exception for {' and '.join(missing)} is in force",
        f"`seamless schema promote {dataset}` goes on to strict; until then have exceptions for "
        f"{' and '.join(_REFUSED)} approved, with a last day.",
        dataset,
    )
