"""The layout of the archive's tables: what goes in comes out, parted by period and sorted."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from schemas.contract import Contract, load_contract
from streams.archive.layout import SYSTEM, Borders, Layout, Source, app_id, sources_of, table_url
from streams.archive.places import choose_place
from streams.durations import duration_ns
from streams.errors import DatasetStopped, SettingsError
from streams.settings import load_settings

NANOS = 1_700_000_000_123_456_789


def rows_of(contract: Contract, times: list[int], symbols: list[str]) -> pa.Table:
    """Return plain rows with the system's columns; all values but key and time are the type's own zero."""
    n = len(times)
    columns = []
    for field in contract.columns:
        if field.name == contract.key:
            columns.append(pa.array(symbols))
        elif field.name == contract.event_time:
            columns.append(pa.array(times, pa.int64()))
        elif pa.types.is_string(field.type):
            columns.append(pa.array(["buy" if field.name == "side" else "x"] * n))
        else:
            columns.append(pa.array([0] * n).cast(field.type))
    table = pa.Table.from_arrays(columns, schema=contract.columns)
    for name, kind in SYSTEM.items():
        values = ["normalized"] * n if name == "_topic" else list(range(n))
        table = table.append_column(pa.field(name, kind), pa.array(values, kind))
    return table


@pytest.mark.parametrize("name", ["ohlcv", "trade", "quote"])
def test_rows_come_back_as_they_went_in_to_the_nanosecond(name: str) -> None:
    contract = load_contract(name)
    time = NANOS // (1_000_000_000 // contract.time_units)
    rows = rows_of(contract, [time, time + 1, time + 2], ["A", "A", "B"])
    layout = Layout.of(contract, None)
    stored = layout.stored(rows)
    assert stored.schema == layout.schema
    assert layout.plain(stored).equals(rows.select(contract.columns.names))


def test_milliseconds_are_kept_as_microseconds_and_come_back_as_milliseconds() -> None:
    schema = load_contract("ohlcv").schema
    fields = [
        f | {"type": {"type": "long", "logicalType": "timestamp-millis"}} if f["name"] == "event_time" else f
        for f in schema["fields"]
    ]
    contract = Contract.parse({**schema, "fields": fields})
    rows = rows_of(contract, [1_700_000_000_123, -1], ["A", "B"])
    layout = Layout.of(contract, duration_ns("1m"))
    assert layout.plain(layout.stored(rows)).sort_by("symbol").equals(rows.select(contract.columns.names))


def test_a_file_is_sorted_by_period_then_symbol_then_time() -> None:
    contract = load_contract("ohlcv")
    day = 86_400_000_000
    rows = rows_of(contract, [40 * day, 0, 41 * day, day], ["A", "B", "A", "A"])
    stored = Layout.of(contract, duration_ns("1m")).stored(rows)
    assert stored.column("_month").to_pylist() == [date(1970, 1, 1)] * 2 + [date(1970, 2, 1)] * 2
    assert stored.column("_offset").to_pylist() == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("interval", "period"),
    [("1w", "_year"), ("1d", "_year"), ("1h", "_year"), ("1m", "_month"), ("5s", "_month"), (None, "_day")],
)
def test_the_period_follows_from_the_interval(interval: str | None, period: str) -> None:
    layout = Layout.of(load_contract("ohlcv"), duration_ns(interval) if interval else None)
    assert layout.period == period
    assert layout.schema.names[-1] == period


def test_a_period_is_named_by_its_first_day() -> None:
    contract = load_contract("ohlcv")
    assert Layout(contract, "_year").period_of(NANOS) == date(2023, 1, 1)
    assert Layout(contract, "_month").period_of(NANOS) == date(2023, 11, 1)
    assert Layout(contract, "_day").period_of(NANOS) == date(2023, 11, 14)
    assert Layout(contract, "_day").period_of(-1) == date(1969, 12, 31)


def test_names_of_tables_and_applications_tell_world_dataset_and_partition() -> None:
    assert table_url("s3://bucket/archive/", "live", "ohlcv.us.1d") == "s3://bucket/archive/live/ohlcv.us.1d"
    assert [app_id(s) for s in sources_of("live", "bars", 2)] == [
        "live.history.bars-0", "live.history.bars-1", "live.normalized.bars-0", "live.normalized.bars-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("position", "oldest", "end", "place"),
    [(None, 0, 0, 0), (None, 7, 9, 7), (5, 0, 9, 5), (5, 5, 5, 5), (0, 0, 9, 0)],
)
def test_reading_begins_where_the_table_ends(position: int | None, oldest: int, end: int, place: int) -> None:
    found = choose_place(
        Source("t", 0), position, Borders(oldest, end), accept_loss=False, dataset="bars", url="somewhere"
    )
    assert found == place


@pytest.mark.parametrize(
    ("position", "says"), [(4, "offsets 4 to 6 of t partition 0 were deleted"), (12, "the topic ends at 9")]
)
def test_a_table_that_the_topic_does_not_continue_stops_the_dataset_unless_loss_is_accepted(
    position: int, says: str
) -> None:
    def choose(accept_loss: bool) -> int:
        return choose_place(
            Source("t", 0), position, Borders(7, 9), accept_loss=accept_loss, dataset="bars", url="somewhere"
        )

    with pytest.raises(DatasetStopped, match=says):
        choose(False)
    assert choose(True) == 7


def test_secrets_of_the_store_reach_the_client_and_nothing_that_is_shown() -> None:
    storage = {"aws_secret_access_key": "hush", "aws_region": "eu", "allow_http": True, "timeout": 30}
    settings = load_settings(None, {}, {"archive": {"url": "s3://b", "storage": storage}}, stack=lambda: None)
    assert "hush" not in repr(settings)
    assert settings.archive.storage_options() == {
        "aws_secret_access_key": "hush", "aws_region": "eu", "allow_http": "true", "timeout": "30",
    }  # fmt: skip


def test_an_option_of_the_store_may_be_a_variable() -> None:
    env = {"SEAMLESS_ARCHIVE__STORAGE__AWS_SECRET_ACCESS_KEY": "hush"}
    assert load_settings(None, env, stack=lambda: None).archive.storage_options() == {"aws_secret_access_key": "hush"}


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        ({"url": "s3://user:hush@bucket"}, "may not carry a user"),
        ({"keep_removed": "8d"}, "longer than keep_versions"),
        ({"keep_removed": "5s"}, "less than a minute"),
    ],
)
def test_settings_that_would_lose_or_tell_something_are_refused(archive: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        load_settings(None, {}, {"archive": archive}, stack=lambda: None)
    assert "hush" not in str(refused.value)
