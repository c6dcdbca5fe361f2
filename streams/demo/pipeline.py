"""All that the demo does once its stack runs."""

from __future__ import annotations

from contextlib import closing

from coordinator.local import LocalBackfillCoordinator
from operations.stack.processes import ProcessRef
from schemas.report import merge_reports
from streams.clock import monotonic
from streams.demo import backfill, steps
from streams.demo.checks import compare
from streams.demo.crew import working
from streams.demo.expected import expected_facts
from streams.demo.market import load_market
from streams.demo.outcome import Outcome, Told, found_facts
from streams.demo.place import DATASET, Place
from streams.demo.promise import break_promise, watching
from streams.demo.reports import ReportReader
from streams.demo.scenario import make_scenario
from streams.demo.series import one_series
from streams.demo.show import Show
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["run_pipeline"]


def run_pipeline(show: Show, place: Place, settings: Settings, broker: ProcessRef, began: float) -> Outcome:
    """Do all that a stack is needed for, from topics to the last count.

    Args:
        broker: the stack's, to be made to hang.
        began: when the demo began, on the monotonic clock.

    Raises:
        DemoFailed: if a process ends or does not get there in time.
        SeamlessError: if Kafka or the registry refuses.
    """
    market = load_market()
    scenario = make_scenario(market)
    with Registry(settings.registry) as registry:
        raw = steps.prepare(show, settings, registry)
        with steps.normalizer(show, place) as process, ReportReader(settings, DATASET, registry) as reader:
            sending = steps.send(show, settings, scenario, raw)
            reports = steps.await_reports(show, place, settings, reader, process)
            steps.end(process)
            report = merge_reports(reports + reader.rest())
        steps.tell(show, market, report)
        with working(place) as crew:  # they take seconds to start, and meanwhile there is something to read
            quarantined = steps.quarantine(show, settings, registry)
            live = steps.strategy(show, settings, scenario)
            with closing(LocalBackfillCoordinator(settings, registry)) as coordinator:
                request = backfill.plan(show, coordinator, market)
                backfill.muster(show, settings, crew)
                filling = backfill.fill(show, coordinator, request, crew)
                verdict = backfill.prove(show, place, settings, coordinator, filling)
            history = steps.strategy_again(show, settings, registry, live)
            with watching(place) as watch:  # it takes seconds to start, too
                series = one_series(show, place, settings, market, live.rows + history.height)
                crew.end()
                promise = break_promise(show, settings, registry, broker, watch)
    show.step(
        "Every count",
        "What must come of the data, its faults and its hole was reckoned from them and the calendar, not by the "
        "pipeline.",
    )
    told = Told(sending, report, quarantined, live, filling, verdict, history, series, promise)
    checks = compare(expected_facts(market), found_facts(told, market))
    outcome = Outcome(checks, monotonic() - began, report)
    show.checks(checks)
    show.verdict(checks, outcome.seconds)
    return outcome
