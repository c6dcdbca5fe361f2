"""A user's mistakes, each typed at the command line: exit code 2, what is wrong, what to do, and never a trace."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.processes import SEAMLESS

FOLDER = {
    "seamless.toml": """\
[kafka]
bootstrap_servers = "127.0.0.1:9"
[registry]
url = "http://127.0.0.1:9/apis/ccompat/v7"
[datasets.bars]
contract = "ohlcv"
interval = "1d"
""",
    "typo.toml": 'wrld = "live"\n[kafka]\nbootstrap_server = "a:1"\n[normalizer]\ncommit_interval_ms = 0\n',
    "torn.toml": 'world = "live\n',
    "clash.toml": "[normalizer]\ncommit_interval_ms = 9000\n",
    "role.avsc": '{"type": "record", "name": "R", "fields": [{"name": "price", "type": "double", "role": "prise"}]}',
    "bars.csv": "symbol,event_time,open,high,low,close\nA,2024-05-01T00:00:00Z,1,2,0.5,1.5\n",
    "torn.parquet": "no parquet",
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in FOLDER.items():
        (folder / name).write_text(text)
    kept = {n: v for n, v in os.environ.items() if not n.startswith("SEAMLESS_")}
    return subprocess.run(
        [SEAMLESS, *arguments], cwd=folder, env=kept, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("config check -c gone.toml", ["no settings file gone.toml", "Create it"]),
        ("config check -c torn.toml", ["torn.toml is no valid TOML", "line 1", "Mend that line"]),
        (
            "config check -c typo.toml",
            ["seamless.wrld", "Did you mean seamless.world?", "seamless.kafka.bootstrap_servers", "commit_interval_ms"],
        ),
        ("config show -c clash.toml", ["commit_interval_ms (9000) must be less than transaction_timeout_ms (5000)"]),
        ("normalize --dataset bras", ["no dataset 'bras'", "known: bars"]),
        ("normalize", ["registry at http://127.0.0.1:9", "seamless up"]),
        ("tail bras", ["no dataset 'bras'"]),
        ("tail bars --from yesterday", ["--from yesterday", "2024-05-01T09:30Z"]),
        ("tail bars", ["registry at http://127.0.0.1:9", "seamless.registry.url", "seamless up"]),
        ("quarantine list bras", ["no dataset 'bras'"]),
        ("quarantine show bars seven", ["'seven' is no row", "PARTITION:OFFSET"]),
        ("quarantine replay bars", ["say which rows", "--all"]),
        ("produce bars.csv --dataset bras", ["no dataset 'bras'"]),
        ("produce bars.csv --dataset bars --speed fast", ["--speed fast", "100x"]),
        ("schema check role.avsc --contract ohlcv", ["role 'prise' is unknown", "use one of key"]),
        ("schema check gone.avsc", ["gone.avsc", "No such file"]),
        ("schema register role.avsc", ["FILE and --subject belong together"]),
        ("schema register role.avsc -s live.normalized.bars-value", ["field price", "'prise' is unknown"]),
        ("schema diff ohlcv bars@newest", ["a version, which is a number"]),
        ("conformance run gone.csv --contract ohlcv", ["gone.csv: there is no such file"]),
        ("conformance run torn.parquet --contract ohlcv", ["torn.parquet: it cannot be read as parquet"]),
        ("conformance run bars.csv --contract trade", ["trade_id (or id, tid, tradeId)", "rename what is meant"]),
        ("up --kafka-port 0", ["--kafka-port"]),
        ("no-such-command", ["No such command"]),
    ],
)
def test_a_mistake_is_explained_with_its_remedy_and_without_a_trace(
    tmp_path: Path, command: str, said: list[str]
) -> None:
    done = run(tmp_path, *command.split())
    shown = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == (1 if command.startswith("schema check role") else 2), shown
    assert "Traceback" not in shown
    for each in said:
        assert each in shown
    assert not (tmp_path / ".seamless").exists()


def test_it_says_its_version() -> None:
    done = subprocess.run([SEAMLESS, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"seamless {version('seamless-data')}\n"
