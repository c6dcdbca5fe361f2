"""A postmortem as a page of Markdown: the template, filled with what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Literal

import operations
from streams.postmortem.gathering import Story

__all__ = ["LANGUAGES", "TEMPLATES", "Language", "page_of"]

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")
TEMPLATES = Path(operations.__file__).parent / "postmortems"

_NOTHING = {"en": "nothing is recorded", "ko": "기록된 것이 없음"}


def page_of(story: Story, *, title: str, world: str, version: str, language: Language = "en") -> str:
    """Return the page; what only people can say is left open in it."""
    impact = story.impact
    rows = [(_clock(e.at), f"`{e.kind}`", e.about, e.what, e.by, e.why) for e in story.events] or [
        ("", "", "", _NOTHING[language], "", "")
    ]
    values = {
        "title": _line(title),
        "world": world,
        "version": version,
        "begin": _clock(story.begin),
        "end": _clock(story.end),
        "length": _span(story.end - story.begin),
        "before": impact.before,
        "opened": impact.opened,
        "left": impact.left,
        "longest": _span(impact.longest),
        "datasets": ", ".join(impact.datasets) or "-",
        "rollbacks": sum(e.kind == "rollback" for e in story.events),
        "deploys": sum(e.kind == "deploy" for e in story.events),
        "timeline": "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows),
    }
    return Template((TEMPLATES / language / "template.md").read_text("utf-8")).substitute(values)


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _span(span: timedelta) -> str:
    return str(timedelta(seconds=round(span.total_seconds())))


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
