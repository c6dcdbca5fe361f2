"""The definition of done, line by line, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from operations.monitoring.bundle import dashboards_of_alerts
from streams.build import VERSION, sources_digest
from streams.doctor.diagnosis import diagnosed
from streams.doctor.finding import Finding
from streams.errors import SeamlessError
from streams.operating.override import settings_under
from streams.operating.recording import standing_now
from streams.ready.conformance import conformance_verdict, tallied
from streams.ready.facts import Facts, runbook_pages
from streams.ready.governed import schema_verdict
from streams.ready.leases import lease_verdict
from streams.ready.objectives import objectives_verdict
from streams.ready.runbooks import runbook_verdict
from streams.ready.span import Span
from streams.ready.taken_back import rollback_verdict
from streams.ready.tested import read_report, report_verdict
from streams.ready.verdict import Verdict, failed, passed, unknown
from streams.registry import Registry
from streams.settings import LoadedSettings, Settings

__all__ = ["Asked", "doctor_verdict", "looked_at"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be looked at.

    Attributes:
        loaded: the settings and where they are from.
        span: the window and its baseline.
        report: where the report of the tests is.
        runbooks: a folder of runbooks; None for those of this package.
        timeout: seconds that the doctor waits for one answer.
    """

    loaded: LoadedSettings
    span: Span
    report: Path
    runbooks: Path | None
    timeout: float


def looked_at(asked: Asked, tell: Callable[[str], None]) -> Iterator[Verdict]:
    """Yield each line as it is judged; what cannot be looked at is said, and the rest is looked at.

    Args:
        tell: told in a few words what is looked at.
    """
    with Registry(asked.loaded.settings.registry) as registry:
        # As they are with what was set at run time; where that cannot be read, a line of its own says so.
        settings, taken_back = _in_force(asked.loaded.settings, registry)
        facts = Facts(settings, registry, tell)
        yield from _judged("conformance", lambda: _of_conformance(settings, asked.span, facts))
        yield from _judged("leases", lambda: [lease_verdict(facts.leases(asked.span.begin), asked.span)])
        yield from _judged("objectives", lambda: [objectives_verdict(facts.objectives(asked.span.begin), asked.span)])
        yield from _judged("schemas", lambda: _of_schemas(asked, facts))
        yield taken_back
    tell("tests and runbooks")
    yield report_verdict(read_report(asked.report), VERSION, sources_digest(), asked.span.end)
    yield from _judged("runbooks", lambda: [runbook_verdict(dashboards_of_alerts(), runbook_pages(asked.runbooks))])
    tell("the installation")
    yield doctor_verdict(list(diagnosed(asked.loaded, asked.timeout)))


def doctor_verdict(found: list[Finding]) -> Verdict:
    """Judge what the doctor found: no problem, and nothing that could not be looked at."""
    problems = [f"{each.check}: {each.says}" for each in found if each.state == "problem"]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        return failed("doctor", "; ".join(problems[:_SHOWN]) + more, "`seamless doctor` says how to mend each.")
    if any(each.state == "unknown" for each in found):
        missing = ", ".join(dict.fromkeys(each.check for each in found if each.state == "unknown"))
        return unknown("doctor", f"it could not look at {missing}")
    warnings = sum(each.state == "warning" for each in found)
    return passed("doctor", f"{len(found)} findings, {warnings} of them warnings, and no problem")


def _judged(check: str, look: Callable[[], list[Verdict]]) -> list[Verdict]:
    try:
        return look()
    except SeamlessError as error:
        return [unknown(check, str(error))]


def _in_force(settings: Settings, registry: Registry) -> tuple[Settings, Verdict]:
    try:
        standing = standing_now(settings, registry)
        return settings_under(settings, standing), rollback_verdict(standing)
    except SeamlessError as error:
        return settings, unknown("rollbacks", str(error))


def _of_conformance(settings: Settings, span: Span, facts: Facts) -> list[Verdict]:
    if not settings.datasets:
        return [failed("conformance", "there is no dataset", 'Add a table such as [datasets."ohlcv.us.1d"].')]
    tallies = tallied(facts.reports(span.begin), span)
    return [
        conformance_verdict(
            name, settings.mode_of(name), tallies.get(name), span, lambda name=name: facts.waiting(name)  # type: ignore[misc]
        )
        for name in sorted(settings.datasets)
    ]  # fmt: skip


def _of_schemas(asked: Asked, facts: Facts) -> list[Verdict]:
    exceptions, problems = facts.exceptions(asked.span.end)
    today = asked.span.end.date()
    return [schema_verdict(each, exceptions, problems[each.dataset], today) for each in facts.policies()]
