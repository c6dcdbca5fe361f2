"""A quick proof that a record rule holds for every row, in plain numpy.

polars judges rules. To ask it costs some hundred microseconds whatever the number of rows, which is what a small batch
costs altogether; and in most batches every row is good. So the arithmetic that most rules consist of (comparisons of
sums, products, `greatest` and `least` of doubles, joined by AND) is done here first. Only where this proof fails, or
the rule holds more than that, is polars asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Proof", "proof_of", "syntax_tree"]

Doubles = npt.NDArray[np.float64]
Evaluate = Callable[[Mapping[str, Doubles]], Any]

# Rows judged at a time: few enough for the intermediate results to stay in the processor's cache.
_BLOCK = 16_384

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "GtEq": np.greater_equal,
    "Gt": np.greater,
    "LtEq": np.less_equal,
    "Lt": np.less,
    "And": np.logical_and,
    "Plus": np.add,
    "Minus": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "MaxHorizontal": np.maximum,
    "MinHorizontal": np.minimum,
}


class Proof:
    """Tries to prove a rule.

    Args:
        evaluate: gives the verdict on every row.
        columns: names of the columns that it reads.
    """

    def __init__(self, evaluate: Evaluate, columns: tuple[str, ...]) -> None:
        self._evaluate, self._columns = evaluate, columns

    def holds(self, values: Mapping[str, Doubles]) -> bool:
        """Return True if the rule holds for every row; False if it does not, or if some operand is NaN."""
        n = len(values[self._columns[0]])
        with np.errstate(all="ignore"):
            if n <= _BLOCK:
                return bool(self._evaluate(values).all())
            return all(
                self._evaluate({name: values[name][start : start + _BLOCK] for name in self._columns}).all()
                for start in range(0, n, _BLOCK)
            )


def proof_of(expr: pl.Expr, columns: tuple[str, ...]) -> Proof | None:
    """Return a proof of a boolean rule over columns of doubles, or None if it holds more than arithmetic."""
    tree = syntax_tree(expr)
    evaluate = _compile(tree) if isinstance(tree, dict) and _is_comparison(tree) else None
    return Proof(evaluate, columns) if evaluate is not None else None


def syntax_tree(expr: pl.Expr) -> Any:
    """Return polars' own syntax tree of an expression, or None if this version of polars does not tell it."""
    try:
        return json.loads(expr.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        return None


def _is_comparison(tree: Mapping[str, Any]) -> bool:
    return tree.get("BinaryExpr", {}).get("op") in {"GtEq", "Gt", "LtEq", "Lt", "And"}


def _compile(tree: Any) -> Evaluate | None:
    match tree:
        case {"Column": str(name)}:
            return lambda columns: columns[name]
        case {"Literal": {"Dyn": {"Int": int(number)}}} | {"Literal": {"Dyn": {"Float": float(number)}}}:
            return _constant(number)
        case {"Literal": {"Scalar": {"Decimal": [int(digits), int(), int(scale)]}}}:
            return _constant(digits / 10**scale)
        case {"BinaryExpr": {"left": left, "op": str(operator), "right": right}}:
            return _apply(operator, [left, right])
        case {"Function": {"input": list(inputs), "function": {"Sql": {"Binary": str(operator)}}}}:
            return _apply(operator, inputs)
        case {"Function": {"input": list(inputs), "function": "MaxHorizontal" | "MinHorizontal" as operator}}:
            return _apply(operator, inputs)
    return None


def _constant(number: float) -> Evaluate:
    return lambda _: np.float64(number)


def _apply(operator: str, inputs: list[Any]) -> Evaluate | None:
    function = _OPERATORS.get(operator)
    compiled = [_compile(part) for part in inputs]
    operands = [part for part in compiled if part is not None]
    if function is None or len(operands) < len(inputs) or len(inputs) < 2:
        return None

    def evaluate(columns: Mapping[str, Doubles]) -> Any:
        result = operands[0](columns)
        for operand in operands[1:]:
            result = function(result, operand(columns))
        return result

    return evaluate
