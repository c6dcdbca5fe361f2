"""What `streams` promises by name, and that the promise costs nothing until it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import streams


def test_the_public_names_are_these_sorted_and_all_there() -> None:
    assert streams.__all__ == sorted(streams.__all__)
    for name in streams.__all__:
        home = importlib.import_module(streams._HOMES[name])
        assert getattr(streams, name) is getattr(home, name)


def test_no_public_name_is_also_a_module_that_would_take_its_place() -> None:
    for name in streams.__all__:
        assert importlib.util.find_spec(f"streams.{name}") is None


def test_dir_shows_the_public_names() -> None:
    assert set(streams.__all__) <= set(dir(streams))


def test_importing_streams_loads_no_library() -> None:
    code = "import sys, streams; print(*sorted({'polars', 'confluent_kafka', 'pydantic', 'pandas'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(streams, "no_such_name")
