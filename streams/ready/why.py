"""Why each line of the definition of done is asked for, and how it is reckoned: what `--explain` prints."""

from __future__ import annotations

__all__ = ["WHY"]

WHY = {
    "conformance": (
        "Rows that break the contract must not reach readers. Each dataset is to be in blocking mode, by its settings "
        "and by the newest report of the normalizer that runs. A finding has regressed if more of the window's rows "
        "have it than in nine of ten windows of the baseline. A violation is open while rows with it wait in "
        "quarantine; a warning counts from ten rows, a hundredth of all rows and three times the usual share on."
    ),
    "leases": (
        "Backfill must be calm before others rely on it. No lease may be stuck, as the coordinator tells it, and "
        "of stalled, lost, fenced and abandoned leases the window may not have more than nine of ten windows "
        "of the baseline. Handovers that their holder told of do not count."
    ),
    "objectives": (
        "Promises must be watched and kept. Agents are to be current, no breach open, no error budget used up, and"
        " the window may not have more breaches than nine of ten windows of the baseline. Breaches of drills do "
        "not count."
    ),
    "schemas": (
        "What is written must be known before it is read. Each dataset is to be strict, or to have exceptions for "
        "unknown_schema and incompatible_schema that somebody else than their owner approved and whose last day is"
        " not over."
    ),
    "rollbacks": (
        "What was taken back in a hurry is to be mended and put back. No rollback may be in force; overrides that were "
        "set on purpose count as settings."
    ),
    "tests": (
        "What runs must be what was tested. The report of the tests is to be of this version and its very sources,"
        " not older than thirty days and complete; tests of each group (regression, fault injection, "
        "observability) passed, and none failed."
    ),
    "runbooks": (
        "Who is called at night must be led to what there is now. Each alert is to have a runbook in each "
        "language; those of backfill lead to the coordinator's dashboard, those of the SLA to the SLA's, and none "
        "speaks of v1."
    ),
    "doctor": "The rest of the installation must be whole: `seamless doctor` may find no problem.",
}
