"""Rollbacks rehearsed on a running normalizer, SLA agent and provider: each takes effect, and is undone, by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from streams import Provider
from streams.cli import app
from streams.clock import now
from streams.errors import SettingsError
from streams.sla.breach import Breach
from tests.support.bars import good_bar
from tests.support.governing import Writer, audit_of, reports_of, set_mode
from tests.support.normalizing import normalize
from tests.support.processes import metrics_of, running
from tests.support.progress import finished, until
from tests.support.sla_worlds import SLAWorld, make_sla_world, observation
from tests.support.working import asked, finished_job, history, minute, source_of_bars, working
from tests.support.worlds import DATASET, World

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("logging_as_it_was")]

SLOW = {"kind": "quantile", "quantile": 0.5, "window": "1s", "dataset": DATASET, "consumer": "reader"}
SHORT = {"max_wait_backfill": "1s", "max_wait_live": "5s", "min_coverage": 0, "on_violation": "partial_fill"}
PROMISE = "p50 of total <= 2 s over 1s"
WHY = "the feed of the night is wrong"


class Cli:
    """`seamless ...` in the world."""

    def __init__(self, world: World) -> None:
        self._config = str(world.config)

    def __call__(self, *args: str) -> Any:
        done = CliRunner().invoke(app, [*args, "--config", self._config], env={"COLUMNS": "250"})
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json"))


@pytest.fixture
def made(stack: Any, world: str, tmp_path: Path) -> SLAWorld:
    return make_sla_world(
        stack,
        world,
        tmp_path,
        {"slow": SLOW},
        backfill=True,
        dataset={"source": source_of_bars(tmp_path, ["AAA"], 50)},
        archive={"url": str(tmp_path / "archive")},
        quarantine={"max_share": 1.0},
    )


@pytest.fixture
def cli(made: SLAWorld) -> Cli:
    return Cli(made.world)


@pytest.fixture
def provider(made: SLAWorld) -> Iterator[Provider]:
    with Provider(made.settings, consumer="reader", observe=False) as found:
        yield found


def quarantined(world: World) -> int:
    return len(world.read(world.topic("quarantine")))


def test_a_running_normalizer_stops_blocking_and_blocks_again_and_all_of_it_is_told(
    made: SLAWorld, cli: Cli, tmp_path: Path
) -> None:
    world = made.world
    writer, minutes = Writer(world), iter(range(0, 10_000, 10))

    def write() -> None:
        """Write ten bars that break a rule, and wait until they are normalized."""
        first = next(minutes)
        writer.write(["AAA"], range(first, first + 10), high=1.0)
        until(lambda: finished(world), 30, "normalizing", normalizer.output)

    with running(["normalize", "--config", str(world.config)], tmp_path / "normalizer.log") as normalizer:
        write()
        assert quarantined(world) == 10
        (rolled_back,) = cli.json("rollback", "shadow", "--reason", WHY)
        until(lambda: normalizer.output().count("conformance_mode_changed") == 1, 10, "following", normalizer.output)
        write()
        assert quarantined(world) == 10, "nothing is blocked any more"
        assert len(world.read(world.topic("normalized"))) == 10
        newest = reports_of(world)[-1]
        assert newest.mode == "shadow"
        assert sum(f.count for f in newest.findings) >= 1, "and all is seen"
        gauge = f'seamless_rollback_active{{dataset="{DATASET}",what="shadow",world_id="{world.name}"}}'
        assert f"{gauge} 1.0" in metrics_of(normalizer)

        (shown,) = cli.json("rollback", "status")
        assert (shown["what"], shown["reason"], shown["id"]) == ("shadow", WHY, rolled_back["id"])
        assert shown["changes"] == [
            {"target": f"conformance/{DATASET}", "before": None, "after": "shadow", "was": "blocking"}
        ]
        assert "@" in shown["by"]
        assert WHY in cli("rollback", "status")
        assert cli.json("rollback", "shadow", "--reason", "once more") == []
        assert "nothing to do" in cli("rollback", "shadow", "--reason", "once more")

        cli("rollback", "undo", "shadow", "--reason", "the feed is mended")
        until(lambda: normalizer.output().count("conformance_mode_changed") == 2, 10, "following", normalizer.output)
        write()
        assert quarantined(world) == 20
        assert reports_of(world)[-1].mode == "blocking"
        assert f"{gauge} 0.0" in metrics_of(normalizer)
        assert normalizer.terminate() == 0
    assert cli.json("rollback", "status") == []
    entries = [(e.what, e.before, e.after, e.reason) for e in audit_of(world)]
    target = f"conformance/{DATASET}"
    assert entries == [
        ("rollback shadow", f"{target}: blocking", f"{target}: shadow", WHY),
        ("undo", f"{target}: shadow", f"{target}: as the settings say", "the feed is mended"),
    ]

    told = [(e["kind"], e["what"]) for e in cli.json("postmortem", "new", "--from", "30m")]
    assert told == [
        ("rollback", f"shadow: {target}: blocking -> shadow"),
        ("mode", "conformance: blocking -> shadow"),
        ("undo", f"{target}: shadow -> as the settings say"),
        ("mode", "conformance: shadow -> blocking"),
    ]

    cli("rollback", "shadow", "--dataset", DATASET, "--reason", WHY)
    writer.write(["BBB"], range(5), high=1.0)
    normalize(world)
    assert quarantined(world) == 20, "nor does one block that starts meanwhile"
    with working(world):
        broken = [good_bar("AAA", n, high=1.0) for n in range(5)]
        pq.write_table(pa.Table.from_pylist(broken), tmp_path / "broken.parquet")
        finished_job(world, asked(world, f"files:{tmp_path / 'broken.parquet'}", ["AAA"], 5).id)
    assert len(history(world)) == 5, "nor does a worker"
    assert quarantined(world) == 20


def test_overrides_of_promises_reach_agent_and_provider_and_go_back_to_the_set_before(
    made: SLAWorld, cli: Cli, provider: Provider, tmp_path: Path
) -> None:
    policy = ["--dataset", DATASET, "--reason", "month's end"]

    def promised() -> float | None:
        return provider._resolved(DATASET, None).policy.total_deadline

    def changes() -> int:
        return agent.output().count("sla_objectives_changed")

    def breach_of(seconds: float) -> Breach:
        """Tell the agent of a fetch that took so long; return the breach that it opens, when it is over."""
        before = len(made.breaches())
        made.write(observation(now(), seconds))
        until(lambda: len(made.breaches()) > before, 20, "the breach", agent.output)
        made.write(observation(now(), 0.01))
        until(lambda: len(made.breaches()) > before + 1, 20, "its end", agent.output)
        return made.breaches()[before]

    provider.wait_for_operations(30)
    with running(["sla-agent", "--config", str(made.config)], tmp_path / "agent.log") as agent:
        until(lambda: agent.output().count("sla_partition_taken") >= 4, 60, "taking partitions", agent.output)
        assert promised() == 90
        cli("sla", "override", "set", "total_deadline=60s", *policy)
        until(lambda: changes() == 1, 20, "the agent's following", agent.output)
        cli("sla", "override", "set", "total_deadline=2s", "max_wait_backfill=1s", *policy)
        until(lambda: promised() == 2, 10, "the provider's following")
        until(lambda: changes() == 2, 20, "the agent's following", agent.output)
        assert breach_of(5.0).promised == 2

        (done,) = cli.json("rollback", "sla", "--reason", "too tight")
        assert json.loads(done["changes"][0]["after"]) == {"total_deadline": "60s"}
        until(lambda: promised() == 60, 10, "the provider's following")
        until(lambda: changes() == 3, 20, "the agent's following", agent.output)
        assert breach_of(100.0).promised == 60
        assert cli.json("rollback", "sla", "--reason", "too tight") == []

        cli("rollback", "undo", "sla", "--reason", "it was not")
        until(lambda: promised() == 2, 10, "the provider's following")
        assert agent.terminate() == 0
    set_mode(made.world, "canary")
    assert "version 2.1" in cli("deploy", "record", "2.1", "--reason", "with the cause mended")
    page = tmp_path / "postmortem.md"
    cli("postmortem", "new", "--from", "30m", "--title", "Too tight", "--out", str(page))
    rows = [[c.strip() for c in row.split("|")[2:-1]] for row in page.read_text("utf-8").splitlines() if "| `" in row]
    assert [row[0] for row in rows] == [
        *["`override`", "`override`", "`breach`", "`breach`"],
        *["`rollback`", "`breach`", "`breach`", "`undo`", "`mode`", "`deploy`"],
    ]
    assert rows[2][1:3] == [f"{DATASET}, reader", f"slow opened, warning: 5 s where promised was {PROMISE}"]
    assert rows[4][4] == "too tight"
    assert "| longest breach | 0:00:0" in page.read_text("utf-8")
    with pytest.raises(SettingsError, match="is there already"):
        cli("postmortem", "new", "--from", "30m", "--out", str(page))

    with pytest.raises(SettingsError, match="longer than total_deadline"):
        cli("sla", "override", "set", "max_wait_backfill=1h", *policy)
    (held,) = cli.json("sla", "override", "list")
    assert held["values"] == {"max_wait_backfill": "1s", "total_deadline": "2s"}


def test_a_running_provider_answers_from_storage_and_asks_the_coordinator_again(
    made: SLAWorld, cli: Cli, provider: Provider
) -> None:
    def fetched() -> Any:
        return provider.fetch(DATASET, "AAA", minute(0), minute(9), sla=SHORT)  # nobody works on what it asks for

    def why(found: Any) -> set[str]:
        return {hole.why for hole in found.missing}

    provider.wait_for_operations(30)
    cli("rollback", "storage-first", "--reason", "the coordinator recovers")
    until(lambda: why(fetched()) == {"coordinator_unavailable"}, 10, "the provider's following")
    found = fetched()
    assert found.partial
    assert found.timings["backfill_wait"] < 0.5, "it does not wait"
    assert "storage first, by" in found.degraded["coordinator"]
    assert "the coordinator recovers" in found.missing[0].detail
    with Provider(made.settings, observe=False) as another:
        first = another.fetch(DATASET, "AAA", minute(0), minute(9), sla=SHORT)
    assert why(first) == {"coordinator_unavailable"}, "one that has just begun knows it, too"

    cli("rollback", "undo", "--reason", "it is back")
    until(lambda: why(fetched()) == {"running"}, 20, "asking the coordinator again")
