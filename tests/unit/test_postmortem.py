"""The time line of a postmortem and its page; no Kafka."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streams.operating.operation import Change, Operation
from streams.postmortem.gathering import Story
from streams.postmortem.page import LANGUAGES, page_of
from streams.postmortem.timeline import Event, impact_of, of_audit, of_breaches, of_operations
from streams.schema_audit import AuditEntry
from streams.sla.breach import Breach

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def breach(name: str, state: str, minute: float, *, opened: float | None = None, **changes: Any) -> Breach:
    values: dict[str, Any] = {
        "id": name, "sequence": 0, "state": state, "severity": "critical", "world": "w", "objective": "deadline",
        "kind": "quantile", "promise": "p99 of total <= 2 s", "dataset": "bars", "phase": "total",
        "window_start": at(minute), "window_end": at(minute), "promised": 2.0, "unit": "seconds", "observed": 5.0,
        "opened_at": at(minute if opened is None else opened), "at": at(minute), "consumer": "alpha",
    }  # fmt: skip
    return Breach(**(values | changes))


def ms(minutes: float) -> int:
    return round(at(minutes).timestamp() * 1_000)


def test_breaches_are_told_with_what_was_promised_and_how_long_they_lasted() -> None:
    told = [breach("a", "opened", 1), breach("a", "resolved", 4, opened=1), breach("b", "opened", 5, synthetic=True)]
    opened, over, drill = of_breaches(told)
    assert opened == Event(
        at(1), "breach", "bars, alpha", "deadline opened, critical: 5 s where promised was p99 of total <= 2 s"
    )
    assert over.what == "deadline resolved after 0:03:00"
    assert drill.what.endswith("(a drill)")


def test_impact_counts_what_was_open_before_what_opened_and_what_is_left() -> None:
    told = [
        breach("long ago", "opened", -90),
        breach("long ago", "resolved", -80, opened=-90),
        breach("before", "opened", -5),
        breach("before", "resolved", 10, opened=-5),
        breach("within", "opened", 2, dataset="ticks"),
        breach("within", "escalated", 3, opened=2, dataset="ticks"),
        breach("a drill", "opened", 4, synthetic=True),
        breach("later", "opened", 70),
    ]
    found = impact_of(told, at(0), at(60))
    assert (found.before, found.opened, found.left) == (1, 1, 1)
    assert found.longest == timedelta(minutes=58), "from its beginning to the end of the span, as it is open still"
    assert found.datasets == ("bars", "ticks")


def test_what_operations_tell_is_not_told_by_the_audit_trail_again() -> None:
    entries = [
        AuditEntry(ms(1), "ann", "promoted", "bars", before="optional", after="strict", reason="clean"),
        AuditEntry(ms(2), "ann", "rollback shadow", "bars"),
        AuditEntry(ms(3), "ann", "registered", "bars"),
    ]
    (event,) = of_audit(entries)
    assert event == Event(at(1), "mode", "bars", "schemas: optional -> strict", "ann", "clean")


def test_operations_are_told_by_what_they_changed() -> None:
    change = Change("conformance/bars", None, "shadow", "blocking")
    rollback, deploy = of_operations(
        [
            Operation("1", ms(1), "ann", "shadow", "a unit changed", (change,)),
            Operation("2", ms(2), "bot", "deploy", "weekly", version="2.1"),
        ]
    )
    assert (rollback.kind, rollback.what) == ("rollback", "shadow: conformance/bars: blocking -> shadow")
    assert (deploy.kind, deploy.what, deploy.by) == ("deploy", "version 2.1", "bot")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_has_all_of_it_and_breaks_no_table(language: Any) -> None:
    events = (Event(at(1), "rollback", "bars", "shadow", "ann", "this | that\nand $more"),)
    story = Story(at(0), at(90), events, impact_of([breach("a", "opened", 1)], at(0), at(90)))
    text = page_of(story, title="The long\nnight", world="live", version="1.0", language=language)
    assert text.startswith("# The long night\n")
    assert "| 2026-03-01 09:01:00 | `rollback` | bars | shadow | ann | this \\| that and $more |" in text
    assert "| 1:30:00 |" in text
    assert "${" not in text
    empty = page_of(Story(at(0), at(1), (), impact_of([], at(0), at(1))), title="t", world="w", version="1")
    assert "nothing is recorded" in empty
