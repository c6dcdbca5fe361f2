"""docs/migration.md, typed as it stands there: files saved, commands run in order, what they print compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from operations.testing.ports import free_port
from tests.support.guides import Command, File, Shell, matches, steps
from tests.support.processes import SEAMLESS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(580)]

GUIDE = Path(__file__).parents[2] / "docs" / "migration.md"
LONGEST_S = 240.0


def as_a_newcomer() -> dict[str, str]:
    """Return an environment in which Seamless is installed and nothing of this run is known."""
    foreign = re.compile(r"(SEAMLESS|PYTEST)_|(JAVA_HOME|COLUMNS|LINES)$")
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    cache = {name: os.environ[name] for name in ("SEAMLESS_CACHE_DIR",) if name in os.environ}
    return kept | cache | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_guide_leads_from_polling_to_the_end_as_it_is_written(tmp_path: Path) -> None:
    # Another process may have the coordinator's port, which the guide names; all else is as it stands there.
    port = str(free_port())
    page = GUIDE.read_text(encoding="utf-8").replace("localhost:8090", f"localhost:{port}")
    done = list(steps(page))
    assert sum(isinstance(step, Command) for step in done) > 30
    env = as_a_newcomer() | {"SEAMLESS_COORDINATOR__PORT": port}
    try:
        with Shell(tmp_path, env) as shell:
            for step in done:
                if isinstance(step, File):
                    (tmp_path / step.name).write_text(step.text, encoding="utf-8")
                    continue
                code, printed = shell.type(step.text, LONGEST_S)
                if code != step.exits or not matches(step.expected, printed):
                    expected = "\n".join(step.expected)
                    pytest.fail(
                        f"line {step.line}: `{step.text}` exits with {code}, not {step.exits}, or prints other than\n"
                        f"{expected}\nnamely\n{printed}\n{logs(tmp_path)}"
                    )
    finally:
        subprocess.run([SEAMLESS, "down"], cwd=tmp_path, env=env, check=False, capture_output=True, timeout=60)


def logs(folder: Path) -> str:
    """Return the ends of what the guide's processes have said."""
    return "\n".join(f"{log.name}:\n{log.read_text('utf-8')[-1_500:]}" for log in sorted(folder.glob("*.log")))
