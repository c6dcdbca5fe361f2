"""The section of the settings that concerns promises to readers: presets, and which of them is for whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from streams.errors import SettingsError
from streams.settings_kafka import Section
from streams.settings_objectives import ObjectiveSettings
from streams.sla_layers import BASE_PRESET, Layer, Merged, merged
from streams.sla_policy import SLAPolicy
from streams.topics import check_dataset_name

__all__ = ["ConsumerSLA", "Overriding", "SLASettings", "SLATable", "check_consumer"]

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_LONGEST_NAME = 64


def check_consumer(name: str) -> str:
    """Return the name of a consumer or preset; ValueError with the form if it is none, as it becomes a label."""
    if _NAME.fullmatch(name) is None or len(name) > _LONGEST_NAME:
        raise ValueError(
            "such a name is lower-case letters and digits, joined by single dots, dashes or underscores, at most "
            f"{_LONGEST_NAME} of them"
        )
    return name


Name = Annotated[str, AfterValidator(check_consumer)]
Dataset = Annotated[str, AfterValidator(check_dataset_name)]


class SLATable(SLAPolicy):
    """What is said of a dataset or a consumer: a preset, fields of a policy, or both."""

    preset: str | None = Field(None, description="the preset that it begins with; unset: what weaker tables say")


class ConsumerSLA(SLATable):
    """What is said of a consumer, and of its use of single datasets."""

    datasets: dict[Dataset, SLATable] = Field(default_factory=dict, description="what differs for a dataset")


class Overriding(NamedTuple):
    """What was set at run time for a dataset and a consumer, None for any."""

    dataset: str | None
    consumer: str | None
    layer: Layer


class SLASettings(Section):
    """Which policy is in force; the strongest is the call, then consumer and dataset, consumer, dataset, default."""

    _overrides: tuple[Overriding, ...] = PrivateAttr(default=())

    default: str = Field(BASE_PRESET, description="the preset for whatever nothing else is said of")
    presets: dict[Name, SLAPolicy] = Field(
        default_factory=dict, description="presets of your own, which begin as baseline, and changes to those there are"
    )
    datasets: dict[Dataset, SLATable] = Field(default_factory=dict, description="by dataset")
    consumers: dict[Name, ConsumerSLA] = Field(default_factory=dict, description="by consumer")
    objectives: dict[Name, ObjectiveSettings] = Field(default_factory=dict, description="what the SLA agent watches")

    @model_validator(mode="after")
    def _every_policy_makes_sense(self) -> Self:
        try:
            for preset in self.presets:
                merged([Layer(f"sla.presets.{preset}", preset=preset)], self.presets)
            for dataset, consumer in self.told_apart():
                self.in_force(dataset, consumer)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    def datasets_named(self) -> set[str]:
        """Return the datasets of which something is said."""
        watched = {one.dataset for one in self.objectives.values() if one.dataset is not None}
        return watched.union(self.datasets, *(consumer.datasets for consumer in self.consumers.values()))

    def told_apart(self) -> Iterator[tuple[str | None, str | None]]:
        """Yield the datasets and consumers, None for any, whose policies may differ."""
        yield None, None
        datasets = {name for name, table in self.datasets.items() if _says(table)}
        for consumer in self.consumers.values():
            datasets |= {name for name, table in consumer.datasets.items() if _says(table)}
        yield from ((dataset, None) for dataset in sorted(datasets))
        for name, consumer in sorted(self.consumers.items()):
            if _says(consumer):
                yield None, name
            yield from ((each, name) for each in sorted(datasets) if _says(consumer) or each in consumer.datasets)

    def overridden(self, policies: Sequence[Overriding], objectives: Mapping[str, ObjectiveSettings]) -> SLASettings:
        """Return these settings with what was set at run time, which goes before all that they say themselves."""
        if not policies and objectives == self.objectives:
            return self
        found = self.model_copy(update={"objectives": dict(objectives)})
        found._overrides = tuple(sorted(policies, key=lambda o: (o.consumer is not None, o.dataset is not None)))
        return found

    def layers(self, dataset: str | None, consumer: str | None) -> list[Layer]:
        """Return what is said of a dataset and a consumer, the weakest first: by the settings, then at run time."""
        found = [Layer("sla.default", preset=self.default)]
        if dataset is not None and dataset in self.datasets:
            found.append(_layer(self.datasets[dataset], ("datasets", dataset)))
        if consumer is not None and consumer in self.consumers:
            own = self.consumers[consumer]
            found.append(_layer(own, ("consumers", consumer)))
            if dataset is not None and dataset in own.datasets:
                found.append(_layer(own.datasets[dataset], ("consumers", consumer, "datasets", dataset)))
        fitting = (o for o in self._overrides if o.dataset in (None, dataset) and o.consumer in (None, consumer))
        return found + [each.layer for each in fitting]

    def in_force(self, dataset: str | None = None, consumer: str | None = None, *more: Layer) -> Merged:
        """Return the policy for a dataset and a consumer, None for any; `more` are stronger than what the settings say.

        Raises:
            SettingsError: if a preset is unknown, or what comes out contradicts itself.
        """
        return merged([*self.layers(dataset, consumer), *more], self.presets)


def _says(table: SLATable) -> bool:
    return table.preset is not None or bool(table.given())


def _layer(table: SLATable, path: tuple[str, ...]) -> Layer:
    where = ("sla", *path)
    return Layer(".".join(f'"{part}"' if "." in part else part for part in where), table.given(), table.preset, where)
