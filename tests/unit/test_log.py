"""Logs: JSON lines or readable lines on standard error, with the level asked for and without secrets."""

from __future__ import annotations

import json
import logging

import pytest
from pydantic import SecretStr

from streams.log import configure_logging, get_logger
from streams.settings import KafkaSettings

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def test_elsewhere_than_on_a_terminal_each_record_is_one_line_of_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging()
    get_logger("normalizer", world="paper").info("batch_committed", rows=3)
    captured = capsys.readouterr()
    assert captured.out == ""
    record = json.loads(captured.err)
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "component": "normalizer",
        "event": "batch_committed",
        "level": "info",
        "rows": 3,
        "world": "paper",
    }


def test_readable_lines_are_had_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=False)
    get_logger("normalizer").warning("dataset_stopped", dataset="x")
    line = capsys.readouterr().err
    assert "dataset_stopped" in line
    assert "dataset=x" in line
    assert not line.startswith("{")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_records_below_the_level_are_not_shown(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    configure_logging(level)  # type: ignore[arg-type]
    logger = get_logger("test")
    for method in ("debug", "info", "warning", "error"):
        getattr(logger, method)("something_happened")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == shown


def test_records_of_libraries_take_the_same_form_and_are_shown_from_warning_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("careful %s", "now")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "careful now"


def test_configuring_twice_does_not_write_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    get_logger("test").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_exception_stays_on_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        get_logger("test").exception("batch_failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: broken" in json.loads(line)["exception"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_trace_shows_where_it_broke_and_no_locals(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging(json=as_json)
    token = "".join(("hunter", "2"))
    try:
        assert int(token)
    except ValueError:
        get_logger("test").exception("batch_failed")
    told = capsys.readouterr().err
    assert "int(token)" in told
    assert "token =" not in told


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_among_the_fields_are_masked(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging(json=as_json)
    settings = KafkaSettings(client={"sasl.password": "hunter2"})
    get_logger("test").info("started", password=SecretStr("hunter2"), kafka=settings, client=settings.client)
    assert "hunter2" not in capsys.readouterr().err
