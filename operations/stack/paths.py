"""Where the stack keeps things: downloads for the user, data for the project."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["CACHE_DIR_VARIABLE", "STACK_DIR_VARIABLE", "cache_dir", "stack_dir"]

CACHE_DIR_VARIABLE = "SEAMLESS_CACHE_DIR"
STACK_DIR_VARIABLE = "SEAMLESS_STACK_DIR"


def cache_dir() -> Path:
    """Return the folder of downloads, shared by all stacks of this user; SEAMLESS_CACHE_DIR moves it."""
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("seamless", appauthor=False)


def stack_dir(chosen: Path | None = None) -> Path:
    """Return a stack's absolute folder: the argument, SEAMLESS_STACK_DIR, or `.seamless/stack` here."""
    place = chosen or Path(os.environ.get(STACK_DIR_VARIABLE) or Path(".seamless") / "stack")
    return place.expanduser().absolute()
