"""The monitoring bundle as tests look at it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml

from operations.monitoring.bundle import rendered

__all__ = ["alerts", "bundle", "dashboards", "panels", "recorded"]


@cache
def bundle() -> dict[str, str]:
    """Return the bundle as it comes."""
    return rendered()


def dashboards() -> list[dict[str, Any]]:
    """Return every dashboard."""
    return [json.loads(text) for name, text in bundle().items() if name.startswith("dashboards/")]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something, which rows do not."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    """Return every alert rule."""
    return _rules("alerts")


def recorded() -> list[dict[str, Any]]:
    """Return every recording rule."""
    return _rules("recording")


def _rules(what: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load(bundle()[f"rules/seamless-{what}.yml"])["groups"]
    return [rule for group in groups for rule in group["rules"]]
