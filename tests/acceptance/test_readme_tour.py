"""The README's tour, typed as it stands there, in a shell that finds no Java and no Maven."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import SEAMLESS

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash") or "/bin/bash"
# The targets and the environment are `make`'s; what they come to is typed instead.
STANDS_FOR = {
    "make up": "seamless up",
    ". .venv/bin/activate": "",
    "kill %1 %2 && make down": "kill %1 %2 && wait && seamless down",
}


def tour() -> str:
    """Return the commands of the README's tour as one script."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.partition("## Five minutes")[2].partition("```console\n")[2].partition("```")[0]
    lines = []
    for line in block.replace("\\\n", "").splitlines():
        command = re.sub(r"\s+# .*", "", line.removeprefix("$ ")).strip()
        lines.append(STANDS_FOR.get(command, command))
    return "\n".join(lines)


def test_the_tour_works_as_it_is_written(tmp_path: Path) -> None:
    tools, clone = tmp_path / "bin", tmp_path / "clone"
    tools.mkdir()
    (tools / "seamless").symlink_to(SEAMLESS)
    shutil.copytree(ROOT / "streams" / "demo" / "data", clone / "streams" / "demo" / "data")
    shutil.copy(ROOT / "seamless.toml", clone)
    script = tour()
    assert script.count("seamless") > 9
    kept = {n: v for n, v in os.environ.items() if n not in {"JAVA_HOME", "COLUMNS"} and not n.startswith("SEAMLESS_")}
    try:
        done = subprocess.run(
            [BASH, "-c", f"set -em\n{script}"],
            cwd=clone,
            env=kept | {"PATH": str(tools), "SEAMLESS_CACHE_DIR": os.environ.get("SEAMLESS_CACHE_DIR", "")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        subprocess.run([SEAMLESS, "down"], cwd=clone, env=kept, check=False, capture_output=True)
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown[-4_000:]
    assert "Traceback" not in shown
    assert "12,154 rows in = 12,154 out + 0 quarantined" in done.stdout
    assert "12,154 of 12,154 rows delivered to live.raw.ohlcv.us.1d" in done.stdout
    assert len(re.findall(r"^[A-Z]+ +\d{4}-\d\d-\d\dT0[45]:00:00\.000000Z ", done.stdout, re.M)) == 5
    assert "0 of 0 rows (open)" in done.stdout
    assert "Complete: 1 shards, 1,008 rows, each exactly once." in done.stdout
    assert done.stdout.rstrip().endswith("Stopped.")
