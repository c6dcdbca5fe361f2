"""Pages in Markdown and their translations: what has to be the same in both, taken out of the text of either."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Page", "same_lines", "translated"]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)
_HEADING = re.compile(r"^(#+) (.+)$", re.M)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
_CODE = re.compile(r"`([^`]+)`")
_ITEM = re.compile(r"^ *([-*]|\d+\.) ", re.M)
_HANGUL = re.compile(r"[가-힣]")
_IN_WORDS = re.compile(r"\"[^\"]*\"|(?<=\s)#.*$|^ *#.*$")  # what is quoted, and comments


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, and its lines."""

    language: str
    lines: tuple[str, ...]


class Page:
    """A page, and what of it does not depend on its language."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        self.path = path
        self.blocks = [Block(m[2], tuple(m[3].splitlines())) for m in _FENCE.finditer(text)]
        self.prose = _FENCE.sub("", text)

    def levels(self) -> list[int]:
        """Return the level of each heading."""
        return [len(mark) for mark, _ in _HEADING.findall(self.prose)]

    def tables(self) -> list[list[tuple[int, Counter[str]]]]:
        """Return each table as its rows, and each row as its number of cells and the code in it."""
        lines = "\n".join(line if line.startswith("|") else "" for line in self.prose.splitlines())
        rows = [[row for row in table.splitlines() if row] for table in re.split(r"\n{2,}", lines) if table.strip()]
        return [[(row.replace(r"\|", "").count("|") - 1, _code(row)) for row in table] for table in rows]

    def items(self) -> list[list[str]]:
        """Return the marks of the items of each section's lists."""
        return [[mark if mark in "-*" else "1." for mark in _ITEM.findall(section)] for section in self.sections()]

    def code(self) -> list[Counter[str]]:
        """Return the code in the sentences of each section; sentences put it in other orders."""
        return [_code(section) for section in self.sections()]

    def links(self) -> Iterator[tuple[Path, int | None]]:
        """Yield where each link leads: to what file, and to which heading of it.

        Raises:
            AssertionError: if there is no such heading.
        """
        for target, anchor in _LINK.findall(self.prose):
            path = (self.path.parent / target).resolve() if target else self.path.resolve()
            if not anchor:
                yield path, None
                continue
            anchors = [_anchor(title) for _, title in _HEADING.findall(_FENCE.sub("", path.read_text("utf-8")))]
            assert anchor in anchors, f"{self.path.name} links to #{anchor}, which is none of {anchors}"
            yield path, anchors.index(anchor)

    def sections(self) -> list[str]:
        """Return the text below each heading, what is before the first included."""
        return re.split(_HEADING.pattern, self.prose, flags=re.M)[::3]

    def in_korean(self) -> bool:
        """Return whether each section that says something says it in Korean, code aside."""
        prose = (_CODE.sub("", _LINK.sub("](", section)) for section in self.sections())
        return all(_HANGUL.search(said) for said in prose if re.search(r"[^\W\d_]{2}", said))


def translated(root: Path) -> list[tuple[Path, Path]]:
    """Return every page in Korean after the English one that it is of, which need not be there.

    `NAME.ko.md` is of `NAME.md`; a page in a folder `ko` is of the one in the folder `en` beside it, or in that above.
    """
    found = [(p.with_name(p.name.replace(".ko.md", ".md")), p) for p in root.glob("*.ko.md")]
    for korean in (p for part in ("docs", "operations") for p in (root / part).rglob("ko/*.md")):
        above = korean.parent.parent
        found.append(((above / "en" if (above / "en").is_dir() else above) / korean.name, korean))
    return sorted(found)


def same_lines(english: Sequence[str], korean: Sequence[str]) -> bool:
    """Return whether lines of code are the same, but for comments and quoted words that are in Korean."""
    if len(english) != len(korean):
        return False
    for one, other in zip(english, korean, strict=True):
        in_words = _HANGUL.search(other) is not None
        if one != other and not (in_words and _IN_WORDS.sub("", one).rstrip() == _IN_WORDS.sub("", other).rstrip()):
            return False
    return True


def _code(text: str) -> Counter[str]:
    return Counter(" ".join(code.split()) for code in _CODE.findall(text))


def _anchor(title: str) -> str:
    """Return a heading's anchor as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
