"""What commands print is whole where no terminal limits it, and names are never cut off."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from coordinator.protocol import JobStatus
from streams.cli import app
from streams.cli.backfill_show import show_jobs

LONGEST = "seamless.normalizer.transaction_timeout_ms"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "no-stack"))
    file = Path("seamless.toml")
    file.write_text('[datasets."bars.us"]\ncontract = "ohlcv"\ninterval = "1d"\n')
    return file


def show(config: Path) -> list[str]:
    return CliRunner().invoke(app, ["config", "show", "--config", str(config)]).stdout.splitlines()


def test_where_no_terminal_limits_it_a_setting_is_one_line(config: Path) -> None:
    [line] = [line for line in show(config) if LONGEST in line]
    assert line.split() == [LONGEST, "5000", "default"]


def test_a_terminals_width_folds_names_and_cuts_none_off(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = show(config)
    assert max(map(len, lines)) <= 60
    assert not any("…" in line for line in lines)


def test_a_report_on_a_narrow_terminal_names_findings_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    bars = tmp_path / "bars.csv"
    bars.write_text("symbol,event_time,open,high,low,close\nA,2024-05-01T00:00:00+02:00,1,2,0.5,1.5\n")
    out = CliRunner().invoke(app, ["conformance", "run", str(bars), "--contract", "ohlcv"]).stdout
    assert "…" not in out
    assert "non_finite" not in out
    assert "missing_column" in out


def test_a_job_on_a_narrow_terminal_has_its_whole_id_and_nothing_of_it_is_cut_off() -> None:
    start, name = datetime(2007, 1, 1, 5, tzinfo=UTC), "job-9bf31b95010433ea04b6"
    job = JobStatus(
        id=name, epoch=1, state="running", dataset="ohlcv.us.1d", symbols=("IBM",), start=start, end=start,
        source="files:x", as_of=start, urgent=False, created_at=start, requested_by="", shards=32, shards_by_state={},
        rows=2_016, estimated_rows=2_016, ratio=0.5,
    )  # fmt: skip
    console = Console(record=True, width=80, file=io.StringIO())
    show_jobs([job], console)
    text = console.export_text()
    assert name in text
    assert "…" not in text
