"""All that the demo does once its stack runs."""

from __future__ import annotations

from schemas.report import merge_reports
from streams.clock import monotonic
from streams.demo import steps
from streams.demo.checks import compare
from streams.demo.expected import expected_facts
from streams.demo.market import load_market
from streams.demo.outcome import Outcome, found_facts
from streams.demo.place import DATASET, Place
from streams.demo.reports import ReportReader
from streams.demo.scenario import make_scenario
from streams.demo.show import Show
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["run_pipeline"]


def run_pipeline(show: Show, place: Place, settings: Settings, began: float) -> Outcome:
    """Do all that a stack is needed for, from topics to the last count.

    Args:
        began: when the demo began, on the monotonic clock.

    Raises:
        DemoFailed: if the normalizer ends or does not get there in time.
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
        quarantined = steps.quarantine(show, settings, registry)
    strategy = steps.strategy(show, settings, scenario)
    show.step(
        "Every count",
        "What must come of the data and its faults was reckoned from the faults and the calendar, not by the pipeline.",
    )
    checks = compare(expected_facts(market), found_facts(sending, report, quarantined, strategy))
    outcome = Outcome(checks, monotonic() - began, report)
    show.checks(checks)
    show.verdict(checks, outcome.seconds)
    return outcome
