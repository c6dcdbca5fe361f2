"""Observations that are added up by whoever tells them come to the same as if each were told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.provider.observations import Observation
from streams.sla.fold import Fold
from streams.sla.prefold import Columns, Prefolder, fold_columns
from streams.sla.records import fold_of, told
from streams.sla.verdict import nanos
from tests.support.examples import examples
from tests.support.sla_worlds import observation

AT = datetime(2026, 3, 2, 15, tzinfo=UTC)


def many(count: int, **changes: Any) -> list[Observation]:
    return [
        observation(AT + timedelta(milliseconds=n), 0.1 * (n + 1), fetch_id=f"f{n}", **changes) for n in range(count)
    ]


def summed(observations: list[Observation]) -> Fold:
    total = Fold()
    for each in observations:
        found = told(each.datum())
        assert found is not None
        total.add(found.fold)
    return total


def test_the_first_few_of_a_second_go_at_once_and_the_others_as_their_sum() -> None:
    prefolder, observations = Prefolder(few=3), many(20, outcome="violated")
    at_once = [each for each in observations if prefolder.add(each) is not None]
    assert at_once == observations[:3]
    assert len(prefolder) == 17
    assert list(prefolder.take(nanos(AT) + 999_999_999)) == []
    (folded,) = prefolder.take(nanos(AT) + 1_000_000_000)
    assert (folded.at, folded.outcome, folded.consumer) == (AT, "violated", "reader")
    assert folded.fold is not None
    assert [each.fetch_id for each in folded.fold.worst] == ["f19", "f18", "f17"]
    assert summed([*at_once, folded]) == summed(observations)
    assert len(prefolder) == 0


def test_keys_lanes_and_seconds_are_added_up_apart() -> None:
    prefolder = Prefolder(few=0)
    one = observation(AT, 1.0)
    others = [
        observation(AT, 1.0, consumer="other"),
        observation(AT, 1.0, lane="backfill"),
        observation(AT + timedelta(seconds=1), 1.0),
    ]
    for each in [one, *others]:
        assert prefolder.add(each) is None
    assert len(list(prefolder.take())) == 4


def test_what_is_told_while_it_still_goes_on_is_not_counted() -> None:
    prefolder, waiting = Prefolder(few=0), replace(observation(AT, 1.0), final=False)
    assert prefolder.add(waiting) is waiting
    assert told(waiting.datum()) is None


def test_an_observation_of_the_first_version_of_the_schema_is_one() -> None:
    datum = {name: value for name, value in many(1)[0].datum().items() if name not in {"fold", "source"}}
    found = told(datum)
    assert found is not None
    assert found.fold.count == 1


rows = st.tuples(st.integers(0, 3), st.integers(0, 4_000), st.floats(1e-6, 1e4), st.booleans())


@examples(100)
@given(st.lists(rows, max_size=60))
def test_columns_fold_as_single_ones_do(values: list[tuple[int, int, float, bool]]) -> None:
    group, at_ms, elapsed, over = (list(column) for column in zip(*values, strict=True)) if values else ([], [], [], [])
    at = np.array(at_ms, np.int64) * 1_000_000 + nanos(AT)
    found = fold_columns(
        Columns(np.array(group, np.int64), at, np.array(elapsed, np.float64), np.array(over, np.bool_))
    )
    expected: dict[tuple[int, int], Fold] = {}
    for each, ms, took, bad in values:
        when = AT + timedelta(milliseconds=ms)
        single = fold_of(observation(when, took, outcome="violated" if bad else "ok").datum())
        key = each, nanos(when) - nanos(when) % 1_000_000_000
        expected.setdefault(key, Fold()).add(replace(single, worst=(), newest=None))
    assert found == expected
