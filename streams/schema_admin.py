"""What a world needs registered, and the two things done about it: look whether it could be, and do it.

Everything is judged offline first, so that a broken contract is refused before anything is sent; then the registry is
asked about every schema; only if it would take them all is anything registered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from schemas.avro import AvroSchema
from schemas.compatibility import Break, breaks, changed_meaning
from schemas.contract import Contract, load_contract, read_avsc
from schemas.diff import schema_diff
from schemas.errors import ContractError
from schemas.events import event_names, load_event
from schemas.naming import problems_of_names
from streams.errors import SettingsError
from streams.registry import RegisteredSchema, Registry, SchemaRefused
from streams.schema_checks import check_contract, is_contract, problems_of_raw
from streams.settings import Settings
from streams.topics import TOPICS, Kind, TopicSpec, subject, topics_for

__all__ = [
    "SubjectVerdict",
    "Subjects",
    "WantedSubject",
    "check_subjects",
    "register_subjects",
    "wanted_file",
    "wanted_subjects",
]


class Subjects(Protocol):
    """Where subjects are looked at: a registry, or a file of exported ones."""

    def latest(self, subject: str) -> RegisteredSchema | None: ...
    def versions(self, subject: str) -> list[int]: ...
    def version(self, subject: str, version: int) -> RegisteredSchema | None: ...
    def lookup(self, subject: str, schema: AvroSchema) -> RegisteredSchema | None: ...
    def compatibility(self, subject: str) -> str: ...
    def check_compatible(self, subject: str, schema: AvroSchema) -> list[str]: ...


Role = Literal["contract", "raw", "event"]
State = Literal["registered", "new", "compatible", "refused", "broken"]

# Contracts and events: any reader, old or new, reads any record ever written; the archive holds all of them.
GOVERNED = "FULL_TRANSITIVE"
# Raw schemas belong to vendors, who drop a column without asking and whose old records leave the topic with retention.
# The normalizer reads each record by the schema it was written with, and `admissible` guards that; all that is asked
# of the next version is that it can read what the last one wrote, so a replay of the raw topic needs one schema only.
VENDOR = "BACKWARD"


@dataclass(frozen=True, slots=True)
class WantedSubject:
    """A schema that should stand under a subject.

    Attributes:
        source: where the schema comes from: a contract's name, a path, or an event's name.
        schema: the schema; None if it cannot be read.
        compatibility: the level that the subject should have.
        problems: why the schema must not be registered, each naming the field; empty if all is well.
    """

    subject: str
    role: Role
    dataset: str | None
    source: str
    schema: AvroSchema | None
    compatibility: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectVerdict:
    """What is, or became, of a wanted subject.

    Attributes:
        state: `registered` (this very schema is there), `new` (the subject has no version yet), `compatible` (it would
            be, or became, the next version), `refused` by the registry, or `broken` by our own rules.
        version, id: of the schema where it is registered.
        written: whether it was registered just now.
        reasons: why it is refused or broken.
        level: the subject's compatibility level where it is another than the wanted one.
        newest: the newest version where that is another schema; it, and not the wanted one, is in force.
        breaks: of a refused schema, the very fields that break compatibility.
    """

    wanted: WantedSubject
    state: State
    version: int | None = None
    id: int | None = None
    written: bool = False
    reasons: tuple[str, ...] = ()
    level: str | None = None
    newest: int | None = None
    breaks: tuple[Break, ...] = ()


def wanted_subjects(settings: Settings, dataset: str | None = None) -> list[WantedSubject]:
    """Return the subject of every topic that the settings call for, in the order of the table of topics.

    `dataset` leaves out the topics of other datasets; SettingsError if it is not configured. Topics whose records
    have no schema yet, because nothing writes them, are left out.
    """
    if dataset is not None:
        settings.dataset(dataset)
    events = {load_event(name)["name"]: name for name in event_names()}
    cache: dict[str, _Contract] = {}
    wanted = []
    for spec in topics_for(settings):
        if dataset is not None and spec.dataset not in (None, dataset):
            continue
        if spec.kind is Kind.RAW:
            wanted.append(_raw(settings, spec, cache))
        elif spec.kind in (Kind.NORMALIZED, Kind.HISTORY):
            wanted.append(_contract(settings, spec, cache))
        elif (event := events.get(TOPICS[spec.kind].value)) is not None:
            topic = subject(spec.name)
            wanted.append(WantedSubject(topic, "event", spec.dataset, event, load_event(event), GOVERNED))
    return wanted


def wanted_file(settings: Settings, path: Path, name: str) -> WantedSubject:
    """Return a schema file as wanted under a subject.

    A file whose fields have roles is checked as a contract. Under a dataset's raw subject it must be admissible for
    the dataset's contract; under one of its contract subjects it must be a contract.

    Raises:
        ContractError: if the file cannot be read.
    """
    schema = read_avsc(path)
    known = next((w for w in wanted_subjects(settings) if w.subject == name), None)
    contract_like = is_contract(schema)
    role: Role = known.role if known else "contract" if contract_like else "raw"
    problems: list[str] = []
    if contract_like or role == "contract":
        problems = _problems_of_contract(schema)
    if known and role == "raw" and known.dataset and not problems:
        contract = _load(settings.dataset(known.dataset).contract)
        problems = problems_of_raw(schema, contract.parsed) if contract.parsed else list(contract.problems)
    level = VENDOR if role == "raw" else GOVERNED
    dataset = known.dataset if known else None
    return WantedSubject(name, role, dataset, str(path), schema, level, tuple(problems))


def check_subjects(registry: Subjects, wanted: Iterable[WantedSubject]) -> list[SubjectVerdict]:
    """Ask the registry (or a file of exported subjects) about every wanted subject and write nothing.

    Raises:
        RegistryError: if the registry cannot be asked.
    """
    return [_check(registry, each) for each in wanted]


def register_subjects(registry: Registry, wanted: Iterable[WantedSubject]) -> list[SubjectVerdict]:
    """Set compatibility levels and register what is missing; all of it or, if anything is wrong, nothing.

    A raw subject keeps the level that somebody gave it; it gets ours with its first version only.

    Raises:
        ContractError: if a schema is broken; nothing was sent.
        SchemaRefused: if the registry would refuse a schema; nothing was registered.
        RegistryError: if the registry cannot be asked.
    """
    wanted = list(wanted)
    _refuse([SubjectVerdict(w, "broken", reasons=w.problems) for w in wanted if w.problems], ContractError)
    for each in wanted:
        if (each.role != "raw" or registry.latest(each.subject) is None) and (
            registry.compatibility(each.subject) != each.compatibility
        ):
            registry.set_compatibility(each.subject, each.compatibility)
    found = check_subjects(registry, wanted)
    _refuse([v for v in found if v.state == "refused"], SchemaRefused)
    return [verdict if verdict.state == "registered" else _register(registry, verdict) for verdict in found]


def _register(registry: Registry, verdict: SubjectVerdict) -> SubjectVerdict:
    schema = verdict.wanted.schema
    if schema is None:
        raise ContractError(f"{verdict.wanted.subject}: there is no schema to register")
    done = registry.register(verdict.wanted.subject, schema)
    return SubjectVerdict(verdict.wanted, verdict.state, done.version, done.id, written=True)


def _check(registry: Subjects, wanted: WantedSubject) -> SubjectVerdict:
    if wanted.problems or wanted.schema is None:
        return SubjectVerdict(wanted, "broken", reasons=wanted.problems)
    latest = registry.latest(wanted.subject)
    level = registry.compatibility(wanted.subject) if latest is not None else wanted.compatibility
    other = level if level != wanted.compatibility else None
    there = registry.lookup(wanted.subject, wanted.schema) if latest is not None else None
    if latest is not None and there is not None:
        newest = latest.version if latest.version != there.version else None
        return SubjectVerdict(wanted, "registered", there.version, there.id, level=other, newest=newest)
    reasons = registry.check_compatible(wanted.subject, wanted.schema)
    found = _breaks(registry, wanted.subject, wanted.schema, level) if reasons else ()
    if latest is not None:
        reasons = [*map(str, found), *(r for r in reasons if r not in set(map(str, found)))]
        if reasons:
            reasons += [f"since version {latest.version}: {c}" for c in schema_diff(latest.schema, wanted.schema)]
        reasons += changed_meaning(latest.schema, wanted.schema)
    if reasons:
        return SubjectVerdict(wanted, "refused", reasons=tuple(reasons), level=other, breaks=found)
    return SubjectVerdict(wanted, "new" if latest is None else "compatible", level=other)


def _breaks(registry: Subjects, subject: str, schema: AvroSchema, level: str) -> tuple[Break, ...]:
    """Return the fields that break compatibility, which registries tell vaguely or not at all."""
    found = (registry.version(subject, number) for number in registry.versions(subject))
    try:
        return tuple(breaks(level, schema, [(v.version, v.schema) for v in found if v is not None]))
    except ContractError:  # of another release of a registry, perhaps: its own reasons have to do
        return ()


def _refuse(verdicts: list[SubjectVerdict], error: type[ContractError | SchemaRefused]) -> None:
    if not verdicts:
        return
    lines = "\n".join(f"  {v.wanted.subject} ({v.wanted.source}): {reason}" for v in verdicts for reason in v.reasons)
    remedy = (
        "Mend the schema"
        if error is ContractError
        else "Change the schema so that readers of the other versions can read it (added fields need defaults)"
    )
    raise error(f"Nothing was registered.\n{lines}\n{remedy}, then try again; `seamless schema check` shows the same.")


@dataclass(frozen=True, slots=True)
class _Contract:
    """A contract as far as it could be read."""

    schema: AvroSchema | None
    parsed: Contract | None
    problems: tuple[str, ...] = field(default=())


def _load(name: str) -> _Contract:
    try:
        contract = load_contract(name)
    except ContractError as error:
        return _Contract(None, None, (str(error),))
    problems = tuple(_problems_of_contract(contract.schema))
    return _Contract(contract.schema, None if problems else contract, problems)


def _problems_of_contract(schema: AvroSchema) -> list[str]:
    try:
        check_contract(schema)
    except ContractError as error:
        return [str(error)]
    named = problems_of_names(schema, contract=True)
    return [f"field {field}: {problem}" if field else problem for field, problem in named]


def _of(settings: Settings, spec: TopicSpec, cache: dict[str, _Contract]) -> tuple[str, str, _Contract]:
    if spec.dataset is None:
        raise SettingsError(f"{spec.name} belongs to no dataset, so it has no contract")
    name = settings.dataset(spec.dataset).contract
    if name not in cache:
        cache[name] = _load(name)
    return spec.dataset, name, cache[name]


def _contract(settings: Settings, spec: TopicSpec, cache: dict[str, _Contract]) -> WantedSubject:
    dataset, name, contract = _of(settings, spec, cache)
    return WantedSubject(subject(spec.name), "contract", dataset, name, contract.schema, GOVERNED, contract.problems)


def _raw(settings: Settings, spec: TopicSpec, cache: dict[str, _Contract]) -> WantedSubject:
    dataset, name, contract = _of(settings, spec, cache)
    path = settings.dataset(dataset).raw_schema
    if path is None:
        return WantedSubject(subject(spec.name), "raw", dataset, name, contract.schema, VENDOR, contract.problems)
    try:
        schema = read_avsc(Path(path))
    except ContractError as error:
        return WantedSubject(subject(spec.name), "raw", dataset, path, None, VENDOR, (str(error),))
    problems = problems_of_raw(schema, contract.parsed) if contract.parsed else contract.problems
    return WantedSubject(subject(spec.name), "raw", dataset, path, schema, VENDOR, tuple(problems))
