"""What an open transaction of the normalizer knows of its rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streams.normalizer_output import OpenTransaction

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("newest", "told"),
    [(None, None), (NOW_US - 1, NOW - timedelta(microseconds=1)), (NOW_US + 1, NOW), (2**63, NOW)],
    ids=["no rows", "the past", "the future", "beyond every calendar"],
)
def test_the_newest_row_of_a_report_is_dated_no_later_than_the_report(
    newest: int | None, told: datetime | None
) -> None:
    transaction = OpenTransaction()
    transaction.newest = newest
    assert transaction.newest_before(NOW) == told
