"""docs/governance.md says what the code does. That its translation is alike is tested in test_translations.py."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.compatibility import breaks
from schemas.contract import load_contract
from schemas.exceptions import load_exceptions
from streams.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
ENGLISH = (DOCS / "governance.md").read_text(encoding="utf-8")
KOREAN = (DOCS / "ko" / "governance.md").read_text(encoding="utf-8")
OLD = load_contract("ohlcv").schema


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in schema["fields"] if f["name"] == name)
    return found


def change(says: str) -> dict[str, Any]:
    """Return `ohlcv` with the change that a row of the table speaks of."""
    schema: dict[str, Any] = copy.deepcopy(OLD)
    names = re.findall(r"`(\w+)`", says)
    if says.startswith("add"):
        schema["fields"].append({"name": names[0], "type": "string"} | ({} if "without" in says else {"default": ""}))
    elif says.startswith("remove"):
        schema["fields"].remove(field(schema, names[0]))
    elif says.startswith("rename"):
        field(schema, names[0]).update(name=names[1], aliases=[] if "without" in says else [names[0]])
    elif "double" in says:
        field(schema, names[0])["type"] = "double"
    elif "text" in says:
        field(schema, names[0])["type"] = "string"
    elif "nullable" in says:
        field(schema, names[0])["type"] = [field(schema, names[0])["type"], "null"]
    elif "default" in says:
        field(schema, names[0])["default"] = 1
    else:
        assert says == "change a rule, a bound or a role"
        schema["rules"] = []
        field(schema, "close")["exclusiveMin"] = 1
    return schema


def table_of_changes(text: str) -> list[list[str]]:
    table = re.search(r"^\|[^\n]*BACKWARD \| FORWARD \| FULL \|\n(.*?)\n\n", text, re.S | re.M)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()[1:]]


@pytest.mark.parametrize("row", table_of_changes(ENGLISH), ids=lambda row: row[0])
def test_the_table_of_changes_is_what_the_check_says(row: list[str]) -> None:
    says, *told = row
    found = [not breaks(level, change(says), [(1, OLD)]) for level in ("BACKWARD", "FORWARD", "FULL")]
    assert [cell == "yes" for cell in told] == found


def test_the_translation_has_the_same_changes_with_the_same_answers() -> None:
    answers = {"예": "yes", "아니요": "no"}
    translated = [[answers[cell] for cell in row[1:]] for row in table_of_changes(KOREAN)]
    assert translated == [row[1:] for row in table_of_changes(ENGLISH)]


def test_the_example_of_an_exception_is_one(tmp_path: Path) -> None:
    for text in (ENGLISH, KOREAN):
        (example,) = re.findall(r"```toml\n(.*?)```", text, re.S)
        (tmp_path / "exceptions.toml").write_text(example, encoding="utf-8")
        assert len(load_exceptions(tmp_path / "exceptions.toml").entries) == 1


def test_every_metric_of_governance_is_explained_with_its_labels() -> None:
    told = dict(re.findall(r"^\| `(seamless_\w+)\{([\w, ]+)\}` \|", ENGLISH, re.M))
    for metric in METRICS:
        if re.match(r"seamless_schema_(validation|exceptions)", metric.name):
            assert tuple(told[metric.name].split(", ")) == metric.labels
