"""Exceptions from contracts: a violation that passes as a warning, for a reason, until a day.

They stand in a TOML file, one table each, and are read whole or refused whole. An exception names a dataset and a rule
(a finding's name), a field, or both; it has an owner, who mends the cause, and another person who approved it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from pathlib import Path

from schemas.contract import Contract
from schemas.errors import ContractError
from schemas.findings import STANDARD, Severity

__all__ = ["NOTICE", "Exceptions", "SchemaException", "exceptable", "load_exceptions"]

# How long before its end an exception is told of.
NOTICE = timedelta(days=7)

_TEXTS = ("dataset", "reason", "owner", "approver")
_KEYS = frozenset({*_TEXTS, "rule", "field", "expires"})
# Findings about a schema, which governance makes; an exception lets rows of it pass that strict would refuse.
_OF_SCHEMA = frozenset({"unknown_schema", "incompatible_schema"})
# Findings about other rows: what is remembered of a key depends on what became of them.
_OF_ORDER = frozenset({"gap", "out_of_order", "late", "duplicate_ts", "revision"})


@dataclass(frozen=True, slots=True)
class SchemaException:
    """One exception.

    Attributes:
        rule: the finding that it is about; None for all of the field.
        field: the field; None for all that the rule concerns.
        expires: the last day on which it holds, in UTC.
    """

    dataset: str
    rule: str | None
    field: str | None
    reason: str
    owner: str
    approver: str
    expires: date

    def active(self, today: date) -> bool:
        """Whether it still holds."""
        return today <= self.expires

    def covers(self, finding: str, column: str | None) -> bool:
        """Whether it is about a violation; a rule over several columns has them joined by commas."""
        if self.rule is not None and self.rule != finding:
            return False
        if self.field is not None:
            return column is not None and self.field in column.split(",")
        return self.rule is not None

    def __str__(self) -> str:
        about = " in ".join(filter(None, (self.rule or "every rule", self.field)))
        return f"{self.dataset}: {about}, until {self.expires}, for {self.reason} ({self.owner})"


@dataclass(frozen=True, slots=True)
class Exceptions:
    """All exceptions of a file."""

    entries: tuple[SchemaException, ...] = ()

    def active(self, dataset: str, today: date) -> tuple[SchemaException, ...]:
        """Return those of a dataset that hold."""
        return tuple(e for e in self.entries if e.dataset == dataset and e.active(today))

    def expiring(self, dataset: str, today: date) -> tuple[SchemaException, ...]:
        """Return those of a dataset that hold, though not for longer than the notice."""
        return tuple(e for e in self.active(dataset, today) if e.expires - today < NOTICE)

    def problems(self, contracts: Mapping[str, Contract | None], today: date) -> list[str]:
        """Return what is wrong with the entries: expired ones, and ones about what there is not.

        Args:
            contracts: the contract of every dataset; None where it cannot be read, which is told elsewhere.
        """
        return [f"exception {e}: {problem}" for e in self.entries for problem in _problems(e, contracts, today)]


def load_exceptions(path: Path | None = None) -> Exceptions:
    """Read exceptions from a file; without one, those that are shipped, which are none.

    Raises:
        ContractError: naming the file, the entry and what is wrong with it.
    """
    name = "schemas/exceptions.toml" if path is None else str(path)
    try:
        text = (resources.files("schemas") / "exceptions.toml" if path is None else path).read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ContractError(f"{name}: the exceptions cannot be read: {error}") from error
    unknown = sorted(table.keys() - {"exception"})
    entries = table.get("exception", [])
    if unknown or not isinstance(entries, list):
        raise ContractError(
            f"{name}: write each exception as a table [[exception]]; found {', '.join(unknown) or 'one'}"
        )
    return Exceptions(tuple(_read(f"{name}: exception {n}", entry) for n, entry in enumerate(entries, 1)))


def _read(where: str, entry: object) -> SchemaException:
    if not isinstance(entry, dict):
        raise ContractError(f"{where}: write it as a table [[exception]]")
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise ContractError(f"{where}: {', '.join(unknown)} is unknown: it may have {', '.join(sorted(_KEYS))}")
    for key in (*_TEXTS, "rule", "field"):
        value = entry.get(key)
        if key in _TEXTS and not value:
            raise ContractError(f"{where}: {key} is missing")
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ContractError(f"{where}: {key} must be text")
    if "rule" not in entry and "field" not in entry:
        raise ContractError(f"{where}: name the rule, the field, or both")
    expires = entry.get("expires")
    if not isinstance(expires, date) or hasattr(expires, "hour"):
        raise ContractError(f"{where}: expires must be a date, as in expires = 2026-12-31")
    if entry["owner"].strip().lower() == entry["approver"].strip().lower():
        raise ContractError(f"{where}: the approver is the owner; have it approved by somebody else")
    texts = {key: entry[key].strip() for key in _TEXTS}
    return SchemaException(**texts, rule=entry.get("rule"), field=entry.get("field"), expires=expires)


def _problems(entry: SchemaException, contracts: Mapping[str, Contract | None], today: date) -> Iterable[str]:
    if not entry.active(today):
        yield "it has expired; mend the cause and remove it, or have it approved anew"
    if entry.dataset not in contracts:
        yield f"there is no dataset {entry.dataset!r} (known: {', '.join(sorted(contracts)) or 'none at all'})"
        return
    contract = contracts[entry.dataset]
    if contract is None:
        return
    if entry.field is not None and entry.field not in contract.record.fields:
        yield f"the contract {contract.name} has no field {entry.field!r}"
    if entry.rule is not None and entry.rule not in _OF_SCHEMA:
        yield from _problems_of_rule(entry.rule, contract)
    if entry.rule in _OF_SCHEMA and entry.field is not None:
        yield f"{entry.rule} is about a schema as a whole: leave out the field"


def _problems_of_rule(rule: str, contract: Contract) -> Iterable[str]:
    found = contract.findings.get(rule)
    if found is None:
        yield f"there is no rule {rule!r}: use one of {', '.join(exceptable(contract))}"
    elif rule not in exceptable(contract):
        why = "is only a warning" if found.severity is Severity.WARNING else "cannot be excepted: no value could pass"
        yield f"{rule} {why}"


def exceptable(contract: Contract) -> list[str]:
    """Return the findings of a contract that an exception may be about."""
    return [
        name
        for name, finding in contract.findings.items()
        if finding.severity is Severity.VIOLATION
        and name not in _OF_ORDER
        and (name not in STANDARD or STANDARD[name].adjustable)
    ]
