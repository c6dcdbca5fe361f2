"""Each line of the definition of done holds or fails by its own evidence; a real system is in the integration test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.protocol import LeaseStatus
from operations.monitoring.bundle import dashboards_of_alerts
from schemas.exceptions import Exceptions, SchemaException
from schemas.findings import Severity
from schemas.report import ConformanceReport, FindingCount
from streams.doctor.finding import fine, problem, unknown, warning
from streams.operating.operation import Change, Operation
from streams.operating.standing import Standing as Operations
from streams.ready import verdict as verdicts
from streams.ready.checks import doctor_verdict
from streams.ready.conformance import conformance_verdict, tallied
from streams.ready.facts import runbook_pages
from streams.ready.governed import schema_verdict
from streams.ready.leases import LeaseFacts, lease_verdict
from streams.ready.objectives import ObjectiveFacts, objectives_verdict
from streams.ready.runbooks import runbook_verdict
from streams.ready.span import Span, usual
from streams.ready.taken_back import rollback_verdict
from streams.ready.tested import GROUPS, Counts, Report, Run, read_report, report_verdict
from streams.ready.verdict import Verdict
from streams.ready.why import WHY
from streams.schema_policy import SchemaPolicy
from streams.sla.breach import Breach
from streams.sla.status import Standing

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPAN = Span.of(NOW, HOUR, 24 * HOUR)


def at(hours_ago: float) -> datetime:
    return NOW - hours_ago * HOUR


# the window and what is usual


def test_a_moment_is_in_the_window_in_one_before_or_before_all() -> None:
    found = [SPAN.index(at(hours)) for hours in (-0.01, 0, 0.99, 1.5, 24.5, 25, 25.5, 100)]
    assert found == [0, 0, 0, 1, 24, None, None, None]


def test_one_bad_window_makes_another_one_no_more_usual_and_a_tenth_of_them_does() -> None:
    assert usual([0.0] * 19 + [5]) == 0
    assert usual([0.0] * 8 + [5, 5]) == 5
    assert usual([]) == 0


def test_a_baseline_is_no_shorter_than_the_window() -> None:
    with pytest.raises(ValueError, match="at least as long"):
        Span.of(NOW, HOUR, HOUR / 2)


# conformance


def report(hours_ago: float, rows: int = 1_000, mode: str = "blocking", **found: int) -> ConformanceReport:
    """A report; findings in capitals are violations."""
    findings = tuple(
        FindingCount(
            flag=name.lower(),
            severity=Severity.VIOLATION if name.isupper() else Severity.WARNING,
            column="low",
            count=count,
            examples=(),
        )
        for name, count in found.items()
    )
    return ConformanceReport(
        dataset="bars", world="w", mode=mode, contract="Bar", contract_fingerprint="x", rows_in=rows, rows_out=rows,
        rows_quarantined=0, rows_dropped=0, ranges=(), findings=findings, created_at=at(hours_ago),
    )  # fmt: skip


def judged(*reports: ConformanceReport, wanted: Any = "blocking", waiting: frozenset[str] = frozenset()) -> Verdict:
    return conformance_verdict("bars", wanted, tallied(reports, SPAN).get("bars"), SPAN, lambda: set(waiting))


def test_rows_without_findings_in_blocking_mode_pass() -> None:
    found = judged(report(0.5), report(5))
    assert found.state == "pass"
    assert "1,000 rows in the last 1h" in found.says


@pytest.mark.parametrize(
    ("wanted", "reports", "says"),
    [
        ("shadow", [report(0.5)], "shadow is in force"),
        ("blocking", [report(0.5), report(0.1, mode="shadow")], "is of shadow mode"),
        ("blocking", [], "no row was normalized"),
        ("blocking", [report(3)], "no row was normalized"),
    ],
    ids=["settings", "what runs", "nothing ever", "nothing now"],
)
def test_a_dataset_that_does_not_block_or_has_no_rows_fails(
    wanted: str, reports: list[ConformanceReport], says: str
) -> None:
    found = judged(*reports, wanted=wanted)
    assert found.state == "fail"
    assert says in found.says
    assert found.remedy


def test_a_mode_that_was_blocking_again_at_last_is_blocking() -> None:
    assert judged(report(0.5, mode="shadow"), report(0.1)).state == "pass"


def test_a_violation_that_is_new_is_open_until_its_rows_are_dealt_with() -> None:
    reports = report(0.5, NON_FINITE=2), report(5)
    found = judged(*reports, waiting=frozenset({"non_finite"}))
    assert found.state == "fail"
    assert "non_finite in low (2 rows, 0.20%; usual is 0.00%)" in found.says
    assert judged(*reports, waiting=frozenset({"above_max"})).state == "pass"


def test_a_violation_that_is_as_frequent_as_ever_is_no_regression() -> None:
    before = [report(hours + 0.5, NON_FINITE=20) for hours in range(1, 24)]
    assert judged(report(0.5, NON_FINITE=20), *before, waiting=frozenset({"non_finite"})).state == "pass"
    assert judged(report(0.5, NON_FINITE=21), *before, waiting=frozenset({"non_finite"})).state == "fail"


@pytest.mark.parametrize(
    ("now", "before", "state"), [(10, 0, "pass"), (11, 0, "fail"), (60, 20, "pass"), (61, 20, "fail")]
)
def test_a_warning_counts_from_the_thresholds_of_the_alerts_on(now: int, before: int, state: str) -> None:
    earlier = [report(hours + 0.5, gap=before) for hours in range(1, 24)]
    assert judged(report(0.5, gap=now), *earlier).state == state


def test_a_warning_counts_neither_without_rows_to_compare_with_nor_in_few_rows() -> None:
    assert judged(report(0.5, ts_cast=1_000)).state == "pass"
    assert judged(report(0.5, rows=9, ts_cast=9), report(2)).state == "pass"
    assert judged(report(0.5, rows=10, ts_cast=10), report(2)).state == "fail"


def test_what_passed_by_exception_is_no_regression() -> None:
    bad = report(0.5, NON_FINITE=500)
    bad = bad.model_copy(update={"findings": tuple(f.model_copy(update={"excepted": True}) for f in bad.findings)})
    assert judged(bad, waiting=frozenset({"non_finite"})).state == "pass"


# leases


def event(hours_ago: float, change: LeaseChange, host: str = "a", shard: str = "s1") -> LeaseEvent:
    stamp = round(at(hours_ago).timestamp() * 1_000)
    return LeaseEvent(shard, "job", change, "queue", 0, 0, host, host, 1, 1, 10, stamp)


def lease(*, stalled: bool) -> LeaseStatus:
    return LeaseStatus(
        queue="q", partition=0, shard="s1", job="j", member="m", host="a", epoch=1, attempt=1, cursor=None, rows=1,
        seconds_since_progress=1.0, stalled=stalled,
    )  # fmt: skip


def calm(*events: LeaseEvent, held: tuple[LeaseStatus, ...] = ()) -> Verdict:
    return lease_verdict(LeaseFacts(held, sorted(events, key=lambda e: e.at), "the coordinator"), SPAN)


def test_leases_that_are_claimed_handed_over_and_completed_are_calm() -> None:
    told = (LeaseChange.CLAIMED, LeaseChange.REVOKED, LeaseChange.RESUMED, LeaseChange.COMPLETED)
    events = [event(0.5 - n / 100, change, "ab"[n // 2]) for n, change in enumerate(told)]
    found = calm(*events, held=(lease(stalled=False),))
    assert found.state == "pass"
    assert "1 held" in found.says


def test_a_lease_that_gets_nowhere_is_told_with_its_holder() -> None:
    found = calm(held=(lease(stalled=True), lease(stalled=False)))
    assert found.state == "fail"
    assert "1 of 2 leases get nowhere: s1 on a" in found.says


@pytest.mark.parametrize("change", [LeaseChange.STALLED, LeaseChange.LOST, LeaseChange.FENCED])
def test_a_trouble_in_the_window_fails_unless_it_is_usual(change: LeaseChange) -> None:
    assert calm(event(0.5, change)).state == "fail"
    assert calm(event(1.5, change)).state == "pass"
    assert calm(*(event(n + 0.5, change) for n in range(24))).state == "pass"


def test_a_lease_whose_holder_told_of_no_end_before_the_next_claim_fails() -> None:
    found = calm(event(0.6, LeaseChange.CLAIMED, "a"), event(0.5, LeaseChange.RESUMED, "b"))
    assert found.state == "fail"
    assert "1 abandoned (usual is 0)" in found.says


# promises


def breach(hours_ago: float, state: Any = "opened", *, synthetic: bool = False) -> Breach:
    return Breach(
        id=f"b{hours_ago}", sequence=0, state=state, severity="warning", world="w", objective="quick", kind="quantile",
        promise="p", dataset="bars", phase="total", window_start=at(hours_ago), window_end=at(hours_ago), promised=1.0,
        unit="seconds", opened_at=at(hours_ago), at=at(hours_ago), synthetic=synthetic,
    )  # fmt: skip


STANDING = Standing("quick", "quantile", "bars", "reader", "total", "p", 0.1, 1.0, "seconds", 5, None, None, NOW)


def kept(*standings: Standing, breaches: tuple[Breach, ...] = ()) -> Verdict:
    return objectives_verdict(ObjectiveFacts(standings, breaches, timedelta(seconds=5)), SPAN)


def test_promises_that_are_kept_pass_with_their_burn_and_budget() -> None:
    budget = replace(STANDING, objective="budget", unit="rate", observed=0.25, budget_left=0.9)
    found = kept(STANDING, budget)
    assert found.state == "pass"
    assert "none of 2 is broken" in found.says
    assert "at most 0.25 times" in found.says
    assert "90.0%" in found.says


@pytest.mark.parametrize(
    ("standing", "says"),
    [
        (None, "nothing is observed"),
        (replace(STANDING, as_of=None), "nothing is observed"),
        (replace(STANDING, as_of=at(0.1)), "agents wrote last"),
        (replace(STANDING, breach=breach(30)), "quick of bars for reader"),
        (replace(STANDING, budget_left=-0.1), "the error budget is used up: quick"),
    ],
    ids=["nothing", "no agent yet", "agents are gone", "broken since long", "overdrawn"],
)
def test_promises_that_are_not_kept_or_not_watched_fail(standing: Standing | None, says: str) -> None:
    found = kept(*([] if standing is None else [standing]))
    assert found.state == "fail"
    assert says in found.says
    assert found.remedy


def test_a_breach_that_is_over_fails_the_window_in_which_it_opened() -> None:
    over = breach(0.5), breach(0.5, "resolved")
    assert kept(STANDING, breaches=over).state == "fail"
    assert kept(STANDING, breaches=(breach(1.5),)).state == "pass"
    assert kept(STANDING, breaches=tuple(breach(n + 0.5) for n in range(24))).state == "pass"


def test_breaches_of_drills_say_nothing_of_the_system() -> None:
    drill = breach(0.5, synthetic=True)
    assert kept(replace(STANDING, breach=drill), breaches=(drill,)).state == "pass"


# schemas


def excepted(rule: str, until: date = date(2026, 12, 31)) -> SchemaException:
    return SchemaException("bars", rule, None, "a vendor's release", "market-data", "risk", until)


BOTH = excepted("unknown_schema"), excepted("incompatible_schema")


@pytest.mark.parametrize(
    ("mode", "entries", "state", "says"),
    [
        ("strict", (), "pass", "strict at FULL_TRANSITIVE"),
        ("canary", (), "fail", "no exception for unknown_schema and incompatible_schema"),
        ("optional", BOTH[:1], "fail", "no exception for incompatible_schema"),
        ("optional", BOTH, "pass", "until 2026-12-31: a vendor's release (market-data, approved by risk)"),
        ("optional", (BOTH[0], excepted("incompatible_schema", date(2026, 11, 24))), "fail", "incompatible_schema"),
        ("strict", BOTH, "pass", "2 exceptions in force"),
    ],
)
def test_a_dataset_is_strict_or_excepted_with_an_approval_that_has_not_ended(
    mode: Any, entries: tuple[SchemaException, ...], state: str, says: str
) -> None:
    found = schema_verdict(SchemaPolicy("bars", mode), Exceptions(entries), [], NOW.date())
    assert found.state == state
    assert says in found.says


def test_an_exception_that_ended_fails_a_strict_dataset_too() -> None:
    problem = "exception bars: unknown_schema, until 2026-11-24, ...: it has expired"
    found = schema_verdict(SchemaPolicy("bars", "strict"), Exceptions(), [problem], NOW.date())
    assert found.state == "fail"
    assert "it has expired" in found.says


# rollbacks


def operated(what: str, before: str | None, after: str | None, target: str = "conformance/bars") -> Operation:
    change = Change(target, before, after, "blocking")
    return Operation("o1", round(NOW.timestamp() * 1_000), "ann", what, "a unit changed", (change,))


def test_a_rollback_in_force_fails_until_it_is_undone() -> None:
    standing = Operations()
    assert rollback_verdict(standing).state == "pass"
    standing.take(operated("shadow", None, "shadow"))
    found = rollback_verdict(standing)
    assert found.state == "fail"
    assert "shadow since 2026-11-25 12:00 UTC by ann (a unit changed)" in found.says
    standing.take(operated("undo", "shadow", None))
    assert rollback_verdict(standing).state == "pass"


def test_an_override_that_was_set_on_purpose_is_told_and_no_rollback() -> None:
    standing = Operations()
    standing.take(operated("override", None, "{}", "sla/any"))
    found = rollback_verdict(standing)
    assert (found.state, found.says) == ("pass", "none is in force; 1 SLA overrides are")


# tests


def run(**changes: Any) -> Run:
    groups = {group: Counts(passed=10) for group in GROUPS}
    values = {"paths": ("tests",), "started_at": at(2), "finished_at": at(1), "complete": True, "groups": groups}
    return Run(**(values | changes))


def of_tests(*runs: Run, version: str = "1.0", sources: str = "abc") -> Verdict:
    return report_verdict(Report(format=1, version=version, sources=sources, runs=runs), "1.0", "abc", NOW)


def test_tests_of_every_group_in_one_run_or_several_pass() -> None:
    assert of_tests(run()).state == "pass"
    parts = [run(paths=(group,), groups={group: Counts(passed=1)}) for group in GROUPS]
    found = of_tests(*parts)
    assert found.state == "pass"
    assert "1 of fault_injection" in found.says


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (of_tests(run(), version="0.9"), "of version 0.9, and 1.0 is installed"),
        (of_tests(run(), sources="def"), "of other sources (def) than are installed (abc)"),
        (of_tests(run(finished_at=NOW - timedelta(days=31))), "older than 30d"),
        (of_tests(), "of no run"),
        (of_tests(run(complete=False, why="single tests were named")), "single tests were named"),
        (of_tests(run(groups={group: Counts(passed=1) for group in GROUPS[:2]})), "no test passed of observability"),
        (
            of_tests(run(groups={g: Counts(passed=1, failed=1) for g in GROUPS}, failures=("t.py::test_it",))),
            "tests failed: t.py::test_it",
        ),
    ],
    ids=["version", "sources", "age", "empty", "partial", "a group", "failures"],
)
def test_a_report_that_says_too_little_or_of_something_else_fails(found: Verdict, says: str) -> None:
    assert found.state == "fail"
    assert says in found.says
    assert "--seamless-report" in found.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no report"),
        ("{", "no report of tests"),
        ('{"format": 1}', "version"),
        ('{"format": 2, "version": "1", "sources": "a", "runs": []}', "of format 2"),
    ],
)
def test_a_report_that_cannot_be_read_fails_by_its_reason(tmp_path: Any, text: str | None, says: str) -> None:
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text, "utf-8")
    found = report_verdict(read_report(path), "1.0", "abc", NOW)
    assert found.state == "fail"
    assert says in found.says


# runbooks


def test_the_runbooks_of_this_version_lead_to_its_dashboards() -> None:
    found = runbook_verdict(dashboards_of_alerts(), runbook_pages())
    assert found.state == "pass", found.says
    assert "in en and ko" in found.says
    assert "Backfill Coordinator Health" in found.says
    assert "Seamless SLA Overview" in found.says


SLA = {"seamless-sla-staleness": "Seamless SLA Overview"}


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("See Seamless SLA Overview.", "pass"),
        ("See Seamless SLA Overview, or GET /v1/leases of the coordinator.", "pass"),
        ("See Seamless SLA Overview, or http://coordinator:8090/v1 for more.", "pass"),
        ("See Seamless SLA Overview; in v1 look at its log.", "fail"),
        ("See Seamless SLA Overview, or the board seamless_v1.", "fail"),
        ("See the dashboard.", "fail"),
    ],
)
def test_a_runbook_leads_to_the_dashboard_and_tells_nothing_of_v1(text: str, state: str) -> None:
    assert runbook_verdict(SLA, {"en": {"seamless-sla-staleness": text}}).state == state


def test_an_alert_without_a_runbook_in_a_language_fails() -> None:
    pages = {"en": {"seamless-sla-staleness": "Seamless SLA Overview"}, "ko": {"another": ""}}
    assert "ko/seamless-sla-staleness.md is missing" in runbook_verdict(SLA, pages).says
    assert runbook_verdict(SLA, {}).state == "fail"


# the doctor, and all together


def test_the_doctor_must_find_no_problem_and_have_looked_everywhere() -> None:
    assert doctor_verdict([fine("disk", "ok"), warning("topics", "drift", "alter it")]).state == "pass"
    found = doctor_verdict(
        [fine("disk", "ok"), problem("broker", "does not answer", "start it"), unknown("topics", "x")]
    )
    assert (found.state, found.says) == ("fail", "broker: does not answer")
    assert doctor_verdict([unknown("topics", "x")]).state == "unknown"


def test_what_could_not_be_looked_at_goes_before_what_failed() -> None:
    good, bad, silent = verdicts.passed("a", "x"), verdicts.failed("a", "x", "y"), verdicts.unknown("a", "x")
    codes = [verdicts.exit_code(list(found)) for found in ((good,), (good, bad), (good, silent), (bad, silent))]
    assert codes == [0, 1, 2, 2]


def test_every_check_is_explained() -> None:
    assert list(WHY) == ["conformance", "leases", "objectives", "schemas", "rollbacks", "tests", "runbooks", "doctor"]
