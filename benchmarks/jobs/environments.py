"""A virtual environment per peer, made on demand from its pinned requirements.

Peers pin what they need (quixstreams an older confluent-kafka), so none shares one with the product.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.jobs.job import UnavailableError

__all__ = ["environment"]

_FOLDER = Path(__file__).parent.parent


def environment(name: str) -> Path:
    """Return the interpreter of a peer's environment; raises UnavailableError if it cannot be made."""
    requirements = _FOLDER / "requirements" / f"{name}.txt"
    folder = _FOLDER / ".envs" / name
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], name)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--requirement", str(requirements)], name)
    shutil.copyfile(requirements, installed)
    return python


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise UnavailableError(f"the environment of {name} could not be made: {last}")
