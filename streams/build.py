"""Which version of the package runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["DISTRIBUTION", "VERSION"]

DISTRIBUTION = "seamless-data"


def _installed() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a folder of sources
        return "unknown"


VERSION = _installed()
