"""What operations set at run time, laid over the settings: conformance modes, SLA policies and objectives; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from typing import Any, get_args

from pydantic import ValidationError

from streams.errors import SettingsError
from streams.operating.standing import Standing
from streams.settings import Settings
from streams.settings_objectives import ObjectiveSettings
from streams.settings_sections import Mode
from streams.settings_sla import Overriding, SLATable
from streams.sla.objectives import default_objectives
from streams.sla_layers import Layer
from streams.sla_policy import FIELDS

__all__ = ["ANY", "STORAGE_FIRST", "checked_override", "settings_under", "sla_target", "storage_first_reason"]

ANY = "sla/any"
"""The target of what is promised to everybody."""
STORAGE_FIRST = "storage-first"

_MODES = get_args(Mode)


def sla_target(dataset: str | None = None, consumer: str | None = None, objective: str | None = None) -> str:
    """Return the target of an override: an objective, or the policy of a consumer, a dataset, both or everybody."""
    if objective is not None:
        return f"sla/objectives/{objective}"
    of_consumer = "" if consumer is None else f"/consumers/{consumer}"
    of_dataset = "" if dataset is None else f"/datasets/{dataset}"
    return f"sla{of_consumer}{of_dataset}" if of_consumer or of_dataset else ANY


def settings_under(settings: Settings, standing: Standing) -> Settings:
    """Return the settings as they are with what was set at run time.

    Raises:
        SettingsError: if something was set that these settings cannot be joined with.
    """
    datasets = dict(settings.datasets)
    for target, held in standing.under("conformance").items():
        name = target.partition("/")[2]
        if name in datasets and held.value in _MODES:
            datasets[name] = datasets[name].model_copy(update={"mode": held.value})
    policies: list[Overriding] = []
    objectives = dict(settings.sla.objectives)
    for target, held in standing.under("sla").items():
        values = json.loads(held.value or "{}")
        if target.startswith("sla/objectives/"):
            name = target.removeprefix("sla/objectives/")
            objectives[name] = _objective(settings, name, values)
        else:
            policies.append(_policy(target, values, f"the override of {held.by.by}"))
    sla = settings.sla.overridden(policies, objectives)
    names = {*sla.consumers, *(o.consumer for o in policies if o.consumer is not None)}
    for dataset, consumer in product([None, *datasets], [None, *sorted(names)]):
        sla.in_force(dataset, consumer)
    return settings.model_copy(update={"datasets": datasets, "sla": sla})


def storage_first_reason(standing: Standing, dataset: str) -> str | None:
    """Return why a dataset's readers are not to wait for the coordinator; None if they may."""
    held = standing.held.get(f"provider/{dataset}")
    if held is None or held.value != STORAGE_FIRST:
        return None
    return f"storage first, by {held.by.by}: {held.by.reason}"


def checked_override(settings: Settings, standing: Standing, target: str, values: Mapping[str, Any]) -> str:
    """Return the value of a target: these values over those that are set for it.

    Raises:
        SettingsError: if there is no such field, or a value makes no sense.
    """
    joined = {**json.loads(standing.value(target) or "{}"), **values}
    if target.startswith("sla/objectives/"):
        _objective(settings, target.removeprefix("sla/objectives/"), joined)
    else:
        _policy(target, joined, "this override")
    return json.dumps(joined, sort_keys=True)


def _policy(target: str, values: Mapping[str, Any], where: str) -> Overriding:
    parts = target.split("/")[1:]
    named = dict(zip(parts[::2], parts[1::2], strict=False))
    try:
        table = SLATable.model_validate(dict(values))
    except ValidationError as error:
        raise _refused(target, error, ("preset", *FIELDS)) from None
    layer = Layer(where, table.given(), table.preset)
    return Overriding(named.get("datasets"), named.get("consumers"), layer)


def _objective(settings: Settings, name: str, values: Mapping[str, Any]) -> ObjectiveSettings:
    there = settings.sla.objectives.get(name) or default_objectives().get(name)
    given = {} if there is None else {field: getattr(there, field) for field in there.model_fields_set}
    try:
        return ObjectiveSettings.model_validate({**given, **values})
    except ValidationError as error:
        raise _refused(f"sla/objectives/{name}", error, tuple(ObjectiveSettings.model_fields)) from None


def _refused(target: str, error: ValidationError, known: tuple[str, ...]) -> SettingsError:
    told = []
    for each in error.errors(include_url=False):
        name = ".".join(map(str, each["loc"]))
        says = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            says = f"there is no such field; there are {', '.join(known)}"
        told.append(f"{name}: {says}" if name else says)
    return SettingsError(f"The override {target} is refused. {'; '.join(told)}.")
