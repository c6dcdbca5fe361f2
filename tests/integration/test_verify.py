"""`verify` against rows and progress that were written by hand, rightly and in every wrong way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.certificate import Certificate, CertificateError
from coordinator.local import LocalBackfillCoordinator
from coordinator.protocol import BackfillRequest, NotFound
from coordinator.shards import Progress, ShardState
from coordinator.verify import Verdict, check, verify
from tests.support.bars import START
from tests.support.hand_worker import HandWorker, rows_of_shard
from tests.support.worlds import World, make_backfill_world

pytestmark = pytest.mark.kafka

BEGIN = datetime.fromtimestamp(START / 1e6, UTC)
MINUTES = 40


@dataclass
class Scene:
    """A world with a coordinator in process and one hand that writes."""

    world: World
    coordinator: LocalBackfillCoordinator
    hand: HandWorker

    def request(self, *symbols: str, minutes: int = MINUTES, target_rows: int = 20) -> tuple[str, list[Progress]]:
        """Ask for bars; return the job and its shards as they are queued, by time."""
        wanted = BackfillRequest(
            dataset="bars",
            symbols=symbols,
            start=BEGIN,
            end=BEGIN + timedelta(minutes=minutes),
            source="files:nothing/*.parquet",
            target_rows=target_rows,
        )
        job = self.coordinator.request(wanted).job.id
        return job, self.shards(job)

    def shards(self, job: str) -> list[Progress]:
        with self.coordinator.reading() as view:
            return sorted(view.shards_of(job), key=lambda p: (p.shard.start, p.shard.symbols))

    def verify(self, job: str) -> Verdict:
        return verify(self.world.settings, self.coordinator, job)

    def kinds(self, job: str) -> list[tuple[str, str, int]]:
        return [(p.kind, p.shard, p.count) for p in self.verify(job).problems]


@pytest.fixture
def scene(stack: Any, world: str, tmp_path: Path) -> Iterator[Scene]:
    made = make_backfill_world(stack, world, tmp_path)
    coordinator = LocalBackfillCoordinator(made.settings)
    hand = HandWorker(made)
    yield Scene(made, coordinator, hand)
    hand.close()
    coordinator.close()
    made.registry.close()


def test_a_job_that_was_written_once_is_proven_and_its_certificate_can_be_checked_again(
    scene: Scene, tmp_path: Path
) -> None:
    job, shards = scene.request("AAA", "BBB", "CCC")
    assert len(shards) > 2
    for progress in shards:
        scene.hand.put(rows_of_shard(progress.shard)[:3], progress.shard, abort=True)  # a holder that died
        scene.hand.complete(progress)
    verdict = scene.verify(job)
    assert verdict.complete, verdict
    assert verdict.rows == 3 * MINUTES
    assert verdict.certificate is not None
    assert [p.shard for p in verdict.certificate.proofs] == sorted(p.shard.id for p in shards)
    assert scene.verify(job).certificate == verdict.certificate, "the same rows give the same certificate"

    verdict.certificate.write(tmp_path / "c.json")
    again = check(scene.world.settings, Certificate.read(tmp_path / "c.json"))
    assert again.complete
    assert again.rows == verdict.rows

    proof = verdict.certificate.proofs[0]
    with pytest.raises(CertificateError, match="was changed"):
        check(scene.world.settings, replace(verdict.certificate, world="other"))
    with pytest.raises(CertificateError, match="is about the world other"):
        check(scene.world.settings, replace(verdict.certificate, world="other").sealed())
    for changes in ({"rows": proof.rows + 1}, {"digest": "1" * 64}, {"end": proof.start + 1}, {"spans": ()}):
        forged = replace(verdict.certificate, proofs=(replace(proof, **changes), *verdict.certificate.proofs[1:]))
        assert not check(scene.world.settings, forged.sealed()).complete, f"{changes} was believed"

    # What is written later under a shard's name is found by the certificate, too.
    scene.hand.put(rows_of_shard(shards[0].shard)[:1], shards[0].shard)
    (problem,) = check(scene.world.settings, verdict.certificate).problems
    assert (problem.kind, problem.count) == ("doubled", 1)


def test_a_lost_row_is_found_and_its_bar_is_named(scene: Scene) -> None:
    job, shards = scene.request("AAA")
    lost = rows_of_shard(shards[0].shard)[7]
    scene.hand.complete(shards[0], without=[lost])
    for progress in shards[1:]:
        scene.hand.complete(progress)
    verdict = scene.verify(job)
    assert [(p.kind, p.shard, p.count) for p in verdict.problems] == [("missing", shards[0].shard.id, 1)]
    assert verdict.certificate is None
    (note,) = [n for n in verdict.notes if "absent" in n]
    before, after = (BEGIN + timedelta(minutes=lost[1] + by) for by in (-1, 1))
    assert "1 bar of AAA absent" in note
    assert f"{before:%Y-%m-%dT%H:%M:%SZ} and {after:%Y-%m-%dT%H:%M:%SZ}" in note


def test_a_doubled_row_is_named_with_its_places(scene: Scene) -> None:
    job, shards = scene.request("AAA", "BBB")
    for progress in shards:
        scene.hand.complete(progress)
    twice = rows_of_shard(shards[1].shard)[4]
    scene.hand.put([twice], shards[1].shard)
    (problem,) = scene.verify(job).problems
    assert (problem.kind, problem.shard, problem.count) == ("doubled", shards[1].shard.id, 1)
    first, second = problem.rows
    assert (
        (first.symbol, first.time)
        == (second.symbol, second.time)
        == (twice[0], (START + twice[1] * 60_000_000) * 1_000)
    )
    found = {(m.partition(), m.offset()) for m in scene.world.read(scene.world.topic("history"))}
    assert {(first.partition, first.offset), (second.partition, second.offset)} <= found


def test_a_row_outside_of_its_shard_is_foreign(scene: Scene) -> None:
    job, shards = scene.request("AAA")
    for progress in shards:
        scene.hand.complete(progress)
    scene.hand.put([("AAA", MINUTES + 5), ("ZZZ", 1)], shards[0].shard)
    found = scene.kinds(job)
    assert found == [("foreign", shards[0].shard.id, 1), ("foreign", shards[0].shard.id, 1)]
    texts = [p.text for p in scene.verify(job).problems]
    assert any("outside of the shard's range" in text for text in texts)
    assert any("ZZZ is none of the shard's symbols" in text for text in texts)


def test_rows_that_no_known_shard_wrote_are_found_where_they_stand_in_the_jobs_ranges(scene: Scene) -> None:
    job, shards = scene.request("AAA")
    for progress in shards:
        scene.hand.complete(progress)
    stranger = replace(shards[0].shard, id="shard-nobody-knows")
    scene.hand.put([("AAA", 3), ("AAA", MINUTES + 3), ("BBB", 3)], stranger)
    (problem,) = scene.verify(job).problems
    assert (problem.kind, problem.shard, problem.count) == ("foreign", "", 1)
    assert [(p.symbol, p.time) for p in problem.rows] == [("AAA", (START + 3 * 60_000_000) * 1_000)]


def test_rows_of_other_jobs_do_not_count(scene: Scene) -> None:
    job, shards = scene.request("AAA")
    other, others = scene.request("BBB")
    for progress in (*shards, *others):
        scene.hand.complete(progress)
    assert scene.verify(job).rows == scene.verify(other).rows == MINUTES


def test_a_shard_that_failed_and_went_on_from_its_cursor_is_proven_over_both_epochs(scene: Scene) -> None:
    job, shards = scene.request("AAA", minutes=20)
    (first,) = shards
    rows = rows_of_shard(first.shard)
    scene.hand.chunk(first, rows[:8], ShardState.FAILED, error="the vendor is down")
    assert [k for k, _, _ in scene.kinds(job)] == ["unfinished"]
    scene.coordinator.retry(first.shard.id)
    (again,) = scene.shards(job)
    assert again.shard.epoch == 2
    done = scene.hand.chunk(again, rows[8:], ShardState.DONE)
    assert done.rows == 20
    verdict = scene.verify(job)
    assert verdict.complete, verdict
    assert verdict.certificate is not None
    assert verdict.certificate.proofs[0].epoch == 2


def test_rows_of_an_epoch_that_no_cursor_explains_are_foreign(scene: Scene) -> None:
    job, shards = scene.request("AAA", minutes=20)
    (first,) = shards
    scene.hand.chunk(first, rows_of_shard(first.shard)[:8], ShardState.FAILED, keep_cursor=False)
    scene.coordinator.retry(first.shard.id)
    (again,) = scene.shards(job)
    scene.hand.complete(again)
    (problem,) = scene.verify(job).problems
    assert (problem.kind, problem.count, len(problem.rows)) == ("foreign", 8, 8)
    assert "epoch 2 began anew" in problem.text


def test_a_job_that_runs_is_not_proven_and_says_which_shards_are_missing(scene: Scene) -> None:
    job, shards = scene.request("AAA")
    scene.hand.complete(shards[0])
    found = scene.verify(job)
    assert {(p.kind, p.shard) for p in found.problems} == {("unfinished", p.shard.id) for p in shards[1:]}
    assert found.certificate is None


def test_what_the_caller_had_is_told_as_left_out(scene: Scene) -> None:
    wanted = BackfillRequest(
        dataset="bars",
        symbols=("AAA",),
        start=BEGIN,
        end=BEGIN + timedelta(minutes=20),
        source="files:nothing/*.parquet",
        covered={"AAA": ({"start": BEGIN + timedelta(minutes=5), "end": BEGIN + timedelta(minutes=9)},)},
    )
    job = scene.coordinator.request(wanted).job.id
    for progress in scene.shards(job):
        scene.hand.complete(progress)
    verdict = scene.verify(job)
    assert verdict.complete, verdict
    assert verdict.rows == 16
    assert verdict.certificate is not None
    (hole,) = verdict.certificate.left_out
    assert (hole.symbol, hole.end - hole.start) == ("AAA", 4 * 60_000_000_000)


def test_a_job_that_nobody_asked_for_is_said_to_be_none(scene: Scene) -> None:
    with pytest.raises(NotFound, match="job-none"):
        scene.verify("job-none")
