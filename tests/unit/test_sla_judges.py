"""What breaks each kind of promise, what does not, and how a breach goes on and ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streams.errors import SettingsError
from streams.sla.jobs import JobFact, JobSeries
from streams.sla.objectives import DATASET_ITSELF, Objectives, SeriesKey
from streams.sla.verdict import moment
from tests.support.sla import LINKS, NS, START, Log, Seen, sla_settings

QUICK = {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": "10s"}


def log_of(objective: dict[str, Any], **settings: Any) -> Log:
    return Log(sla_settings({"it": objective}, **settings))


def test_a_window_that_is_too_slow_opens_a_breach_and_one_that_is_not_resolves_it() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 3.0), Seen(2, 5.0), 10.0, Seen(11, 0.2), 20.0)
    assert log.told() == [("opened", "warning", 10), ("resolved", "warning", 20)]
    opened, over = log.breaches
    assert opened.id == over.id
    assert (opened.observed, opened.promised) == (pytest.approx(3.0, rel=0.01), 1.0)
    assert (opened.count, opened.over, opened.unit) == (2, 2, "seconds")
    assert [e.elapsed_seconds for e in opened.examples] == [5.0, 3.0]
    assert opened.promise == "p50 of total <= 1 s over 10s"
    assert over.reason == "kept"


def test_a_limit_that_is_just_kept_is_kept() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 1.0), 10.0)
    assert log.told() == []


def test_a_reader_that_reads_no_more_is_kept_waiting_no_more() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 3.0), 20.0)
    assert log.told() == [("opened", "warning", 10), ("resolved", "warning", 20)]
    assert log.breaches[1].reason == "silent"
    assert log.breaches[1].observed is None


def test_a_window_with_too_few_observations_neither_opens_nor_resolves() -> None:
    log = log_of(QUICK | {"min_count": 2})
    log.write(Seen(1, 3.0), 10.0, Seen(11, 3.0), Seen(12, 3.0), 20.0, Seen(21, 0.1), 30.0)
    assert log.told() == [("opened", "warning", 20)]


def test_a_breach_that_lasts_escalates_once() -> None:
    log = log_of(QUICK | {"escalate_after": "25s"})
    log.write(*(Seen(second, 3.0) for second in range(0, 60, 5)), 60.0)
    assert log.told() == [("opened", "warning", 10), ("escalated", "critical", 40)]
    assert [b.sequence for b in log.breaches] == [0, 1]


def test_what_is_told_of_a_closed_window_is_late_and_counted_and_in_no_window() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 0.1), 10.0, Seen(2, 9.0), Seen(3, 9.0), Seen(11, 0.1), 20.0)
    assert log.told() == []
    assert log.late == 2


def test_within_the_grace_a_window_still_waits() -> None:
    log = Log(sla_settings({"it": QUICK}), grace_s=2.0)
    log.write(Seen(1, 0.1), 11.5, Seen(2, 9.0), Seen(3, 9.0), 12.0)
    assert log.told() == [("opened", "warning", 10)]
    assert log.late == 0


def test_hopping_windows_overlap() -> None:
    log = log_of(QUICK | {"hop": "5s"})
    log.write(Seen(6, 3.0), 10.0, 15.0, 20.0)
    assert log.told() == [("opened", "warning", 10), ("resolved", "warning", 20)]


def test_a_tick_of_a_clock_that_is_behind_changes_nothing() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 3.0), 10.0, 3.0, Seen(4, 3.0))
    assert log.told() == [("opened", "warning", 10)]
    assert log.late == 1


def test_a_synthetic_observation_marks_the_breach() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 3.0, synthetic=True), 10.0)
    log.checkpoint()
    assert log.breaches[0].synthetic


def test_an_objective_that_is_no_longer_in_the_settings_is_withdrawn() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 3.0), 10.0)
    log.checkpoint()
    log.objectives = Objectives(sla_settings({}))
    log.restart()
    assert [told[0] for told in log.told()] == ["opened", "resolved"]
    assert log.breaches[1].reason == "withdrawn"
    assert set(log.states) == {""}


def test_a_series_that_is_over_is_forgotten() -> None:
    log = log_of(QUICK)
    log.write(Seen(1, 0.1), 10.0)
    log.checkpoint()
    assert set(log.states) == {""}
    assert log.windows.windows == 0


BURN = {
    "kind": "budget",
    "target": 0.9,
    "period": "10m",
    "burn": [
        {"long": "60s", "short": "10s", "rate": 4, "severity": "critical"},
        {"long": "120s", "short": "30s", "rate": 1.5, "severity": "warning"},
    ],
}


def steady(bad_from: int, bad_to: int, share: int, until: int = 200) -> list[Seen | float]:
    """One observation a second; in a range every `share`th is good, outside all are; a tick after each."""
    records: list[Seen | float] = []
    for second in range(until):
        good = not bad_from <= second < bad_to or second % share == 0
        records += [Seen(second + 0.5, ok=good), float(second + 1)]
    return records


def test_a_budget_that_burns_fast_in_both_windows_is_critical_and_resolves_when_the_short_one_recovers() -> None:
    log = log_of(BURN)
    log.write(*steady(100, 140, 1000))
    states = [(state, severity) for state, severity, _ in log.told()]
    assert states == [("opened", "warning"), ("escalated", "critical"), ("resolved", "critical")]
    opened, escalated, over = log.breaches
    # A tenth may be bad: 1.5 times that of two minutes are 18 s, four times that of one minute are 24 s.
    assert (opened.at - moment(START)).total_seconds() == pytest.approx(116, abs=4)
    assert (escalated.at - moment(START)).total_seconds() == pytest.approx(125, abs=4)
    assert 140 < (over.at - moment(START)).total_seconds() <= 140 + 10 + 30
    assert [b.threshold for b in escalated.burn] == [4, 1.5]
    assert escalated.burn[0].short_rate > 4


def test_the_examples_of_a_budget_are_those_of_the_windows_that_it_burns_in() -> None:
    log = log_of(BURN)
    records = steady(100, 140, 1000)
    log.write(*records[:100], Seen(50.2, 9.0, ok=False), *records[100:])
    log.checkpoint()
    opened, escalated, _ = log.breaches
    assert opened.examples[0].elapsed_seconds == 9.0
    assert {e.elapsed_seconds for e in escalated.examples} == {0.1}
    assert all(e.at >= escalated.window_start for e in escalated.examples)


def test_a_short_burst_of_errors_uses_up_too_little_to_alert() -> None:
    log = log_of(BURN)
    log.write(*steady(100, 108, 1000))
    assert log.told() == []


def test_what_is_left_of_a_budget_is_told() -> None:
    log = log_of(BURN)
    log.write(*steady(100, 110, 1000))
    ((watch, left),) = log.windows.budgets()
    assert watch.name == "it"
    assert left == pytest.approx(1 - 10 / (200 * 0.1), abs=0.02)


def test_a_budget_of_a_reader_that_is_gone_is_forgotten_after_its_period() -> None:
    log = log_of(BURN)
    log.write(Seen(0, ok=False), 120.0)
    log.checkpoint()
    log.restart()
    log.write(600.0)
    log.checkpoint()
    log.restart()
    assert set(log.states) == {"", "it|bars/reader/total"}
    log.write(610.0)
    log.checkpoint()
    assert set(log.states) == {""}
    assert not log.windows.series()


@pytest.mark.parametrize("ticks", [[], [float(second) for second in range(1, 46)]])
def test_examples_that_are_too_old_take_no_place_of_new_ones_however_seldom_time_is_told(ticks: list[float]) -> None:
    log = log_of(BURN | {"burn": [{"long": "10s", "short": "5s", "rate": 2, "severity": "critical"}]})
    log.write(*(Seen(0, elapsed, ok=False) for elapsed in (0.1, 0.5, 3.0)))
    log.write(*(tick for tick in ticks if tick <= 11), Seen(11, 0.1, ok=False))
    log.write(*(tick for tick in ticks if tick > 11), 46.0)
    assert log.told() == [
        ("opened", "critical", 1),
        ("resolved", "critical", 6),
        ("opened", "critical", 12),
        ("resolved", "critical", 17),
    ]
    assert [e.elapsed_seconds for e in log.breaches[2].examples] == [0.1]


def test_a_budget_with_a_limit_of_its_own_counts_what_took_longer() -> None:
    log = log_of(BURN | {"limit": "1s"})
    log.write(*(Seen(second, 3.0, ok=True) for second in range(60)), 60.0)
    assert [told[0] for told in log.told()] == ["opened"]


CONFORM = {"kind": "conformance", "max_ratio": 0.1, "window": "10s"}


def test_too_many_rows_that_break_a_rule_break_the_promise() -> None:
    log = log_of(CONFORM)
    of_dataset = SeriesKey("bars", DATASET_ITSELF, "conformance")
    rows = [Seen(n / 10, ok=n % 5 > 0, series=of_dataset) for n in range(100)]
    log.write(*rows, 10.0)
    log.checkpoint()
    (breach,) = log.breaches
    assert (breach.observed, breach.promised, breach.unit) == (0.2, 0.1, "ratio")
    assert (breach.count, breach.over, breach.consumer) == (100, 20, None)


STALE = {"kind": "staleness", "limit": "90s"}
LIVE = SeriesKey("bars", DATASET_ITSELF, "staleness")


def test_silence_makes_a_series_stale_while_the_exchange_is_open() -> None:
    log = log_of(STALE, calendar="XNYS")
    log.write(1.0, Seen(2, series=LIVE, newest=START))
    log.write(*(float(second) for second in range(3, 400)))
    # The bar after the newest is over two minutes after START; that is 90 s late at 210 s.
    assert log.told() == [("opened", "warning", 211)]
    log.write(Seen(400.2, series=LIVE, newest=START + 360 * NS), 402.0)
    assert log.told()[1:] == [("resolved", "warning", 401)]


def test_silence_from_the_beginning_is_silence() -> None:
    log = log_of(STALE, calendar="XNYS")
    log.write(*(float(second) for second in range(0, 400, 20)))
    ((state, _, _),) = log.told()
    assert state == "opened"


def test_a_breach_by_silence_is_the_same_however_often_time_is_told() -> None:
    often, seldom = log_of(STALE), log_of(STALE)
    often.write(0.0, Seen(2, series=LIVE, newest=START), *(float(second) for second in range(3, 400)))
    seldom.write(0.0, Seen(2, series=LIVE, newest=START), 399.0)
    assert often.told() == seldom.told() != []
    assert often.breaches == seldom.breaches


def test_a_holiday_makes_nothing_stale() -> None:
    log = log_of(STALE, calendar="XNYS")
    christmas = datetime(2026, 12, 25, 15, tzinfo=UTC).timestamp() - START / NS
    log.write(christmas, *(christmas + second for second in range(0, 3_600, 60)))
    assert log.told() == []


def test_a_row_that_is_seen_late_still_says_how_new_rows_are() -> None:
    log = log_of(STALE)
    log.write(0.0, 100.0, Seen(50, series=LIVE, newest=START + 60 * NS), 200.0)
    assert log.told() == []
    assert log.late == 0


@pytest.mark.parametrize("restarts", [False, True])
def test_a_row_that_is_seen_late_resolves_at_the_watermark_also_after_a_restart(restarts: bool) -> None:
    log = log_of(STALE)
    log.write(0.0, Seen(2, series=LIVE, newest=START), 250.0)
    log.checkpoint()
    log.write(300.0)  # nothing but time goes by, and of that the state of the series says nothing
    log.checkpoint()
    if restarts:
        log.restart()
    log.write(Seen(290, series=LIVE, newest=START + 240 * NS), 310.0)
    assert log.told() == [("opened", "warning", 211), ("resolved", "warning", 301)]


@pytest.mark.parametrize("first", [0, 1])
def test_a_reader_who_never_saw_a_row_is_watched_since_it_looked_first_whatever_was_read_first(first: int) -> None:
    log = log_of({"kind": "staleness", "limit": "30s", "consumer": "reader"}, interval=None)
    looks = [Seen(second, series=SeriesKey("bars", "reader", "staleness")) for second in (3, 8)]
    log.write(looks[first], looks[1 - first], 100.0)
    assert log.told() == [("opened", "warning", 34)]


def test_the_newest_row_that_any_reader_saw_is_handed_on() -> None:
    log = log_of(STALE)
    log.write(Seen(1, newest=START), Seen(2, newest=START + NS), Seen(3, newest=START))
    assert log.windows.drain().newest == {"bars": (START + NS, START + 2 * NS)}


def test_the_newest_row_that_was_written_is_handed_on_and_what_was_handed_on_is_not() -> None:
    log = log_of(STALE)
    log.write(Seen(1, series=SeriesKey("bars", DATASET_ITSELF, "conformance"), newest=START))
    log.write(Seen(2, series=LIVE, newest=START + NS))
    assert log.windows.drain().newest == {"bars": (START, START + NS)}


def test_a_row_that_is_dated_in_the_future_ages_from_when_it_was_seen_and_hides_no_other() -> None:
    log = log_of(STALE, interval=None)
    log.write(0.0, Seen(1, series=LIVE, newest=START + 3_600 * NS), 200.0)
    assert log.told() == [("opened", "warning", 93)]
    log.write(Seen(201, newest=START + 3_600 * NS), Seen(202, newest=START + 202 * NS))
    assert log.windows.drain().newest == {"bars": (START + 202 * NS, START + 202 * NS)}


def jobs_of(**settings: Any) -> JobSeries:
    found = Objectives(sla_settings({"it": {"kind": "completeness", "limit": "60s", **settings}}))
    (watch,) = found.of(SeriesKey("bars", DATASET_ITSELF, "completeness"))
    return JobSeries(watch, LINKS, START)


def fact(done: tuple[float, ...] = (), **changes: Any) -> JobFact:
    values: dict[str, Any] = {"id": "j/1", "created": START, "urgent": True, "shards": 4}
    values |= {"ended": False, "cancelled": False}
    return JobFact(**(values | changes), done=tuple(START + int(second * NS) for second in done))


def states(records: list[Any]) -> list[str]:
    return [record.state for record in records]


def test_a_job_that_is_not_done_by_its_deadline_is_a_breach_until_it_is_done() -> None:
    jobs = jobs_of(min_coverage=1.0)
    assert jobs.look([fact((10, 20))], {"j/1"}, START + 59 * NS) == []
    (opened,) = jobs.look([fact((10, 20))], {"j/1"}, START + 60 * NS)
    assert (opened.state, opened.subject, opened.observed) == ("opened", "j/1", 0.5)
    assert jobs.look([fact((10, 20, 70))], {"j/1"}, START + 75 * NS) == []
    (over,) = jobs.look([fact((10, 20, 70, 80))], {"j/1"}, START + 90 * NS)
    assert (over.state, over.id, over.at) == ("resolved", opened.id, moment(START + 80 * NS))
    assert jobs.look([fact((10, 20, 70, 80))], {"j/1"}, START + 95 * NS) == []


def test_a_look_that_comes_late_finds_the_same() -> None:
    late = jobs_of(min_coverage=1.0).look([fact((10, 20, 70, 80))], {"j/1"}, START + 1_000 * NS)
    assert states(late) == ["opened", "resolved"]
    assert jobs_of(min_coverage=1.0).look([fact((10, 20, 30, 40))], {"j/1"}, START + 1_000 * NS) == []


def test_enough_of_a_job_is_enough() -> None:
    assert jobs_of(min_coverage=0.75).look([fact((10, 20, 30))], {"j/1"}, START + 100 * NS) == []


def test_a_job_that_has_failed_is_critical() -> None:
    assert states(jobs_of().look([fact((10,), ended=True)], {"j/1"}, START + 100 * NS)) == ["opened", "escalated"]


def test_a_job_that_was_taken_back_promised_nothing() -> None:
    jobs = jobs_of()
    assert jobs.look([fact(cancelled=True)], {"j/1"}, START + 100 * NS) == []


def test_jobs_that_nobody_waits_for_may_be_left_out_and_old_ones_always_are() -> None:
    assert jobs_of(urgent_only=True).look([fact(urgent=False)], {"j/1"}, START + 100 * NS) == []
    assert jobs_of().look([fact(created=START - 61 * NS)], {"j/1"}, START + 100 * NS) == []


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ({"kind": "staleness", "quantile": 0.5}, "quantile: not of kind staleness"),
        ({"kind": "quantile", "window": "5m", "hop": "2m"}, "hop must go into window"),
        ({"kind": "quantile", "window": "500ms"}, "whole seconds"),
        ({"kind": "budget", "burn": []}, "an empty list watches nothing"),
        ({"kind": "budget", "burn": [{"long": "5m", "short": "5m", "rate": 2}]}, "short must be shorter"),
        ({"kind": "staleness", "limit": "5m", "intervals": 2}, "say the same"),
        ({"kind": "quantile", "dataset": "nosuch"}, "nosuch"),
        ({"kind": "quantile", "colour": 1}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(objective: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        sla_settings({"it": objective})
