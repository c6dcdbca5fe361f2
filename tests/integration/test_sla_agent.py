"""The SLA agent on a real broker: breaches open once, resolve once, and come out the same whoever is killed."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from operations.stack import EmbeddedStack
from streams import topics
from streams.clock import now
from streams.events import EventCodec
from streams.provider.staleness import staleness_seconds
from streams.sla.objectives import Objectives
from streams.sla.status import Standing, standings
from streams.sla.store import Codecs, read_states
from streams.sla.verdict import nanos
from tests.support.processes import SEAMLESS, metric_of, running
from tests.support.progress import until
from tests.support.sla_kills import breaches_come_out_the_same
from tests.support.sla_worlds import SLAWorld, make_sla_world, observation
from tests.support.working import asked, source_of_bars, working
from tests.support.worlds import DATASET

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


def closed_market() -> str:
    """Return a calendar whose exchange is closed now, some minutes before and some minutes after."""
    first, last = now() - timedelta(minutes=10), now() + timedelta(minutes=10)
    for name in ("XNYS", "XTKS", "XLON", "XASX"):
        if not staleness_seconds(nanos(first), nanos(last), interval_ns=None, calendar=name):
            return name
    raise AssertionError("all exchanges of the world are open")


def standing(made: SLAWorld) -> list[Standing]:
    codecs = Codecs(made.settings, made.world.registry)
    count = made.settings.topics.event_partitions
    return standings(Objectives(made.settings), [read_states(made.settings, codecs, [p]) for p in range(count)])


@pytest.mark.parametrize("is_open", [True, False], ids=["open market", "holiday"])
def test_silence_breaks_a_promise_within_two_seconds_while_the_market_is_open_and_none_when_it_is_not(
    stack: EmbeddedStack, world: str, tmp_path: Path, is_open: bool
) -> None:
    limit = 4
    made = make_sla_world(
        stack,
        world,
        tmp_path,
        {"fresh": {"kind": "staleness", "limit": f"{limit}s"}},
        contract="trade",
        dataset={"interval": None, "calendar": "24/7" if is_open else closed_market()},
        sla_agent={"checkpoint_s": 0.5},
    )
    with running(["sla-agent", "--config", str(made.config)], tmp_path / "agent.log") as agent:
        until(lambda: agent.output().count("sla_partition_taken") >= 4, 60, "taking partitions", agent.output)
        newest = now()
        made.write(observation(newest, 0.1, phase="live_wait", watermark=nanos(newest)))
        # Nothing more is written: every producer has stopped.
        over = newest + timedelta(seconds=limit + 4)
        until(lambda: any(s.as_of is not None and s.as_of > over for s in standing(made)), 60, "time", agent.output)
        breaches = made.breaches()
        if not is_open:
            assert breaches == []
            return
        (breach,) = breaches
        assert (breach.objective, breach.state, breach.consumer) == ("fresh", "opened", None)
        assert newest + timedelta(seconds=limit) < breach.at <= newest + timedelta(seconds=limit + 1)
        assert made.written_at(breach) <= newest + timedelta(seconds=limit + 2)
        later = now()
        made.write(observation(later, 0.1, phase="live_wait", watermark=nanos(later)))
        until(lambda: made.states() == ["opened", "resolved"], 20, "its end", agent.output)


def test_a_dataset_whose_rows_break_too_many_rules_is_told_of_once_and_new_ones_are_news_though_nobody_reads(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    objectives: dict[str, dict[str, Any]] = {
        "clean": {"kind": "conformance", "max_ratio": 0.1, "window": "2s"},
        "fresh": {"kind": "staleness", "limit": "3s"},
    }
    live = {"interval": None, "calendar": "24/7"}
    made = make_sla_world(stack, world, tmp_path, objectives, contract="trade", dataset=live)
    with running(["sla-agent", "--config", str(made.config)], tmp_path / "agent.log") as agent:
        until(lambda: agent.output().count("sla_partition_taken") >= 4, 60, "taking partitions", agent.output)
        until(lambda: made.states("fresh") == ["opened"], 30, "silence to be told of", agent.output)
        report(made, rows=100, quarantined=20)
        until(lambda: made.states("clean") == ["opened", "resolved"], 30, "the breach", agent.output)
        # Nobody reads, and the rows that were written are new all the same.
        until(lambda: made.states("fresh")[:2] == ["opened", "resolved"], 30, "fresh rows", agent.output)
    opened, over = (each for each in made.breaches() if each.objective == "clean")
    assert (opened.phase, opened.count, opened.over, opened.observed) == ("conformance", 100, 20, 0.2)
    assert over.reason == "silent"


def report(made: SLAWorld, *, rows: int, quarantined: int) -> None:
    topic = topics.conformance_reports(made.world.name)
    datum: dict[str, Any] = {
        "dataset": DATASET, "world": made.world.name, "mode": "blocking", "contract": "c", "contract_fingerprint": "f",
        "rows_in": rows, "rows_out": rows - quarantined, "rows_quarantined": quarantined, "rows_dropped": 0,
        "ranges": [], "findings": [], "created_at": now(), "newest": now(),
    }  # fmt: skip
    made.write_to(topic, EventCodec(made.world.registry, topic, "conformance_report").encode(datum), b"bars/0")


def test_a_backfill_that_is_late_is_told_of_until_it_is_done(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    late = {"kind": "completeness", "limit": "3s", "min_coverage": 1.0}
    made = make_sla_world(stack, world, tmp_path, {"late": late}, backfill=True)
    with running(["sla-agent", "--config", str(made.config)], tmp_path / "agent.log") as agent:
        until(lambda: any(s.as_of is not None for s in standing(made)), 60, "the first look", agent.output)
        job = asked(made.world, source_of_bars(tmp_path, ["AAA"], 60), ["AAA"], 60)
        until(lambda: made.states() == ["opened"], 30, "the breach", agent.output)
        with working(made.world):
            until(lambda: made.states() == ["opened", "resolved"], 60, "its end", agent.output)
    opened, over = made.breaches()
    assert (opened.subject, opened.observed, opened.promised) == (f"{job.id}/1", 0.0, 1.0)
    assert opened.opened_at - job.created_at == timedelta(seconds=3)
    assert (over.observed, over.reason) == (1.0, "kept")


def test_how_promises_stand_and_what_others_would_have_told_is_shown(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_sla_world(stack, world, tmp_path, {"quick": QUICK}, sla_agent={"checkpoint_s": 0.5})
    config = ["--config", str(made.config)]
    with running(["sla-agent", *config], tmp_path / "agent.log") as agent:
        until(lambda: agent.output().count("sla_partition_taken") >= 4, 60, "taking partitions", agent.output)
        made.write(*(observation(now(), 3.0) for _ in range(10)))
        until(lambda: made.states() == ["opened", "resolved"], 30, "the breach", agent.output)

    (tmp_path / "strict.toml").write_text(
        '[sla.objectives.strict]\nkind = "quantile"\nquantile = 0.5\nlimit = "2500ms"\nwindow = "1s"\n'
        '[sla.objectives.lax]\nkind = "quantile"\nquantile = 0.5\nlimit = "1h"\n'
        '[sla.objectives.fresh]\nkind = "staleness"\nlimit = "1s"\n'
    )
    before = len(made.breaches())
    others = ["--objectives", str(tmp_path / "strict.toml")]
    found = json.loads(seamless("sla", "replay", "--from", "1h", "--json", *others, *config))
    assert found["observations"] == 10
    assert [b["state"] for b in found["breaches"]] == ["opened", "resolved"]
    assert {b["objective"] for b in found["breaches"]} == {"strict"}
    assert found["unrecorded"] == [f"fresh: {DATASET}"]
    same = json.loads(seamless("sla", "replay", "--from", "1h", "--json", *config))
    assert [b["id"] for b in same["breaches"]] == [b.id for b in made.breaches()]
    assert len(made.breaches()) == before
    assert "1 breaches of 10 observations" in seamless("sla", "replay", "--from", "1h", *config)
    assert "quick" in seamless("sla", "objectives", "check", *config)
    assert json.loads(seamless("sla", "status", "--json", *config)) == []


def seamless(*arguments: str) -> str:
    done = subprocess.run([str(SEAMLESS), *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
