"""docs/sla.md says what the code does: fields, presets, metrics with their labels, and the fields of an observation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from schemas.events import load_event
from streams.durations import spelled
from streams.metrics import METRICS
from streams.provider.observations import Observation
from streams.sla_policy import FIELDS, FOREVER, PRESETS

TEXT = (Path(__file__).parents[2] / "docs" / "sla.md").read_text(encoding="utf-8")
OF_READERS = re.compile(r"seamless_(sla|storage_wait|backfill_wait|live|coverage|partial_fill|calls)_")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, the header first."""
    table = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n|", 1)[1].split("\n\n", 1)[0]
    lines = [line for line in f"|{table}".splitlines() if not line.startswith("|---")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def shown(name: str, value: Any) -> str:
    if value is None:
        return FOREVER
    return spelled(value) if isinstance(value, float) and name != "min_coverage" else str(value)


def test_every_field_of_a_policy_is_explained_in_order() -> None:
    assert tuple(row[0] for row in rows("What a policy says")[1:]) == FIELDS


def test_the_presets_are_shown_as_they_are() -> None:
    header, *table = rows("Presets")
    assert header[1:] == list(PRESETS)
    assert table == [[name, *(shown(name, getattr(p, name)) for p in PRESETS.values())] for name in FIELDS]


@pytest.mark.parametrize("metric", [m for m in METRICS if OF_READERS.match(m.name)], ids=lambda m: m.name)
def test_every_metric_of_readers_is_explained_with_its_labels(metric: Any) -> None:
    row = re.search(rf"^\| `{metric.name}` \|(.*?)\|", TEXT, re.M)
    assert row is not None
    assert tuple(re.findall(r"`(\w+)`", row[1])) == metric.labels


def test_every_field_of_an_observation_is_documented_and_is_one_of_the_value() -> None:
    fields = load_event("sla_observation")["fields"]
    # The agent alone says where it has an observation from.
    assert {field["name"] for field in fields} - {"source"} == set(Observation.__dataclass_fields__)
    assert all(field["doc"].endswith(".") for field in fields)
