"""Rules judge values, and nothing but values: NaN, null and what stands in for a missing value are not theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract import Contract, load_contract
from schemas.errors import ContractError
from schemas.rule_arithmetic import proof_of
from schemas.rules import RuleSet
from tests.support.examples import examples

NAN, INF = float("nan"), float("inf")


def contract(*fields: dict[str, Any], rules: list[dict[str, Any]] | None = None) -> Contract:
    return Contract.parse(
        {
            "type": "record",
            "name": "T",
            "identity": ["k"],
            "rules": rules or [],
            "fields": [
                {"name": "k", "type": "string", "role": "key"},
                {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}, "role": "event_time"},
                {"name": "flags", "type": "long", "role": "flags", "default": 0},
                *fields,
            ],
        }
    )


def rule(sql: str, name: str = "rule", bit: int = 40) -> dict[str, Any]:
    return {"name": name, "sql": sql, "bit": bit}


def found(
    rules: RuleSet, unread: dict[str, Any] | None = None, **columns: Any
) -> dict[tuple[str, str | None], list[int]]:
    """The rows of each finding."""
    arrays = {n: v if isinstance(v, pa.Array) else pa.array(v) for n, v in columns.items()}
    n = len(next(iter(arrays.values())))
    return {(h.finding.name, h.column): np.flatnonzero(h.mask(n)).tolist() for h in rules.check(arrays, unread)}


def double(name: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": "double", **attributes}


def bars(**changes: list[float]) -> dict[str, list[float]]:
    n = len(next(iter(changes.values())))
    plain = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 1.0}
    return {name: changes.get(name, [value] * n) for name, value in plain.items()}


def quotes(bid: list[float], ask: list[float]) -> dict[str, list[float]]:
    return {"bid": bid, "ask": ask, "bid_size": [1.0] * len(bid), "ask_size": [1.0] * len(bid)}


def test_good_bars_break_no_rule() -> None:
    assert found(RuleSet(load_contract("ohlcv")), **bars(open=[10.0, 9.0, 11.0])) == {}


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_non_finite_number_is_judged_by_finite_alone(value: float) -> None:
    rules = RuleSet(load_contract("ohlcv"))
    for column, good in {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0}.items():
        assert found(rules, **bars(**{column: [good, value]})) == {("non_finite", column): [1]}


def test_nan_of_a_column_without_finite_breaks_no_rule() -> None:
    made = RuleSet(contract(double("x", min=0, max=5), double("y"), rules=[rule("x >= y"), rule("y > x", "other", 41)]))
    assert found(made, x=[NAN, 1.0, 1.0], y=[0.0, NAN, 0.5]) == {("other", "y,x"): [2]}


def test_infinity_of_a_column_without_finite_is_a_number() -> None:
    made = RuleSet(contract(double("x", max=5)))
    assert found(made, x=[INF, 1.0]) == {("above_max", "x"): [0]}


def test_a_nan_beside_a_broken_value_hides_it_not() -> None:
    rules = RuleSet(load_contract("ohlcv"))
    assert found(rules, **bars(volume=[NAN, -1.0])) == {("non_finite", "volume"): [0], ("negative_size", "volume"): [1]}


def test_a_null_passes_every_rule() -> None:
    field = {"name": "x", "type": ["null", "double"], "finite": True, "exclusiveMin": 0, "max": 5}
    made = RuleSet(contract(field, double("y"), rules=[rule("x >= y")]))
    x = pa.array([None, 1.0, -1.0, 9.0, None])
    assert found(made, x=x, y=[0.0, 0.5, -2.0, 0.0, 0.0]) == {("below_min", "x"): [2], ("above_max", "x"): [3]}
    assert found(made, x=pa.array([None, None], pa.float64()), y=[1.0, 2.0]) == {}


@pytest.mark.parametrize(
    ("bound", "good", "bad", "name"),
    [
        ({"min": 2}, 2, 1, "below_min"),
        ({"exclusiveMin": 2}, 3, 2, "below_min"),
        ({"max": 2}, 2, 3, "above_max"),
        ({"exclusiveMax": 2}, 1, 2, "above_max"),
        ({"min": 0, "role": "size"}, 0, -1, "negative_size"),
        ({"min": 1, "role": "size"}, 1, 0, "below_min"),
        ({"exclusiveMin": 0, "role": "price"}, 1, 0, "non_positive_price"),
        ({"exclusiveMin": 1, "role": "price"}, 2, 1, "below_min"),
    ],
)
@pytest.mark.parametrize("kind", ["int", "long", "float", "double"])
def test_bounds_hold_for_every_kind_of_number(bound: dict[str, Any], good: int, bad: int, name: str, kind: str) -> None:
    made = RuleSet(contract({"name": "x", "type": kind, **bound}))
    types = {"int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64()}
    column = pa.array([good, bad, good], types[kind])
    assert found(made, x=column) == {(name, "x"): [1]}
    assert found(made, x=column.slice(2)) == {}


def test_a_locked_quote_is_not_crossed() -> None:
    rules = RuleSet(load_contract("quote"))
    assert found(rules, **quotes(bid=[10.0, 10.0], ask=[10.0, 9.99])) == {("crossed_quote", "ask,bid"): [1]}


def test_a_wide_spread_is_found_beyond_a_fifth_of_the_mid_price() -> None:
    rules = RuleSet(load_contract("quote"))
    assert found(rules, **quotes(bid=[9.0, 9.0, 8.0], ask=[11.0, 10.0, 12.0])) == {("wide_spread", "ask,bid"): [2]}


def test_every_rule_of_a_bar_is_found() -> None:
    rules = RuleSet(load_contract("ohlcv"))
    assert found(rules, **bars(high=[8.0])) == {
        ("high_below_low", "high,low"): [0],
        ("high_below_body", "high,open,close"): [0],
    }
    assert found(rules, **bars(low=[10.2])) == {("low_above_body", "low,open,close"): [0]}


def test_what_stands_in_for_a_missing_value_is_judged_by_no_rule() -> None:
    rules = RuleSet(load_contract("ohlcv"))
    unread = {"open": np.array([True, False])}
    assert found(rules, unread, **bars(open=[NAN, 10.0])) == {}
    assert found(rules, unread, **bars(open=[-5.0, -5.0])) == {
        ("non_positive_price", "open"): [1],
        ("low_above_body", "low,open,close"): [1],
    }


def test_no_rows_break_no_rule() -> None:
    empty = pa.array([], pa.float64())
    assert (
        found(RuleSet(load_contract("ohlcv")), **dict.fromkeys(("open", "high", "low", "close", "volume"), empty)) == {}
    )


def test_a_single_check_can_be_measured_alone() -> None:
    rules = RuleSet(load_contract("ohlcv"))
    assert rules.names()[0] == "finite:open"
    assert "non_positive_price:low" in rules.names()
    assert rules.names()[-1] == "low_above_body"
    broken = bars(open=[NAN, -1.0], volume=[-1.0, 1.0])
    assert found(rules.only("negative_size:volume"), **broken) == {("negative_size", "volume"): [0]}
    assert found(rules.only("finite:open"), **broken) == {("non_finite", "open"): [0]}
    assert found(rules.only("low_above_body"), **broken) == {("low_above_body", "low,open,close"): [1]}


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("x >=", "does not compile"),
        ("x >= z", "there is no column 'z': the record has k, t, flags, x, y"),
        ("flags = 0", "written after the rules ran"),
        ("1 = 1", "names no column"),
        ("x + y", "must be true or false, but gives Float64"),
        ("k", "must be true or false, but gives String"),
        ("x >= max(y)", "looks at other rows"),
        ("x >= avg(x) - 100", "looks at other rows"),
        ("x >= lag(x) over (order by t)", "looks at other rows"),
        ("sum(x) > 1", "looks at other rows"),
    ],
)
def test_a_rule_that_cannot_be_checked_is_refused_by_name_and_reason(sql: str, reason: str) -> None:
    with pytest.raises(ContractError, match="rule r1: ") as refused:
        RuleSet(contract(double("x"), double("y"), rules=[rule(sql, "r1")]))
    assert reason in str(refused.value)


def test_a_column_may_be_named_like_a_node_of_the_syntax_tree() -> None:
    made = RuleSet(contract(double("Agg"), double("Len"), rules=[rule("Agg >= Len")]))
    assert found(made, Agg=[1.0, 2.0], Len=[1.5, 1.5]) == {("rule", "Agg,Len"): [0]}


@pytest.mark.parametrize(
    "sql",
    [
        "k = 'a' or x > 0",
        "x is not null",
        "x between y and 5",
        "x in (1, 2)",
        "not x > 1",
        "abs(x) > 1",
        "x > 0 and k <> 'b'",
    ],
)
def test_rules_may_be_any_boolean_expression(sql: str) -> None:
    made = RuleSet(contract(double("x"), double("y"), rules=[rule(sql)]))
    columns = {"k": pa.array(["a", "b"]), "x": pa.array([2.0, 0.5]), "y": pa.array([0.0, 0.0])}
    verdict = pl.DataFrame(columns).select(pl.sql_expr(sql)).to_series().to_list()
    broken = [i for i, holds in enumerate(verdict) if not holds]
    assert list(found(made, **columns).values()) == ([broken] if broken else [])


@pytest.mark.parametrize("name", ["ohlcv", "quote"])
def test_the_shipped_rules_are_proved_without_asking_polars(name: str) -> None:
    for compiled in RuleSet(load_contract(name))._compiled:
        assert compiled.proof is not None, compiled.rule.name


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.1, 0.3])
operands = st.sampled_from(["a", "b", "c", "1", "0.2", "-3"])
terms = st.recursive(
    operands,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner)
        | st.builds("{}({}, {})".format, st.sampled_from(["greatest", "least"]), inner, inner)
    ),
    max_leaves=4,
)
comparisons = st.builds("{} {} {}".format, terms, st.sampled_from([">=", ">", "<=", "<"]), terms)
expressions = comparisons | st.builds("{} and {}".format, comparisons, comparisons)


@examples(100)
@given(expressions, st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5))
def test_what_is_proved_in_numpy_is_what_polars_would_say(sql: str, rows: list[tuple[float, float, float]]) -> None:
    expr = pl.sql_expr(sql)
    columns = tuple(dict.fromkeys(expr.meta.root_names()))
    frame = pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.Float64), orient="row")
    proof = proof_of(expr, columns) if columns else None
    if proof is not None and proof.holds({c: frame[c].to_numpy() for c in columns}):
        judged = frame.filter(pl.all_horizontal(pl.col(c).is_not_nan() for c in columns))
        assert judged.select(expr.fill_null(True)).to_series().all()
