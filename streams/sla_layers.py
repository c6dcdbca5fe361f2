"""Policies laid over one another: the strongest says what it says, and the weaker ones the rest.

Each layer may name a preset, which is a whole policy, and may set fields of its own, which beat its preset.
Pure: names and values in, a policy with the source of each value out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from streams.errors import SettingsError
from streams.sla_policy import BOUND_BY_TOTAL, FIELDS, PRESETS, SLAPolicy, contradictions

__all__ = ["BASE_PRESET", "Layer", "Merged", "Source", "merged", "preset_names"]

BASE_PRESET = "baseline"

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of a field came from.

    Attributes:
        where: the layer as a user knows it: `sla.default`, `sla.consumers.alpha`, `the call`.
        preset: the preset that the layer took it from; None if the layer says it itself.
        setting: the path of the setting that holds the value; None if it is in no setting.
        cut: whether the value is not what that source says, but total_deadline, which is shorter and stronger.
    """

    where: str
    preset: str | None = None
    setting: Path | None = None
    cut: bool = False

    def __str__(self) -> str:
        said = f"preset {self.preset} ({self.where})" if self.preset else self.where
        return f"{said}, cut to total_deadline" if self.cut else said


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says.

    Attributes:
        where: its name, as in `Source`.
        values: fields of a policy.
        preset: the name of a preset.
        table: the path of its table in the settings; None if it has none.
    """

    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    table: Path | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """A policy, and the source of each of its fields."""

    policy: SLAPolicy
    sources: Mapping[str, Source]


def preset_names(own: Mapping[str, SLAPolicy]) -> list[str]:
    """Return the names of all presets: those that come along and those of the settings."""
    return sorted({*PRESETS, *own})


def _preset(own: Mapping[str, SLAPolicy], name: str) -> Iterator[tuple[Path | None, SLAPolicy]]:
    """Yield what makes up a preset, the weakest first, with the path of its table where it is in the settings.

    A preset of the settings changes the one of its name; one of a new name begins as baseline.
    """
    if name not in PRESETS and name not in own:
        known = ", ".join(preset_names(own))
        raise SettingsError(f"There is no SLA preset {name!r} (there are {known}). Correct the name, or add its table.")
    for each in (name,) if name in PRESETS else (BASE_PRESET, name):
        if each in PRESETS:
            yield None, PRESETS[each]
        if each in own:
            yield ("sla", "presets", each), own[each]


def _said(layers: Iterable[Layer], own: Mapping[str, SLAPolicy]) -> Iterator[dict[str, tuple[Any, Source]]]:
    """Yield the fields that each layer sets, the weakest first; a preset goes before its layer's own fields."""
    for layer in layers:
        for table, policy in _preset(own, layer.preset) if layer.preset is not None else ():
            yield {
                name: (value, Source(layer.where, layer.preset, (*table, name) if table else None))
                for name, value in policy.given().items()
            }
        yield {
            name: (value, Source(layer.where, None, (*layer.table, name) if layer.table else None))
            for name, value in layer.values.items()
        }


def merged(layers: Iterable[Layer], own: Mapping[str, SLAPolicy]) -> Merged:
    """Lay policies over one another, the weakest first; the first must name a preset, so that no field is left open.

    A wait that a weaker place allows is cut to a total_deadline that a stronger one sets.

    Raises:
        SettingsError: if a preset is unknown, or what comes out contradicts itself.
    """
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    ranks: dict[str, int] = {}
    for rank, said in enumerate(_said(layers, own)):
        for name, (value, source) in said.items():
            values[name], sources[name], ranks[name] = value, source, rank
    total = values["total_deadline"]
    for name in BOUND_BY_TOTAL:
        own_limit = values[name]
        if total is not None and own_limit is not None and own_limit > total and ranks[name] < ranks["total_deadline"]:
            values[name] = total
            sources[name] = replace(sources[name], cut=True)
    wrong = contradictions(values)
    if wrong:
        told = "; ".join(f"{name} is from {sources[name]}" for name in FIELDS if any(name in each for each in wrong))
        raise SettingsError(f"The SLA policy contradicts itself. {'; '.join(wrong)}. ({told}.)")
    return Merged(SLAPolicy.model_validate(values), sources)
