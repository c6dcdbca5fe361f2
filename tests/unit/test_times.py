"""Times as vendors write them become the contract's integers, or are found to be unreadable."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from schemas.times import Times, known_zone, read_times

MICROS, NANOS = 1_000_000, 1_000_000_000
NEW_YORK = "America/New_York"
INT64 = 2**63 - 1
ARABIC_DIGITS = {ord("0") + i: 0x660 + i for i in range(10)}


def at(text: str, per_second: int = MICROS) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * per_second


def read(
    values: list[Any] | pl.Series, logical: str | None = None, per_second: int = MICROS, zone: str = "UTC"
) -> Times:
    series = values if isinstance(values, pl.Series) else pl.Series(values, strict=False)
    return read_times(series, logical, per_second, zone)


@pytest.mark.parametrize(
    "value",
    [1_704_205_800, 1_704_205_800_000, 1_704_205_800_000_000, 1_704_205_800_000_000_000],
    ids=["seconds", "milliseconds", "microseconds", "nanoseconds"],
)
def test_the_unit_of_an_epoch_is_inferred_from_its_size_and_flagged(value: int) -> None:
    times = read([value])
    assert times.values.tolist() == [at("2024-01-02T14:30:00+00:00")]
    assert times.cast.tolist() == [True]
    assert not times.zoned.any()


def test_epochs_of_different_units_in_one_column_are_told_apart() -> None:
    times = read([1_704_205_800, 1_704_205_800_000, None])
    assert times.values[:2].tolist() == [at("2024-01-02T14:30:00+00:00")] * 2
    assert times.missing.tolist() == [False, False, True]
    assert not times.invalid.any()


def test_seconds_with_a_fraction_keep_their_microseconds() -> None:
    assert read([1_704_205_800.123456]).values.tolist() == [at("2024-01-02T14:30:00+00:00") + 123_456]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_float_that_is_no_time_is_invalid(value: float) -> None:
    assert read([value]).invalid.tolist() == [True]


def test_a_decimal_epoch_is_read() -> None:
    series = pl.Series(["1704205800.5", None]).cast(pl.Decimal(20, 3))
    times = read(series)
    assert times.values[0] == at("2024-01-02T14:30:00+00:00") + 500_000
    assert times.missing.tolist() == [False, True]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(INT64, pl.Int64), (-INT64 - 1, pl.Int64), (2**64 - 1, pl.UInt64), (2**100, pl.Int128)],
)
def test_an_integer_near_or_beyond_the_limits_is_invalid_and_stops_nothing(value: int, dtype: Any) -> None:
    times = read(pl.Series([value, 1_704_205_800], dtype=dtype))
    assert times.invalid.tolist() == [True, False]


@pytest.mark.parametrize(
    ("logical", "value"),
    [
        ("timestamp-millis", 1_704_205_800_123),
        ("timestamp-micros", 1_704_205_800_123_000),
        ("timestamp-nanos", 1_704_205_800_123_000_000),
    ],
)
def test_a_logical_type_tells_the_unit_and_nothing_is_flagged(logical: str, value: int) -> None:
    times = read([value], logical)
    assert times.values.tolist() == [at("2024-01-02T14:30:00+00:00") + 123_000]
    assert not times.cast.any()
    assert not times.zoned.any()


def test_only_rows_that_lose_precision_are_flagged() -> None:
    times = read([1_704_205_800_000_000_000, 1_704_205_800_000_000_001], "timestamp-nanos")
    assert times.cast.tolist() == [False, True]


def test_a_contract_of_nanoseconds_keeps_them() -> None:
    value = 1_704_205_800_123_456_789
    assert read([value], "timestamp-nanos", NANOS).values.tolist() == [value]
    assert read(["2024-01-02T14:30:00.123456789Z"], per_second=NANOS).values.tolist() == [value]


@pytest.mark.parametrize("logical", ["timestamp-millis", "timestamp-micros", "local-timestamp-micros"])
@pytest.mark.parametrize("value", [INT64, -INT64 - 1])
@pytest.mark.parametrize("zone", ["UTC", NEW_YORK])
def test_a_time_far_outside_the_years_that_are_believed_is_invalid_in_every_zone(
    logical: str, value: int, zone: str
) -> None:
    assert read([value], logical, zone=zone).invalid.tolist() == [True]


@pytest.mark.parametrize("days", [2**31 - 1, -(2**31)])
def test_a_date_far_outside_the_years_that_are_believed_is_invalid(days: int) -> None:
    assert read(pl.Series([days], dtype=pl.Int32), "date").invalid.tolist() == [True]
    assert read(pl.Series([days], dtype=pl.Int32), "date", zone=NEW_YORK).invalid.tolist() == [True]


@pytest.mark.parametrize(("text", "invalid"), [("1899-12-31", True), ("1900-01-01", False), ("2200-01-01", True)])
def test_the_years_1900_to_2199_are_believed(text: str, invalid: bool) -> None:
    assert read([text]).invalid.tolist() == [invalid]


@pytest.mark.parametrize(
    ("text", "utc", "zoned"),
    [
        ("2024-01-02T14:30:00Z", "2024-01-02T14:30:00+00:00", False),
        ("2024-01-02 14:30:00+00:00", "2024-01-02T14:30:00+00:00", False),
        ("2024-01-02 14:30 UTC", "2024-01-02T14:30:00+00:00", False),
        ("20240102T143000Z", "2024-01-02T14:30:00+00:00", False),
        ("2024-01-02T09:30:00-05:00", "2024-01-02T14:30:00+00:00", True),
        ("2024-01-02T20:00:00+0530", "2024-01-02T14:30:00+00:00", True),
        ("2024-01-02 09:30:00", "2024-01-02T14:30:00+00:00", True),
        ("2024-01-02", "2024-01-02T05:00:00+00:00", True),
        ("20240102", "2024-01-02T05:00:00+00:00", True),
        (" 1704205800 ", "2024-01-02T14:30:00+00:00", False),
        ("1704205800000", "2024-01-02T14:30:00+00:00", False),
        ("1704205800.0", "2024-01-02T14:30:00+00:00", False),
    ],
)
def test_text_is_read_as_iso_8601_or_as_an_epoch(text: str, utc: str, zoned: bool) -> None:
    times = read([text], zone=NEW_YORK)
    assert times.values.tolist() == [at(utc)]
    assert not times.invalid.any()
    assert times.cast.tolist() == [True]
    assert times.zoned.tolist() == [zoned]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-02-30",
        "2024-01-02 24:00:00",
        "2024-01-02 23:60:00",
        "2024-01-02 23:59:60",
        "2024-01-02T10:00:00+99:00",
        "12345",
        "99999999999999999999",
        "2024-01-02".translate(ARABIC_DIGITS),
        "2024-01-02 " + "09:30".translate(ARABIC_DIGITS),
        "1704205800".translate(ARABIC_DIGITS),
    ],
)
def test_text_that_is_no_time_is_invalid_and_stops_nothing(text: str) -> None:
    times = read([text, "2024-01-02", None])
    assert times.invalid.tolist() == [True, False, False]
    assert times.missing.tolist() == [False, False, True]
    assert not times.cast[0]


def test_a_fraction_finer_than_the_contract_is_cut_off() -> None:
    assert read(["2024-01-02T14:30:00.1234567Z"]).values.tolist() == [at("2024-01-02T14:30:00+00:00") + 123_456]


def test_of_a_time_that_a_clock_shows_twice_the_earlier_one_is_meant() -> None:
    assert read(["2024-11-03 01:30:00"], zone=NEW_YORK).values.tolist() == [at("2024-11-03T05:30:00+00:00")]


def test_a_time_that_a_clock_never_shows_is_invalid() -> None:
    times = read(["2024-03-10 02:30:00", "2024-03-10 03:30:00"], zone=NEW_YORK)
    assert times.invalid.tolist() == [True, False]


def test_datetimes_are_read_by_their_own_zone() -> None:
    moment = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    utc = read(pl.Series([moment]))
    assert utc.values.tolist() == [at("2024-01-02T14:30:00+00:00")]
    assert not utc.zoned.any()
    abroad = read(pl.Series([moment]).dt.convert_time_zone("Asia/Tokyo"))
    assert abroad.values.tolist() == utc.values.tolist()
    assert abroad.zoned.tolist() == [True]
    naive = read(pl.Series([datetime(2024, 1, 2, 9, 30)]), zone=NEW_YORK)  # noqa: DTZ001 - this is what is tested
    assert naive.values.tolist() == utc.values.tolist()
    assert naive.zoned.tolist() == [True]


def test_a_date_is_the_midnight_that_begins_it() -> None:
    assert read([date(2024, 1, 2)]).values.tolist() == [at("2024-01-02T00:00:00+00:00")]
    assert read([date(2024, 1, 2)], zone=NEW_YORK).values.tolist() == [at("2024-01-02T05:00:00+00:00")]


@pytest.mark.parametrize("series", [pl.Series([True]), pl.Series([b"x"]), pl.Series([[1]])])
def test_a_column_of_another_type_holds_no_times(series: pl.Series) -> None:
    assert read(series).invalid.tolist() == [True]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String, pl.Date, pl.Datetime("ns"), pl.Boolean])
def test_an_empty_column_is_read(dtype: Any) -> None:
    assert len(read(pl.Series([], dtype=dtype), zone=NEW_YORK).values) == 0


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String, pl.Date, pl.Datetime("ns"), pl.Null])
def test_a_column_of_nulls_is_missing_throughout(dtype: Any) -> None:
    times = read(pl.Series([None, None], dtype=dtype), zone=NEW_YORK)
    assert times.missing.all()
    assert not (times.invalid | times.cast | times.zoned).any()


def test_zones_are_known_by_their_iana_names() -> None:
    assert known_zone(NEW_YORK)
    assert not known_zone("America/Gotham")
    assert not known_zone("")
    assert not known_zone(None)
    assert not known_zone(5)
