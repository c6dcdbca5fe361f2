"""The file that says what runs in a stack's folder; every other command reads it to find the stack."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from operations.stack.paths import stack_dir
from operations.stack.ports import LOOPBACK
from operations.stack.processes import ProcessRef
from operations.stack.settings import REGISTRY_API
from streams.errors import StackError

__all__ = [
    "FIELDS",
    "STATE_FILE",
    "Field",
    "PartState",
    "Ports",
    "StackState",
    "find_stack",
    "read_state",
    "write_state",
]

STATE_FILE = "stack.json"

Field = Literal["registry", "kafka"]
"""A part's name in the state."""

FIELDS: Final[tuple[Field, ...]] = ("registry", "kafka")
"""The parts in the order to stop them in, as the registry needs the broker. It is also the order to start in: the
registry takes longest until it first wants its broker."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Ports(_Record):
    """Where the parts listen, all on the loopback interface."""

    kafka: int
    controller: int
    registry: int


class PartState(_Record):
    """One process of the stack, as it was started."""

    version: str
    pid: int
    created: float
    started_at: AwareDatetime
    training: Path | None = None
    """Where this run writes an ahead-of-time cache when it ends, if it does."""

    @property
    def process(self) -> ProcessRef:
        """The process, recognisable even after its pid went to another."""
        return ProcessRef(self.pid, self.created)


class StackState(_Record):
    """What was started in a folder; whether it still runs is asked of the processes, not of this file."""

    dir: Path
    ports: Ports
    started_at: AwareDatetime
    kafka: PartState | None = None
    registry: PartState | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address as Kafka clients take it."""
        return f"{LOOPBACK}:{self.ports.kafka}"

    @property
    def registry_url(self) -> str:
        """The registry's address as confluent-kafka's SchemaRegistryClient takes it."""
        return f"http://{LOOPBACK}:{self.ports.registry}{REGISTRY_API}"

    def part(self, field: Field) -> PartState | None:
        """Return what was started under that name."""
        return self.kafka if field == "kafka" else self.registry

    @property
    def running(self) -> bool:
        """Whether both processes are alive; see `probe` for whether they answer."""
        return all(part is not None and part.process.alive() for part in map(self.part, FIELDS))


def read_state(folder: Path) -> StackState | None:
    """Return what the state file in `folder` says, or None if there is none; StackError if it is damaged."""
    path = folder / STATE_FILE
    try:
        return StackState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StackError(
            f"{path} is damaged or of another version: {error.error_count()} fields cannot be read. "
            "Delete the file and end the Java processes of that stack, then run: seamless up"
        ) from error


def write_state(state: StackState) -> None:
    """Replace the state file in one step, so that a reader sees the old one or the new one."""
    shown = state.model_dump(mode="json") | {
        "bootstrap_servers": state.bootstrap_servers,
        "registry_url": state.registry_url,
    }
    descriptor, temporary = tempfile.mkstemp(prefix=f".{STATE_FILE}.", dir=state.dir)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(shown, indent=2) + "\n")
    Path(temporary).replace(state.dir / STATE_FILE)


def find_stack(folder: Path | None = None) -> StackState | None:
    """Return the stack of a folder (default: see `paths.stack_dir`) if both its processes run, else None."""
    state = read_state(stack_dir(folder))
    return state if state is not None and state.running else None
