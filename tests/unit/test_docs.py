"""Documentation that can be checked is: links lead somewhere, commands and settings exist, records are listed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from schemas.findings import STANDARD
from streams.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    p for p in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "operations").rglob("*.md")) if p.is_file()
)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^\s*(?:\$ )?(?:\.venv/bin/)?seamless ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", re.M)
SETTINGS_PAGE = "scripts/settings_page.py"
INLINE = re.compile(r"`seamless ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)[^`]*`")
TARGET = re.compile(r"`?make ([a-z]+)\b")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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
