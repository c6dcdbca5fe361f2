"""`seamless demo` as a newcomer runs it: every count right, and nothing left running, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from streams.clock import Deadline
from tests.support.processes import SEAMLESS

pytestmark = pytest.mark.kafka

SECONDS = 240


def still_running(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(folder) in command and process.status() != psutil.STATUS_ZOMBIE:
            found.append(command)
    return found


def nothing_left(folder: Path) -> bool:
    """Whether all processes of a folder end, as they are asked to or by their guards."""
    deadline = Deadline(20)
    while still_running(folder):
        if deadline.passed():
            return False
        time.sleep(0.1)
    return True


def test_every_count_is_right_and_nothing_is_left_running_where_no_program_is_on_path(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    bare = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"} | {"PATH": str(tmp_path)}
    done = subprocess.run(
        [SEAMLESS, "demo", "--dir", folder], env=bare, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "All 99 counts are what they must be" in done.stdout
    assert "the producer refuses" in done.stdout
    assert re.search(r"worker \d is killed with SIGKILL at \d\d%", done.stdout)
    assert re.search(r"worker \d took over \w+ from 200\d-\d\d-\d\d \d+\.\d s after the kill", done.stdout)
    assert "ratio 1.0: 32 of 32 shards, 2,016 rows" in done.stdout
    assert "32 shards, 2,016 rows, each exactly once" in done.stdout
    assert re.search(r"root [0-9a-f]{64}", done.stdout)
    assert "in the place of Alertmanager, which is not on the path" in done.stdout
    told = ["Kafka hangs", "Kafka goes on", r"breach \w+ opened", r"\w+ \(warning\) fires", "resolved", "is over"]
    assert re.search(".*".join(told), done.stdout, re.DOTALL)
    assert "✗" not in done.stdout
    assert done.stderr == ""
    assert nothing_left(folder)


@pytest.mark.parametrize("log", ["normalizer.log", "worker-3.log"])
def test_an_interrupted_demo_leaves_nothing_running(log: str, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [SEAMLESS, "demo", "--dir", folder], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = Deadline(SECONDS)
            while not (folder / "logs" / log).exists():  # by then all that are started with it run
                assert process.poll() is None
                assert not deadline.passed()
                time.sleep(0.1)
            assert still_running(folder)
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130
        finally:
            process.kill()
    assert nothing_left(folder)
    assert "Traceback" not in (tmp_path / "out").read_text()
