"""The steps of the demo, each said and done: what a user does by command, done by the same code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from operations.stack.processes import ProcessRef, tail
from schemas.avro import parse_record
from schemas.contract import Contract
from schemas.report import ConformanceReport
from streams import topics
from streams.clock import Deadline, monotonic
from streams.demo.coverage import coverage
from streams.demo.examples import examples
from streams.demo.expected import FAST, SLOW
from streams.demo.failed import DemoFailed
from streams.demo.faults import write_past
from streams.demo.history import read_history
from streams.demo.hole import HOLE
from streams.demo.market import days_and_sessions
from streams.demo.outcome import Sending
from streams.demo.place import DATASET, Place
from streams.demo.reports import ReportReader, covered, raw_ends
from streams.demo.scenario import FAULTS, Scenario
from streams.demo.show import Show
from streams.demo.strategy import MovingAverages
from streams.producer import GovernedProducer, ProduceRefused
from streams.quarantine_store import QuarantinedRow, QuarantineStore, RowChoice
from streams.registry import RegisteredSchema, Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings
from streams.subscription import subscribe
from streams.topic_admin import TopicAdmin

__all__ = ["await_reports", "end", "normalizer", "prepare", "quarantine", "send", "strategy", "strategy_again", "tell"]

_NORMALIZED_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.2
_LOG_LINES = 15
_NORMALIZER = "normalizer"


def prepare(show: Show, settings: Settings, registry: Registry) -> RegisteredSchema:
    """Create topics and register schemas; return the vendor's."""
    show.step(
        "Topics and schemas",
        "The contract says what a normalized row is. The vendor keeps its own schema, with its own names, prices as "
        "text and local dates; it is let in because the contract can conform it.",
    )
    with show.busy("creating topics"):
        created = TopicAdmin(settings.kafka).apply(topics.topics_for(settings))
    show.done(f"{len(created)} topics created", "seamless topics apply")
    with show.busy("registering schemas"):
        verdicts = register_subjects(registry, wanted_subjects(settings))
    show.done(f"{len(verdicts)} schemas registered", "seamless schema register")
    raw = registry.latest(topics.subject(topics.raw(settings.world, DATASET)))
    contract = registry.latest(topics.subject(topics.normalized(settings.world, DATASET)))
    if raw is None or contract is None:
        raise DemoFailed(f"the schemas of {DATASET} are not in the registry, though they were just registered")
    show.schemas(parse_record(raw.schema), Contract.parse(contract.schema))
    return raw


@contextmanager
def normalizer(show: Show, place: Place) -> Iterator[ProcessRef]:
    """Run the normalizer while the block runs."""
    show.step(
        "The normalizer",
        "A process of its own. In blocking mode rows that break the contract go to quarantine. Rows, quarantine, "
        "states, reports and offsets are one transaction.",
    )
    process = place.start("normalize", _NORMALIZER)
    try:
        show.done(f"process {process.pid} started", "seamless normalize")
        yield process
    finally:
        process.kill()


def send(show: Show, settings: Settings, scenario: Scenario, raw: RegisteredSchema) -> Sending:
    """Send everything, and between its halves what the governed producer refuses."""
    show.step(
        "A feed with faults",
        "The governed producer checks rows before it sends them. What is only odd it lets through, to be flagged:",
    )
    show.faults([fault for fault in FAULTS if fault.by == "governed"])
    half = scenario.governed.height // 2
    with GovernedProducer(DATASET, settings) as producer:
        began = monotonic()
        producer.send(scenario.governed[:half])
        show.done(f"{half:,} rows sent, the first half", f"{monotonic() - began:.1f} s")
        show.step(
            "What no producer should send",
            "What breaks the contract it refuses. So that is written past it by a plain Kafka producer, as somebody "
            "without manners would, and so is junk that is no row at all:",
        )
        show.faults([fault for fault in FAULTS if fault.by != "governed"])
        try:
            producer.send(scenario.refused)
        except ProduceRefused as refused:
            show.refusal(str(refused))
        else:
            show.wrong("the producer took rows that it must refuse")
        past = write_past(settings, DATASET, raw, scenario.refused, scenario.junk)
        show.done(f"{past} records written past it, between the others")
        producer.send(scenario.governed[half:])
        counts = producer.close()
        show.done(f"{counts.delivered - half:,} rows sent, the second half of the feed")
    return Sending(counts.delivered, counts.refused, past)


def await_reports(
    show: Show, place: Place, settings: Settings, reader: ReportReader, normalizer: ProcessRef
) -> list[ConformanceReport]:
    """Return the reports of all raw rows that are there now.

    Raises:
        DemoFailed: if the normalizer ends before, or does not get there in time.
    """
    show.step(
        "Normalized",
        "Each transaction carries a report: what was found, how often, in which column and where first.",
    )
    ends = raw_ends(settings, DATASET)
    reports: list[ConformanceReport] = []
    deadline = Deadline(_NORMALIZED_SECONDS)
    with show.progress("normalizing", sum(ends.values())) as tell:
        while not covered(reports, ends):
            reports += reader.poll(_POLL_SECONDS)
            tell(sum(report.rows_in for report in reports))
            if not normalizer.alive() or deadline.passed():
                why = "was not done in time" if normalizer.alive() else "ended"
                raise DemoFailed(f"the normalizer {why}. Its log says:\n{tail(place.log(_NORMALIZER), _LOG_LINES)}")
    show.done(f"{sum(ends.values()):,} raw rows in {len(reports)} transactions")
    return reports


def tell(show: Show, market: pl.DataFrame, report: ConformanceReport) -> None:
    """Tell what was normalized."""
    days, sessions = days_and_sessions(market)
    show.done(f"{days:,} days, {sessions:,} NYSE sessions: no weekend, no holiday and no 9/11 is taken for a gap")
    show.report(report)


def end(normalizer: ProcessRef) -> None:
    """Ask the normalizer to end: it commits, leaves its group and goes."""
    normalizer.send(signal.SIGTERM)
    if not normalizer.wait(Deadline(_STOP_SECONDS)):
        raise DemoFailed(f"the normalizer did not end within {_STOP_SECONDS:g} s of being asked to")


def quarantine(show: Show, settings: Settings, registry: Registry) -> list[QuarantinedRow]:
    """Return the quarantined rows."""
    show.step(
        "The quarantine",
        "Nothing is thrown away: a row that failed keeps its bytes, its place and every reason, to be replayed after a "
        "fix. Its neighbours in the batch went through.",
    )
    rows = list(QuarantineStore(settings, DATASET, registry).rows(RowChoice(None)))
    show.quarantine(rows)
    return rows


def strategy(show: Show, settings: Settings, scenario: Scenario) -> MovingAverages:
    """Let the strategy read the normalized topic to its end."""
    show.step(
        "A strategy reads",
        f"It subscribes once and gets typed rows in UTC; a signal is where the {FAST}-day average crosses the "
        f"{SLOW}-day one. What the vendor wrote, and what the strategy gets:",
    )
    averages, frames = MovingAverages(FAST, SLOW), []
    with subscribe(DATASET, from_="earliest", settings=settings, until_end=True) as series:
        for frame in series:
            averages.take(frame)
            frames.append(frame)
    if frames:
        show.examples(examples(scenario, pl.concat(frames), series.contract))
    show.coverage(coverage(averages.bars()), {r.symbol: r.signals for r in averages.results()})
    show.remark(
        f"From {HOLE.first} up to {HOLE.end} the feed was away. The first bar after that is flagged as a gap, but an "
        "average that reaches over two years is worth nothing."
    )
    return averages


def strategy_again(show: Show, settings: Settings, registry: Registry, live: MovingAverages) -> pl.DataFrame:
    """Give the strategy what the backfill has brought; return that."""
    show.step(
        "The strategy again",
        "What came late is typed, in UTC and sound like the rest, as both went through the same contract. With it the "
        "strategy has every day, and other signals:",
    )
    history = read_history(settings, DATASET, registry)
    whole = live.joined(history)
    show.coverage(coverage(live.bars(), history), {})
    show.strategy(whole.results())
    return history
