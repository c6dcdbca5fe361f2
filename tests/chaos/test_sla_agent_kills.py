"""Of two SLA agents one is killed twenty times: each breach is told once, and is what a replay of the log finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from tests.support.sla_kills import breaches_come_out_the_same


@pytest.mark.kafka
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_breaches_come_out_the_same_over_twenty_kills(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    breaches_come_out_the_same(stack, world, tmp_path, kills=20, observations=200_000, every_s=15, seed=11)
