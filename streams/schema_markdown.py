"""What a check of schemas found, as Markdown for a comment on a change: the fields that break, old and new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.schema_admin import SubjectVerdict

__all__ = ["as_markdown"]

_SAYS = {
    "registered": "unchanged",
    "new": "new",
    "compatible": "compatible",
    "refused": "**refused**",
    "broken": "**broken**",
}


def as_markdown(verdicts: Sequence[SubjectVerdict], expired: Sequence[str] = ()) -> str:
    """Return the comment; equal findings make an equal comment, so it can be updated in place.

    Args:
        expired: problems of exceptions.
    """
    return "\n".join(_lines(verdicts, expired)) + "\n"


def _lines(verdicts: Sequence[SubjectVerdict], expired: Sequence[str]) -> Iterator[str]:
    bad = [v for v in verdicts if v.state in {"refused", "broken"}]
    wrong = len(bad) + len(expired)
    yield "### Schemas: " + ("all is well" if not wrong else f"{wrong} to mend")
    yield ""
    yield from _table(
        ("subject", "schema", "state"), ((_code(v.wanted.subject), v.wanted.source, _SAYS[v.state]) for v in verdicts)
    )
    for verdict in bad:
        yield ""
        yield f"#### {_code(verdict.wanted.subject)}"
        yield ""
        if verdict.breaks:
            rows = (
                (_code(b.what.field or "(record)"), f"{b.version}, {b.direction}", b.old, b.new, b.what.remedy)
                for b in verdict.breaks
            )
            yield from _table(("field", "breaks with version", "was", "is", "what to do"), rows)
            yield ""
        told = {str(b) for b in verdict.breaks}
        yield from (f"- {_escaped(reason)}" for reason in verdict.reasons if reason not in told)
    if expired:
        yield ""
        yield "#### Exceptions"
        yield ""
        yield from (f"- {_escaped(problem)}" for problem in expired)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(map(_escaped, row))} |"


def _code(text: str) -> str:
    return f"`{text}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
