"""Contracts and conformance: what rows must be, and what is said of those that are not. Pure: no Kafka, no clock."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.conformance import ConformancePipeline, ConformanceResult
    from schemas.contract import Contract, load_contract
    from schemas.errors import ContractError, SeamlessError
    from schemas.report import ConformanceReport

__all__ = [
    "ConformancePipeline",
    "ConformanceReport",
    "ConformanceResult",
    "Contract",
    "ContractError",
    "SeamlessError",
    "load_contract",
]

# Imported when asked for: polars and pydantic cost a second that `seamless --help` need not wait for.
_HOMES = {
    "ConformancePipeline": "schemas.conformance",
    "ConformanceReport": "schemas.report",
    "ConformanceResult": "schemas.conformance",
    "Contract": "schemas.contract",
    "ContractError": "schemas.errors",
    "SeamlessError": "schemas.errors",
    "load_contract": "schemas.contract",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
