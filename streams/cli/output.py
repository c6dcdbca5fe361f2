"""Where commands print: folded to the terminal's width, and whole where a file or another program reads."""

from __future__ import annotations

import os

from rich.console import Console

__all__ = ["console"]

_UNFOLDED = 1_000


def console() -> Console:
    """Return a console for standard output; a table is as wide as it needs to be where no terminal limits it.

    A name that is folded or cut off could be neither searched for nor copied.
    """
    found = Console(highlight=False)
    if found.is_terminal or "COLUMNS" in os.environ:
        return found
    return Console(highlight=False, width=_UNFOLDED)
