"""`seamless normalize` as a user runs it: what it serves, how it ends, what it refuses."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from pathlib import Path

import pytest

from operations.stack import EmbeddedStack
from streams.topic_admin import TopicAdmin
from streams.topics import dataset_topics
from tests.support.bars import faulty_bars
from tests.support.oracle import assert_exactly_once
from tests.support.processes import Process, running
from tests.support.progress import committed, finished, until
from tests.support.worlds import make_world

pytestmark = pytest.mark.kafka


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def served_at(process: Process) -> str:
    until(lambda: "http://" in process.output(), 60, "the address of the metrics", process.output)
    found = re.search(r"http://127\.0\.0\.1:\d+", process.output())
    assert found is not None
    return found.group()


def failure(arguments: list[str], folder: Path) -> str:
    """Run a command that is to be refused: exit code 2, no trace; return what it said."""
    with running(arguments, folder / "refused.log") as process:
        assert process.wait(60) == 2, process.output()
        said = process.output()
    assert "Traceback" not in said
    return " ".join(said.split())


def test_metrics_and_health_are_served_while_it_works_and_sigterm_commits_and_leaves(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path, normalizer={"commit_interval_ms": 4_000}, quarantine={"max_share": 1.0})
    made.produce(faulty_bars(2_000, made.raw_schema.id, seed=1))
    with running(["normalize", "--config", str(made.config)], tmp_path / "normalizer.log") as process:
        url = served_at(process)
        assert json.loads(fetch(url + "/healthz")) == {"status": "ok", "reasons": []}
        until(lambda: finished(made), 60, "the first commit", process.output)
        assert re.search(r"seamless_rows_in_total\{.*\} 20\d\d\.0", fetch(url + "/metrics"))
        made.produce(faulty_bars(2_000, made.raw_schema.id, seed=2))
        process.signal(signal.SIGTERM)
        assert process.wait(15) == 0, process.output()
        assert "Traceback" not in process.output()
    assert committed(made)
    with running(["normalize", "--config", str(made.config), "--until-end"], tmp_path / "rest.log") as process:
        assert process.wait(60) == 0, process.output()
    assert_exactly_once(made)


def test_a_dataset_that_is_not_configured_is_refused_with_the_known_ones(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    said = failure(["normalize", "--config", str(made.config), "--dataset", "tics"], tmp_path)
    assert "There is no dataset 'tics'" in said
    assert "bars" in said


def config_of(stack: EmbeddedStack, world: str, folder: Path, partitions: int = 4) -> Path:
    config = folder / "bare.toml"
    config.write_text(
        f'world = "{world}"\nkafka.bootstrap_servers = "{stack.bootstrap_servers}"\n'
        f'registry.url = "{stack.registry_url}"\ndatasets.bars.contract = "ohlcv"\n'
        f'datasets.bars.interval = "1m"\ndatasets.bars.partitions = {partitions}\n'
    )
    return config


def test_a_contract_that_is_not_registered_is_refused_with_the_remedy(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    said = failure(["normalize", "--config", str(config_of(stack, world, tmp_path))], tmp_path)
    assert f"no contract is registered under {world}.normalized.bars-value" in said
    assert "seamless schema register" in said


def test_a_missing_topic_is_refused_by_name_with_the_remedy(stack: EmbeddedStack, world: str, tmp_path: Path) -> None:
    made = make_world(stack, world, tmp_path)
    admin = TopicAdmin(made.settings.kafka)._client
    admin.delete_topics([made.topic("quarantine")])[made.topic("quarantine")].result(30)
    said = failure(["normalize", "--config", str(made.config)], tmp_path)
    assert f"there is no topic {made.topic('quarantine')}: run `seamless topics apply`" in said


def test_another_number_of_partitions_is_refused_before_any_row_is_read(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    assert len(dataset_topics(made.settings, "bars")) > 0
    said = failure(["normalize", "--config", str(config_of(stack, world, tmp_path, partitions=6))], tmp_path)
    assert "has 4 partitions, and the settings say 6" in said


def test_a_registry_that_is_down_at_the_start_is_refused_with_its_address(
    stack: EmbeddedStack, world: str, tmp_path: Path
) -> None:
    made = make_world(stack, world, tmp_path)
    text = made.config.read_text().replace(stack.registry_url, "http://127.0.0.1:1/nowhere")
    made.config.write_text(text)
    assert "127.0.0.1:1" in failure(["normalize", "--config", str(made.config)], tmp_path)
