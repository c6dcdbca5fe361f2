"""Guides are read as their readers read them: what is a file, what is typed, what is printed."""

from __future__ import annotations

import pytest

from tests.support.guides import Command, File, matches, steps

PAGE = """\
# A guide

```toml
# seamless.toml
world = "live"
```

```toml
[sla]  # no file, as it begins with none's name
```

```console
$ seamless up
...
Ready after ... s.
$ seamless check    # exits with 1
$ wait
```
"""


def test_files_and_commands_are_found_in_order_with_their_places() -> None:
    assert list(steps(PAGE)) == [
        File("seamless.toml", '# seamless.toml\nworld = "live"\n'),
        Command(13, "seamless up", ("...", "Ready after ... s.")),
        Command(16, "seamless check", (), 1),
        Command(17, "wait", ()),
    ]


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("Kafka:  here\nRegistry: there\n\nReady after 3.8 s.\n", True),
        ("Ready   after 3.8 s.\n", True),
        ("Ready after 3.8 s.\nAnd more.\n", False),
        ("Ready after 3.8 s\n", False),
        ("", False),
    ],
)
def test_what_is_printed_is_held_against_what_is_expected(printed: str, same: bool) -> None:
    assert matches(("...", "Ready after ... s."), printed) == same


def test_a_command_of_which_nothing_is_expected_prints_nothing() -> None:
    assert matches((), "\n")
    assert not matches((), "warning\n")
