"""Where a demo runs: a folder with its own stack, its own settings and its own logs, and nobody else's environment."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operations.stack import StackState
from operations.stack.processes import ProcessRef, spawn
from streams.demo.market import DATA, RAW_SCHEMA
from streams.settings import Settings, load_settings

__all__ = ["DATASET", "PROMISE_S", "QUEUE_PARTITIONS", "READER", "WINDOW_S", "Place", "default_folder"]

DATASET = "ohlcv.us.1d"
_WORLD = "demo"
_CONFIG = "seamless.toml"
_KEPT = {"SEAMLESS_CACHE_DIR"}
_CHUNK_ROWS = 7
QUEUE_PARTITIONS = 6
"""Of each queue: as many for each of three workers, and then for each of two."""
READER, PROMISE_S, WINDOW_S = "momentum", 1.5, 2
"""A reader, within how many seconds it is promised to be answered, and over how many seconds that is judged."""


def default_folder() -> Path:
    """Return the demo's folder: beside the stack of `seamless up`, and never the same."""
    return Path(".seamless", "demo").absolute()


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a demo whose stack runs."""

    folder: Path

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / _CONFIG

    @property
    def certificate(self) -> Path:
        """The proof of the backfill."""
        return self.folder / "certificate.json"

    @property
    def archive(self) -> Path:
        """Where the archive's tables are."""
        return self.folder / "archive"

    def log(self, name: str) -> Path:
        """Return the file that a process writes to what it says."""
        return self.folder / "logs" / f"{name}.log"

    def settle(self, stack: StackState) -> Settings:
        """Write the settings file and the vendor's schema beside it, and read them back as any command would."""
        # The stack begins anew, and so must the table: it names offsets of topics that are no more.
        shutil.rmtree(self.archive, ignore_errors=True)
        shutil.copyfile(RAW_SCHEMA, self.folder / RAW_SCHEMA.name)
        self.config.write_text(_settings_text(stack, self.archive), encoding="utf-8")
        return load_settings(self.config, env={})

    def start(self, command: str, name: str, **env: str) -> ProcessRef:
        """Start a command of `seamless`, one or several words, as a process of its own, which ends when this one does.

        Args:
            name: of its log.
            env: what is set in its environment besides.
        """
        log = self.log(name)
        log.parent.mkdir(exist_ok=True)
        return spawn(
            # Not the script `seamless`, which need not be on the path nor beside this interpreter.
            [
                sys.executable,
                "-c",
                "from streams.cli import main; main()",
                *command.split(),
                "--config",
                str(self.config),
            ],
            log=log,
            cwd=self.folder,
            env=_environment(os.environ) | env,
            die_with_parent=True,
        )


def _environment(whole: Mapping[str, str]) -> dict[str, str]:
    """Leave out the user's settings: they may name a cluster that no demo should write to."""
    return {name: value for name, value in whole.items() if not name.startswith("SEAMLESS_") or name in _KEPT}


def _settings_text(stack: StackState, archive: Path) -> str:
    return f"""\
# Written by `seamless demo`; the stack listens on other ports each time.
world = {json.dumps(_WORLD)}

[kafka]
bootstrap_servers = {json.dumps(stack.bootstrap_servers)}

[registry]
url = {json.dumps(stack.registry_url)}

[datasets.{json.dumps(DATASET)}]
contract = "ohlcv"
raw_schema = {json.dumps(RAW_SCHEMA.name)}
interval = "1d"
calendar = "XNYS"
timezone = "America/New_York"
mode = "blocking"
source = {json.dumps(f"files:{DATA}")}

# Each worker holds one shard at a time and commits a handful of rows at once, so that there is something to see.
[backfill]
slots = 1
chunk_rows = {_CHUNK_ROWS}

[archive]
url = {json.dumps(str(archive))}
commit_interval_s = 0.5

[topics]
shard_partitions = {QUEUE_PARTITIONS}

# Only this is watched, in short windows, so that a breach opens and resolves while you look on.
[sla.objectives.prompt]
kind = "quantile"
consumer = {json.dumps(READER)}
quantile = 0.99
limit = {PROMISE_S}
window = {WINDOW_S}

[sla_agent]
defaults = false
checkpoint_s = 1.0
"""
