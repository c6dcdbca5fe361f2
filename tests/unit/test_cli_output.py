"""What commands print is whole where no terminal limits it, and names are never cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app

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
