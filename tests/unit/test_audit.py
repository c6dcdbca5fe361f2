from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coordinator.absent import Gap, expected_bars, gaps
from coordinator.audit import Audit, CheckedRows, Expected, Problem
from coordinator.certificate import LeftOut
from coordinator.digest import EMPTY, add_rows
from coordinator.doubles import ROW, Doubles
from coordinator.shards import Job, Shard
from coordinator.tiling import left_out, overlaps, strays
from schemas.grid import make_grid

MINUTE = 60_000_000_000
Row = tuple[str, int, int]  # symbol, minute, offset


def rows(*wanted: Row, payload: bytes = b"", key: bytes | None = None, unreadable: dict[int, str] | None = None) -> Any:
    return CheckedRows(
        keys=[key if key is not None else s.encode() for s, _, _ in wanted],
        payloads=[payload or f"{s}{m}".encode() for s, m, _ in wanted],
        partitions=np.zeros(len(wanted), np.int32),
        offsets=np.array([o for _, _, o in wanted], np.int64),
        symbols=[s for s, _, _ in wanted],
        times=np.array([m * MINUTE for _, m, _ in wanted], np.int64),
        identities=np.array([hash((s, m)) & 0xFFFFFFFFFFFFFFFF for s, m, _ in wanted], np.uint64),
        unreadable=unreadable or {},
    )


def digest_of(count: int, symbol: str = "A") -> str:
    names = [symbol.encode()] * count
    return add_rows(EMPTY, names, [f"{symbol}{m}".encode() for m in range(count)])


def expected(count: int = 4, **changes: Any) -> Expected:
    plain: dict[str, Any] = {
        "shard": "s",
        "epoch": 2,
        "dataset": "bars",
        "symbols": ("A",),
        "start": 0,
        "end": 10 * MINUTE,
        "rows": count,
        "digest": digest_of(count),
        "carried": 0,
    }
    return Expected(**(plain | changes))


def audit(wanted: Expected, *batches: tuple[int, CheckedRows]) -> tuple[list[Problem], Audit]:
    with Doubles() as doubles:
        books = Audit([wanted], lambda _: 0, doubles)
        for epoch, batch in batches:
            books.take("s", epoch, batch)
        return books.problems(), books


def plain_rows(*minutes: int) -> CheckedRows:
    made: CheckedRows = rows(*[("A", m, m) for m in minutes])
    return made


def test_rows_as_they_were_written_are_no_problem() -> None:
    problems, books = audit(expected(), (2, plain_rows(0, 1)), (2, plain_rows(2, 3)))
    assert problems == []
    proof = books.proofs()[0]
    assert (proof.rows, proof.digest) == (4, digest_of(4))
    assert [(s.partition, s.first, s.last, s.rows) for s in proof.spans] == [(0, 0, 3, 4)]


def test_a_lost_row_is_counted() -> None:
    (problem,), _ = audit(expected(), (2, plain_rows(0, 1, 3)))
    assert (problem.kind, problem.count) == ("missing", 1)
    assert "1 of the 4 rows" in problem.text


def test_a_doubled_row_is_named_with_both_places_and_nothing_else_is_reported() -> None:
    (problem,), _ = audit(expected(), (2, plain_rows(0, 1, 2, 3)), (2, rows(("A", 2, 9))))
    assert (problem.kind, problem.count) == ("doubled", 1)
    assert [(p.offset, p.symbol, p.time) for p in problem.rows] == [(2, "A", 2 * MINUTE), (9, "A", 2 * MINUTE)]


def test_a_row_lost_and_another_doubled_are_both_found_though_the_count_is_right() -> None:
    problems, _ = audit(expected(), (2, plain_rows(0, 1, 2)), (2, rows(("A", 2, 9))))
    assert [(p.kind, p.count) for p in problems] == [("missing", 1), ("doubled", 1)]


def test_a_row_that_its_own_worker_wrote_twice_is_doubled_and_not_missing() -> None:
    twice = add_rows(digest_of(4), [b"A"], [b"A2"])
    (problem,), _ = audit(expected(5, digest=twice), (2, plain_rows(0, 1, 2, 3)), (2, rows(("A", 2, 9))))
    assert (problem.kind, problem.count) == ("doubled", 1)


def test_a_row_whose_content_changed_is_found() -> None:
    (problem,), _ = audit(expected(), (2, plain_rows(0, 1, 2)), (2, rows(("A", 3, 3), payload=b"other")))
    assert problem.kind == "changed"


@pytest.mark.parametrize(
    ("row", "arguments", "reason"),
    [
        (("A", 10, 9), {}, "outside of the shard's range"),
        (("A", -1, 9), {}, "outside of the shard's range"),
        (("B", 5, 9), {}, "B is none of the shard's symbols"),
        (("A", 5, 9), {"key": b"B"}, "its key is b'B'"),
        (("", 5, 9), {"unreadable": {0: "no schema id"}}, "cannot be read: no schema id"),
    ],
)
def test_a_row_that_is_not_the_shards_own_is_foreign(row: Row, arguments: dict[str, Any], reason: str) -> None:
    (problem,), books = audit(expected(), (2, plain_rows(0, 1, 2, 3)), (2, rows(row, **arguments)))
    assert (problem.kind, problem.count, problem.rows[0].offset) == ("foreign", 1, 9)
    assert reason in problem.text
    assert books.proofs()[0].rows == 4


def test_a_row_in_a_partition_where_nobody_looks_for_its_symbol_is_foreign() -> None:
    with Doubles() as doubles:
        books = Audit([expected()], lambda _: 3, doubles)
        books.take("s", 2, plain_rows(0, 1, 2, 3))
        (problem,) = books.problems()
    assert problem.kind == "foreign"
    assert "look in partition 3" in problem.text


def test_rows_of_an_earlier_epoch_count_where_the_shard_went_on_from_its_cursor() -> None:
    problems, books = audit(expected(carried=2), (1, plain_rows(0, 1)), (2, plain_rows(2, 3)))
    assert problems == []
    assert books.proofs()[0].rows == 4


def test_rows_of_an_earlier_epoch_are_foreign_where_the_shard_began_anew() -> None:
    (problem,), _ = audit(expected(), (1, rows(("A", 0, 7), ("A", 1, 8))), (2, plain_rows(0, 1, 2, 3)))
    assert (problem.kind, problem.count) == ("foreign", 2)
    assert "epoch 2 began anew" in problem.text


def test_a_row_of_an_earlier_epoch_that_is_lost_is_told_as_such() -> None:
    (problem,), _ = audit(expected(carried=2), (1, plain_rows(0)), (2, plain_rows(2, 3)))
    assert "1 of them are of epochs before 2, which wrote 2" in problem.text


def test_rows_of_a_later_epoch_than_the_last_are_foreign() -> None:
    (problem,), _ = audit(expected(), (2, plain_rows(0, 1, 2, 3)), (3, rows(("A", 5, 9))))
    assert (problem.kind, problem.count) == ("foreign", 1)


def test_many_foreign_rows_are_all_counted_and_some_named() -> None:
    strange = rows(*[("B", m, m) for m in range(100)])
    (problem,), _ = audit(expected(), (2, plain_rows(0, 1, 2, 3)), (2, strange))
    assert problem.count == 100
    assert len(problem.rows) == 20


def numbered(hashes: list[int], first: int = 0) -> Any:
    made = np.zeros(len(hashes), ROW)
    made["hash"], made["offset"] = hashes, np.arange(first, first + len(hashes))
    return made


def test_doubles_are_found_among_more_rows_than_memory_holds() -> None:
    chance = np.random.default_rng(7)
    hashes = chance.integers(0, 2**63, 5_000, np.uint64) * np.uint64(2)
    with Doubles(memory_rows=100) as doubles:
        for at in range(0, len(hashes), 70):
            doubles.add(numbered(hashes[at : at + 70].tolist(), at))
        doubles.add(numbered([int(hashes[17]), int(hashes[4_000]), int(hashes[17])], 10_000))
        found = sorted(tuple(int(r["offset"]) for r in group) for group in doubles.found())
    assert found == [(17, 10_000, 10_002), (4_000, 10_001)]


def test_rows_of_one_hash_and_different_times_are_different() -> None:
    with Doubles() as doubles:
        pair = numbered([5, 5])
        pair["time"] = [1, 2]
        doubles.add(pair)
        assert list(doubles.found()) == []


def test_absent_bars_are_told_with_the_times_around_them() -> None:
    grid = make_grid(MINUTE, "24/7")
    times = np.array([1, 2, 5], np.int64) * MINUTE
    assert gaps(grid, "A", times, 0, 8 * MINUTE) == [
        Gap("A", 0, MINUTE, 1),
        Gap("A", 2 * MINUTE, 5 * MINUTE, 2),
        Gap("A", 5 * MINUTE, 8 * MINUTE, 2),
    ]
    assert gaps(grid, "A", np.empty(0, np.int64), 0, 3 * MINUTE) == [Gap("A", 0, 3 * MINUTE, 3)]
    assert gaps(grid, "A", np.arange(8) * MINUTE, 0, 8 * MINUTE) == []


def test_a_weekend_has_no_expected_bars() -> None:
    day = 86_400_000_000_000
    grid = make_grid(day, "XNYS")
    monday = 19_723 * day  # 2024-01-01, a holiday
    assert expected_bars(grid, monday + 5 * day, monday + 7 * day) == 0
    assert expected_bars(grid, monday, monday + 7 * day) == 4


def shard(name: str, start: int, end: int, *symbols: str, job: str = "job-1") -> Shard:
    return Shard(name, job, "bars", symbols, start, end, "files:x", 0, 1, 10, 0)


JOB = Job("job-1", 1, "bars", ("A", "B"), 0, 100, "1m", "files:x", 0, 1, False, (), 0, "", 0)


def test_shards_that_touch_tile_and_shards_that_overlap_are_named() -> None:
    assert overlaps([shard("1", 0, 50, "A", "B"), shard("2", 50, 100, "A"), shard("3", 50, 100, "B")]) == []
    found = overlaps([shard("1", 0, 60, "A"), shard("2", 50, 55, "A"), shard("3", 59, 100, "A", "B")])
    assert found == [("A", "1", "2"), ("A", "1", "3")]


def test_what_no_shard_fetches_is_told_by_symbol() -> None:
    shards = [shard("1", 10, 50, "A"), shard("2", 50, 100, "A"), shard("3", 20, 30, "B"), shard("4", 40, 120, "B")]
    assert left_out(JOB, shards) == [LeftOut("A", 0, 10), LeftOut("B", 0, 20), LeftOut("B", 30, 40)]


def test_a_shard_that_fetches_nothing_of_the_request_is_named_and_one_that_reaches_beyond_is_not() -> None:
    assert strays(JOB, [shard("1", 0, 100, "A"), shard("2", -50, 900, "A", "Z", job="job-2")]) == []
    assert strays(JOB, [shard("1", 100, 200, "A"), shard("2", -10, 0, "A"), shard("3", 0, 100, "C")]) == ["1", "2", "3"]
