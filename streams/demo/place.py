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
from streams.demo.market import RAW_SCHEMA
from streams.settings import Settings, load_settings

__all__ = ["DATASET", "Place", "default_folder"]

DATASET = "ohlcv.us.1d"
_WORLD = "demo"
_CONFIG = "seamless.toml"
_KEPT = {"SEAMLESS_CACHE_DIR"}


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
    def normalizer_log(self) -> Path:
        """What the normalizer says."""
        return self.folder / "logs" / "normalizer.log"

    def settle(self, stack: StackState) -> Settings:
        """Write the settings file and the vendor's schema beside it, and read them back as any command would."""
        shutil.copyfile(RAW_SCHEMA, self.folder / RAW_SCHEMA.name)
        self.config.write_text(_settings_text(stack), encoding="utf-8")
        return load_settings(self.config, env={})

    def start_normalizer(self) -> ProcessRef:
        """Start `seamless normalize` as a process of its own, which ends when this one does."""
        self.normalizer_log.parent.mkdir(exist_ok=True)
        return spawn(
            # Not the script `seamless`, which need not be on the path nor beside this interpreter.
            [sys.executable, "-c", "from streams.cli import main; main()", "normalize", "--config", str(self.config)],
            log=self.normalizer_log,
            cwd=self.folder,
            env=_environment(os.environ),
            die_with_parent=True,
        )


def _environment(whole: Mapping[str, str]) -> dict[str, str]:
    """Leave out the user's settings: they may name a cluster that no demo should write to."""
    return {name: value for name, value in whole.items() if not name.startswith("SEAMLESS_") or name in _KEPT}


def _settings_text(stack: StackState) -> str:
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
"""
