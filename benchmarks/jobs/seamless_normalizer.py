"""Our own normalizer, started as a user starts it: `seamless normalize` for a world and a dataset."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.backlog import Backlog
from benchmarks.broker import PARTITIONS
from benchmarks.jobs.job import Command, Job, RunError, UnavailableError, Workbench
from benchmarks.programs.assignment import Assignment
from benchmarks.programs.clients import FETCHING
from streams.settings import Settings, load_settings
from streams.topic_admin import TopicAdmin
from streams.topics import Kind, TopicSpec, normalized, raw, topics_for

__all__ = ["SeamlessNormalizer"]

_SEAMLESS = Path(sys.executable).parent / "seamless"
_DATASET = "bars"


class SeamlessNormalizer(Job):
    """The product, in blocking mode. It names its topics itself, so every run gets a world of its own."""

    name = "seamless"
    title = "Seamless"
    guarantee = "exactly once"

    def prepare(self) -> None:
        """Refuse where the command line is missing."""
        if not _SEAMLESS.exists():
            raise UnavailableError("it is not installed in this environment; `make bench` installs it")

    def assign(self, bench: Workbench, run: str, records: int, folder: Path) -> tuple[Assignment, Backlog]:
        """Create the world's topics, register its schemas and fill its raw topic with the backlog."""
        world = f"bench-{bench.token}-{run}"
        config = _config_file(bench, world, folder)
        settings = _settings(config)
        TopicAdmin(settings.kafka).apply(map(_stamped_by_broker, topics_for(settings)))
        _register_schemas(config)
        backlog = bench.fill(raw(world, _DATASET), records)
        output = normalized(world, _DATASET)
        task = Assignment(
            bootstrap=bench.broker.bootstrap,
            registry_url=bench.broker.registry_url,
            input_topic=backlog.topic,
            output_topic=output,
            group=world,
            schema_path=str(bench.contract.path),
            schema_id=backlog.schema_id,
            work_folder=str(folder),
        )
        return task, backlog

    def clean(self, bench: Workbench, task: Assignment) -> None:
        """Remove the world."""
        settings = _settings(Path(task.work_folder) / "seamless.toml")
        bench.broker.delete_topics([spec.name for spec in topics_for(settings)])

    def command(self, task: Assignment) -> Command:
        """Run the CLI of this environment on the run's settings."""
        config = str(Path(task.work_folder) / "seamless.toml")
        return Command([str(_SEAMLESS), "normalize", "--dataset", _DATASET, "--config", config])


def _settings(config: Path) -> Settings:
    return load_settings(config, env={})


def _register_schemas(config: Path) -> None:
    done = subprocess.run(
        [str(_SEAMLESS), "schema", "register", "--config", str(config)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RunError(f"its schemas could not be registered: {done.stderr or done.stdout}")


def _stamped_by_broker(spec: TopicSpec) -> TopicSpec:
    """Let the broker stamp the output, as it does for every peer; elsewhere Seamless stamps the arrival."""
    if spec.kind is not Kind.NORMALIZED:
        return spec
    return replace(spec, config={**spec.config, "message.timestamp.type": "LogAppendTime"})


def _config_file(bench: Workbench, world: str, folder: Path) -> Path:
    """Write the run's settings; where peers share a setting, Seamless gets the same."""
    config = folder / "seamless.toml"
    config.write_text(
        f"""\
world = "{world}"

[kafka]
bootstrap_servers = "{bench.broker.bootstrap}"

[registry]
url = "{bench.broker.registry_url}"

[conformance]
mode = "blocking"

[normalizer]
commit_interval_ms = 100
queued_min_messages = {FETCHING["queued.min.messages"]}
compression = "none"

[datasets.{_DATASET}]
contract = "{bench.contract.path}"
interval = "1m"
calendar = "24/7"
partitions = {PARTITIONS}
retention = "forever"
"""
    )
    return config
