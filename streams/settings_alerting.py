"""The section of the settings that concerns alerts: which Alertmanagers are told of broken promises, and how often."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from streams.settings_kafka import Section, without_userinfo

__all__ = ["AlertingSettings"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS = {"alertname", "world_id", "objective", "dataset", "consumer", "phase", "severity", "subject", "synthetic"}


class AlertingSettings(Section):
    """Where `seamless alert-bridge` posts alerts; without an Alertmanager there is nothing for it to do."""

    alertmanagers: tuple[Annotated[AnyHttpUrl, AfterValidator(without_userinfo)], ...] = Field(
        (), description="roots of the Alertmanagers to tell, each of a cluster; in a variable, comma-separated"
    )
    user: str | None = Field(None, min_length=1, description="for basic authentication")
    password: SecretStr | None = Field(None, description="for basic authentication")
    timeout_s: float = Field(10.0, gt=0, le=300, description="seconds to wait for one answer")
    resend_interval_s: float = Field(
        60.0, ge=0.1, le=3_600, description="open alerts are told again after so long; unheard of for four times that, "
        "they end"
    )  # fmt: skip
    generator_url: Annotated[AnyHttpUrl, AfterValidator(without_userinfo)] | None = Field(
        None, description="where an alert leads whose objective names no dashboard"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="labels of every alert, such as cluster, to route by"
    )

    @field_validator("alertmanagers", mode="before")
    @classmethod
    def _of_a_variable(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("labels")
    @classmethod
    def _labels_of_prometheus(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if _LABEL.fullmatch(name) is None or name.startswith("__"):
                raise ValueError(f"{name} is no label: use letters, digits and single underscores, no digit first")
            if name in _OWN_LABELS:
                raise ValueError(f"{name} is set by Seamless itself: choose another name")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: set both, or none")
        return self
