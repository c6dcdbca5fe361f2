"""The demo from nothing to the last count: a stack, topics, schemas, a normalizer, producers, workers, a strategy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from operations.stack import EmbeddedStack, StackState
from operations.stack.filelock import exclusive
from operations.stack.install import install
from operations.stack.processes import ProcessRef
from operations.stack.settings import KAFKA_VERSION, REGISTRY_VERSION
from operations.stack.state import STATE_FILE
from streams.clock import monotonic
from streams.demo.place import DATASET, Place
from streams.demo.show import Show
from streams.errors import StackError

if TYPE_CHECKING:
    from streams.demo.outcome import Outcome

__all__ = ["run_demo"]

_MARK = ".demo.lock"
"""Held while a demo runs; a folder that has none is not a demo's to wipe."""


def run_demo(show: Show, folder: Path, *, keep: bool = False) -> Outcome:
    """Run the demo in a folder of its own, telling the story on the way; return what was checked.

    Nothing of it runs afterwards, whatever happens, but with `keep` the stack of a demo that came to its end.

    Raises:
        DemoFailed: if the normalizer or a worker ends or does not get there in time.
        SeamlessError: if the stack cannot be started, or anything else refuses.
    """
    began = monotonic()
    place = Place(folder)

    def busy() -> StackError:
        return StackError(f"Another demo runs in {folder}. Wait for it, or use another folder (--dir).")

    if (folder / STATE_FILE).exists() and not (folder / _MARK).exists():
        raise StackError(
            f"{folder} holds a stack that is no demo's, and a demo wipes its folder: choose another (--dir)."
        )
    with exclusive(folder / _MARK, wait_s=0, refusal=busy):
        show.title(
            "Thirteen years of real daily bars of five stocks, with twelve faults put in, go through the whole "
            "pipeline, and two years that the feed left out are filled by three workers, of which one is killed. Then "
            "Kafka hangs, and somebody is told. Kafka and the registry are real, nothing is mocked, and every count is "
            "checked at the end."
        )
        with _stack(show, folder, keep=keep) as state:
            from streams.demo.pipeline import run_pipeline

            outcome = run_pipeline(show, place, place.settle(state), _broker(state), began)
        if keep:
            show.commands(_commands(place))
    return outcome


def _broker(state: StackState) -> ProcessRef:
    if state.kafka is None:
        raise StackError("The stack says that it runs, and has no broker: try again.")
    return state.kafka.process


@contextmanager
def _stack(show: Show, folder: Path, *, keep: bool) -> Iterator[StackState]:
    """Run a stack while the block runs; if it is to be kept and all went well, longer."""
    show.step("Kafka and a schema registry", "Real ones, started without Docker or an installed Java, on free ports.")
    began = monotonic()
    install()  # draws its own progress

    def stop() -> None:
        with show.busy("stopping") as tell:
            EmbeddedStack(folder, notify=tell).stop()

    # polars and its like take seconds to import, and the JVMs take as long to start.
    Thread(target=import_module, args=("streams.demo.pipeline",), daemon=True).start()
    with show.busy("starting") as tell:
        state = EmbeddedStack(folder, die_with_parent=not keep, notify=tell).start(fresh=True)
    try:
        show.done(f"Kafka {KAFKA_VERSION} at {state.bootstrap_servers}")
        show.done(f"Apicurio Registry {REGISTRY_VERSION} at {state.registry_url}", f"{monotonic() - began:.1f} s")
        yield state
    except BaseException:
        stop()
        raise
    if not keep:
        stop()


def _commands(place: Place) -> Sequence[tuple[str, str]]:
    config = f"--config {place.config}"
    return (
        (
            "the stack still runs; look at the newest rows",
            f"seamless tail {DATASET} --from earliest --limit 5 {config}",
        ),
        ("look at the rows that failed", f"seamless quarantine list {DATASET} {config}"),
        ("look at the promise that was broken", f"seamless sla status {config}"),
        ("look at the backfill", f"seamless backfill list {config}"),
        ("prove it again", f"seamless backfill verify --check {place.certificate} {config}"),
        ("run the normalizer again", f"seamless normalize {config}"),
        ("stop the stack", f"seamless down --dir {place.folder}"),
    )
