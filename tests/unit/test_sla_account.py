"""What an agent tells of the partitions that it holds, and no more of those that it gave away."""

from __future__ import annotations

import pytest

from streams.metrics import Metrics
from streams.sla.account import Account
from tests.support.sla import Log, Seen, sla_settings

BURN = [{"long": "10s", "short": "5s", "rate": 2, "severity": "critical"}]
BUDGET = {"kind": "budget", "target": 0.9, "period": "60s", "burn": BURN}
LEFT = "seamless_sla_error_budget_remaining_ratio{"
OPEN = 'seamless_sla_open_breaches{dataset="bars",objective="it",phase="total",severity="critical",world_id="w"}'


class Told:
    def __init__(self) -> None:
        self.log, self.metrics = Log(sla_settings({"it": BUDGET})), Metrics("w")
        self.account = Account(self.metrics)

    def wrote(self, *records: Seen | float) -> str:
        self.log.write(*records)
        self.log.windows.checkpoint()
        self.account.wrote(self.log.windows.drain(), self.log.windows, 0)
        return self.text()

    def text(self) -> str:
        return self.metrics.render().decode()


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_partition_that_was_given_away_is_told_of_by_whoever_has_it(told: Told) -> None:
    assert f"{OPEN} 1.0" in (text := told.wrote(Seen(0, ok=False), 1.0))
    assert LEFT in text
    told.account.gone(0)
    assert f"{OPEN} 0.0" in (text := told.text())
    assert LEFT not in text


def test_a_budget_of_a_reader_that_is_gone_is_told_of_no_more(told: Told) -> None:
    assert LEFT in told.wrote(Seen(0, ok=False), 1.0)
    assert LEFT in told.wrote(50.0)
    assert LEFT not in told.wrote(70.0)
