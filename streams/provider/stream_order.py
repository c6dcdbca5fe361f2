"""Each row once, in the order of event time of its symbol: what a stream lets through. Pure.

A row of a symbol is let through if its event time is greater than that of all before; of contracts in which more
identifies a row, such as trades, also at the same time if no row of that identity came before. All others came too
late: the stream was beyond them when they landed, or they correct or repeat what was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from schemas.contract import Contract

__all__ = ["SymbolOrder", "nanoseconds_of"]

_NS = "__ns"


def nanoseconds_of(contract: Contract) -> pl.Expr:
    """Return the expression for event times of a contract's rows, nanoseconds since the epoch."""
    return pl.col(contract.event_time).to_physical().cast(pl.Int64) * (1_000_000_000 // contract.time_units)


class SymbolOrder:
    """Knows the newest row of each symbol.

    Args:
        last: its event time, by symbol, nanoseconds since the epoch.
        ties: what else identifies the rows at that time, by symbol.
    """

    def __init__(
        self,
        contract: Contract,
        last: Mapping[str, int] | None = None,
        ties: Mapping[str, Sequence[Sequence[Any]]] | None = None,
    ) -> None:
        self._contract = contract
        self._rest = [name for name in contract.identity if name not in {contract.key, contract.event_time}]
        self._last = dict(last or {})
        self._ties = {symbol: {tuple(rest) for rest in several} for symbol, several in (ties or {}).items()}

    @property
    def last(self) -> dict[str, int]:
        """Event time of the newest row of each symbol, nanoseconds since the epoch; a copy."""
        return dict(self._last)

    @property
    def ties(self) -> dict[str, list[list[Any]]]:
        """What else identifies the rows at that time, by symbol; a copy."""
        return {symbol: sorted(map(list, several)) for symbol, several in self._ties.items()} if self._rest else {}

    def split(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows that are let through, and those that came too late.

        Args:
            rows: ordered by event time, each identity once.
        """
        if not rows.height:
            return rows, rows
        fresh = self.fresh(rows)
        let_through = rows if fresh.all() else rows.filter(fresh)
        self._learn(let_through)
        return let_through, rows.clear() if let_through is rows else rows.filter(~fresh)

    def fresh(self, rows: pl.DataFrame) -> pl.Series:
        """Return which of some rows `split` would let through."""
        key = self._contract.key
        known = {symbol: self._last[symbol] for symbol in rows[key].unique().to_list() if symbol in self._last}
        if not known:
            return pl.repeat(True, rows.height, eager=True)
        last = rows[key].replace_strict(known, default=None, return_dtype=pl.Int64)
        ns = self._ns(rows)
        fresh = (last.is_null() | (ns > last)).fill_null(True)
        if self._rest:
            tied = (ns == last).fill_null(False)
            if tied.any():
                given = [self._given(row) for row in rows.filter(tied).select(key, *self._rest).iter_rows()]
                fresh = fresh.scatter(tied.arg_true(), [not g for g in given])
        return fresh

    def saw(self, symbol: str, ns: int, rest: Sequence[Any]) -> None:
        """Learn one row that was let through."""
        if self._rest:
            if self._last.get(symbol) != ns:
                self._ties[symbol] = set()
            self._ties[symbol].add(tuple(rest))
        self._last[symbol] = ns

    def _given(self, row: tuple[Any, ...]) -> bool:
        return row[1:] in self._ties.get(row[0], ())

    def _ns(self, rows: pl.DataFrame) -> pl.Series:
        return rows.select(nanoseconds_of(self._contract).alias(_NS))[_NS]

    def _learn(self, rows: pl.DataFrame) -> None:
        if not rows.height:
            return
        key = self._contract.key
        ns = self._ns(rows)
        newest = rows.select(key).with_columns(ns).group_by(key).agg(pl.col(_NS).max())
        latest = dict(newest.iter_rows())
        if self._rest:
            for symbol, at in latest.items():
                if self._last.get(symbol) != at:
                    self._ties[symbol] = set()
            at_last = ns == rows[key].replace_strict(latest, return_dtype=pl.Int64)
            for symbol, *rest in rows.filter(at_last).select(key, *self._rest).iter_rows():
                self._ties[symbol].add(tuple(rest))
        self._last |= latest
