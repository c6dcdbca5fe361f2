"""A worker stays small by what it does not load; each in a process of its own, as it cannot be undone."""

from __future__ import annotations

import subprocess
import sys


def told_by(program: str) -> str:
    start = "from coordinator.worker_memory import stay_small\nstay_small()\nimport sys\nimport pyarrow as pa\n"
    done = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_arrays_of_a_worker_do_not_load_pandas() -> None:
    program = "pa.array([1, None]), pa.scalar('a')\nprint('pandas' in sys.modules)"
    assert told_by(program) == "False"


def test_a_source_that_uses_pandas_gets_the_same_arrays_as_anywhere() -> None:
    program = (
        "import pandas as pd\n"
        "times = pd.Series(pd.to_datetime([1_600_000_000_000_000_001, None], utc=True))\n"
        "print(pa.array(times).cast(pa.int64()).to_pylist())"
    )
    assert told_by(program) == "[1600000000000000001, None]"


def test_pandas_that_is_there_already_is_left_alone() -> None:
    program = (
        "import sys, pandas as pd\n"
        "from coordinator.worker_memory import stay_small\n"
        "before = list(sys.meta_path)\n"
        "stay_small()\n"
        "print(sys.meta_path == before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
