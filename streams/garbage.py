"""Python's collector of cycles, set for processes that hold many short-lived messages."""

from __future__ import annotations

import gc

__all__ = ["calm_garbage_collection"]


def calm_garbage_collection() -> None:
    """Let the collector look for cycles only after many more objects than a batch makes.

    A batch is tens of thousands of messages that live for milliseconds and form no cycles. With the default threshold
    (700) each batch is walked dozens of times, which took two thirds of the time of consuming it.
    """
    gc.freeze()
    gc.set_threshold(500_000, 20, 20)
