"""What a process and its children cost: CPU seconds and resident memory, sampled while they run."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import numpy as np
import psutil

__all__ = ["Footprint"]

_EVERY_SECONDS = 0.05


class Footprint:
    """Samples a process tree on a thread of its own for the length of a `with` block."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._times: list[float] = []
        self._cpu: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        #: The highest sum of resident memory seen, in bytes.
        self.peak_bytes = 0

    def __enter__(self) -> Footprint:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_seconds(self, started_ms: float, ended_ms: float) -> float:
        """Return the CPU seconds spent between two wall-clock times, interpolated between samples."""
        at = np.interp([started_ms / 1000.0, ended_ms / 1000.0], self._times, self._cpu)
        return float(at[1] - at[0])

    def _sample(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            try:
                tree = [self._root, *self._root.children(recursive=True)]
                times = [process.cpu_times() for process in tree]
                resident = sum(process.memory_info().rss for process in tree)
            except psutil.Error:  # something in the tree has just ended
                continue
            self._times.append(time.time())
            self._cpu.append(sum(spent.user + spent.system for spent in times))
            self.peak_bytes = max(self.peak_bytes, resident)
