"""Which version of the package runs."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["DISTRIBUTION", "VERSION", "sources_digest"]

DISTRIBUTION = "seamless-data"

_PACKAGES = ("coordinator", "operations", "schemas", "streams")


def _installed() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a folder of sources
        return "unknown"


VERSION = _installed()


def sources_digest() -> str:
    """Return a SHA-256, in hex, of every file of the installed packages but compiled ones.

    Equal code has an equal digest, installed from a wheel or from a checkout: between two releases a version says less.
    """
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (root / package).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
