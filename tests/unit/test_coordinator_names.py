"""What `coordinator` promises by name, that the promise costs nothing until it is used, and which one is opened."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from contextlib import closing

import coordinator
from coordinator.local import LocalBackfillCoordinator
from streams.settings import load_settings


def test_the_public_names_are_these_sorted_and_all_there() -> None:
    assert coordinator.__all__ == sorted(coordinator.__all__)
    for name in coordinator.__all__:
        home = importlib.import_module(coordinator._HOMES[name])
        assert getattr(coordinator, name) is getattr(home, name)
    assert set(coordinator.__all__) <= set(dir(coordinator))


def test_no_public_name_is_also_a_module_that_would_take_its_place() -> None:
    for name in coordinator.__all__:
        assert importlib.util.find_spec(f"coordinator.{name}") is None


def test_importing_coordinator_loads_no_library() -> None:
    libraries = {"polars", "confluent_kafka", "pydantic", "numpy", "httpx", "fastapi"}
    code = f"import sys, coordinator; print(*sorted({libraries!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_the_service_is_used_where_its_address_is_set_and_else_this_process() -> None:
    with closing(coordinator.open_coordinator(load_settings(env={}, overrides={}, stack=lambda: None))) as one:
        assert isinstance(one, LocalBackfillCoordinator)
    addressed = load_settings(env={}, overrides={"coordinator_url": "http://127.0.0.1:1"}, stack=lambda: None)
    with closing(coordinator.open_coordinator(addressed)) as other:
        assert isinstance(other, coordinator.DistributedBackfillCoordinator)
