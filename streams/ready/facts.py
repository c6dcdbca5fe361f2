"""What the checks of the definition of done are judged by, read from the topics, the registry and the coordinator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from coordinator.choice import open_coordinator
from coordinator.lease_event import LeaseEvent
from operations.monitoring.bundle import RUNBOOKS
from schemas.exceptions import Exceptions
from schemas.report import ConformanceReport
from streams import topics
from streams.errors import BrokerError, SeamlessError, SettingsError
from streams.events import EventCodec
from streams.partition_reader import PartitionReader
from streams.policy_feed import PolicyFeed
from streams.promotion_evidence import contracts_of
from streams.quarantine_store import QuarantineStore, RowChoice
from streams.ready.leases import LeaseFacts
from streams.ready.objectives import ObjectiveFacts
from streams.registry import Registry
from streams.schema_checks import exceptions_of
from streams.schema_policy import SchemaPolicy
from streams.settings import Settings
from streams.sla.breach import EVENT, Breach
from streams.sla.objectives import Objectives
from streams.sla.status import standings
from streams.sla.store import Codecs, read_states
from streams.topic_admin import TopicAdmin

__all__ = ["Facts", "runbook_pages"]

_BATCH = 1_000
_SILENCE_SECONDS = 30.0


class Facts:
    """Reads what is known of a system; changes nothing and joins no group.

    Each method raises a SeamlessError, such as BrokerError or RegistryError, if what it needs does not answer.

    Args:
        tell: told in a few words what is read, as it may take a while.
    """

    def __init__(self, settings: Settings, registry: Registry, tell: Callable[[str], None]) -> None:
        self._settings, self._registry, self._tell = settings, registry, tell

    def reports(self, since: datetime) -> Iterator[ConformanceReport]:
        """Yield the conformance reports of all datasets since then."""
        topic = topics.conformance_reports(self._settings.world)
        for datum in self._records(topic, EventCodec(self._registry, topic, "conformance_report"), since):
            yield ConformanceReport.from_avro(datum)

    def waiting(self, dataset: str) -> set[str]:
        """Return the violations of the rows that wait in a dataset's quarantine."""
        store = QuarantineStore(self._settings, dataset, self._registry)
        return {flag for row in store.rows(RowChoice("open")) for flag in row.flags}

    def leases(self, since: datetime) -> LeaseFacts:
        """Return the leases there are, from the coordinator, and what their log has since then."""
        self._tell("leases")
        topic = topics.backfill_leases(self._settings.world)
        events = []
        for datum in self._records(topic, EventCodec(self._registry, topic, "backfill_lease"), since):
            try:
                events.append(LeaseEvent.from_avro(datum))
            except ValueError:  # of a newer release
                continue
        with closing(open_coordinator(self._settings)) as coordinator:
            held = coordinator.leases()
        url = self._settings.coordinator_url
        return LeaseFacts(held, events, "the coordinator" if url is None else f"the coordinator at {url}")

    def objectives(self, since: datetime) -> ObjectiveFacts:
        """Return how promises stand, and the records of breaches since then."""
        settings, topic = self._settings, topics.sla_breaches(self._settings.world)
        self._tell("promises")
        codecs, state = Codecs(settings, self._registry), topics.sla_state(settings.world)
        found = TopicAdmin(settings.kafka).existing([state]).get(state)
        if found is None:
            raise BrokerError(f"there is no topic {state}: run `seamless topics apply`")
        stand = standings(Objectives(settings), [read_states(settings, codecs, [p]) for p in range(found.partitions)])
        breaches = self._records(topic, EventCodec(self._registry, topic, EVENT), since)
        return ObjectiveFacts(
            stand, [Breach.from_datum(each) for each in breaches], timedelta(seconds=settings.sla_agent.checkpoint_s)
        )

    def policies(self) -> list[SchemaPolicy]:
        """Return how schemas are judged, of each dataset."""
        self._tell("schemas")
        with closing(PolicyFeed(self._settings, self._registry)) as feed:
            feed.open()
            return [feed.policy(name) for name in sorted(self._settings.datasets)]

    def exceptions(self, now: datetime) -> tuple[Exceptions, dict[str, list[str]]]:
        """Return the exceptions there are, and by dataset what is wrong with them."""
        found = exceptions_of(self._settings)
        problems = found.problems(contracts_of(self._settings), now.date())
        return found, {
            name: [problem for problem in problems if problem.startswith(f"exception {name}:")]
            for name in self._settings.datasets
        }

    def _records(self, topic: str, codec: EventCodec, since: datetime) -> Iterator[dict[str, Any]]:
        """Yield what is committed to a topic since then, up to its end; never a part of it only."""
        reader = PartitionReader(self._settings, topic, lambda n: list(range(n)), since, until_end=True)
        read = 0
        with closing(reader):
            while (records := reader.read(_BATCH, _SILENCE_SECONDS)) is not None:
                read += len(records.values)
                self._tell(f"{read:,} records of {topic}")
                for value in records.values:
                    if value is not None:
                        yield _decoded(topic, codec, value)
            if not reader.at_end:
                raise BrokerError(
                    f"{topic} could not be read to its end: the broker fell silent, or a transaction is open"
                )


def _decoded(topic: str, codec: EventCodec, value: bytes) -> dict[str, Any]:
    try:
        return codec.decode(value)
    except SeamlessError:
        raise
    except Exception as error:  # whatever fastavro makes of damaged bytes
        raise BrokerError(f"{topic} has a record that cannot be read ({error}): something else writes there") from error


def runbook_pages(folder: Path | None = None) -> dict[str, dict[str, str]]:
    """Return runbooks by language and name, as they are exported: DIR/en/NAME.md.

    Args:
        folder: None for those of this package.

    Raises:
        SettingsError: if the folder cannot be read.
    """
    pages: dict[str, dict[str, str]] = {}
    try:
        for page in sorted((folder or RUNBOOKS).glob("*/*.md")):
            pages.setdefault(page.parent.name, {})[page.stem] = page.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--runbooks {folder}: they cannot be read: {error}. Name another folder") from error
    return pages
