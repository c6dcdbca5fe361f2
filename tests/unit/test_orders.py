"""Which shards an order concerns, and which of two orders is the newer."""

from __future__ import annotations

import pytest

from coordinator.orders import Order, OrderKind, applies, later
from tests.support.backfills import shard_of

SHARD = shard_of("a", job_epoch=2, epoch=3)


@pytest.mark.parametrize("kind", [OrderKind.PAUSE, OrderKind.CANCEL])
@pytest.mark.parametrize(("epoch", "concerned"), [(1, False), (2, True), (3, True)])
def test_an_order_about_a_job_concerns_what_was_queued_until_then(kind: OrderKind, epoch: int, concerned: bool) -> None:
    assert applies(Order("job-a", kind, epoch), SHARD, None) is concerned


def test_an_order_about_another_job_or_shard_concerns_nobody_else() -> None:
    assert not applies(Order("job-b", OrderKind.CANCEL, 9), SHARD, None)
    assert not applies(Order("shard-b", OrderKind.SKIP, 3), SHARD, None)


@pytest.mark.parametrize(("epoch", "concerned"), [(2, False), (3, True), (4, False)])
def test_a_shard_is_skipped_in_the_epoch_that_was_meant_only(epoch: int, concerned: bool) -> None:
    assert applies(Order(SHARD.id, OrderKind.SKIP, epoch), SHARD, 1) is concerned


@pytest.mark.parametrize(("attempt", "concerned"), [(None, False), (1, False), (2, True), (3, False)])
def test_a_release_ends_the_attempt_that_was_meant_only(attempt: int | None, concerned: bool) -> None:
    assert applies(Order(SHARD.id, OrderKind.RELEASE, 3, attempt=2), SHARD, attempt) is concerned


def test_the_later_order_wins_whichever_comes_first() -> None:
    pause, resume = Order("job-a", OrderKind.PAUSE, 1, at=5), Order("job-a", OrderKind.RESUME, 2, at=6)
    assert later(pause, resume) is later(resume, pause) is resume


def test_an_order_survives_the_way_through_its_event() -> None:
    order = Order("shard-a", OrderKind.RELEASE, 1, 2, "me", "stuck", 7)
    assert Order.from_avro(order.to_avro()) == order
