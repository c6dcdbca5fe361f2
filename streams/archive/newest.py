"""Of rows with one identity the newest, in the one order that results have. Pure.

Rows compete by the contract's identity. The one with the greatest `_as_of` wins; of equal ones that of the normalized
topic, as it is what a live reader saw; of those the one with the greatest offset. Results are ordered by event time,
then symbol, then what else identifies a row, whatever order the rows had before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from schemas.contract import Contract
from streams.archive.grid import Places, grid_order
from streams.archive.layout import AS_OF, OFFSET, SYSTEM, TOPIC
from streams.archive.runs import Runs, runs_of

__all__ = ["newest_rows", "newness", "only_rows"]

Ints = npt.NDArray[np.int64]

newness: tuple[str, ...] = (AS_OF, TOPIC, OFFSET)
"""The columns by which rows of one identity are compared; `history` is less than `normalized`."""
_WIDEST = np.iinfo(np.int64).max // 2


def newest_rows(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return the newest row of each identity, in order, without the system's columns.

    Args:
        frame: the contract's columns, event times as numbers or datetimes, and the system's.
    """
    if contract.event_time not in contract.identity:
        frame = _without_older(frame, contract)
    frame = frame.rechunk()  # as polars takes rows out of many pieces five times as long
    order, tied = _order(frame, contract, newness)
    found = frame.drop(list(SYSTEM), strict=False)
    found = found if order is None else _taken(found, order)
    return found.filter(pl.Series(_last_of_each(found, contract))) if tied else found


def only_rows(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame | None:
    """Return rows in order if no identity is there twice, else None; takes none of the system's columns."""
    if contract.event_time not in contract.identity and frame.select(contract.identity).is_duplicated().any():
        return None
    frame = frame.rechunk()
    order, tied = _order(frame, contract, ())
    found = frame if order is None else _taken(frame, order)
    return None if tied and not _last_of_each(found, contract).all() else found


def _without_older(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Drop rows of which there is a newer one at another time; where times are part of the identity none can be."""
    identity = list(contract.identity)
    several = frame.select(identity).is_duplicated()
    if not several.any():
        return frame
    places = pl.Series("__place", np.flatnonzero(several.to_numpy()), pl.Int64)
    ranked = frame.filter(several).select([*identity, *newness]).with_columns(places).sort(newness)
    winners = ranked.unique(identity, keep="last")["__place"]
    keep = ~several.to_numpy()
    keep[winners.to_numpy()] = True
    return frame.filter(pl.Series(keep))


def _rest(contract: Contract) -> list[str]:
    return [name for name in contract.identity if name not in {contract.key, contract.event_time}]


def _order(frame: pl.DataFrame, contract: Contract, newness: Sequence[str]) -> tuple[Places | None, bool]:
    """Return the places of rows in the order of results, of one identity the newest last (None: they are in order), and
    whether any symbol has two rows at one time."""
    columns = [contract.event_time, contract.key, *_rest(contract), *newness]
    times = frame[contract.event_time].to_physical().to_numpy()
    runs = runs_of(frame[contract.key])
    if runs.symbols > 1 and runs.long and (turned := grid_order(times, runs)) is not None:
        return turned, False
    combined = _combined(times, runs)
    if combined is None:
        return _places(frame.select(columns)), True
    if bool((combined[1:] > combined[:-1]).all()):
        return None, False
    # Files are sorted by symbol and time, so this is a merge of few long runs.
    order: Ints = np.argsort(combined, kind="stable").astype(np.int64, copy=False)
    if _all_apart(times, runs):
        return order, False
    ranked = combined[order]
    same = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(same):
        tied = np.unique(np.concatenate((same, same + 1)))
        among = order[tied]
        order[tied] = among[_places(frame[among].select(columns))]
    return order, bool(len(same))


def _taken(frame: pl.DataFrame, order: Places) -> pl.DataFrame:
    """Return rows in an order."""
    small = (
        order.astype(np.uint32, copy=False) if frame.height <= np.iinfo(np.uint32).max else order
    )  # as polars counts
    return frame[pl.Series(small)]


def _places(keys: pl.DataFrame) -> Ints:
    by = keys.columns
    return keys.with_row_index("__place").sort(by)["__place"].to_numpy().astype(np.int64)


def _combined(times: Ints, runs: Runs) -> Ints | None:
    """Return event time and rank of the symbol in one number; None if that takes more than 63 bits."""
    if not len(times):
        return times
    least, span = int(times.min()), int(times.max()) - int(times.min()) + 1
    if span > _WIDEST // max(1, runs.symbols):
        return None
    combined: Ints = times - least
    combined *= runs.symbols
    if not runs.long:
        combined += np.repeat(runs.ranks, np.diff(runs.borders))
    else:  # no array is needed for it
        for at, until, rank in zip(runs.borders[:-1].tolist(), runs.borders[1:].tolist(), runs.ranks, strict=True):
            combined[at:until] += rank
    return combined


def _all_apart(times: Ints, runs: Runs) -> bool:
    """Return whether no symbol can have two rows at one time, as far as its runs alone tell."""
    borders = runs.borders
    rising = times[1:] > times[:-1]
    rising[borders[1:-1] - 1] = True
    if not rising.all():
        return False
    first, last = times[borders[:-1]], times[borders[1:] - 1]
    order = np.lexsort((first, runs.ranks))
    same = runs.ranks[order][1:] == runs.ranks[order][:-1]
    return bool((last[order][:-1] < first[order][1:])[same].all())


def _last_of_each(frame: pl.DataFrame, contract: Contract) -> npt.NDArray[np.bool_]:
    """Return which rows, in order, are followed by one of another identity."""
    last = np.ones(frame.height, np.bool_)
    if frame.height < 2:
        return last
    same = np.ones(frame.height - 1, np.bool_)
    for name in (contract.event_time, contract.key, *_rest(contract)):
        if name == contract.event_time or same.any():
            column = frame[name]
            same &= (column[1:].eq_missing(column[:-1])).to_numpy()
    last[:-1] = ~same
    return last
