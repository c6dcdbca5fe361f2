"""Field and record rules, compiled once per contract and checked over whole columns.

In polars and numpy comparisons NaN is either the greatest value or equal to nothing; neither says anything about
a price. So NaN is judged by `finite` alone, and a row with a non-finite operand by no other rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.avro import AvroField
from schemas.columns import arrow_type, null_mask, numbers
from schemas.contract import Contract, RecordRule
from schemas.errors import ContractError
from schemas.exceptions import SchemaException
from schemas.findings import Finding, Severity
from schemas.rule_arithmetic import Proof, proof_of, syntax_tree

__all__ = ["Hit", "RuleSet", "softened"]

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]

_FLOATS = frozenset({"float", "double"})
# What in polars' syntax tree makes a row's verdict depend on other rows.
_ACROSS_ROWS = frozenset({"Agg", "Over", "Rolling", "Len", "Shift", "Sort", "SortBy", "Filter", "Slice", "Gather"})


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding on some rows of a batch.

    Attributes:
        column: the column it is about (or columns, joined by commas), or None for a finding about the row.
        rows: mask of the rows concerned; None means every row.
        excepted: whether it is a violation that an exception turned into a warning.
        version: the contract's version whose rule it is, where that is not the newest.
    """

    finding: Finding
    column: str | None
    rows: Mask | None
    excepted: bool = False
    version: int | None = None

    def mask(self, n: int) -> Mask:
        """The rows concerned, as a mask of `n` rows."""
        return np.ones(n, dtype=np.bool_) if self.rows is None else self.rows


@dataclass(frozen=True, slots=True)
class _Bound:
    """A limit of a column; a value holds it if `compare(value, limit)` does, and all do if their `extreme` does."""

    finding: Finding
    column: str
    compare: Callable[[Values, float], Mask]
    extreme: Callable[[Values], Any]
    limit: float


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: RecordRule
    expr: pl.Expr
    columns: tuple[str, ...]
    proof: Proof | None


def softened(hit: Hit, excepted: Sequence[SchemaException]) -> Hit:
    """Return a violation that an exception covers as a warning, and any other hit as it is."""
    if hit.finding.severity is not Severity.VIOLATION or not hit.finding.adjustable:
        return hit
    if not any(e.covers(hit.finding.name, hit.column) for e in excepted):
        return hit
    return replace(hit, finding=replace(hit.finding, severity=Severity.WARNING), excepted=True)


class RuleSet:
    """All rules of one contract.

    Raises:
        ContractError: if a rule names a missing column, does not compile, is not boolean, or looks at other rows.
    """

    def __init__(self, contract: Contract) -> None:
        fields = contract.record.fields
        self._non_finite = contract.findings["non_finite"]
        self._floats = frozenset(n for n, f in fields.items() if f.type in _FLOATS)
        self._finite = [n for n, f in fields.items() if f.attributes.get("finite") and n in self._floats]
        self._bounds = [bound for f in fields.values() for bound in _bounds(contract, f)]
        self._compiled = [_compile(contract, rule) for rule in contract.rules]

    def names(self) -> list[str]:
        """Names of the checks, to measure them one by one: `finite:open`, `negative_size:volume`, `crossed_quote`."""
        return (
            [f"finite:{c}" for c in self._finite]
            + [f"{b.finding.name}:{b.column}" for b in self._bounds]
            + [c.rule.name for c in self._compiled]
        )

    def only(self, name: str) -> RuleSet:
        """Return a rule set with one check of `names()`."""
        chosen = RuleSet.__new__(RuleSet)
        chosen._non_finite, chosen._floats = self._non_finite, self._floats
        chosen._finite = [c for c in self._finite if f"finite:{c}" == name]
        chosen._bounds = [b for b in self._bounds if f"{b.finding.name}:{b.column}" == name]
        chosen._compiled = [c for c in self._compiled if c.rule.name == name]
        return chosen

    def check(self, columns: Mapping[str, pa.Array], unread: Mapping[str, Mask] | None = None) -> list[Hit]:
        """Judge contract columns; a null passes every rule, as in an SQL CHECK constraint.

        Args:
            columns: the contract's columns by name.
            unread: by column, rows whose value only stands in for one that could not be had; no rule judges it.
        """
        batch = _Batch(columns, self._floats, dict(unread or {}))
        hits = []
        for name in self._finite:
            broken = batch.non_finite(name)
            if broken is not None:
                hits.append(Hit(self._non_finite, name, broken))
        for bound in self._bounds:
            broken = batch.beyond(bound)
            if broken is not None:
                hits.append(Hit(bound.finding, bound.column, broken))
        for compiled in self._compiled:
            broken = batch.broken(compiled)
            if broken is not None:
                hits.append(Hit(compiled.rule.finding, ",".join(compiled.columns), broken))
        return hits


class _Batch:
    """The columns of one batch while its rules are checked; each is converted once."""

    def __init__(self, columns: Mapping[str, pa.Array], floats: frozenset[str], strange: dict[str, Mask]) -> None:
        self._columns, self._floats, self._strange = columns, floats, strange
        self._values: dict[str, Values] = {}

    def non_finite(self, name: str) -> Mask | None:
        """Return which values are NaN or infinite, and let no other rule judge them."""
        finite = np.isfinite(self._value(name))
        return None if finite.all() else self._judged(~finite, (name,), strange=True)

    def beyond(self, bound: _Bound) -> Mask | None:
        """Return which values break a bound."""
        values = self._value(bound.column)
        if not len(values):
            return None
        if not self._columns[bound.column].null_count and bound.compare(bound.extreme(values), bound.limit):
            return None
        broken = ~bound.compare(values, bound.limit)
        if self._columns[bound.column].null_count:
            broken &= ~null_mask(self._columns[bound.column])
        return self._judged(broken, (bound.column,))

    def broken(self, compiled: _Compiled) -> Mask | None:
        """Return which rows break a record rule."""
        if compiled.proof is not None and not any(self._columns[c].null_count for c in compiled.columns):
            values = {c: self._value(c) for c in compiled.columns}
            if compiled.proof.holds(values):
                return None
        frame = pl.DataFrame({c: pl.Series(c, self._columns[c]) for c in compiled.columns})
        verdict = frame.select(compiled.expr.fill_null(True)).to_series()
        return self._judged(~verdict.to_numpy(), compiled.columns)

    def _judged(self, broken: Mask, columns: tuple[str, ...], *, strange: bool = False) -> Mask | None:
        """Take out rows that must not be judged; return None if no row is left."""
        for column in columns:
            if column in self._strange:
                broken &= ~self._strange[column]
            if column in self._floats and not strange:
                broken &= ~np.isnan(self._value(column))
        if not broken.any():
            return None
        if strange:
            have = self._strange.get(columns[0])
            self._strange[columns[0]] = broken if have is None else broken | have
        return broken

    def _value(self, name: str) -> Values:
        if name not in self._values:
            self._values[name] = numbers(self._columns[name])
        return self._values[name]


def _bounds(contract: Contract, field: AvroField) -> list[_Bound]:
    """The bound rules of a field; comparisons are with the limit as a number of the column's own type."""
    a, role, found = field.attributes, field.attributes.get("role"), contract.findings
    names = {
        "exclusiveMin": "non_positive_price" if role == "price" and a.get("exclusiveMin") == 0 else "below_min",
        "min": "negative_size" if role == "size" and a.get("min") == 0 else "below_min",
        "exclusiveMax": "above_max",
        "max": "above_max",
    }
    comparisons = {
        "exclusiveMin": (np.greater, np.minimum.reduce),
        "min": (np.greater_equal, np.minimum.reduce),
        "exclusiveMax": (np.less, np.maximum.reduce),
        "max": (np.less_equal, np.maximum.reduce),
    }
    return [
        _Bound(found[names[bound]], field.name, *comparisons[bound], a[bound]) for bound in comparisons if bound in a
    ]


def _compile(contract: Contract, rule: RecordRule) -> _Compiled:
    fields = contract.record.fields
    try:
        expr = pl.sql_expr(rule.sql)
        columns = tuple(dict.fromkeys(expr.meta.root_names()))
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ContractError(f"rule {rule.name}: the SQL does not compile: {error}") from error
    for column in columns:
        if column not in fields:
            known = ", ".join(fields)
            raise ContractError(f"rule {rule.name}: there is no column {column!r}: the record has {known}")
        if column == contract.flags:
            raise ContractError(f"rule {rule.name}: {column!r} is written after the rules ran, so no rule can use it")
    if not columns:
        raise ContractError(f"rule {rule.name}: the SQL names no column")
    if _keys(syntax_tree(expr)) & _ACROSS_ROWS:
        raise ContractError(
            f"rule {rule.name}: the SQL looks at other rows, whose number depends on chance: compare within a row "
            "(greatest and least instead of max and min)"
        )
    empty = pl.DataFrame({c: pl.Series(c, pa.array([], arrow_type(fields[c]))) for c in columns})
    try:
        dtype = empty.select(expr).to_series().dtype
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"rule {rule.name}: the SQL does not fit the columns' types: {error}") from error
    if dtype != pl.Boolean:
        raise ContractError(f"rule {rule.name}: the SQL must be true or false, but gives {dtype}")
    doubles = all(fields[c].type == "double" for c in columns)
    return _Compiled(rule, expr, columns, proof_of(expr, columns) if doubles else None)


def _keys(tree: Any) -> set[str]:
    """Return the names of all nodes of a syntax tree, without those of columns and the text of literals."""
    if isinstance(tree, dict):
        return set(tree).union(*(_keys(v) for k, v in tree.items() if k not in {"Column", "Literal"}))
    if isinstance(tree, list):
        return set().union(*map(_keys, tree))
    return {tree} if isinstance(tree, str) else set()
