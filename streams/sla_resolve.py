"""Which policy is in force for a consumer of a dataset, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from streams.errors import SettingsError
from streams.settings import Settings
from streams.settings_sla import SLATable, check_consumer
from streams.sla_layers import Layer, Source
from streams.sla_policy import FIELDS, SLAPolicy

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["ANYBODY", "Override", "ResolvedPolicy", "checked_consumer", "resolve"]

ANYBODY = "unnamed"
"""The consumer of whoever gives no name."""

Override = SLAPolicy | str | Mapping[str, Any]
"""What a call may ask for: fields of a policy, the name of a preset, or a table as in the settings."""


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """The policy of one use: whose it is, of what, and where each value came from.

    Attributes:
        interval: spacing of the dataset's bars; None for ticks.
        sources: by field of the policy.
    """

    policy: SLAPolicy
    dataset: str
    consumer: str = ANYBODY
    world: str = "live"
    interval: str | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)


def resolve(
    settings: Settings, dataset: str, consumer: str | None = None, override: Override | None = None
) -> ResolvedPolicy:
    """Return the policy in force: the call's, over the consumer's for the dataset, its own, the dataset's, the default.

    Of an `SLAPolicy` only the fields that were set count; the rest is as the settings have it.

    Raises:
        SettingsError: if the dataset or a preset is unknown, the consumer's name is none, or values contradict.
    """
    interval = settings.dataset(dataset).interval
    name = ANYBODY if consumer is None else checked_consumer(consumer)
    call = [] if override is None else [_of_call(override)]
    found = settings.sla.in_force(dataset, name, *call)
    return ResolvedPolicy(found.policy, dataset, name, settings.world, interval, found.sources)


def checked_consumer(consumer: str) -> str:
    """Return a consumer's name; SettingsError if it cannot be one."""
    try:
        return check_consumer(consumer)
    except ValueError as error:
        raise SettingsError(f"{consumer!r} cannot be a consumer's name: {error}.") from None


def _of_call(override: Override) -> Layer:
    where = "the call"
    if isinstance(override, str):
        return Layer(where, preset=override)
    if isinstance(override, SLAPolicy):
        return Layer(where, override.given(), override.preset if isinstance(override, SLATable) else None)
    try:
        table = SLATable.model_validate(dict(override))
    except ValidationError as error:
        told = "; ".join(map(_problem, error.errors(include_url=False)))
        raise SettingsError(f"The SLA policy of {where} is refused. {told}.") from None
    return Layer(where, table.given(), table.preset)


def _problem(details: ErrorDetails) -> str:
    says = details["msg"].removeprefix("Value error, ")
    name = ".".join(map(str, details["loc"]))
    if details["type"] == "extra_forbidden":
        says = f"there is no such field; there are {', '.join(FIELDS)}"
    return f"{name}: {says}" if name else says
