"""What is there in English and in Korean has one structure: headings, commands, tables, lists, code and links."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.translations import Page, same_lines, translated

ROOT = Path(__file__).parents[2]
PAIRS = translated(ROOT)
IN_BOTH = {"README.md", "docs/governance.md", "docs/migration.md"}


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=PAIRS, ids=lambda pair: page_id(pair[1]))
def pair(request: pytest.FixtureRequest) -> tuple[Page, Page]:
    english, korean = request.param
    assert english.is_file(), f"{page_id(korean)} is of no page in English"
    return Page(english), Page(korean)


def test_what_a_newcomer_and_an_operator_read_is_there_in_both_languages() -> None:
    there = {page_id(english) for english, _ in PAIRS}
    assert there >= IN_BOTH
    assert there >= {page_id(p) for p in (ROOT / "operations" / "runbooks" / "en").glob("*.md")}


def test_headings_tables_and_lists_are_the_same(pair: tuple[Page, Page]) -> None:
    english, korean = pair
    assert korean.levels() == english.levels()
    assert korean.tables() == english.tables()
    assert korean.items() == english.items()


def test_commands_and_files_are_the_same_and_so_is_what_is_printed(pair: tuple[Page, Page]) -> None:
    english, korean = pair
    assert [block.language for block in korean.blocks] == [block.language for block in english.blocks]
    for one, other in zip(english.blocks, korean.blocks, strict=True):
        assert same_lines(one.lines, other.lines), f"{other} is not {one}"


def test_sentences_name_the_same_code(pair: tuple[Page, Page]) -> None:
    english, korean = pair
    assert korean.code() == english.code()


def test_links_lead_to_the_same_places_or_to_their_translations(pair: tuple[Page, Page]) -> None:
    english, korean = pair
    in_english = {korean.resolve(): english.resolve() for english, korean in PAIRS}
    there = Counter((in_english.get(path, path), place) for path, place in english.links())
    assert Counter((in_english.get(path, path), place) for path, place in korean.links()) == there


def test_the_translation_is_in_korean(pair: tuple[Page, Page]) -> None:
    _, korean = pair
    assert korean.in_korean()


def test_words_in_code_may_be_translated_and_nothing_else() -> None:
    english = ['seamless schema demote bars --reason "a feed is late"    # and back']
    assert same_lines(english, ['seamless schema demote bars --reason "피드가 늦음"    # 되돌리기'])
    assert not same_lines(english, ['seamless schema promote bars --reason "피드가 늦음"    # 되돌리기'])
    assert not same_lines(english, ['seamless schema demote bars --reason "a feed is early"    # and back'])
    assert not same_lines(english, [])
