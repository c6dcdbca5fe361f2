"""Phases under a policy: what is cut short, raised, left out or waited for, and what is told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from streams import SeamlessSLAExceeded, SLAPolicy
from streams.clock import monotonic
from streams.provider.account import Surroundings
from streams.provider.budget import Proceed, Violated
from streams.provider.calls import Calls, Timeout
from streams.provider.observations import Observation, Observer
from streams.provider.phase_run import Failed
from streams.provider.phases import PhaseReport, Phases
from streams.provider.switch import Stopped
from streams.sla_exceeded import MissingRange
from streams.sla_policy import WAITS, OnViolation, Phase
from streams.sla_resolve import ResolvedPolicy
from tests.support.waiting import Hanging, eventually, quickest

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PHASES: list[Phase] = ["storage_wait", "backfill_wait", "live_wait"]
MISSING = MissingRange("AAPL", 0, 86_400 * 1_000_000_000)


class Given:
    """Phases with a clock that a test moves, and all that is told."""

    def __init__(self, real: bool = False) -> None:
        self.time = 1_000.0
        self.told: list[Observation] = []
        self.observers: list[Observer] = [self.told.append]
        self.timeouts: list[Timeout] = []
        self.calls = Calls(most_stuck=4)
        self._real = real

    def phases(self, **fields: Any) -> Phases:
        around = Surroundings(
            observers=self.observers,
            on_timeout=self.timeouts.append,
            calls=self.calls,
            where={"storage": "/archive"},
            now=monotonic if self._real else lambda: self.time,
            wall=lambda: NOON,
        )
        policy = SLAPolicy.model_validate(fields)
        resolved = ResolvedPolicy(policy, "bars", "alpha", "paper", "1d")
        return Phases(resolved, symbols=["AAPL", "IBM"], around=around, fetch_id="f1")

    def taking(self, seconds: float, result: str = "rows") -> Callable[[], str]:
        """Return a call during which the clock moves on."""

        def call() -> str:
            self.time += seconds
            return result

        return call

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(each.phase, each.outcome) for each in self.told]


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def real() -> Given:
    return Given(real=True)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    with Hanging() as call:
        yield call


def fetch(phases: Phases, call: Callable[[], Any], phase: Phase = "storage_wait") -> tuple[Any, PhaseReport]:
    with phases:
        with phases.phase(phase) as run:
            result = run.run(call)
        return result, phases.finish()


# All is well


def test_a_fetch_within_its_limits_is_timed_and_told_phase_by_phase(given: Given) -> None:
    phases = given.phases(max_wait_storage=5, max_wait_live=5, total_deadline=9, min_coverage=0.9, max_staleness=60)
    with phases:
        with phases.phase("storage_wait") as run:
            assert run.run(given.taking(2.0)) == "rows"
            run.saw(10, watermark=7)
        given.time += 0.5
        with phases.phase("live_wait") as run:
            assert run.run(given.taking(1.0)) == "rows"
            run.saw(3, watermark=9)
        assert phases.check_staleness(30.0, watermark=9) == Proceed()
        assert phases.check_coverage(0.95, [MISSING]) == Proceed()
        report = phases.finish(rows=13, watermark=9)
    assert report == PhaseReport({"storage_wait": 2.0, "live_wait": 1.0, "total": 3.5}, (), False, False, {}, "f1")
    assert given.outcomes == [
        ("storage_wait", "ok"),
        ("live_wait", "ok"),
        ("staleness", "ok"),
        ("coverage", "ok"),
        ("total", "ok"),
    ]
    storage, live, staleness, coverage, total = given.told
    assert (storage.elapsed_seconds, storage.budget_seconds, storage.rows, storage.watermark) == (2.0, 5.0, 10, 7)
    assert (live.elapsed_seconds, live.budget_seconds, live.lane) == (1.0, 5.0, "live")
    assert (staleness.elapsed_seconds, staleness.budget_seconds, staleness.watermark) == (30.0, 60.0, 9)
    assert (coverage.coverage, coverage.min_coverage, coverage.elapsed_seconds) == (0.95, 0.9, 3.5)
    assert (total.elapsed_seconds, total.budget_seconds, total.rows, total.coverage) == (3.5, 9.0, 13, 0.95)
    for each in given.told:
        assert (each.world, each.dataset, each.consumer, each.interval) == ("paper", "bars", "alpha", "1d")
        assert (each.fetch_id, each.symbols, each.at, each.final, each.synthetic) == ("f1", 2, NOON, True, False)


def test_a_phase_that_is_entered_again_is_told_again_with_what_it_was_handed_then(given: Given) -> None:
    phases = given.phases(max_wait_storage=5)
    for seconds in (2.0, 1.0):
        with phases.phase("storage_wait") as run:
            run.run(given.taking(seconds))
    assert [(each.elapsed_seconds, each.budget_seconds) for each in given.told] == [(2.0, 5.0), (1.0, 3.0)]
    assert phases.report().timings == {"storage_wait": 3.0, "total": 3.0}


def test_what_is_kept_for_later_is_not_handed_out(given: Given) -> None:
    phases = given.phases(total_deadline=10)
    with phases.phase("backfill_wait", reserve=4.0) as run:
        assert run.left() == 6.0
        run.run(given.taking(1.0))
        assert run.left() == 5.0
    assert phases.left() == 9.0


def test_phases_do_not_overlap(given: Given) -> None:
    phases = given.phases()
    with phases.phase("storage_wait"), pytest.raises(ValueError, match="phases follow one another"):
        phases.phase("live_wait").__enter__()


def test_rows_that_backfill_brings_are_told_as_such(given: Given) -> None:
    phases = given.phases()
    with phases.phase("backfill_wait") as run:
        run.saw(1, 5)
    with phases.phase("storage_wait") as run:
        run.saw(1, 5, lane="backfill")
    assert [each.lane for each in given.told] == ["backfill", "backfill"]


# No answer, by phase and policy


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("limit", ["own", "total"])
def test_fail_fast_raises_on_time_whatever_hangs(real: Given, hanging: Hanging, phase: Phase, limit: str) -> None:
    fields = {"total_deadline": 0.2} if limit == "total" else {WAITS[phase]: 0.2}

    def attempt() -> SeamlessSLAExceeded:
        phases = real.phases(**fields)
        phases.lacks([MISSING])
        with pytest.raises(SeamlessSLAExceeded) as caught:
            fetch(phases, hanging, phase)
        return caught.value

    took, error = quickest(attempt, 0.25, times=3)
    assert took <= 0.3
    assert (error.phase, error.during) == (phase if limit == "own" else "total", phase)
    assert error.budget == 0.2
    assert 0.2 <= error.elapsed <= took
    assert (error.dataset, error.symbols, error.missing) == ("bars", ("AAPL", "IBM"), (MISSING,))
    assert real.outcomes[-2:] == [(phase, "violated"), ("total", "violated")]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("limit", ["own", "total"])
def test_partial_fill_goes_on_in_time_without_what_hangs(
    real: Given, hanging: Hanging, phase: Phase, limit: str
) -> None:
    fields = {"total_deadline": 0.2} if limit == "total" else {WAITS[phase]: 0.2}
    took, (result, report) = quickest(
        lambda: fetch(real.phases(**fields, on_violation="partial_fill"), hanging, phase), 0.25, times=3
    )
    assert took <= 0.3
    assert isinstance(result, Timeout)
    assert report.partial
    assert not report.held
    assert list(report.reasons) == [phase]
    assert "gave no answer within 0.2 s" in report.reasons[phase]
    assert [each.objective for each in report.violations] == [phase if limit == "own" else "total"]
    assert real.outcomes[-2:] == [(phase, "partial"), ("total", "partial")]
    assert real.timeouts[-1] == result


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("limit", ["own", "total"])
def test_hold_reports_on_time_and_waits_for_the_answer(real: Given, hanging: Hanging, phase: Phase, limit: str) -> None:
    fields = {"total_deadline": 0.2} if limit == "total" else {WAITS[phase]: 0.2}
    found: list[tuple[Any, PhaseReport]] = []
    phases = real.phases(**fields, retry_backoff=0.001, on_violation="hold")
    reader = threading.Thread(target=lambda: found.append(fetch(phases, hanging, phase)))
    reader.start()
    assert eventually(lambda: real.outcomes == [(phase, "hold")])
    [interim] = real.told
    assert not interim.final
    assert phases.report().violations[0].actual >= 0.2
    assert not found
    hanging.release()
    reader.join(20)
    [(result, report)] = found
    assert result == "late"
    assert (report.partial, report.held) == (False, True)
    assert [each.objective for each in report.violations] == [phase if limit == "own" else "total"]
    assert real.outcomes == [(phase, "hold"), (phase, "hold"), ("total", "hold")]
    assert real.told[1].final


@pytest.mark.parametrize("on_violation", ["fail_fast", "partial_fill", "hold"])
def test_what_is_left_of_the_whole_is_shared_by_all_phases(
    real: Given, hanging: Hanging, on_violation: OnViolation
) -> None:
    if on_violation == "hold":
        hanging.release()

    def attempt() -> None:
        phases = real.phases(total_deadline=0.5, max_wait_storage=0.2, on_violation=on_violation)
        try:
            with phases:
                for phase in PHASES:
                    with phases.phase(phase) as run:
                        run.run(hanging)
        except SeamlessSLAExceeded:
            assert on_violation == "fail_fast"

    took, _ = quickest(attempt, 0.55, times=3)
    assert took <= 0.6


def test_with_no_time_left_nothing_is_called_any_more(given: Given, hanging: Hanging) -> None:
    phases = given.phases(total_deadline=5, on_violation="partial_fill")
    given.time += 6.0
    with phases.phase("storage_wait") as run:
        assert isinstance(run.run(hanging), Timeout)
    assert hanging.begun == 0
    assert phases.report().violations == (Violated("total", 5.0, 6.0, "partial", "storage_wait"),)


def test_a_wait_of_nothing_asks_and_does_not_wait(real: Given, hanging: Hanging) -> None:
    phases = real.phases(max_wait_backfill=0, total_deadline=30, on_violation="partial_fill")
    result, report = fetch(phases, hanging, "backfill_wait")
    assert isinstance(result, Timeout)
    assert report.partial
    assert eventually(lambda: hanging.begun == 1)


def test_what_hangs_is_refused_at_once_with_the_reason(real: Given, hanging: Hanging) -> None:
    for _ in range(4):
        fetch(real.phases(max_wait_storage=0.01, retry_backoff=0.001, on_violation="partial_fill"), hanging)
    with pytest.raises(SeamlessSLAExceeded) as caught:
        fetch(real.phases(max_wait_storage=60), hanging)
    assert "storage_wait was given up after 0" in str(caught.value)
    assert "the storage /archive was not asked, as 4 earlier calls to it still hang" in str(caught.value)
    assert hanging.begun == 4
    assert real.timeouts[-1].refused


def test_hold_asks_what_hangs_as_soon_as_it_may(real: Given, hanging: Hanging) -> None:
    for _ in range(4):
        fetch(real.phases(max_wait_storage=0.01, retry_backoff=0.001, on_violation="partial_fill"), hanging)
    found: list[Any] = []
    phases = real.phases(max_wait_storage=60, on_violation="hold")
    reader = threading.Thread(target=lambda: found.append(fetch(phases, lambda: "rows")))
    reader.start()
    assert eventually(lambda: ("storage_wait", "hold") in real.outcomes)
    hanging.release()
    reader.join(20)
    assert found[0][0] == "rows"


# Late, though with an answer


@pytest.mark.parametrize(
    ("on_violation", "outcome"), [("fail_fast", "violated"), ("partial_fill", "violated"), ("hold", "hold")]
)
def test_an_answer_that_is_late_is_a_violation_that_leaves_nothing_out(
    given: Given, on_violation: OnViolation, outcome: str
) -> None:
    phases = given.phases(max_wait_storage=60, on_violation=on_violation)
    raised = None
    try:
        with phases.phase("storage_wait") as run:
            assert run.run(lambda: "rows") == "rows"
            given.time += 61.0  # what is done with the answer counts, too
    except SeamlessSLAExceeded as error:
        raised = error
    assert (raised is not None) == (on_violation == "fail_fast")
    assert given.outcomes == [("storage_wait", outcome)]
    report = phases.report()
    assert not report.partial
    assert [each.objective for each in report.violations] == ["storage_wait"]


def test_time_that_passes_between_phases_counts_for_the_whole(given: Given) -> None:
    phases = given.phases(total_deadline=5)
    given.time += 6.0
    with pytest.raises(SeamlessSLAExceeded, match="it took 6 s, and total_deadline is 5 s"):
        phases.finish()
    assert given.outcomes == [("total", "violated")]


def test_a_fetch_finishes_once(given: Given) -> None:
    phases = given.phases()
    with phases:
        phases.finish(rows=1)
        phases.finish(rows=2)
    assert [each.rows for each in given.told] == [1]


# Checks


@pytest.mark.parametrize(
    ("on_violation", "outcome", "partial", "held"),
    [("fail_fast", "violated", False, False), ("partial_fill", "partial", True, False), ("hold", "hold", False, True)],
)
@pytest.mark.parametrize("check", ["staleness", "coverage"])
def test_a_check_that_fails_does_as_the_policy_says(
    given: Given, check: str, on_violation: OnViolation, outcome: str, partial: bool, held: bool
) -> None:
    phases = given.phases(max_staleness=60, min_coverage=0.9, on_violation=on_violation)
    decision, raised = None, None
    try:
        decision = phases.check_staleness(61.0) if check == "staleness" else phases.check_coverage(0.8, [MISSING])
    except SeamlessSLAExceeded as error:
        raised = error
    assert (raised is not None) == (on_violation == "fail_fast")
    if raised is not None:
        assert raised.phase == check
        assert raised.missing == ((MISSING,) if check == "coverage" else ())
    else:
        assert isinstance(decision, Violated)
    report = phases.report()
    assert (report.partial, report.held) == (partial, held)
    assert given.outcomes == [(check, outcome)]


def test_an_objective_that_stays_broken_is_one_violation_and_told_each_time(given: Given) -> None:
    phases = given.phases(max_staleness=60, on_violation="hold")
    for age in (61.0, 90.0):
        phases.check_staleness(age)
    assert [each.actual for each in phases.report().violations] == [61.0]
    assert [each.elapsed_seconds for each in given.told] == [61.0, 90.0]


# Errors


def test_an_error_of_a_call_goes_through_and_is_told(given: Given) -> None:
    def broken() -> str:
        raise LookupError("no such table")

    with pytest.raises(LookupError, match="no such table"):
        fetch(given.phases(), broken)
    assert given.outcomes == [("storage_wait", "failed"), ("total", "failed")]


class Flaky:
    """Fails so often, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"refused {self.calls}")
        return "rows"


@pytest.mark.parametrize("on_violation", ["fail_fast", "partial_fill", "hold"])
def test_what_fails_is_tried_again_after_a_pause(real: Given, on_violation: OnViolation) -> None:
    phases = real.phases(retry_backoff=0.001, on_violation=on_violation)
    flaky = Flaky(2)
    with phases.phase("backfill_wait") as run:
        assert run.retry(flaky, ConnectionError) == "rows"
    assert flaky.calls == 3
    assert real.outcomes == [("backfill_wait", "ok")]


def test_what_fails_each_time_is_raised_as_it_is_if_the_policy_says_to_fail(real: Given) -> None:
    flaky = Flaky(9)
    phases = real.phases(retry_backoff=0.001)
    with pytest.raises(ConnectionError, match="refused 3"), phases.phase("backfill_wait") as run:
        run.retry(flaky, ConnectionError)
    assert real.outcomes == [("backfill_wait", "failed")]


def test_what_fails_each_time_is_left_out_if_the_policy_says_to_go_on(real: Given) -> None:
    phases = real.phases(retry_backoff=0.001, on_violation="partial_fill")
    with phases.phase("backfill_wait") as run:
        result = run.retry(Flaky(9), ConnectionError)
    assert isinstance(result, Failed)
    assert (result.tries, result.reason) == (3, "refused 3")
    assert phases.report().reasons == {"backfill_wait": "refused 3"}
    assert phases.report().partial
    assert real.outcomes == [("backfill_wait", "partial")]


def test_what_fails_is_tried_for_ever_if_the_policy_says_to_hold(real: Given) -> None:
    phases = real.phases(retry_backoff=0.001, on_violation="hold")
    flaky = Flaky(7)
    with phases.phase("backfill_wait") as run:
        assert run.retry(flaky, ConnectionError) == "rows"
    assert flaky.calls == 8


def test_no_try_begins_that_would_come_too_late(given: Given) -> None:
    phases = given.phases(max_wait_backfill=30, retry_backoff=20, on_violation="partial_fill")
    flaky = Flaky(9)
    with phases.phase("backfill_wait") as run:
        given.time += 25.0  # a pause is at least half of the backoff
        assert isinstance(run.retry(flaky, ConnectionError), Failed)
    assert flaky.calls == 1


def test_another_error_is_not_tried_again(real: Given) -> None:
    flaky = Flaky(9)
    phases = real.phases()
    with pytest.raises(ConnectionError, match="refused 1"), phases.phase("backfill_wait") as run:
        run.retry(flaky, LookupError)


def test_an_observer_that_fails_does_not_fail_the_fetch(given: Given) -> None:
    def broken(_: Observation) -> None:
        raise RuntimeError("no")

    given.observers.insert(0, broken)
    assert fetch(given.phases(), lambda: "rows")[0] == "rows"
    assert given.outcomes == [("storage_wait", "ok"), ("total", "ok")]


# Whoever waits by itself


def test_a_caller_that_waits_by_itself_gives_up_with_an_error_if_the_policy_says_to_fail(given: Given) -> None:
    phases = given.phases(max_wait_live=2)

    def wait() -> None:
        with phases.phase("live_wait") as run:
            given.time += 2.0
            run.give_up("no bar came")

    with pytest.raises(SeamlessSLAExceeded, match="no bar came"):
        wait()
    assert given.outcomes == [("live_wait", "violated")]


@pytest.mark.parametrize(("on_violation", "outcome"), [("partial_fill", "partial"), ("hold", "hold")])
def test_a_caller_that_waits_by_itself_goes_on_if_the_policy_says_so(
    given: Given, on_violation: OnViolation, outcome: str
) -> None:
    phases = given.phases(max_wait_live=2, on_violation=on_violation)
    with phases.phase("live_wait") as run:
        given.time += 2.0
        run.give_up("no bar came")
        run.give_up("no bar came")
    told = [(each.outcome, each.final) for each in given.told]
    assert told == ([(outcome, False), (outcome, True)] if outcome == "hold" else [(outcome, True)])


def test_there_is_no_limit_to_a_wait_that_holds(given: Given) -> None:
    with given.phases(max_wait_live=2, on_violation="hold").phase("live_wait") as run:
        assert run.left() is None


# Stopping


def test_a_stop_ends_a_wait_that_holds(real: Given, hanging: Hanging) -> None:
    phases = real.phases(max_wait_live=0.01, retry_backoff=0.001, on_violation="hold")
    errors: list[BaseException] = []

    def read() -> None:
        try:
            fetch(phases, hanging, "live_wait")
        except Stopped as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert eventually(lambda: ("live_wait", "hold") in real.outcomes)
    phases.stop()
    reader.join(20)
    assert len(errors) == 1
    assert ("total", "hold") not in real.outcomes


def test_a_stop_ends_the_wait_for_a_turn(real: Given, hanging: Hanging) -> None:
    real.calls = Calls(most_running=1)
    target = real.calls.target("broker")
    target.start(hanging, 5.0)
    phases = real.phases(max_wait_live=60)
    errors: list[BaseException] = []

    def read() -> None:
        try:
            fetch(phases, lambda: "rows", "live_wait")
        except Stopped as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert not real.told
    phases.stop()
    reader.join(20)
    assert len(errors) == 1


def test_a_call_that_gets_no_turn_in_time_is_left_out_with_the_reason(real: Given, hanging: Hanging) -> None:
    real.calls = Calls(most_running=1)
    real.calls.target("broker").start(hanging, 5.0)
    phases = real.phases(max_wait_live=0.4, on_violation="partial_fill")
    took, (result, report) = quickest(lambda: fetch(phases, lambda: "rows", "live_wait"), 0.45, times=1)
    assert isinstance(result, Timeout)
    assert took >= 0.4
    assert report.reasons == {"live_wait": "the broker gave no answer within 0.4 s"}


def test_a_stop_ends_the_pauses_between_tries(real: Given) -> None:
    phases = real.phases(retry_backoff=30, on_violation="hold")
    flaky = Flaky(99)
    errors: list[BaseException] = []

    def read() -> None:
        try:
            with phases.phase("backfill_wait") as run:
                run.retry(flaky, ConnectionError)
        except Stopped as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert eventually(lambda: flaky.calls == 1)
    phases.stop()
    reader.join(20)
    assert len(errors) == 1


def test_the_next_step_of_a_stream_has_all_its_time_and_is_stopped_with_it(given: Given) -> None:
    phases = given.phases(total_deadline=5, max_wait_live=2)
    with phases.phase("live_wait") as run:
        run.run(given.taking(2.0))
    step = phases.renewed()
    assert step.left() == 5.0
    assert step.fetch_id == phases.fetch_id
    with step.phase("live_wait") as run:
        assert run.left() == 2.0
    step.stop()
    with pytest.raises(Stopped), phases.phase("live_wait"):
        pass
