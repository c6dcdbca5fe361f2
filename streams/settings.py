"""The settings of every process: read once, frozen, and refused as a whole with every problem named."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, AnyHttpUrl, Field, ValidationError, ValidationInfo, field_validator

from streams import topics as _topics
from streams.errors import SettingsError
from streams.settings_alerting import AlertingSettings
from streams.settings_archive import ArchiveSettings
from streams.settings_kafka import KafkaSettings, RegistrySettings, Section, without_userinfo
from streams.settings_objectives import SLAAgentSettings
from streams.settings_problems import Problem, from_validation, report
from streams.settings_sections import (
    BackfillSettings,
    ConformanceSettings,
    CoordinatorSettings,
    DatasetSettings,
    LogSettings,
    MetricsSettings,
    Mode,
    NormalizerSettings,
    ProducerSettings,
    QuarantineSettings,
    TopicSettings,
)
from streams.settings_sla import SLASettings
from streams.settings_sources import Origin, Values, environment_values, file_values, nested, override_values

__all__ = [
    "AlertingSettings",
    "ArchiveSettings",
    "BackfillSettings",
    "ConformanceSettings",
    "CoordinatorSettings",
    "DatasetSettings",
    "KafkaSettings",
    "LoadedSettings",
    "LogSettings",
    "MetricsSettings",
    "Mode",
    "NormalizerSettings",
    "ProducerSettings",
    "QuarantineSettings",
    "RegistrySettings",
    "SLAAgentSettings",
    "SLASettings",
    "Settings",
    "TopicSettings",
    "find_running_stack",
    "load_settings",
    "load_with_origins",
]


class Settings(Section):
    """Everything that can be set; `seamless config show` prints it with where each value came from."""

    world: Annotated[str, AfterValidator(_topics.check_world)] = Field(
        "live", description="isolation domain: live, paper, research, ..."
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    conformance: ConformanceSettings = Field(default_factory=ConformanceSettings)
    normalizer: NormalizerSettings = Field(default_factory=NormalizerSettings)
    quarantine: QuarantineSettings = Field(default_factory=QuarantineSettings)
    producer: ProducerSettings = Field(default_factory=ProducerSettings)
    backfill: BackfillSettings = Field(default_factory=BackfillSettings)
    coordinator: CoordinatorSettings = Field(default_factory=CoordinatorSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    alerting: AlertingSettings = Field(default_factory=AlertingSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    coordinator_url: Annotated[AnyHttpUrl, AfterValidator(without_userinfo)] | None = Field(
        None, description="the coordinator service; unset: backfill is planned in this process"
    )
    datasets: dict[Annotated[str, AfterValidator(_topics.check_dataset_name)], DatasetSettings] = Field(
        default_factory=dict, description="the series families, by name"
    )
    sla: SLASettings = Field(default_factory=SLASettings)
    sla_agent: SLAAgentSettings = Field(default_factory=SLAAgentSettings)

    @field_validator("datasets")
    @classmethod
    def _told_apart(cls, value: dict[str, DatasetSettings]) -> dict[str, DatasetSettings]:
        pairs = _topics.colliding_datasets(value)
        if pairs:
            named = "; ".join(f"{one} and {other}" for one, other in pairs)
            raise ValueError(f"Kafka cannot tell these apart, as it takes . and _ for the same: {named}. Rename one")
        return value

    @field_validator("sla")
    @classmethod
    def _of_datasets_there_are(cls, value: SLASettings, info: ValidationInfo) -> SLASettings:
        unknown = value.datasets_named() - set(info.data.get("datasets", value.datasets_named()))
        if unknown:
            named = ", ".join(sorted(unknown))
            raise ValueError(f"these datasets are not in the settings: {named}. Correct the names, or add the datasets")
        return value

    def dataset(self, name: str) -> DatasetSettings:
        """Return a dataset's settings; SettingsError naming the known ones if it is not configured."""
        found = self.datasets.get(name)
        if found is None:
            known = ", ".join(sorted(self.datasets)) or "none at all"
            raise SettingsError(
                f"There is no dataset {name!r} in the settings (known: {known}). "
                f'Add a table datasets."{name}" to seamless.toml, or correct the name.'
            )
        return found

    def mode_of(self, dataset: str) -> Mode:
        """Return the conformance mode of a dataset: its own, or else the general one."""
        return self.dataset(dataset).mode or self.conformance.mode


class RunningStack(Protocol):
    """What the settings take from the embedded stack."""

    @property
    def bootstrap_servers(self) -> str: ...

    @property
    def registry_url(self) -> str: ...


StackFinder = Callable[[], RunningStack | None]


def find_running_stack(folder: Path | None = None) -> RunningStack | None:
    """Return the embedded stack that runs in `folder` (default: its usual one), None if none does."""
    from operations.stack import find_stack  # here, as it takes a while and is not always asked

    return find_stack(folder)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings with the origin of each value that is not a default, by its path of names."""

    settings: Settings
    origins: Mapping[tuple[str, ...], Origin]


def load_settings(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    stack: StackFinder | None = None,
) -> Settings:
    """Read the settings; the strongest source is `overrides`, then environment, file, stack, defaults.

    `path` is a TOML file that must exist; without it SEAMLESS_CONFIG names one, or `seamless.toml` in the
    working folder is taken if there. `env` stands in for the process environment. `overrides` is nested like
    the file; a None in it means not given. `stack` stands in for the search of a running stack.
    Raises SettingsError listing every problem of every source.
    """
    return load_with_origins(path, env, overrides, stack=stack).settings


def load_with_origins(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    stack: StackFinder | None = None,
) -> LoadedSettings:
    """Read the settings as `load_settings` does, and say where each value came from."""
    environment = os.environ if env is None else env
    values: Values = file_values(path, environment)
    problems: list[Problem] = environment_values(values, environment)
    override_values(values, overrides or {})
    _fill_from_stack(values, stack or partial(find_running_stack, _stack_folder(environment)))
    origins = {where: origin for where, (_, origin) in values.items()}
    try:
        settings = Settings.model_validate(nested(values))
    except ValidationError as error:
        problems += from_validation(error, Settings, values)
        raise SettingsError(report(problems)) from None
    if problems:
        raise SettingsError(report(problems))
    return LoadedSettings(settings=settings, origins=origins)


_BOOTSTRAP = ("kafka", "bootstrap_servers")
_REGISTRY = ("registry", "url")


def _stack_folder(env: Mapping[str, str]) -> Path | None:
    return Path(env["SEAMLESS_STACK_DIR"]) if env.get("SEAMLESS_STACK_DIR") else None


def _fill_from_stack(values: Values, stack: StackFinder) -> None:
    """Take what is missing from the running stack, unless what is there points to another cluster."""
    if _BOOTSTRAP in values and _REGISTRY in values:
        return
    running = stack()
    if running is None:
        return
    offered = {_BOOTSTRAP: running.bootstrap_servers, _REGISTRY: running.registry_url}
    if all(where not in values or values[where][0] == offer for where, offer in offered.items()):
        for where, offer in offered.items():
            values.setdefault(where, (offer, Origin("stack", "the embedded stack")))
