"""What queries of PromQL name: the series that they select."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

__all__ = ["Selected", "filled", "selected"]

_VARIABLES = {"$world": ".+", "$dataset": ".*", "$interval": ".*", "$consumer": ".*"}


@dataclass(frozen=True)
class Selected:
    """One selector of a query: a metric, the labels that its matchers name, and its text."""

    metric: str
    labels: frozenset[str]
    text: str


def filled(query: str, rate_interval: str = "1m") -> str:
    """Return a dashboard's query with values for its variables, as Grafana puts them in."""
    for name, value in {"$__rate_interval": rate_interval, **_VARIABLES}.items():
        query = query.replace(name, value)
    assert "$" not in query, f"a variable is not known: {query}"
    return query


def selected(query: str) -> list[Selected]:
    """Return every selector of a query; ValueError if it is no PromQL."""
    return list(_selectors(promql_parser.parse(query)))


def _selectors(node: Any) -> Iterator[Selected]:
    if isinstance(node, promql_parser.MatrixSelector):
        node = node.vector_selector
    if isinstance(node, promql_parser.VectorSelector):
        matchers = [m for m in node.matchers.matchers if m.name != "__name__"]
        shown = ",".join(f"{m.name}{_OPERATORS[str(m.op)]}{_quoted(m.value)}" for m in matchers)
        yield Selected(str(node.name), frozenset(m.name for m in matchers), f"{node.name}{{{shown}}}")
        return
    for below in ("expr", "lhs", "rhs", "param"):
        child = getattr(node, below, None)
        if child is not None:
            yield from _selectors(child)
    for argument in getattr(node, "args", None) or ():
        yield from _selectors(argument)


_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
