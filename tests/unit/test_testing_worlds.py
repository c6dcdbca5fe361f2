"""The settings of a test's world: what a file says, what the test changes, and names that are valid and its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from operations.testing.processes import environment
from operations.testing.worlds import settings_of, world_name
from streams.errors import SettingsError
from streams.topics import check_world

LISTS = {"some": [{"a": "x", "b": [1, 2.5]}, {"a": "y"}]}


def test_changes_are_laid_over_the_file_table_by_table(tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text(
        'world = "live"\ncoordinator_url = "http://somewhere"\n'
        '[datasets."bars.1m"]\ncontract = "own/bars.avsc"\ninterval = "1m"\n'
    )
    changes = {"world": "mine", "coordinator_url": None, "datasets": {"bars.1m": {"mode": "blocking"}}, "topics": LISTS}
    (tmp_path / "made").mkdir()
    found = tomllib.loads(settings_of(base, changes, tmp_path / "made").read_text())
    contract = str(tmp_path / "own" / "bars.avsc")
    assert found == {
        "world": "mine",
        "topics": LISTS,
        "datasets": {"bars.1m": {"contract": contract, "interval": "1m", "mode": "blocking"}},
    }


def test_what_is_set_around_a_test_reaches_none_of_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"KAFKA__BOOTSTRAP_SERVERS": "ours:9092", "WORLD": "live", "CACHE_DIR": "/somewhere"}.items():
        monkeypatch.setenv(f"SEAMLESS_{name}", text)
    found = environment({"SEAMLESS_WORLD": "a-test"})
    assert {name: text for name, text in found.items() if name.startswith("SEAMLESS_")} == {
        "SEAMLESS_CACHE_DIR": "/somewhere",
        "SEAMLESS_WORLD": "a-test",
    }
    assert found["PATH"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        settings_of(tmp_path / "nowhere.toml", {}, tmp_path)


@pytest.mark.parametrize("test", ["test_a", "test_[]", "test_Ein_Name[ä-1]", "test_" + "x" * 200])
def test_a_world_is_named_after_its_test_and_like_no_other(test: str) -> None:
    assert check_world(world_name(test)) != world_name(test)


def test_whoever_does_not_use_the_plugin_loads_nothing_by_it() -> None:
    ours = "{'streams', 'schemas', 'coordinator', 'operations.stack', 'polars', 'confluent_kafka', 'httpx'}"
    code = f"import sys, operations.testing.plugin; print(*sorted({ours} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""
