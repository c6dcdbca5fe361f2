"""One process for several datasets: one that stops takes no other with it, and its health says so."""

from __future__ import annotations

import gc
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from streams import normalizer_process
from streams.clock import Deadline
from streams.errors import DatasetStopped
from streams.health import HealthServer
from streams.settings import DatasetSettings, Settings

SETTINGS = Settings(datasets={name: DatasetSettings(contract="ohlcv") for name in ("bad", "good")})


class Scripted:
    """Stands in for a normalizer, of which the process uses two names: `bad` stops at once, the others work on."""

    def __init__(self, _settings: Settings, dataset: str, *_: Any, **__: Any) -> None:
        self.job = SimpleNamespace(dataset=dataset)

    def run(self, stop: threading.Event, *, until_end: bool) -> None:
        if self.job.dataset == "bad":
            raise DatasetStopped("too much of it is bad")
        stop.wait(60)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HealthServer]]:
    """The health servers that are made; what the process asks of the garbage collector is taken back."""
    made: list[HealthServer] = []
    threshold = gc.get_threshold()

    def make(*arguments: Any) -> HealthServer:
        made.append(HealthServer(*arguments))
        return made[-1]

    monkeypatch.setattr(normalizer_process, "Normalizer", Scripted)
    monkeypatch.setattr(normalizer_process, "HealthServer", make)
    yield made
    gc.set_threshold(*threshold)
    gc.unfreeze()


@contextmanager
def running(*datasets: str) -> Iterator[list[str]]:
    failed: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(
        target=lambda: failed.extend(normalizer_process.run_normalizers(SETTINGS, datasets, stop, False, False))
    )
    thread.start()
    try:
        yield failed
    finally:
        stop.set()
        thread.join(30)


def health(servers: list[HealthServer]) -> tuple[int, dict[str, Any]]:
    assert servers[0].url is not None
    try:
        with urllib.request.urlopen(f"{servers[0].url}/healthz", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_while_another_dataset_works_a_stopped_one_is_named_and_the_process_is_not_called_dead(
    servers: list[HealthServer],
) -> None:
    with running("bad", "good") as failed:
        deadline = Deadline(20)
        while not (servers and servers[0].url and health(servers)[1]["reasons"]):
            assert not deadline.passed()
        assert health(servers) == (200, {"status": "degraded", "reasons": ["bad: too much of it is bad"]})
    assert failed == ["bad"]


def test_when_no_dataset_is_left_the_process_ends_and_names_them(servers: list[HealthServer]) -> None:
    with running("bad") as failed:
        deadline = Deadline(20)
        while not failed:
            assert not deadline.passed()
    assert failed == ["bad"]
    assert servers[0].url is None
