"""Whether a dataset's settings fit its contract, which no setting tells by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schemas.contract import Contract, load_contract, read_avsc
from schemas.errors import ContractError
from streams.errors import SettingsError
from streams.schema_checks import check_contract, problems_of_raw
from streams.settings import Settings
from streams.settings_problems import Problem, report
from streams.settings_sources import Origin

__all__ = ["check_interval", "problems_of_datasets"]

Origins = Mapping[tuple[str, ...], Origin]


def problems_of_datasets(settings: Settings, origins: Origins) -> list[Problem]:
    """Return what is wrong with contracts, raw schemas and intervals of all datasets; the registry is not asked."""
    found = []
    for name, dataset in settings.datasets.items():
        contract, reason = _contract(dataset.contract)
        if reason is not None:
            found.append(_problem(name, "contract", origins, reason))
        found += [_problem(name, "raw_schema", origins, text) for text in _of_raw(dataset.raw_schema, contract)]
        if contract is not None and (text := _of_interval(dataset.interval, contract)) is not None:
            found.append(_problem(name, "interval", origins, text))
    return found


def check_interval(settings: Settings, dataset: str, contract: Contract) -> None:
    """Refuse an interval where several rows of a key may be of one moment: between ticks nothing can be missing.

    Raises:
        SettingsError: naming the setting.
    """
    text = _of_interval(settings.dataset(dataset).interval, contract)
    if text is not None:
        raise SettingsError(report([_problem(dataset, "interval", {}, text)]))


def _of_interval(interval: str | None, contract: Contract) -> str | None:
    others = [name for name in contract.identity if name not in (contract.key, contract.event_time)]
    if interval is None or not others:
        return None
    return (
        f"{interval!r}: the contract {contract.name} is one of ticks, as {', '.join(others)} tells its rows apart; "
        "leave the interval out, or nearly every row would be flagged as a gap"
    )


def _contract(name: str) -> tuple[Contract | None, str | None]:
    try:
        return check_contract(load_contract(name).schema), None
    except ContractError as error:
        return None, str(error)


def _of_raw(path: str | None, contract: Contract | None) -> list[str]:
    if path is None:
        return []
    try:
        schema = read_avsc(Path(path))
    except ContractError as error:
        return [str(error)]
    return problems_of_raw(schema, contract) if contract is not None else []


def _problem(dataset: str, setting: str, origins: Origins, says: str) -> Problem:
    where = ("datasets", dataset, setting)
    origin = origins.get(where)
    return Problem(where, origin.name if origin else None, says)
