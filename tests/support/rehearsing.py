"""Runbooks as they are rehearsed: their commands, typed as they stand, and none forgotten."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

from operations.monitoring.bundle import RUNBOOKS
from tests.support.guides import Shell

__all__ = ["Rehearsal"]

_SECONDS = 90.0


class Rehearsal:
    """A runbook and a shell; a context manager that fails if a command of the page was not typed.

    Args:
        elsewhere: commands that another page rehearses, or that this fault does not call for.
    """

    def __init__(self, shell: Shell, alert: str, *elsewhere: str) -> None:
        self._shell, self.alert = shell, alert
        text = (RUNBOOKS / "en" / f"{alert}.md").read_text("utf-8")
        blocks = re.findall(r"^ *```console\n(.*?)^ *```$", text, re.M | re.S)
        self._commands = [c for block in blocks for c in re.findall(r"^ *\$ (.+)$", block, re.M)]
        self._left = [command for command in self._commands if command not in elsewhere]
        assert set(elsewhere) <= set(self._commands), f"{alert} has not all of {elsewhere}"

    def run(self, command: str, *, exits: int = 0, **names: str) -> str:
        """Type a command of the page, with what its words in capitals stand for; return what it printed."""
        assert command in self._commands, f"the runbook {self.alert} has no `{command}`"
        self._left = [each for each in self._left if each != command]
        for name, value in names.items():
            assert name in command, f"`{command}` has no {name}"
            command = command.replace(name, value)
        code, printed = self._shell.type(command, _SECONDS)
        assert code == exits, f"`{command}` exits with {code}\n{printed}"
        assert "Traceback" not in printed, printed
        return printed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            assert self._left == [], f"the runbook {self.alert} was not rehearsed to its end"
