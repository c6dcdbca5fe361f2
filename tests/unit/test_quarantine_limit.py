"""When a dataset has to be stopped."""

from __future__ import annotations

import pytest

from streams.quarantine_limit import QuarantineLimit

Batch = tuple[int, int]


@pytest.mark.parametrize(
    ("max_share", "window", "counted", "batch", "share"),
    [
        # Nothing is judged before the window is full.
        (0.5, 100, [], (99, 99), None),
        (0.5, 100, [], (100, 51), 0.51),
        # Exactly the share is allowed.
        (0.5, 100, [], (100, 50), None),
        # A limit of none stops at the first row; a limit of all never stops.
        (0.0, 10, [], (10, 1), 0.1),
        (0.0, 10, [], (10, 0), None),
        (1.0, 10, [], (10, 10), None),
        # Good rows of the window weigh against bad ones.
        (0.5, 100, [(60, 0)], (40, 40), None),
        (0.5, 100, [(40, 0)], (60, 60), 0.6),
        # What has left the window no longer does, neither good nor bad.
        (0.5, 100, [(1_000, 0), (50, 0)], (100, 60), 0.6),
        (0.5, 100, [(100, 50), (100, 0)], (100, 40), None),
        # A batch that fills the window alone is judged alone.
        (0.5, 10, [(5, 0)], (10, 8), 0.8),
        # Nothing seen is nothing bad.
        (0.5, 1, [], (0, 0), None),
    ],
)
def test_the_share_of_the_latest_rows_is_judged(
    max_share: float, window: int, counted: list[Batch], batch: Batch, share: float | None
) -> None:
    limit = QuarantineLimit(max_share, window)
    for rows, bad in counted:
        limit.count(rows, bad)
    found = limit.exceeded_by(*batch)
    assert found == (None if share is None else pytest.approx(share))


def test_batches_that_are_not_committed_yet_leave_the_window_as_counted_ones_do() -> None:
    limit = QuarantineLimit(0.5, 100)
    assert limit.exceeded_by(100, 100, [(400, 0)]) == 1.0
    assert limit.exceeded_by(60, 60, [(40, 40)]) == 1.0
    assert limit.exceeded_by(60, 20, [(40, 0)]) is None


def test_judging_counts_nothing() -> None:
    limit = QuarantineLimit(0.5, 10)
    for _ in range(3):
        assert limit.exceeded_by(9, 9) is None


def test_only_as_many_batches_are_remembered_as_the_window_needs() -> None:
    limit = QuarantineLimit(0.5, 10)
    for _ in range(1_000):
        limit.count(1, 0)
    assert len(limit._batches) == 10
