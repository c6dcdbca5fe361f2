"""A drill breaks just what it is told to, by just so much: its observations, judged as the agent judges them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streams.alerting.drill import DRILL_READER, Drill, planned
from streams.errors import SettingsError
from streams.sla.records import told
from streams.sla.verdict import moment, nanos
from tests.support.sla import START, Log, sla_settings

QUICK = {"kind": "quantile", "limit": "2s", "window": "10s"}
FAST = {"long": "20s", "short": "5s", "rate": 10}
STEADY: dict[str, Any] = {
    "kind": "budget",
    "limit": "2s",
    "target": 0.95,
    "burn": [FAST, {"long": "60s", "short": "20s", "rate": 2}],
}
AT = moment(START) + timedelta(seconds=3)


def plan(objective: dict[str, Any], by: float = 1.5, count: int | None = None, dataset: str | None = None) -> Drill:
    return planned(sla_settings({"it": objective}), "it", dataset, by, count)


def judged(objective: dict[str, Any], drill: Drill, after: float) -> list[Any]:
    """Return the breaches that follow when so many seconds have passed since START."""
    log = Log(sla_settings({"it": objective}))
    observations = list(drill.observations("w", AT, "drill-1"))
    for offset, each in enumerate(observations):
        record = told({**each.datum(), "source": None})
        assert record is not None
        log.windows.fold(offset, record)
    log.windows.tick(len(observations), START + int(after * 1e9))
    log.checkpoint()
    return log.breaches


def test_a_quantile_is_broken_by_the_factor_and_all_of_it_says_that_it_was_made_up() -> None:
    drill = plan(QUICK, by=1.5)
    assert (drill.observed, drill.promised, drill.count, drill.bad) == (3.0, 2.0, 100, 100)
    assert {o.synthetic for o in drill.observations("w", AT, "f")} == {True}
    [breach] = judged(QUICK, drill, 10)
    assert (breach.state, breach.consumer, breach.synthetic) == ("opened", DRILL_READER, True)
    assert breach.observed == pytest.approx(3.0, rel=0.01)
    assert "100 of them bad, come to 3 s, and the limit is 2 s" in drill.described()


def test_a_budget_burns_at_the_rate_of_its_fastest_pair_times_the_factor() -> None:
    drill = plan(STEADY, by=1.5)
    assert (drill.promised, drill.count, drill.bad) == (10, 100, 75)
    assert drill.observed == pytest.approx(15)
    opened = [breach for breach in judged(STEADY, drill, 5) if breach.state == "opened"]
    assert [(b.severity, b.synthetic) for b in opened] == [("critical", True)]
    assert opened[0].observed == pytest.approx(15)


def test_a_budget_without_a_limit_is_broken_by_what_the_readers_policy_calls_bad() -> None:
    coverage = {**STEADY, "phase": "coverage"}
    del coverage["limit"]
    opened = [breach for breach in judged(coverage, plan(coverage), 5) if breach.state == "opened"]
    assert [(b.phase, b.over, b.count) for b in opened] == [("coverage", 75, 100)]


def test_just_below_the_factor_of_one_nothing_would_open() -> None:
    drill = plan(STEADY, by=1.01)
    below = Drill(drill.watch, 0.9, 9.0, 10.0, 100, 45, drill.elapsed, drill.shared)
    assert judged({**STEADY, "burn": [FAST]}, below, 5) == []


def test_the_agent_judges_at_the_end_of_the_step_and_its_grace() -> None:
    assert plan(QUICK).closes_at(AT, 500) == moment(START) + timedelta(seconds=10.5)
    assert plan(QUICK | {"hop": "5s"}).closes_at(AT, 0) == moment(START) + timedelta(seconds=5)
    assert nanos(AT) // 10**9 * 10**9 == nanos(AT)


def test_an_objective_of_one_reader_is_broken_for_that_reader_and_said_to_be_shared() -> None:
    drill = plan(QUICK | {"consumer": "momentum"})
    assert (drill.watch.series.consumer, drill.shared) == ("momentum", True)


@pytest.mark.parametrize(
    ("objective", "arguments", "reason"),
    [
        (QUICK, {"by": 1.0}, "is not surely broken"),
        (STEADY, {"by": 2.1}, "up to 2"),
        (STEADY, {"by": 1.0}, "above 1"),
        (QUICK | {"min_count": 500}, {"count": 100}, "fewer than 500"),
        (QUICK, {"dataset": "other"}, "no dataset 'other'"),
        ({"kind": "staleness", "limit": "5s"}, {}, "stop the producer"),
        ({"kind": "conformance"}, {}, "rows that break a rule"),
        ({"kind": "completeness", "limit": "5s"}, {}, "urgent backfill"),
    ],
)
def test_what_cannot_be_broken_so_is_refused_with_the_remedy(
    objective: dict[str, Any], arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        plan(objective, **arguments)


def test_an_objective_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"no objective 'that' \(it\)"):
        planned(sla_settings({"it": QUICK}), "that", None, 1.5, None)
