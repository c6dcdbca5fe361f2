"""What can be said of a schema without asking the registry: whether it is a sound contract, or admissible raw data."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from zoneinfo import available_timezones

from schemas.avro import AvroField, AvroRecord, AvroSchema, parse_record
from schemas.contract import Contract
from schemas.contract_checks import check_avro
from schemas.errors import ContractError
from schemas.exceptions import Exceptions, load_exceptions
from schemas.mapping import admissible
from schemas.rules import RuleSet
from streams.settings import Settings

__all__ = ["check_contract", "exceptions_of", "is_contract", "problems_of_raw", "source_of"]


def exceptions_of(settings: Settings) -> Exceptions:
    """Return the exceptions that the settings name.

    Raises:
        ContractError: if their file cannot be read, or an entry is wrong.
    """
    path = settings.conformance.exceptions
    return load_exceptions(None if path is None else Path(path))


def source_of(field: AvroField, names: Collection[str]) -> str | None:
    """Return which of the raw columns becomes a contract's field, as `schemas.mapping` matches them; None if none."""
    return next((n for n in (field.name, *field.aliases) if n in names), None)


def is_contract(schema: AvroSchema) -> bool:
    """Return whether a schema means to be a contract: one of its fields has a role."""
    fields = schema.get("fields")
    return isinstance(fields, list) and any(isinstance(f, dict) and "role" in f for f in fields)


def check_contract(schema: AvroSchema) -> Contract:
    """Return the contract that a schema is, its rules compiled once to see that they do.

    Raises:
        ContractError: naming the field, attribute or rule that is wrong.
    """
    contract = Contract.parse(schema)
    RuleSet(contract)
    return contract


def problems_of_raw(schema: AvroSchema, contract: Contract) -> list[str]:
    """Return why a raw schema must not be registered for a contract's dataset, each reason naming its field."""
    try:
        raw = parse_record(schema)
        check_avro(raw)
    except ContractError as error:
        return [str(error)]
    return _wrong_zones(raw) + admissible(contract, raw)


def _wrong_zones(raw: AvroRecord) -> list[str]:
    return [
        f"field {f.name}: timezone {f.attributes['timezone']!r} is no IANA name, such as America/New_York"
        for f in raw.fields.values()
        if "timezone" in f.attributes and f.attributes["timezone"] not in available_timezones()
    ]
