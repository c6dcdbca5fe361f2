"""Runbooks: one per alert and language, with the same parts. That commands, options and metrics in them exist is tested
with all other documentation, in test_docs.py; that both languages say the same, in test_translations.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from operations.monitoring.bundle import RUNBOOKS
from tests.support.monitoring import alerts

NAMES = [alert["alert"] for alert in alerts()]
PARTS = {
    "en": ["What it means", "How to see it", "What to do", "How to know that it is over", "How to undo"],
    "ko": ["무슨 뜻인가", "어떻게 보는가", "무엇을 하는가", "끝난 것을 아는 법", "되돌리는 법"],
}


def page(language: str, name: str) -> str:
    return (RUNBOOKS / language / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize("language", PARTS)
def test_every_alert_has_a_runbook_and_no_runbook_is_of_another(language: str) -> None:
    assert sorted(path.stem for path in Path(RUNBOOKS / language).glob("*.md")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", PARTS)
def test_a_runbook_has_its_parts_and_a_command_to_look_with(language: str, name: str) -> None:
    text = page(language, name)
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.M) == PARTS[language]
    for part in re.split(r"^## .+$", text, flags=re.M)[1:]:
        assert part.strip()
    look = text.split(f"## {PARTS[language][1]}")[1].split("\n## ")[0]
    assert "$ " in look
