"""Documentation that can be checked is: links lead somewhere, commands and settings exist, records are listed."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main

from coordinator.certificate import Certificate, ShardProof
from coordinator.lease_event import LeaseChange
from coordinator.service.app import create_app
from operations.testing import plugin
from schemas.findings import STANDARD
from streams.cli import app
from streams.health import Health
from streams.metrics import METRICS, Metrics
from streams.settings import Settings
from streams.sla_policy import WAITS
from tests.support.scripted import Scripted

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    p for p in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "operations").rglob("*.md")) if p.is_file()
)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^\s*(?:\$ )?(?:\.venv/bin/)?seamless ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", re.M)
SETTINGS_PAGE = "scripts/settings_page.py"
INLINE = re.compile(r"`seamless ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)[^`]*`")
TARGET = re.compile(r"`?make ([a-z]+)\b")
# A whole call: on a line of its own, or quoted in a sentence.
PROGRAMS = r"seamless|python scripts/(?:lease_recover|inject_sla_violation)\.py"
CALL = re.compile(rf"^\s*(?:\$ )?(?:\.venv/bin/)?((?:{PROGRAMS}) [a-z].*)$|`((?:{PROGRAMS}) [a-z][^`]*)`", re.M)
DOTTED = re.compile(r"`(seamless\.[a-z_]+\.[a-z_]+)`")
METRIC = re.compile(r"`((?:backfill|seamless)_[a-z_]*[a-z])`")
FIXTURES = {*plugin.__all__, plugin.CONFIG, plugin.GROUPS}
BACKFILL = ROOT / "docs" / "backfill.md"


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def commands() -> dict[str, set[str]]:
    """Every command, and the commands under it."""
    root = typer.main.get_command(app)
    return {name: set(getattr(command, "commands", {})) for name, command in root.commands.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page_id(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page: Path) -> None:
    known = commands()
    text = page.read_text(encoding="utf-8")
    for found in (*COMMAND.findall(text), *INLINE.findall(text)):
        name, _, second = found.partition(" ")
        assert name in known, f"{page_id(page)} names `seamless {found}`"
        if known[name] and second:
            assert second in known[name], f"{page_id(page)} names `seamless {found}`"


@cache
def code() -> str:
    """Everything that may log."""
    return "".join(p.read_text(encoding="utf-8") for f in ("coordinator", "streams") for p in (ROOT / f).rglob("*.py"))


@cache
def program(name: str) -> click.Command:
    """Return what a program's name stands for."""
    if name == "seamless":
        return typer.main.get_command(app)
    return typer.main.get_command(runpy.run_path(str(ROOT / name.removeprefix("python ")))["app"])


def calls(text: str) -> list[str]:
    """Return the calls of our programs, without comments and what a shell does with them."""
    found = [alone or quoted for alone, quoted in CALL.findall(text.replace("\\\n", ""))]
    return [re.split(r"\s+#|\s*(?:&&|[&|;]|<<)", call)[0] for call in found]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_exist(page: Path) -> None:
    for call in calls(page.read_text(encoding="utf-8")):
        name = "seamless" if call.startswith("seamless ") else " ".join(call.split()[:2])
        command, words = program(name), shlex.split(call.removeprefix(name))
        while words and (under := getattr(command, "commands", {})):
            assert words[0] in under, f"{page_id(page)} names `{call}`"
            command = under[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            assert not re.match(r"--?[a-z]", word) or word in known, f"{page_id(page)} gives {word} in `{call}`"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_settings_and_log_events_exist(page: Path) -> None:
    events = {f"seamless.backfill.{change.value}" for change in LeaseChange}
    for name in DOTTED.findall(page.read_text(encoding="utf-8")):
        _, section, key = name.split(".")
        found: Any = Settings.model_fields.get(section)
        is_setting = found is not None and key in getattr(found.annotation, "model_fields", {})
        assert is_setting or name in events or f'"{name}"' in code(), f"{page_id(page)} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_metrics_exist(page: Path) -> None:
    known = {metric.name for metric in METRICS}
    named = set(METRIC.findall(page.read_text(encoding="utf-8")))
    assert named - set(WAITS) - FIXTURES <= known  # a phase, or a fixture for tests, may be named like a metric


def test_every_metric_of_backfill_is_explained_with_its_labels() -> None:
    text = BACKFILL.read_text(encoding="utf-8")
    for metric in METRICS:
        if metric.name.startswith("backfill_"):
            row = re.search(rf"^\| `{metric.name}` \|(.*?)\|", text, re.M)
            assert row is not None, f"docs/backfill.md does not explain {metric.name}"
            assert tuple(re.findall(r"`(\w+)`", row[1])) == metric.labels


def test_every_endpoint_of_the_coordinator_is_explained() -> None:
    service = create_app(Scripted(), Settings(), Metrics("live"), Health())
    paths = service.openapi()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    told = set(re.findall(r"^\| `((?:GET|POST) /[^`]*)` \|", BACKFILL.read_text(encoding="utf-8"), re.M))
    assert told == there


def example(begins: str) -> dict[str, Any]:
    """Run an example of docs/backfill.md and return what it defines."""
    blocks = re.findall(r"```python\n(.*?)```", BACKFILL.read_text(encoding="utf-8"), re.S)
    [code] = [block for block in blocks if block.startswith(begins)]
    made: dict[str, Any] = {}
    exec(compile(code, str(BACKFILL), "exec"), made)
    return made


def test_the_example_of_a_source_goes_on_at_its_cursor(tmp_path: Path) -> None:
    made = example('"""my_sources.py')
    made["ROWS"] = 4
    rows = [
        (symbol, minute * 60_000_000, 1.0, 2.0, 0.5, 1.5, 10.0) for minute in range(5) for symbol in ("A", "B", "C")
    ]
    with closing(sqlite3.connect(tmp_path / "bars.db")) as database, database:
        database.execute(f"CREATE TABLE bars ({', '.join(made['COLUMNS'])})")
        database.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    source = made["open_sqlite"](str(tmp_path / "bars.db"), None)
    asked = (["A", "C"], 60_000_000_000, 240_000_000_000)
    batches = list(source.fetch(*asked, None))
    assert [batch.rows.num_rows for batch in batches] == [4, 2]
    assert source.estimate(*asked) == 6
    again = list(source.fetch(*asked, batches[0].cursor))
    assert [batch.rows for batch in again] == [batch.rows for batch in batches[1:]]
    with pytest.raises(made["SourceError"], match="unable to open") as refused:
        made["open_sqlite"](str(tmp_path / "none.db"), None).estimate(*asked)
    assert not refused.value.retryable


def test_the_example_finds_the_root_of_a_certificate() -> None:
    proofs = tuple(ShardProof(f"shard-{n}", 1, "bars", ("Ä",), n, n + 1, n) for n in range(5))
    sealed = Certificate("live", "job-1", "bars", ("Ä",), 0, 5, "raw:", 1, 1, proofs).sealed()
    assert example("import hashlib")["root_of"](json.loads(sealed.to_json())) == sealed.root


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")):
        assert re.search(rf"^{block}:", makefile, re.M), f"{page_id(page)} names `make {block}`"


def test_the_readme_shows_the_two_commands_that_do_everything() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_every_decision_is_listed_and_has_its_parts() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = [p for p in folder.glob("*.md") if p.name != "README.md"]
    assert records
    for record in records:
        assert f"({record.name})" in index, f"{record.name} is not in the index"
        text = record.read_text(encoding="utf-8")
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in text, f"{record.name} lacks {part}"


def test_the_settings_page_is_what_the_code_says() -> None:
    made = subprocess.run(
        [sys.executable, "-c", f"import runpy; print(runpy.run_path({SETTINGS_PAGE!r})['page'](), end='')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), f"run {SETTINGS_PAGE}"


def test_every_finding_is_explained() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    for name, finding in STANDARD.items():
        assert f"| {finding.bit} | `{name}` |" in text, f"docs/conformance.md does not explain {name}"


def test_no_committed_file_names_a_registry_or_a_machine() -> None:
    hosts = "|".join(("py" + "pi", "python" + "hosted", "mav" + "en", "npm" + "js", "deb" + "ian"))
    pattern = rf"(//|@|\.)([a-z0-9.-]*\.)?({hosts})\.(org|io|com|apache)\b"
    found = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
