"""Breaches become alerts: the right ones fire, end and are told, whatever the order in which records come."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerting.alert import NAMES, labels_of, of_breach
from streams.alerting.alertmanager import Alertmanager, AlertsNotPosted
from streams.alerting.book import RESOLVED_FOR, AlertBook
from streams.alerting.sender import Sender
from streams.clock import monotonic
from streams.errors import SettingsError
from streams.health import Health, Status
from streams.metrics import Metrics
from streams.settings import AlertingSettings, load_settings
from streams.settings_objectives import ObjectiveKind
from streams.sla.breach import Breach
from tests.support.alerting import a_breach
from tests.support.waiting import eventually, mute_server

OPENED = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def opened(**changes: Any) -> Breach:
    return a_breach("live", **{"opened_at": OPENED, "at": OPENED, **changes})


def then(breach: Breach, state: str, at: datetime, **changes: Any) -> Breach:
    return replace(breach, **{"sequence": breach.sequence + 1, "state": state, "at": at, **changes})


def told(book: AlertBook, now: datetime) -> list[tuple[str, bool]]:
    """Return the severity of each alert, and whether it fires."""
    return [(dict(alert.labels)["severity"], alert.ends_at is None) for alert in book.posts(now)]


def test_a_record_that_comes_again_or_late_changes_nothing() -> None:
    book, first = AlertBook(), opened()
    over = then(first, "resolved", OPENED + MINUTE)
    assert book.apply(first, OPENED)
    assert not book.apply(first, OPENED)
    assert book.apply(over, OPENED + MINUTE)
    assert not book.apply(over, OPENED + MINUTE)
    assert not book.apply(first, OPENED + MINUTE)
    assert told(book, OPENED + MINUTE) == [("warning", False)]


def test_what_is_resolved_is_told_for_a_quarter_of_an_hour_after_it_was_heard() -> None:
    book, late = AlertBook(), OPENED + 60 * MINUTE
    book.apply(opened(), OPENED)
    book.apply(then(opened(), "resolved", OPENED + MINUTE), late)
    assert told(book, late + RESOLVED_FOR - MINUTE) == [("warning", False)]
    assert told(book, late + RESOLVED_FOR) == []


def test_of_the_past_only_what_was_resolved_lately_is_told() -> None:
    for age, expected in ((MINUTE, [("warning", False)]), (RESOLVED_FOR, [])):
        book = AlertBook()
        book.apply(opened())
        book.apply(then(opened(), "resolved", OPENED + MINUTE))
        assert told(book, OPENED + MINUTE + age) == expected


def test_a_later_breach_of_the_same_labels_fires_whichever_is_heard_first() -> None:
    old = opened()
    new = opened(opened_at=OPENED + 10 * MINUTE, at=OPENED + 10 * MINUTE)
    over = then(old, "resolved", OPENED + 5 * MINUTE)
    assert labels_of(old, {}) == labels_of(new, {})
    for records in ((old, over, new), (old, new, over)):
        book = AlertBook()
        for record in records:
            book.apply(record, OPENED + 10 * MINUTE)
        [alert] = book.posts(OPENED + 10 * MINUTE)
        assert alert.ends_at is None
        assert dict(alert.annotations)["breach_id"] == new.id


def test_what_gets_worse_ends_one_alert_and_begins_another() -> None:
    book, first = AlertBook(), opened()
    book.apply(first, OPENED)
    book.apply(then(first, "escalated", OPENED + MINUTE, severity="critical"), OPENED + MINUTE)
    assert sorted(told(book, OPENED + MINUTE)) == [("critical", True), ("warning", False)]
    assert book.open_by_severity() == {"warning": 0, "critical": 1}


@st.composite
def histories(draw: st.DrawFn) -> list[Breach]:
    """Records of breaches of a few objectives: each breach's in order, those of several mixed, some doubled."""
    lines = []
    for objective in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=5)):
        at = OPENED + draw(st.integers(0, 50)) * MINUTE
        line = [opened(objective=objective, opened_at=at, at=at)]
        if draw(st.booleans()):
            line.append(then(line[-1], "escalated", at + MINUTE, severity="critical"))
        if draw(st.booleans()):
            line.append(then(line[-1], "resolved", at + 2 * MINUTE))
        again = draw(st.integers(1, len(line)))
        lines.append([*line[:again], *line])
    mixed = draw(st.permutations([n for n, line in enumerate(lines) for _ in line]))
    following = [iter(line) for line in lines]
    return [next(following[n]) for n in mixed]


@given(histories())
def test_whatever_the_order_just_what_is_open_fires(records: list[Breach]) -> None:
    book = AlertBook()
    for record in records:
        book.apply(record, OPENED)
    last: dict[str, Breach] = {}
    for record in records:
        if record.id not in last or record.sequence > last[record.id].sequence:
            last[record.id] = record
    posts = book.posts(OPENED)
    assert {alert.labels for alert in posts if alert.ends_at is None} == {
        labels_of(breach, {}) for breach in last.values() if breach.is_open
    }
    assert len({alert.labels for alert in posts}) == len(posts)


@pytest.mark.parametrize("kind", ObjectiveKind.__args__)  # type: ignore[attr-defined]
def test_every_kind_of_objective_has_an_alert_of_its_own(kind: str) -> None:
    assert dict(labels_of(opened(kind=kind), {}))["alertname"] == NAMES[kind]
    assert len(set(NAMES.values())) == len(NAMES)


def test_what_was_made_up_says_so() -> None:
    assert dict(labels_of(opened(synthetic=True), {"cluster": "eu"})) == {
        **dict(labels_of(opened(), {})),
        "synthetic": "true",
        "cluster": "eu",
    }


def test_an_alert_never_ends_before_it_starts_nor_starts_in_the_future() -> None:
    ahead = opened(opened_at=OPENED + MINUTE)
    for breach in (ahead, then(ahead, "resolved", OPENED + 2 * MINUTE), then(ahead, "resolved", OPENED - MINUTE)):
        body = of_breach(breach, {}, None).body(OPENED, MINUTE)
        assert body["startsAt"] <= body["endsAt"]
        assert body["startsAt"] <= "2026-03-02T15:00:00.000Z"
    assert of_breach(ahead, {}, None).body(OPENED, MINUTE)["endsAt"] == "2026-03-02T15:01:00.000Z"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"labels": {"severity": "x"}}, "is set by Seamless itself"),
        ({"labels": {"1st": "x"}}, "is no label"),
        ({"user": "me"}, "user and password belong together"),
        ({"alertmanagers": ["localhost:9093"]}, "alertmanagers"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_reason(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        load_settings(env={}, overrides={"alerting": values}, stack=lambda: None)


def test_alertmanagers_may_come_from_a_variable() -> None:
    env = {"SEAMLESS_ALERTING__ALERTMANAGERS": "http://one:9093, http://two:9093"}
    found = load_settings(env=env, stack=lambda: None).alerting.alertmanagers
    assert [url.host for url in found] == ["one", "two"]


def test_an_alertmanager_that_hangs_is_given_up_in_time_and_said_to_be_away() -> None:
    with mute_server() as port:
        manager = Alertmanager(f"http://127.0.0.1:{port}", AlertingSettings(timeout_s=0.2))
        health, metrics, began = Health(), Metrics("live"), monotonic()
        with pytest.raises(AlertsNotPosted, match=r"seamless\.alerting\.alertmanagers"):
            manager.post([], OPENED, MINUTE)
        assert monotonic() - began < 5
        sender = Sender(manager, list, 60.0, metrics, health)
        sender.start()
        assert eventually(lambda: health.report().status is Status.DEGRADED)
        sender.stop(10)
    assert not [t for t in threading.enumerate() if t.name.startswith("alerts to")]


def test_doubling_pauses_never_exceed_the_interval_between_posts() -> None:
    with mute_server() as port:
        sender = Sender(
            Alertmanager(f"http://127.0.0.1:{port}", AlertingSettings()), list, 3.0, Metrics("live"), Health()
        )
        pauses = []
        for failures in range(1, 40):
            sender._failures = failures
            pauses.append(sender._pause())
    assert all(a <= b for a, b in itertools.pairwise(pauses))
    assert (pauses[0], pauses[-1]) == (0.5, 3.0)
