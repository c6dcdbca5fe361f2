"""The evidence before a promotion: reports from Kafka, levels from the registry, exceptions from their file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from schemas.contract import Contract, load_contract
from schemas.errors import ContractError
from schemas.report import ConformanceReport
from streams import topics
from streams.errors import BrokerError
from streams.events import EventCodec
from streams.partition_reader import PartitionReader
from streams.promotion import Evidence, Thresholds
from streams.registry import Registry
from streams.schema_checks import exceptions_of
from streams.schema_policy import SchemaPolicy
from streams.settings import Settings

__all__ = ["contracts_of", "gather_evidence", "reports_since"]

_BATCH = 1_000
_SILENCE_SECONDS = 30.0


def gather_evidence(
    settings: Settings, registry: Registry, policy: SchemaPolicy, thresholds: Thresholds, now: datetime
) -> Evidence:
    """Return what is known of a policy's dataset.

    Raises:
        ContractError: if the exceptions cannot be read.
        RegistryError, BrokerError: if registry or broker do not answer.
    """
    world, dataset = settings.world, policy.dataset
    since = now - thresholds.window
    if policy.mode == "canary" and policy.at:
        since = min(since, datetime.fromtimestamp(policy.at / 1_000, UTC))
    contracts = contracts_of(settings)
    problems = [
        problem
        for problem in exceptions_of(settings).problems(contracts, now.date())
        if problem.startswith(f"exception {dataset}:")
    ]
    return Evidence(
        policy,
        sorted(reports_since(settings, registry, dataset, since), key=lambda r: r.created_at or now),
        registry.compatibility(topics.subject(topics.raw(world, dataset))),
        registry.compatibility(topics.subject(topics.normalized(world, dataset))),
        problems,
        now,
    )


def contracts_of(settings: Settings) -> dict[str, Contract | None]:
    """Return the contract of every dataset; None where it cannot be read."""
    found: dict[str, Contract | None] = {}
    for name, dataset in settings.datasets.items():
        try:
            found[name] = load_contract(dataset.contract)
        except ContractError:
            found[name] = None
    return found


def reports_since(settings: Settings, registry: Registry, dataset: str, since: datetime) -> Iterator[ConformanceReport]:
    """Yield the committed reports of a dataset from a moment on.

    Raises:
        BrokerError: if Kafka does not answer, or the topic is not there.
    """
    topic = topics.conformance_reports(settings.world)
    codec = EventCodec(registry, topic, "conformance_report")
    reader = PartitionReader(settings, topic, lambda n: list(range(n)), since, until_end=True)
    try:
        while (records := reader.read(_BATCH, _SILENCE_SECONDS)) is not None:
            for value in records.values:
                if value is None:
                    raise BrokerError(f"{topic} holds a record without value: something else writes there")
                datum = codec.decode(value)
                if datum["dataset"] == dataset:
                    yield ConformanceReport.from_avro(datum)
    finally:
        reader.close()
