"""How a demo says that it could not go on."""

from __future__ import annotations

from streams.errors import SeamlessError

__all__ = ["DemoFailed"]


class DemoFailed(SeamlessError):  # noqa: N818 - what happened to it
    """The demo could not be run to its end."""
