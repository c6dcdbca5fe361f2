"""Whether the registry holds what the settings call for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.compatibility import covers
from streams.doctor.finding import Finding, fine, problem, warning
from streams.schema_admin import SubjectVerdict

__all__ = ["schema_findings"]

_MANY = 3
_REGISTER = "Register them: `seamless schema register`"


def schema_findings(verdicts: Iterable[SubjectVerdict]) -> Iterator[Finding]:
    """Judge what `seamless schema check` finds."""
    verdicts = list(verdicts)
    new = [verdict.wanted.subject for verdict in verdicts if verdict.state == "new"]
    if new:
        more = f" and {len(new) - _MANY} more" if len(new) > _MANY else ""
        yield problem("schemas", f"not registered: {', '.join(new[:_MANY])}{more}", _REGISTER)
    for verdict in verdicts:
        subject = verdict.wanted.subject
        if verdict.state == "compatible":
            yield warning(
                "schemas", f"{subject} has an older schema than {verdict.wanted.source}", "`seamless schema register`"
            )
        elif verdict.state in ("refused", "broken"):
            yield problem(
                "schemas",
                f"{subject}: {'; '.join(verdict.reasons) or verdict.state}",
                f"Correct {verdict.wanted.source}; `seamless schema diff` shows what differs.",
            )
        elif verdict.newest is not None:
            yield problem(
                "schemas",
                f"{subject}: version {verdict.newest} is in force, and {verdict.wanted.source} is version "
                f"{verdict.version}",
                "Use the newest contract, or delete the version that should not be there from the registry.",
            )
        if _guarded_less(verdict):
            yield warning(
                "schemas",
                f"{subject} is guarded as {verdict.level}, wanted {verdict.wanted.compatibility}",
                "`seamless schema register` sets the level of contracts and events.",
            )
    if all(v.state == "registered" and v.newest is None and not _guarded_less(v) for v in verdicts):
        yield fine("schemas", f"all {len(verdicts)} are registered")


def _guarded_less(verdict: SubjectVerdict) -> bool:
    """Return whether the level promises less than the wanted one; who is on the road to strict has raised it."""
    return verdict.level is not None and not covers(verdict.level, verdict.wanted.compatibility)
