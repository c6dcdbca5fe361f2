"""What a source of history does wrong, and when: said in options, so that it reaches workers in other processes.

pace=0.2        seconds before each batch
hurry=FILE      no longer, once there is that file
marks=FILE      a line for each batch that is asked for: when (seconds of the machine's monotonic clock), and place
fail=3          raises what may be tried again, so many times in all; counted in the file `state`
after=0.5       what is raised then asks for so many seconds of quiet
broken=why      raises what need not be tried again
panic=1         raises what is no Exception, as native libraries do
exit=3          tries to end the process
hang=FILE       does not come back before there is that file
wrong=batch     gives something that is no batch; wrong=columns: a batch of something else
close=panic     fails when it is closed; close=hang: does not come back from that
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from time import sleep
from typing import Any

import pyarrow as pa

from coordinator.source import SourceError
from streams.clock import monotonic

__all__ = ["Misbehaviour", "Panic"]

_LOOK_AGAIN = 0.02
_NOWHERE = "/nowhere"


class Panic(BaseException):
    """As pyo3 raises when Rust panics."""


class Misbehaviour:
    """Does what the options say; other options are left alone."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._pace = float(options.get("pace", 0))

    def begin_batch(self, place: object) -> None:
        """Wait, and note that a batch was asked for."""
        hurry = Path(self._options.get("hurry", _NOWHERE))
        end = monotonic() + self._pace
        while (left := end - monotonic()) > 0 and not hurry.exists():
            sleep(min(left, _LOOK_AGAIN))
        if "marks" in self._options:
            with Path(self._options["marks"]).open("a") as marks:
                marks.write(f"{monotonic()} {place}\n")

    def go_wrong(self) -> None:
        """Raise, hang or end, where the options say so.

        Raises:
            SourceError: `fail` and `broken`.
            Panic: `panic`.
            SystemExit: `exit`.
        """
        options = self._options
        if "fail" in options and _counted(Path(options["state"]), int(options["fail"])):
            after = options.get("after")
            raise SourceError("the vendor is tired", retry_after_s=None if after is None else float(after))
        if "broken" in options:
            raise SourceError(f"the vendor says: {options['broken']}", retryable=False)
        if "panic" in options:
            raise Panic("called `Option::unwrap()` on a `None` value")
        if "exit" in options:
            sys.exit(int(options["exit"]))
        if "hang" in options:
            self._hang(options["hang"])

    def instead(self) -> Any:
        """Return what is given instead of rows; None where the rows are."""
        match self._options.get("wrong"):
            case "batch":
                return "these are the bars"
            case "columns":
                return pa.RecordBatch.from_pylist([{"colour": "blue", "taste": 3}])
        return None

    def close(self) -> None:
        """Close as the options say."""
        match self._options.get("close"):
            case "panic":
                raise Panic("this source does not like to be closed")
            case "hang":
                self._hang(_NOWHERE)

    def _hang(self, file: str) -> None:
        while not Path(file).exists():
            sleep(_LOOK_AGAIN)


def _counted(state: Path, most: int) -> bool:
    """Count one more, over all processes; return whether it was one of the first `most`."""
    with state.open("ab") as counter:
        counter.write(b"x")
        return counter.tell() <= most
