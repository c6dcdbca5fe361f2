"""Whether anything is taken back for a while: a rollback is for mending, and no state to stay in; pure."""

from __future__ import annotations

from streams.operating.standing import Standing
from streams.ready.verdict import Verdict, failed, passed

__all__ = ["rollback_verdict"]

CHECK = "rollbacks"
_SHOWN = 3


def rollback_verdict(standing: Standing) -> Verdict:
    """Judge what operations left: no rollback is in force. Overrides that were not taken back count as settings."""
    found = standing.rollbacks()
    if not found:
        overrides = len(standing.under("sla"))
        return passed(CHECK, f"none is in force{f'; {overrides} SLA overrides are' if overrides else ''}")
    named = [f"{each.what} since {each.when:%Y-%m-%d %H:%M} UTC by {each.by} ({each.reason})" for each in found]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return failed(
        CHECK,
        f"in force: {', '.join(named[:_SHOWN])}{more}",
        "Mend the cause, then `seamless rollback undo --reason ...`.",
    )
