"""Why faust carries records and does nothing else: a defect of its windows. A release that mends it is noticed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WINDOWS = Path(__file__).parents[1] / "support" / "faust_windows.py"


def test_of_the_windows_of_two_partitions_faust_closes_one_and_drops_the_other(tmp_path: Path) -> None:
    """If this fails, faust may have been mended: read decision 0040 again."""
    # In a process of its own, as it leaves event loops open.
    command = [sys.executable, str(WINDOWS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == ["of partition 0"]
