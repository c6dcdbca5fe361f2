"""The broker dies under workers in the middle of a job and comes back: they wait, go on, and write every row once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.verify import verify
from operations.stack import EmbeddedStack
from tests.support.operating import bars_from, operating, sources_installed
from tests.support.processes import WITH_TEST_SOURCES, running
from tests.support.worlds import make_backfill_world

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

SETTINGS = {"slots": 2, "chunk_rows": 20, "retry_base_s": 0.05}
MINUTES = 2_400


@pytest.mark.timeout(600)
def test_a_broker_that_is_killed_twice_loses_and_doubles_no_row_and_ends_no_worker(tmp_path: Path, world: str) -> None:
    with ExitStack() as contexts:
        stack = contexts.enter_context(EmbeddedStack(tmp_path / "stack", die_with_parent=True))
        made = make_backfill_world(stack, world, tmp_path, shard_partitions=4, backfill=SETTINGS)
        contexts.callback(made.registry.close)
        contexts.enter_context(sources_installed())
        workers = [
            contexts.enter_context(
                running(["worker", "--config", str(made.config)], tmp_path / f"worker-{n}.log", WITH_TEST_SOURCES)
            )
            for n in range(2)
        ]
        with operating(made) as operator:
            hurry = tmp_path / "hurry"
            job = operator.ask(bars_from(MINUTES, batch=20, pace=0.2, hurry=hurry), ["AAA"], MINUTES, target_rows=200)
            for rows in (200, 600):
                operator.until_rows(job, rows)
                stack.kill_broker()
                stack.restart_broker()
        hurry.touch()
        # Whoever asked before the broker died may have to find it again.
        with operating(made) as operator:
            operator.until(job, "done", seconds=180)
            assert operator.rows() == [("AAA", minute) for minute in range(MINUTES)]
            verdict = verify(made.settings, operator.coordinator, job.id)
            assert verdict.complete, verdict.problems
        outputs = "\n".join(worker.output()[-6_000:] for worker in workers)
        assert all(worker.alive() for worker in workers), outputs
        assert "seamless.backfill.failed" not in outputs
        assert [worker.terminate() for worker in workers] == [0, 0], outputs
