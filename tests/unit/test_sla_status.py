"""How promises stand, by what agents wrote last."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.sla.status import Standing, standings
from tests.support.sla import Log, Seen, sla_settings

OBJECTIVES: dict[str, dict[str, Any]] = {
    "quick": {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": "10s"},
    "burnt": {
        "kind": "budget",
        "target": 0.9,
        "period": "10m",
        "burn": [{"long": "60s", "short": "10s", "rate": 4, "severity": "critical"}],
    },
    "fresh": {"kind": "staleness", "limit": "90s"},
}


def rows(log: Log) -> dict[str, Standing]:
    log.checkpoint()
    return {row.objective: row for row in standings(log.objectives, [list(log.states.values())])}


def test_a_window_that_has_not_ended_shows_what_is_in_it() -> None:
    log = Log(sla_settings(OBJECTIVES))
    log.write(0.0, Seen(11, 3.0), Seen(12, 3.0), 13.0)
    row = rows(log)["quick"]
    assert row.observed == pytest.approx(3.0, rel=0.01)
    assert (row.count, row.limit) == (2, 1.0)
    assert row.breach is None


def test_what_is_broken_comes_first_with_its_breach_and_the_budget_that_is_left() -> None:
    log = Log(sla_settings(OBJECTIVES))
    log.write(*(Seen(second, 0.1, ok=second < 40) for second in range(80)), 80.0)
    found = rows(log)
    assert next(iter(found)) == "burnt"
    row = found["burnt"]
    assert row.breach is not None
    assert row.observed == pytest.approx(10.0, rel=0.1)
    assert row.budget_left == pytest.approx(1 - 0.5 / 0.1, abs=0.1)
    assert json.loads(json.dumps(row.record()))["breach"]["severity"] == "critical"


def test_looking_changes_nothing() -> None:
    log = Log(sla_settings(OBJECTIVES))
    log.write(0.0, *(Seen(second, 3.0) for second in range(30)), 30.0)
    before = rows(log)
    assert rows(log) == before


def test_a_series_without_a_newer_row_shows_its_age() -> None:
    log = Log(sla_settings(OBJECTIVES))
    log.write(0.0, 200.0)
    row = rows(log)["fresh"]
    assert (row.observed, row.limit, row.consumer) == (80.0, 90.0, None)
