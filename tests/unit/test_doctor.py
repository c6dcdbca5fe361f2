"""How the doctor judges what it is told; what it is told by a real system is in tests/integration/test_doctor.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.doctor.acl_checks import acl_findings
from streams.doctor.broker import Group, Place, client_version
from streams.doctor.group_checks import group_findings
from streams.doctor.kafka_checks import broker_findings
from streams.doctor.place_checks import clock_finding, disk_finding, stamp_finding, version_finding
from streams.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GB = 1_000_000_000


@pytest.mark.parametrize(
    ("free", "state"), [(GB // 2, "problem"), (2 * GB, "warning"), (50 * GB, "ok")], ids=["full", "nearly", "roomy"]
)
def test_a_disk_is_judged_by_what_is_left(free: int, state: str) -> None:
    found = disk_finding("archive", Path("/archive"), free, 100 * GB)
    assert found.state == state
    assert f"{free / GB:.1f} of 100.0 GB" in found.says


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (4, "ok"), (-4, "ok"), (60, "problem"), (-60, "problem")])
def test_clocks_may_differ_by_seconds_and_no_more(seconds: int, state: str) -> None:
    found = clock_finding("registry", NOW, NOW + timedelta(seconds=seconds))
    assert found.state == state
    if state == "problem":
        assert ("ahead of" if seconds > 0 else "behind") in found.says


@pytest.mark.parametrize(("seconds", "state"), [(None, "ok"), (-86_400, "ok"), (4, "ok"), (60, "problem")])
def test_a_row_that_the_broker_stamped_in_our_future_tells_of_its_clock(seconds: int | None, state: str) -> None:
    found = stamp_finding(None if seconds is None else NOW + timedelta(seconds=seconds), NOW)
    assert found.state == state
    assert ("60 s behind that of the broker" in found.says) == (state == "problem")


ALL = frozenset({"DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"})


@pytest.mark.parametrize(
    ("rights", "state", "says"),
    [
        (ALL, "ok", "read and write 2 topics, and read as 1 groups"),
        (ALL - {"WRITE"}, "problem", "may not write the topic raw"),
        (ALL - {"READ", "WRITE"}, "problem", "may not read, write the topic raw"),
        (frozenset(), "problem", "may not describe, read, write the topic raw"),
        (ALL - {"DESCRIBE_CONFIGS"}, "warning", "may not see the settings of raw"),
    ],
)
def test_a_right_that_is_missing_is_told_with_what_grants_it(rights: frozenset[str], state: str, says: str) -> None:
    first, *_ = acl_findings({"raw": rights, "other": ALL}, {"readers": ALL})
    assert first.state == state
    assert says in first.says
    if state == "problem":
        assert "--topic raw" in first.remedy


def test_a_group_that_may_not_be_read_as_is_told() -> None:
    [found] = acl_findings({"raw": ALL}, {"readers": frozenset(), "workers": ALL})
    assert found.state == "problem"
    assert "the group readers" in found.says
    assert "--operation Describe --operation Read --group readers" in found.remedy


def test_a_client_that_is_too_old_for_leases_is_told_and_ours_is_not() -> None:
    assert version_finding("1", "3.11", (2, 14, 1)).state == "problem"
    assert version_finding("1", "3.11", client_version()).state == "ok"


@pytest.mark.parametrize(
    ("config", "states"),
    [
        ({}, []),
        ({"group.consumer.session.timeout.ms": "6000"}, ["ok"]),
        ({"group.consumer.session.timeout.ms": "45000"}, ["warning"]),
        ({"auto.create.topics.enable": "true"}, ["warning"]),
        ({"transaction.max.timeout.ms": "1000"}, ["problem", "problem"]),
        ({"transaction.max.timeout.ms": "900000"}, []),
        ({"default.replication.factor": "1", "min.insync.replicas": "2"}, ["problem"]),
        ({"default.replication.factor": "3", "min.insync.replicas": "2"}, []),
    ],
)
def test_settings_of_a_broker_are_judged_by_what_they_do_to_us(config: dict[str, str], states: list[str]) -> None:
    assert [found.state for found in broker_findings(Settings(), config)] == states


@pytest.mark.parametrize(
    ("members", "place", "state", "says"),
    [
        (1, Place(0, 0, 9, 9), "ok", "1 read them, 0 records wait"),
        (1, Place(0, 0, 9, None), "ok", "9 records wait"),
        (0, Place(0, 0, 9, 4), "problem", "5 records wait, and nobody reads them"),
        (0, Place(0, 9, 9, 9), "warning", "nobody reads them, and none waits"),
        (1, Place(0, 5, 9, 3), "problem", "records 3 to 4 of partition 0 were deleted"),
        (1, Place(0, 0, 2, 9), "problem", "is at 9 of partition 0, which ends at 2"),
    ],
)
def test_a_group_is_judged_by_who_reads_and_what_waits(members: int, place: Place, state: str, says: str) -> None:
    [found] = group_findings("normalizer", "raw rows of bars", "seamless normalize", Group("g", members, (place,)))
    assert found.state == state
    assert says in found.says
    assert found.state == "ok" or "seamless normalize" in found.remedy
