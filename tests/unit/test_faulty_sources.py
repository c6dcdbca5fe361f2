"""A source around another one: what goes wrong follows from the options and the seed, and is over when it is healed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from coordinator.source import SourceBatch, SourceError, source_names
from operations.testing.misbehaviour import Panic
from operations.testing.sources import FaultySource, make_available, open_faulty

ROWS = 100


class Whole:
    """Two batches of good rows."""

    def __init__(self) -> None:
        self.closed = False

    def estimate(self, symbols: Sequence[str], start: int, end: int) -> int:
        return 2 * ROWS

    def fetch(self, symbols: Sequence[str], start: int, end: int, cursor: str | None) -> Iterator[SourceBatch]:
        for number in range(int(cursor or 0), 2):
            rows = {"symbol": ["A"] * ROWS, "close": [float(n) for n in range(ROWS)], "size": list(range(ROWS))}
            yield SourceBatch(pa.RecordBatch.from_pydict(rows), str(number + 1))

    def close(self) -> None:
        self.closed = True


def fetched(after: str | None = None, /, **options: Any) -> list[Any]:
    return list(FaultySource(Whole(), {k: str(v) for k, v in options.items()}).fetch(["A"], 0, 1, after))


def lost(batches: list[Any]) -> list[int]:
    """Return which rows of all batches have lost a value."""
    values = [value for batch in batches for value in batch.rows["close"].to_pylist()]
    return [n for n, value in enumerate(values) if math.isnan(value)]


def test_without_options_it_gives_what_the_other_source_gives() -> None:
    inner = Whole()
    source = FaultySource(inner, {})
    assert [b.rows for b in source.fetch(["A"], 0, 1, None)] == [b.rows for b in Whole().fetch(["A"], 0, 1, None)]
    assert source.estimate(["A"], 0, 1) == 2 * ROWS
    source.close()
    assert inner.closed


def test_the_same_seed_and_place_spoil_the_same_rows_and_another_seed_others() -> None:
    first = lost(fetched(corrupt=0.2, seed=7))
    assert 20 <= len(first) <= 60
    assert lost(fetched(corrupt=0.2, seed=7)) == first
    assert lost(fetched(corrupt=0.2, seed=8)) != first
    again = lost(fetched("1", corrupt=0.2, seed=7))
    assert [n + ROWS for n in again] == [n for n in first if n >= ROWS]


def test_it_fails_so_many_times_in_all_and_asks_for_quiet(tmp_path: Path) -> None:
    options: dict[str, Any] = {"fail": 2, "state": tmp_path / "state", "after": 0.5}
    for _ in range(2):
        with pytest.raises(SourceError) as failed:
            fetched(**options)
        assert (failed.value.retryable, failed.value.retry_after_s) == (True, 0.5)
    assert len(fetched(**options)) == 2


def test_each_wrong_turn_is_what_it_is_called() -> None:
    with pytest.raises(SourceError, match="gone") as broken:
        fetched(broken="gone")
    assert not broken.value.retryable
    with pytest.raises(Panic):
        fetched(panic=1)
    with pytest.raises(SystemExit):
        fetched(exit=3)
    assert fetched(wrong="batch")[0] == "these are the bars"
    assert fetched(wrong="columns")[0].rows.schema.names == ["colour", "taste"]


def test_healed_it_is_whole_again(tmp_path: Path) -> None:
    healed = tmp_path / "healed"
    wrong: dict[str, Any] = {
        "broken": "gone",
        "corrupt": 1.0,
        "hang": healed,
        "wrong": "batch",
        "pace": 60,
        "hurry": healed,
    }
    healed.touch()
    assert lost(fetched(healed=healed, **wrong)) == []


def test_each_batch_that_is_asked_for_leaves_a_mark(tmp_path: Path) -> None:
    fetched(marks=tmp_path / "marks")
    assert [line.split()[1] for line in (tmp_path / "marks").read_text().splitlines()] == ["None", "1", "2"]


def test_it_is_a_source_only_for_whoever_has_it_on_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "faulty" not in source_names()
    make_available(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert "faulty" in source_names()


def test_what_names_no_other_source_is_refused() -> None:
    with pytest.raises(SourceError, match="names no source") as refused:
        open_faulty("pace=1", None)  # type: ignore[arg-type]
    assert not refused.value.retryable
