"""The stateful rules alone, each on rows of which one in a hundred breaks it, so that one that is slow to find shows.

What is sound costs the stage least, as rows that are newer than all before need no comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import numbers
from schemas.conformance import DEFAULT_LATE_INTERVALS, DEFAULT_MEMORY
from schemas.contract import Contract
from schemas.grid import NANOS, make_grid
from schemas.hashing import hash_rows
from schemas.keystate import KeyStates
from schemas.order import OrderRules, judge

__all__ = ["stateful_rules"]

Ints = npt.NDArray[np.int64]

_INTERVAL_S = 60
_EVERY = 100  # of the bars of a symbol


@dataclass(frozen=True)
class _Rows:
    """Bars of symbols that take turns: which row's values each has, how many intervals off it is, and its close."""

    values: Ints
    shifts: npt.NDArray[np.float64]
    closes: npt.NDArray[np.float64] | None = field(default=None)


def stateful_rules(contract: Contract, batch: pa.RecordBatch, symbols: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of a measurement and the work to measure: all rows judged, from states that remember nothing.

    Args:
        batch: sound bars of so many symbols that take turns, as columns of the contract.
    """
    rows = np.arange(batch.num_rows)
    numbers_of_bars = rows // symbols
    broken = (numbers_of_bars % _EVERY == _EVERY // 2) & (rows >= symbols)
    sound = _Rows(rows, np.zeros(len(rows)))
    again = replace(sound, values=np.where(broken, rows - symbols, rows))
    # Half an interval beside the grid, so that it is no bar that came before.
    old = replace(sound, shifts=np.where(broken, -2.0 * DEFAULT_LATE_INTERVALS - 0.5, 0.0))
    cases = {
        "no finding": (sound, "24/7"),
        "gap": (replace(sound, shifts=np.floor(numbers_of_bars / _EVERY)), "24/7"),
        "gap, calendar XNYS": (replace(sound, shifts=np.floor(numbers_of_bars / _EVERY)), "XNYS"),
        "out_of_order": (replace(sound, shifts=np.where(broken, -1.5, 0.0)), "24/7"),
        "late": (old, "24/7"),
        "duplicate_ts": (again, "24/7"),
        "revision": (replace(again, closes=np.where(broken, 0.25, 0.0)), "24/7"),
    }
    for name, (chosen, calendar) in cases.items():
        yield name, _judging(name, contract, _made(batch, chosen, contract), symbols, calendar)


def _made(batch: pa.RecordBatch, rows: _Rows, contract: Contract) -> pa.RecordBatch:
    made = batch.take(pa.array(rows.values))
    shifts = (rows.shifts * _INTERVAL_S * contract.time_units).astype(np.int64)
    changed = {contract.event_time: numbers(made.column(contract.event_time)) + shifts}
    if rows.closes is not None:
        changed["close"] = numbers(made.column("close")) + rows.closes
    for name, values in changed.items():
        index = made.schema.get_field_index(name)
        made = made.set_column(index, made.schema.field(index), pa.array(values))
    return made


def _judging(name: str, contract: Contract, batch: pa.RecordBatch, symbols: int, calendar: str) -> Callable[[], None]:
    rules = OrderRules(
        grid=make_grid(_INTERVAL_S * NANOS, calendar),
        lateness=DEFAULT_LATE_INTERVALS * _INTERVAL_S * contract.time_units,
        per_second=contract.time_units,
        identified_by_time=True,
    )
    identity = [batch.column(n) for n in contract.identity if n != contract.key]
    content = [batch.column(n) for n in contract.content]
    times = numbers(batch.column(contract.event_time))
    names = [str(symbol) for symbol in range(symbols)]

    def work() -> None:
        states = KeyStates(DEFAULT_MEMORY)
        slots = states.slots([0] * symbols, names)[np.arange(batch.num_rows) % symbols]
        found = judge(rules, states, slots, times, lambda rows: (hash_rows(identity, rows), hash_rows(content, rows)))
        masks = {
            "gap": found.gap,
            "out_of_order": found.out_of_order,
            "late": found.late,
            "duplicate_ts": found.duplicate,
            "revision": found.revision,
        }
        wanted = name.partition(",")[0]
        unexpected = [n for n, mask in masks.items() if mask is not None] if wanted == "no finding" else []
        if unexpected or (wanted in masks and masks[wanted] is None):
            raise RuntimeError(f"the rows for {name!r} do not show it: {unexpected or 'nothing'} was found")

    return work
