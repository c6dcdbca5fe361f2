"""What one dataset's normalizer is made of: its contract, topics, codecs and pipeline, looked up once at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from schemas.codec import Encoder
from schemas.conformance import ConformancePipeline
from schemas.contract import Contract
from streams import topics
from streams.dataset_checks import check_interval
from streams.errors import BrokerError, ContractError, RegistryError
from streams.events import EventCodec
from streams.log import get_logger
from streams.registry import RegisteredSchema, Registry
from streams.schema_checks import check_contract
from streams.settings import Settings
from streams.topic_admin import TopicAdmin

__all__ = [
    "NormalizerJob",
    "check_topics",
    "earlier_contracts",
    "make_pipeline",
    "normalizer_group",
    "registered_contract",
]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NormalizerJob:
    """Everything about a dataset that does not change while the process runs."""

    dataset: str
    raw: str
    normalized: str
    quarantine: str
    state: str
    reports: str
    group: str
    contract: Contract
    contract_version: int
    pipeline: ConformancePipeline
    encoder: Encoder
    state_codec: EventCodec
    report_codec: EventCodec
    quarantine_codec: EventCodec
    audit: str
    audit_codec: EventCodec

    @classmethod
    def prepare(cls, settings: Settings, dataset: str, registry: Registry) -> NormalizerJob:
        """Look everything up.

        Raises:
            SettingsError: if the dataset is not configured.
            RegistryError: if a subject is not registered, or the registry cannot be reached.
            ContractError: if the registered contract is broken.
            BrokerError: if a topic is missing or has another number of partitions, or Kafka cannot be reached.
        """
        world = settings.world
        settings.dataset(dataset)
        registered = registered_contract(registry, world, dataset)
        contract = Contract.parse(registered.schema)
        quarantine, state = topics.quarantine(world, dataset), topics.conformance_state(world, dataset)
        reports, audit = topics.conformance_reports(world), topics.schema_audit(world)
        check_topics(settings, dataset, (topics.raw, topics.normalized, topics.quarantine, topics.conformance_state))
        return cls(
            dataset=dataset,
            raw=topics.raw(world, dataset),
            normalized=topics.normalized(world, dataset),
            quarantine=quarantine,
            state=state,
            reports=reports,
            group=normalizer_group(world, dataset),
            contract=contract,
            contract_version=registered.version,
            pipeline=make_pipeline(
                settings, dataset, contract, registered.version, earlier_contracts(registry, registered)
            ),
            encoder=Encoder(contract.record, registered.id),
            state_codec=EventCodec(registry, state, "conformance_state"),
            report_codec=EventCodec(registry, reports, "conformance_report"),
            quarantine_codec=EventCodec(registry, quarantine, "quarantined_row"),
            audit=audit,
            audit_codec=EventCodec(registry, audit, "schema_audit"),
        )


def normalizer_group(world: str, dataset: str) -> str:
    """Return the consumer group whose offsets say how far a dataset is normalized."""
    return f"{world}.normalizer.{dataset}"


def registered_contract(registry: Registry, world: str, dataset: str, version: int | None = None) -> RegisteredSchema:
    """Return a version of the contract registered for a dataset, the newest if none is named.

    Raises:
        RegistryError: if there is none; the registry, not a file, is where the contract in force stands.
    """
    subject = topics.subject(topics.normalized(world, dataset))
    found = registry.latest(subject) if version is None else registry.version(subject, version)
    if found is None:
        which = "no contract" if version is None else f"no version {version} of the contract"
        raise RegistryError(f"{which} is registered under {subject}: run `seamless schema register`")
    return found


def earlier_contracts(registry: Registry, newest: RegisteredSchema) -> dict[int, Contract]:
    """Return the versions of a contract before the one in force, without those that are no contracts to us.

    Raises:
        RegistryError: if the registry does not answer.
    """
    found = {}
    for version in registry.versions(newest.subject):
        registered = registry.version(newest.subject, version) if version < newest.version else None
        if registered is not None:
            try:
                found[version] = check_contract(registered.schema)
            except ContractError as error:  # of another release, perhaps: rows of it are judged by the newest
                log.warning("contract_unreadable", subject=newest.subject, version=version, error=str(error))
    return found


def make_pipeline(
    settings: Settings,
    dataset: str,
    contract: Contract,
    version: int,
    earlier: Mapping[int, Contract] | None = None,
) -> ConformancePipeline:
    """Return the pipeline that a dataset's rows pass, live ones and backfilled ones.

    Args:
        earlier: versions before that; rows that were written with one are judged by its rules.

    Raises:
        ContractError: if the contract's rules do not compile.
        SettingsError: if the dataset has an interval, and the contract is one of ticks.
    """
    wanted = settings.dataset(dataset)
    check_interval(settings, dataset, contract)
    return ConformancePipeline(
        contract,
        settings.mode_of(dataset),
        dataset=dataset,
        world=settings.world,
        interval_ns=wanted.interval_ns(),
        calendar=wanted.calendar,
        lateness_ns=wanted.lateness_ns(),
        memory=settings.conformance.memory,
        timezone=wanted.timezone,
        version=version,
        earlier=earlier,
    )


def check_topics(settings: Settings, dataset: str, kinds: Iterable[Callable[[str, str], str]]) -> None:
    """Check that the topics of a dataset are there, and those of reports, governance and operations.

    A row goes to the partition of its key in every topic of the dataset, so all must have as many.

    Args:
        kinds: what names the topics, such as `streams.topics.raw`.

    Raises:
        BrokerError: if a topic is missing or has another number of partitions, or Kafka cannot be reached.
    """
    world, partitions = settings.world, settings.dataset(dataset).partitions
    wanted = [kind(world, dataset) for kind in kinds]
    shared = [
        topics.conformance_reports(world),
        topics.schema_governance(world),
        topics.schema_audit(world),
        topics.operations(world),
    ]
    found = TopicAdmin(settings.kafka).existing([*wanted, *shared])
    missing = [name for name in (*wanted, *shared) if name not in found]
    if missing:
        raise BrokerError(f"there is no topic {', '.join(missing)}: run `seamless topics apply`")
    for name in wanted:
        if found[name].partitions != partitions:
            raise BrokerError(
                f"the topic {name} has {found[name].partitions} partitions, and the settings say {partitions}: set "
                f"seamless.datasets.{dataset}.partitions to what all topics of the dataset have"
            )
