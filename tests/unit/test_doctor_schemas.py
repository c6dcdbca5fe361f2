"""How the doctor judges what the registry holds, where no registry is needed to tell."""

from __future__ import annotations

import pytest

from streams.doctor.registry_checks import schema_findings
from streams.schema_admin import VENDOR, SubjectVerdict, WantedSubject


@pytest.mark.parametrize(
    ("level", "state"),
    [
        (None, "ok"),
        ("FULL_TRANSITIVE", "ok"),
        ("BACKWARD_TRANSITIVE", "ok"),
        ("FORWARD", "warning"),
        ("NONE", "warning"),
    ],
)
def test_a_level_that_promises_less_is_told_and_one_that_was_raised_on_the_road_to_strict_is_not(
    level: str | None, state: str
) -> None:
    wanted = WantedSubject("live.raw.bars-value", "raw", "bars", "ohlcv", None, VENDOR)
    [found] = schema_findings([SubjectVerdict(wanted, "registered", 1, 1, level=level)])
    assert (found.check, found.state) == ("schemas", state)
