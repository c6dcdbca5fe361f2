"""Whoever is told of alerts in the demo hears when one fires and when it is over, by Alertmanager or in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from streams.alerting.alert import of_breach
from streams.alerting.alertmanager import Alertmanager, AlertsNotPosted
from streams.clock import now
from streams.demo.pager import Pager, paging
from streams.settings_alerting import AlertingSettings
from tests.support.alerting import PROGRAM, a_breach
from tests.support.progress import until


def hear(pager: Pager) -> list[bool]:
    breach = a_breach("demo")
    over = replace(breach, state="resolved", sequence=1, reason="kept")
    bridge = Alertmanager(pager.url, AlertingSettings())

    def posted(times: int) -> bool:
        try:
            bridge.post([of_breach(breach if times == 1 else over, {}, None)], now(), timedelta(minutes=1))
        except AlertsNotPosted:  # it begins
            return False
        return len(pager.of(breach.id)) >= times

    try:
        until(lambda: posted(1), 30, "an alert that fires")
        assert posted(1)  # told again, it is no news
        until(lambda: posted(2), 30, "an alert that is over")
    finally:
        bridge.close()
    return [notice.firing for notice in pager.of(breach.id)]


def test_an_alertmanager_that_is_on_the_path_tells_it(
    tool: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tool(PROGRAM)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    with paging(tmp_path / "alertmanager") as pager:
        assert pager.alertmanager == program
        assert hear(pager) == [True, False]


def test_where_there_is_none_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with paging(tmp_path / "alertmanager") as pager:
        assert pager.alertmanager is None
        assert hear(pager) == [True, False]
