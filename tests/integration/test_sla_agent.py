"""The SLA agent on a real broker: breaches open once, resolve once, and come out the same whoever is killed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from streams.clock import now
from tests.support.processes import metric_of, running
from tests.support.progress import until
from tests.support.sla_kills import breaches_come_out_the_same
from tests.support.sla_worlds import make_sla_world, observation

pytestmark = pytest.mark.kafka

QUICK = {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": "2s", "dataset": "bars"}


def test_a_broken_promise_opens_one_breach_which_resolves_when_it_is_kept_again(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_sla_world(stack, world, tmp_path, {"quick": QUICK})
    with running(["sla-agent", "--config", str(made.config)], tmp_path / "agent.log") as agent:
        until(lambda: agent.output().count("sla_partition_taken") >= 4, 60, "taking partitions", agent.output)
        began = now()
        made.write(*(observation(began + timedelta(milliseconds=n), 3.0) for n in range(10)))
        until(lambda: "opened" in made.states(), 20, "the breach", agent.output)
        opened_after = (now() - began).total_seconds()
        made.write(observation(now(), 0.1))
        until(lambda: "resolved" in made.states(), 20, "its end", agent.output)
        opened, over = made.breaches()
        assert (opened.state, opened.objective, opened.consumer, opened.count) == ("opened", "quick", "reader", 10)
        assert opened.observed == pytest.approx(3.0, rel=0.01)
        assert over.id == opened.id
        assert opened_after < 2 + 0.5 + 3, "the window, its grace, and a moment"
        assert metric_of(agent, "seamless_sla_breaches_total") == 1
        assert metric_of(agent, "seamless_sla_open_breaches") == 0
        assert agent.terminate() == 0


def test_breaches_come_out_the_same_when_agents_are_killed(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    breaches_come_out_the_same(stack, world, tmp_path, kills=3, observations=20_000, every_s=10, seed=7)
