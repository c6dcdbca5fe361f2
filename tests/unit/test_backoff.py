"""Pauses between attempts at a shard's source: they grow, heed what the source asks for, and end."""

from __future__ import annotations

import random

import pytest

from coordinator.retries import Backoff


def test_pauses_double_up_to_the_longest_and_lie_between_half_and_the_whole() -> None:
    backoff = Backoff(1.0, 8.0, random.Random(1))
    for whole in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert whole / 2 <= backoff.next() <= whole
    backoff.reset()
    assert backoff.next() <= 1.0


@pytest.mark.parametrize(("asked", "waited"), [(90.0, 90.0), (3_600.0, 3_600.0), (86_400.0, 3_600.0), (1e300, 3_600.0)])
def test_a_source_is_left_alone_as_long_as_it_asks_but_no_longer_than_an_hour(asked: float, waited: float) -> None:
    assert Backoff(0.5, 30.0).next(asked) == waited
