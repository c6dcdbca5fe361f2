"""`seamless conformance run` as a person runs it: a file and a contract, no Kafka, no settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

HEADER = "Ticker,Date,Open,High,Low,Close,Volume\n"
GOOD = (
    "AAPL,2024-01-04,10,12,9,11,100\n"
    "AAPL,2024-01-05,11,13,10,12,100\n"  # a Friday
    "AAPL,2024-01-08,12,14,11,13,100\n"
)


def run(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from streams.cli import main; main()", "conformance", "run", *map(str, args)]
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "200", "SEAMLESS_CONFIG": str(cwd / "no-such-settings.toml")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + GOOD)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.csv"
    path.write_text(HEADER + GOOD + "AAPL,2024-01-09,13,1,12,14,100\nAAPL,soon,13,15,12,14,100\n")
    return path


def test_a_good_file_passes_with_its_repairs_named(bars: Path) -> None:
    result = run(bars, "--contract", "ohlcv", "--interval", "1d", "--calendar", "XNYS", cwd=bars.parent)
    assert result.returncode == 0, result.stderr
    assert "3 rows in = 3 out + 0 quarantined" in result.stdout
    assert "ts_cast" in result.stdout
    assert "gap" not in result.stdout


def test_a_weekend_is_a_gap_only_for_a_market_that_never_closes(bars: Path) -> None:
    result = run(bars, "--contract", "ohlcv", "--interval", "1d", "--json", cwd=bars.parent)
    found = {f["flag"]: f["count"] for f in json.loads(result.stdout)["report"]["findings"]}
    assert found["gap"] == 1


def test_violations_end_with_1_and_name_the_rows_with_their_reasons(broken: Path) -> None:
    result = run(broken, "--contract", "ohlcv", cwd=broken.parent)
    assert result.returncode == 1
    assert "high_below_low (high,low)" in result.stdout
    assert "invalid_timestamp (event_time)" in result.stdout
    assert "5 rows in = 3 out + 2 quarantined" in result.stdout


def test_shadow_mode_passes_the_same_rows_flagged(broken: Path) -> None:
    result = run(broken, "--contract", "ohlcv", "--mode", "shadow", "--json", cwd=broken.parent)
    assert result.returncode == 0
    report = json.loads(result.stdout)["report"]
    assert (report["rows_out"], report["rows_quarantined"]) == (5, 0)
    assert "high_below_low" in {f["flag"] for f in report["findings"]}


def test_accepted_rejected_and_report_are_written(broken: Path) -> None:
    folder = broken.parent
    options = ["--accepted", "good.parquet", "--rejected", "bad.csv", "--report", "report.json"]
    run(broken, "--contract", "ohlcv", "--timezone", "America/New_York", *options, cwd=folder)
    good = pl.read_parquet(folder / "good.parquet")
    assert good.columns[:2] == ["symbol", "event_time"]
    assert str(good["event_time"][0]) == "2024-01-04 05:00:00+00:00"
    bad = pl.read_csv(folder / "bad.csv")
    assert bad["seamless_row"].to_list() == [3, 4]
    assert bad["Ticker"].to_list() == ["AAPL", "AAPL"]
    assert "high_below_low" in bad["seamless_reasons"][0]
    assert json.loads((folder / "report.json").read_text())["rows_in"] == 5


def test_a_parquet_file_is_judged_by_its_own_types(bars: Path) -> None:
    path = bars.with_suffix(".parquet")
    pl.read_csv(bars, try_parse_dates=True).write_parquet(path)
    assert run(path, "--contract", "ohlcv", cwd=bars.parent).returncode == 0


def test_a_contract_of_ones_own_is_a_file(bars: Path) -> None:
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    fields = [
        {"name": "symbol", "type": "string", "role": "key", "aliases": ["Ticker"]},
        {"name": "at", "type": millis, "role": "event_time", "aliases": ["Date"]},
        {"name": "flags", "type": "long", "default": 0, "role": "flags"},
    ]  # fmt: skip
    contract = {"type": "record", "name": "Own", "identity": ["symbol", "at"], "fields": fields}
    (bars.parent / "own.avsc").write_text(json.dumps(contract))
    result = run(bars, "--contract", "own.avsc", "--json", cwd=bars.parent)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["report"]["ignored_columns"] == ["Open", "High", "Low", "Close", "Volume"]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["gone.csv", "--contract", "ohlcv"], "gone.csv: there is no such file"),
        (["bars.csv", "--contract", "nosuch"], "no contract 'nosuch': use one of ohlcv"),
        (["bars.csv", "--contract", "trade"], "trade_id (or id, tid, tradeId); price"),
        (["bars.csv", "--contract", "ohlcv", "--interval", "soon"], "--interval: 'soon' is no duration"),
        (["bars.csv", "--contract", "ohlcv", "--calendar", "MOON"], "--calendar MOON: no such calendar"),
        (["bars.csv", "--contract", "ohlcv", "--timezone", "Mars"], "--timezone Mars: no such zone"),
        (["bars.csv", "--contract", "ohlcv", "--rejected", "x.txt"], "x.txt: give a name that ends in"),
        (["bars.csv", "--contract", "ohlcv", "--report", "gone/x.json"], "cannot be written"),
    ],
)
def test_a_mistake_is_explained_without_a_trace(bars: Path, args: list[str], complaint: str) -> None:
    result = run(*args, cwd=bars.parent)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
