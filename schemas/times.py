"""Times as vendors write them, made into the contract's integers: units since the Unix epoch, UTC.

A number without a logical type is an epoch whose unit is inferred per value from its size: below 1e11 it counts
seconds (until the year 5138), below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds; the ranges of
one unit in the years 1973 to 5138 do not overlap. Text is ISO 8601 (basic or extended), or an epoch in digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Times", "believed", "known_zone", "read_times"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
TimeUnit = Literal["ms", "us", "ns"]

MILLIS, MICROS, NANOS = 1_000, 1_000_000, 1_000_000_000
_DAY = 86_400
_EARLIEST = int(datetime(1900, 1, 1, tzinfo=UTC).timestamp())
_LATEST = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())
_PER_SECOND: dict[TimeUnit, int] = {"ms": MILLIS, "us": MICROS, "ns": NANOS}
_INTEGER = np.iinfo(np.int64)
# Units per second of a logical type, and whether its times are naive.
_LOGICAL = {
    "timestamp-millis": (MILLIS, False),
    "timestamp-micros": (MICROS, False),
    "timestamp-nanos": (NANOS, False),
    "local-timestamp-millis": (MILLIS, True),
    "local-timestamp-micros": (MICROS, True),
    "local-timestamp-nanos": (NANOS, True),
}
# Digits are spelled out because \d would match those of every script, which cannot be cast to numbers.
_ISO = (
    r"^\s*(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})"
    r"(?:[T ](?P<h>[0-9]{2}):?(?P<m>[0-9]{2})(?::?(?P<s>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?)?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?\s*$"
)
_NUMBER = r"^\s*-?[0-9]{9,20}(?:\.[0-9]+)?\s*$"
_UTC_MARKS = ("Z", "UTC", "GMT", "+0000", "-0000")


@dataclass(frozen=True, slots=True)
class Times:
    """What was read.

    Attributes:
        values: int64, the contract's units since the epoch; meaningless where `invalid` or `missing`.
        cast: rows whose time was text, a date or an epoch of inferred unit, or lost precision.
        zoned: rows whose time was naive or of a foreign zone and was converted to UTC.
        invalid: rows whose time could not be read or is outside 1900 to 2200; null rows are `missing` instead.
        missing: rows without a time.
    """

    values: Ints
    cast: Mask
    zoned: Mask
    invalid: Mask
    missing: Mask


def read_times(raw: pl.Series, logical: str | None, per_second: int, zone: str) -> Times:
    """Read a column of times.

    Args:
        raw: integers, floats, decimals, text, dates or datetimes; of any other type no value can be read.
        logical: the raw Avro field's logical type, if it has one; it tells the unit of integers.
        per_second: units of the result in a second (1_000, 1_000_000 or 1_000_000_000).
        zone: IANA name of the zone that naive times are meant in; `known_zone` holds for it.
    """
    missing = raw.is_null().to_numpy()
    dtype = raw.dtype
    if isinstance(dtype, pl.Datetime):
        naive = dtype.time_zone is None
        foreign = dtype.time_zone not in {None, "UTC", "Etc/UTC", "Z"}
        return _counts(raw, _PER_SECOND[dtype.time_unit], naive, foreign, per_second, zone, missing)
    if dtype == pl.Date or (dtype == pl.Int32 and logical == "date"):
        return _dates(raw, per_second, zone, missing)
    if dtype.is_integer() and logical in _LOGICAL:
        unit, naive = _LOGICAL[logical]
        return _counts(raw, unit, naive, False, per_second, zone, missing)
    if dtype.is_integer():
        return _whole_epochs(raw, per_second, missing)
    if dtype.is_numeric():
        return _fractional_epochs(raw, per_second, missing)
    if dtype == pl.String:
        return _text(raw, per_second, zone, missing)
    return _result(np.zeros(len(raw), np.int64), ~missing, missing, cast=False, zoned=False)


def believed(times: Ints, per_second: int) -> bool:
    """Return whether all times lie in the years 1900 to 2199."""
    return not len(times) or bool(times.min() >= _EARLIEST * per_second and times.max() < _LATEST * per_second)


@lru_cache(maxsize=256)
def known_zone(zone: object) -> bool:
    """Return whether this is the name of a time zone."""
    if not isinstance(zone, str) or not zone:
        return False
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        return False
    return True


def _result(values: Ints, unread: Mask, missing: Mask, *, cast: Mask | bool, zoned: Mask | bool) -> Times:
    good = ~(unread | missing)
    return Times(values, good & cast, good & zoned, unread & ~missing, missing)


def _whole(raw: pl.Series) -> Ints:
    """Return integers of any width as int64: zero for null, the greatest int64 for what does not fit."""
    known = raw.to_physical()
    wide = known.cast(pl.Int64, strict=False)
    if wide.null_count() > known.null_count():
        wide = wide.fill_null(_INTEGER.max).set(known.is_null(), 0)
    return wide.fill_null(0).to_numpy()


def _outside(values: Ints, per_second: int) -> Mask:
    return (values < _EARLIEST * per_second) | (values >= _LATEST * per_second)


def _rescale(values: Ints, have: int, want: int) -> tuple[Ints, Mask]:
    """Change units, rounding down; also say which values lie outside the years that are believed."""
    outside = _outside(values, have)
    if have == want:
        return values, outside
    if outside.any():
        values = np.where(outside, 0, values)
    return (values * (want // have) if want > have else values // (have // want)), outside


def _to_utc(naive: Ints, per_second: int, zone: str) -> tuple[Ints, Mask]:
    """Take naive times as a zone's; return them in UTC, and which of them its clocks never show.

    Of two times that a clock shows twice the earlier one is meant.
    """
    skipped = np.zeros(len(naive), np.bool_)
    if zone == "UTC" or not len(naive):
        return naive, skipped
    # polars panics on years that its calendar does not have; nobody believes them, so they need no zone.
    outside = _outside(naive, per_second)
    unit = next(name for name, count in _PER_SECOND.items() if count == per_second)
    local = pl.Series(np.where(outside, 0, naive)).cast(pl.Datetime(unit))
    aware = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    utc = aware.dt.convert_time_zone("UTC").to_physical()
    return np.where(outside, naive, utc.fill_null(0).to_numpy()), utc.is_null().to_numpy()


def _counts(raw: pl.Series, have: int, naive: bool, foreign: bool, per_second: int, zone: str, missing: Mask) -> Times:
    """Read integers of a known unit (`have` in a second), naive or of a known zone."""
    values = _whole(raw)
    unread = np.zeros(len(raw), np.bool_)
    if naive:
        values, unread = _to_utc(values, have, zone)
    lossy = values % (have // per_second) != 0 if have > per_second else False
    values, outside = _rescale(values, have, per_second)
    return _result(values, unread | outside, missing, cast=lossy, zoned=naive or foreign)


def _dates(raw: pl.Series, per_second: int, zone: str, missing: Mask) -> Times:
    """A date is the midnight that begins it."""
    midnights, skipped = _to_utc(_whole(raw) * (_DAY * MILLIS), MILLIS, zone)
    values, outside = _rescale(midnights, MILLIS, per_second)
    return _result(values, skipped | outside, missing, cast=True, zoned=zone != "UTC")


def _whole_epochs(raw: pl.Series, per_second: int, missing: Mask) -> Times:
    values, outside = _infer(_whole(raw), per_second)
    return _result(values, outside, missing, cast=True, zoned=False)


def _fractional_epochs(raw: pl.Series, per_second: int, missing: Mask) -> Times:
    floats = raw.cast(pl.Float64).fill_null(0).to_numpy()
    readable = np.isfinite(floats) & (np.abs(floats) < 9e18)
    floats = np.where(readable, floats, 0)
    values, outside = _infer(floats.astype(np.int64), per_second)
    # Seconds are rounded to microseconds: a double holds no finer time of today.
    seconds = np.abs(floats) < 1e11
    fine, _ = _rescale(np.round(np.where(seconds, floats, 0) * 1e6).astype(np.int64), MICROS, per_second)
    return _result(np.where(seconds, fine, values), ~readable | outside, missing, cast=True, zoned=False)


def _infer(values: Ints, per_second: int) -> tuple[Ints, Mask]:
    """Read epochs by their size; also say which lie outside the years that are believed."""
    size = np.abs(values)
    result = np.zeros(len(values), np.int64)
    # The absolute value of the least int64 is itself negative: no range holds it, and no clock shows it.
    outside = size < 0
    units = np.searchsorted([10**11, 10**14, 10**17], size, side="right")
    for unit, have in enumerate((1, MILLIS, MICROS, NANOS)):
        chosen = (units == unit) & ~outside
        if chosen.any():
            result[chosen], outside[chosen] = _rescale(values[chosen], have, per_second)
    return result, outside


def _text(raw: pl.Series, per_second: int, zone: str, missing: Mask) -> Times:
    clock = _read_clock(raw)
    naive = clock["naive"].to_numpy()
    unread = clock["wall"].is_null().to_numpy()
    micros = clock["wall"].fill_null(0).to_numpy() - clock["offset"].to_numpy()
    utc, skipped = _to_utc(micros[naive], MICROS, zone)
    micros[naive], unread[naive] = utc, unread[naive] | skipped
    values, outside = _rescale(micros, MICROS, per_second)
    values = values + clock["nanos"].to_numpy() // (NANOS // per_second)
    zoned = clock["foreign"].to_numpy()

    digits = raw.str.contains(_NUMBER).fill_null(False).to_numpy() & unread
    if digits.any():
        numbers = _digits(raw.filter(pl.Series(digits)), per_second)
        values[digits], outside[digits], unread[digits] = numbers.values, numbers.invalid, False
    return _result(values, unread | outside, missing, cast=True, zoned=zoned & ~digits)


def _read_clock(raw: pl.Series) -> pl.DataFrame:
    """Read ISO 8601 text.

    Returns:
        wall: microseconds that calendar and clock show, without the fraction of the second; null if unreadable.
        offset: microseconds to take off for UTC; zero for naive times.
        nanos: the fraction of the second.
        naive, foreign: whether the text names no zone, and whether it names UTC by none of its names.
    """
    hours, minutes, seconds = (pl.col(c).cast(pl.Int64).fill_null(0) for c in ("h", "m", "s"))
    days = pl.col("date").str.replace_all("-", "", literal=True).str.to_date("%Y%m%d", strict=False)
    midnight = days.cast(pl.Datetime("us")).cast(pl.Int64)
    # 24:00, 23:60 and the like are no times; no exchange's feed tells a leap second apart.
    sane = (hours < 24) & (minutes < 60) & (seconds < 60)
    mark = pl.col("zone").str.to_uppercase().str.replace_all(":", "", literal=True)
    universal = mark.is_in(_UTC_MARKS).fill_null(False)
    ahead = mark.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + mark.str.slice(3, 2).cast(pl.Int64, strict=False)
    offset = pl.when(mark.str.starts_with("-")).then(-ahead).otherwise(ahead) * (60 * MICROS)
    parts = raw.str.extract_groups(_ISO).struct.unnest()
    return parts.select(
        wall=pl.when(sane).then(midnight + (hours * 3600 + minutes * 60 + seconds) * MICROS),
        offset=pl.when(~universal).then(offset).fill_null(0),
        nanos=pl.col("f").fill_null("0").str.pad_end(9, "0").cast(pl.Int64),
        naive=mark.is_null(),
        foreign=~universal,
    )


def _digits(raw: pl.Series, per_second: int) -> Times:
    """Read epochs that were written as text; those with a fraction go through a double."""
    stripped = raw.str.strip_chars()
    none = np.zeros(len(raw), np.bool_)
    whole = stripped.cast(pl.Int64, strict=False)
    exact = _whole_epochs(whole, per_second, none)
    rounded = _fractional_epochs(stripped.cast(pl.Float64, strict=False), per_second, none)
    is_whole = whole.is_not_null().to_numpy()
    return _result(
        np.where(is_whole, exact.values, rounded.values),
        np.where(is_whole, exact.invalid, rounded.invalid),
        none,
        cast=True,
        zoned=False,
    )
