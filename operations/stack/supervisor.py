"""Bring parts up and down: spawn, wait until they answer, explain why one did not, end them in order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import sleep

from operations.stack.aot import keep_recording, recording_has_begun
from operations.stack.jvm import java_environment
from operations.stack.parts import Part
from operations.stack.processes import spawn, tail
from operations.stack.state import PartState
from streams.clock import Deadline, now
from streams.errors import StackError

__all__ = ["PortTakenError", "Run", "await_answers", "end", "launch"]

_POLL_S = 0.05
_TAIL_LINES = 20
_STOP_S = 20.0
_TRAINING_STOP_S = 90.0  # writing an ahead-of-time cache takes 5 to 15 s on two cores
_PORT_TAKEN = ("Address already in use", "BindException", "already in use")


class PortTakenError(StackError):
    """Another process took a port between the choice and the bind."""


@dataclass(slots=True)
class Run:
    """A part and the process that was started for it."""

    part: Part
    state: PartState
    with_aot: bool


def launch(part: Part, *, die_with_parent: bool, train: bool) -> Run:
    """Start the part's process with its ahead-of-time cache, or let it record one if there is none."""
    part.log.parent.mkdir(parents=True, exist_ok=True)
    if part.log.exists():
        part.log.replace(part.log.with_suffix(".log.1"))
    flags = part.aot.use_flags()
    training = part.aot.training_output() if train and not flags else None
    started_at = now()
    process = spawn(
        part.command([*flags, *([f"-XX:AOTCacheOutput={training}"] if training else [])]),
        log=part.log,
        cwd=part.cwd,
        env=java_environment(),
        die_with_parent=die_with_parent,
    )
    state = PartState(
        version=part.version,
        pid=process.pid,
        created=process.created,
        started_at=started_at,
        training=training,
    )
    return Run(part, state, with_aot=bool(flags))


def await_answers(runs: list[Run], deadline: Deadline, relaunch: Callable[[Part], Run]) -> None:
    """Return when every run answers.

    A part that dies with an ahead-of-time cache is started once more without it, by `relaunch`. Raise
    PortTakenError if a part could not bind its port, and StackError with the end of its log if it died of
    something else or does not answer before the deadline.
    """
    waiting = list(runs)
    while waiting:
        for run in list(waiting):
            if not run.state.process.alive():
                waiting.remove(run)
                waiting.append(_again_without_cache(run, relaunch))
            elif run.part.answers():
                waiting.remove(run)
        if waiting:
            if deadline.passed():
                raise _silent(waiting[0].part, deadline.seconds)
            sleep(_POLL_S)


def _again_without_cache(run: Run, relaunch: Callable[[Part], Run]) -> Run:
    part = run.part
    log = tail(part.log, 200)
    if any(sign in log for sign in _PORT_TAKEN):
        raise PortTakenError(f"{part.name} could not listen on port {part.port}: another process has taken it.")
    if not run.with_aot:
        shown = "\n".join(log.splitlines()[-_TAIL_LINES:])
        raise StackError(f"{part.name} died while starting. The end of {part.log}:\n{shown}")
    part.aot.discard()
    return relaunch(part)


def _silent(part: Part, seconds: float) -> StackError:
    return StackError(
        f"{part.name} runs but has not answered on port {part.port} within {seconds:.0f} s. "
        f"The end of {part.log}:\n{tail(part.log, _TAIL_LINES)}"
    )


def end(parts: Iterable[PartState]) -> None:
    """End the processes in that order: SIGTERM, and SIGKILL for one that outlives its deadline.

    The next one gets its signal once the one before has said goodbye, so that a registry is never without its
    broker; a training run's writing of its cache then goes on beside the rest.
    """
    ending = list(parts)
    for part in ending:
        part.process.send(signal.SIGTERM)
        farewell = Deadline(_STOP_S)
        while part.process.alive() and not _recording(part) and not farewell.passed():
            sleep(_POLL_S)
    for part in ending:
        if not part.process.wait(Deadline(_TRAINING_STOP_S if _recording(part) else _STOP_S)):
            part.process.kill()
        if part.training:
            keep_recording(part.training)


def _recording(part: PartState) -> bool:
    return part.training is not None and recording_has_begun(part.training)
