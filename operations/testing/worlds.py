"""A world of a test's own: its settings, topics and subjects on the stack, and the processes that run in it."""

from __future__ import annotations

import json
import os
import re
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from operations.stack import EmbeddedStack
from operations.testing.processes import Process
from operations.testing.shared_stack import delete_topics
from streams.errors import SettingsError
from streams.registry import Registry
from streams.schema_admin import register_subjects, wanted_subjects
from streams.settings import Settings, load_settings
from streams.topic_admin import TopicAdmin
from streams.topics import topics_for

__all__ = ["SeamlessWorld", "settings_of", "settings_text", "world_name"]

_REGISTERED_AT_ONCE = 8
_LONGEST_NAME = 30


class SeamlessWorld:
    """A prepared world; a context manager that takes everything away again.

    Attributes:
        settings: in force in this process.
        config: a settings file with the same, for other processes.
        stack: what it is on.
        folder: for files of its own.
    """

    def __init__(self, stack: EmbeddedStack, config: Path, environ: Mapping[str, str] | None = None) -> None:
        """Create the topics and register the schemas that a settings file calls for.

        Args:
            environ: variables for the processes that `run` starts.

        Raises:
            SettingsError: if the settings are wrong.
            BrokerError, RegistryError: if the stack does not do as it is told.
        """
        self.settings: Settings = load_settings(config, env={})
        self.config, self.stack, self.folder = config, stack, config.parent
        self._environ = dict(environ or {})
        self._processes: list[Process] = []
        TopicAdmin(self.settings.kafka).apply(topics_for(self.settings))
        with Registry(self.settings.registry) as registry, ThreadPoolExecutor(_REGISTERED_AT_ONCE) as pool:
            # Side by side, as each waits for the registry's own topic.
            list(pool.map(lambda wanted: register_subjects(registry, [wanted]), wanted_subjects(self.settings)))

    @property
    def name(self) -> str:
        """The world's name."""
        return self.settings.world

    def run(self, command: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Process:
        """Start `seamless COMMAND ... --config` in the background, as in `run("normalize")`; it ends with the world."""
        log = self.folder / f"{command}-{len(self._processes)}.log"
        called = [command, *arguments, "--config", str(self.config)]
        process = Process(called, log, {**self._environ, **(environ or {})})
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kill the processes that still run and delete the topics."""
        for process in self._processes:
            if process.alive():
                process.kill()
        self._processes.clear()
        with suppress(FileNotFoundError):
            delete_topics(self.stack.bootstrap_servers, self.name, [t.name for t in topics_for(self.settings)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def world_name(test: str) -> str:
    """Return a name for the world of a test: of the test, and like no other."""
    name = re.sub(r"[^a-z0-9]+", "-", test.lower()).removeprefix("test-")
    return f"{name[:_LONGEST_NAME].strip('-') or 'world'}-{uuid.uuid4().hex[:8]}"


def settings_of(base: Path | None, changes: Mapping[str, Any], folder: Path) -> Path:
    """Write a settings file: what `base` says, and what is changed, which is nested like it; return its path.

    Paths of Avro schemas stay those that `base` means.

    Raises:
        SettingsError: if `base` cannot be read.
    """
    values: dict[str, Any] = {}
    if base is not None:
        try:
            values = tomllib.loads(base.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"the settings {base} cannot be read: {error}. Correct the path or the file") from error
        for dataset in values.get("datasets", {}).values():
            for key in ("contract", "raw_schema"):
                if str(dataset.get(key)).endswith(".avsc"):
                    dataset[key] = os.fspath((base.parent / dataset[key]).absolute())
    path = folder / "seamless.toml"
    path.write_text(settings_text(_laid_over(values, changes)), "utf-8")
    return path


def _laid_over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with changes, table by table; what is changed to None is left out."""
    merged = dict(values)
    for key, change in changes.items():
        below = merged.get(key)
        merged[key] = (
            _laid_over(below if isinstance(below, Mapping) else {}, change) if isinstance(change, Mapping) else change
        )
    return {key: value for key, value in merged.items() if value is not None}


def settings_text(values: Mapping[str, Any]) -> str:
    """Return settings as the text of a TOML file."""
    return "\n".join(_lines(values)) + "\n"


def _lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield settings as dotted keys; JSON's strings, numbers and booleans are TOML's."""
    for key, value in values.items():
        name = prefix + json.dumps(key)
        if isinstance(value, Mapping):
            yield from _lines(value, name + ".")
        else:
            yield f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_value(each)}" for name, each in value.items()) + "}"
    return json.dumps(value, default=str)
