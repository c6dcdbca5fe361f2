"""The demo's comparison: every difference is a failure, whatever side it is on, and the exit code says so."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from schemas.report import ConformanceReport
from streams.cli import app
from streams.demo import run
from streams.demo.checks import Check, Facts, compare
from streams.demo.outcome import Outcome
from streams.demo.reports import covered
from streams.demo.show import Show, sparkline
from streams.errors import StackError

RIGHT: Facts = {("rows", "in"): 10, ("rows", "out"): 9, ("AAPL", "last close"): 1.5}


def report(*ranges: dict[str, int]) -> ConformanceReport:
    return ConformanceReport.model_validate(
        {
            "dataset": "d", "world": "w", "mode": "blocking", "contract": "c", "contract_fingerprint": "f",
            "rows_in": 0, "rows_out": 0, "rows_quarantined": 0, "rows_dropped": 0, "ranges": ranges, "findings": [],
        }
    )  # fmt: skip


def test_equal_facts_are_all_well() -> None:
    assert all(check.ok for check in compare(RIGHT, dict(RIGHT)))


@pytest.mark.parametrize(
    "found",
    [
        RIGHT | {("rows", "out"): 8},
        RIGHT | {("AAPL", "last close"): 1.51},
        {key: value for key, value in RIGHT.items() if key != ("rows", "in")},
        RIGHT | {("found", "gap · event_time"): 1},
    ],
    ids=["another count", "another price", "one that is not found", "one that is not expected"],
)
def test_a_difference_is_a_failure(found: Facts) -> None:
    wrong = [check for check in compare(RIGHT, found) if not check.ok]
    assert len(wrong) == 1


def test_nothing_checked_is_not_all_well() -> None:
    assert not Outcome([], 1.0, report()).ok


@pytest.mark.parametrize(("found", "code"), [(9, 0), (8, 1)])
def test_the_exit_code_says_whether_every_count_is_right(
    found: int, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcome = Outcome([Check("rows", "in", 10, 10), Check("rows", "out", 9, found)], 1.0, report())
    monkeypatch.setattr(run, "run_demo", lambda *_args, **_options: outcome)
    result = CliRunner().invoke(app, ["demo", "--json", "--dir", str(tmp_path)])
    assert result.exit_code == code
    shown = json.loads(result.stdout)
    assert shown["ok"] is (code == 0)
    assert shown["checks"][1] == {"group": "rows", "name": "out", "expected": 9, "found": found, "ok": code == 0}


def test_ctrl_c_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_args: Any, **_options: Any) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_demo", interrupted)
    assert CliRunner().invoke(app, ["demo", "--dir", str(tmp_path)]).exit_code == 130


def test_what_differs_is_named_with_both_counts() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    Show(console).verdict([Check("rows", "out", 9_000, 8_000), Check("rows", "in", 1, 1)], 3.0)
    text = console.export_text()
    assert "1 of 2 counts" in text
    assert "rows: out: expected 9,000, found 8,000" in text


def test_a_folder_with_somebody_elses_stack_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(StackError, match="no demo's"):
        run.run_demo(Show(Console(quiet=True)), tmp_path)
    assert (tmp_path / "stack.json").read_text() == "{}"


def test_reports_cover_the_raw_rows_only_when_every_partition_is_there() -> None:
    first, second = (
        report({"partition": 0, "first": 0, "last": 4, "rows": 5}),
        report({"partition": 1, "first": 0, "last": 1, "rows": 2}),
    )
    assert not covered([first], {0: 5, 1: 2, 2: 0})
    assert not covered([first, second], {0: 5, 1: 3})
    assert covered([first, second], {0: 5, 1: 2, 2: 0})


@pytest.mark.parametrize(
    ("values", "drawn"), [([], ""), ([3.0], "▁"), ([1.0, 1.0], "▁▁"), ([0.0, 7.0], "▁█"), ([0.0, 1.0, 2.0, 3.0], "▁█")]
)
def test_a_sparkline_spans_the_height(values: list[float], drawn: str) -> None:
    assert sparkline(values, 2) == drawn
