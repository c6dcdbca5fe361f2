"""The demo's data and faults, and the expectations, which are recounted here by plain means."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import exchange_calendars
import polars as pl
import pytest

from schemas.contract import load_contract, read_avsc
from schemas.wire import schema_id
from streams.demo.expected import FAST, SLOW, crossings, expected_facts
from streams.demo.faults import UNREGISTERED, payloads
from streams.demo.hole import HOLE
from streams.demo.market import DATA, RAW_SCHEMA, days_and_sessions, load_market
from streams.demo.scenario import FAULTS, LATE, MISSING, Scenario, make_scenario
from streams.demo.strategy import MovingAverages
from streams.registry import RegisteredSchema
from streams.schema_checks import problems_of_raw

# exchange_calendars uses what the next pandas will do otherwise; neither is ours.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return load_market()


@pytest.fixture(scope="module")
def scenario(market: pl.DataFrame) -> Scenario:
    return make_scenario(market)


@pytest.fixture(scope="module")
def sessions() -> list[date]:
    calendar = exchange_calendars.get_calendar("XNYS", start="2000-01-01", end="2013-12-31")
    return [day.date() for day in calendar.sessions]


def moment(text: str) -> datetime:
    """Read the vendor's dates: a day in New York, or a time with its offset."""
    return datetime.fromisoformat(text) if "T" in text else datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def rows_of(frame: pl.DataFrame, symbol: str, day: str) -> list[dict[str, object]]:
    return frame.filter((pl.col("Ticker") == symbol) & pl.col("Date").str.starts_with(day)).to_dicts()


def test_the_data_is_the_file_that_its_origin_describes(market: pl.DataFrame) -> None:
    assert market.height == 12_154
    text = (DATA.parent / "ORIGIN.md").read_text(encoding="utf-8")
    assert hashlib.sha256(DATA.read_bytes()).hexdigest() in text
    for symbol, count in market["Ticker"].value_counts().iter_rows():
        assert f"| {symbol} | {count:,} |" in text


def test_the_vendors_schema_fits_the_contract() -> None:
    assert problems_of_raw(read_avsc(RAW_SCHEMA), load_contract("ohlcv")) == []


def test_the_data_itself_has_no_gap_no_double_and_no_bar_that_breaks_the_contract(
    market: pl.DataFrame, sessions: list[date]
) -> None:
    for (_,), bars in market.group_by("Ticker"):
        days = [date.fromisoformat(day) for day in bars["Date"]]
        assert days == [day for day in sessions if days[0] <= day <= days[-1]]
    prices = market.select(pl.col("Open", "High", "Low", "Close").cast(pl.Float64))
    assert prices.filter(pl.col("High") < pl.max_horizontal("Low", "Open", "Close")).is_empty()
    assert prices.filter((pl.col("Low") > pl.min_horizontal("Open", "Close")) | (pl.col("Low") <= 0)).is_empty()
    assert days_and_sessions(market) == (4_749, 3_270)


def test_the_demo_says_how_many_faults_there_are() -> None:
    assert len(FAULTS) == 12


def test_making_the_scenario_leaves_the_data_as_it_is(market: pl.DataFrame, scenario: Scenario) -> None:
    assert market.equals(load_market())
    assert scenario.governed.schema == market.schema == scenario.refused.schema


def test_two_years_of_those_who_have_bars_before_and_after_are_never_sent(
    market: pl.DataFrame, scenario: Scenario, sessions: list[date]
) -> None:
    missing = HOLE.bars(market)
    due = [day for day in sessions if day.year in (2007, 2008)]
    assert HOLE.symbols(market) == ("AAPL", "GOOG", "IBM", "MSFT")
    assert missing.height == 4 * len(due) == 2_016
    assert {date.fromisoformat(day) for day in missing["Date"]} == set(due)
    sent = [moment(text).astimezone(NEW_YORK) for text in scenario.governed["Date"]]
    assert not [at for at in sent if HOLE.start_time <= at < HOLE.end_time]
    assert HOLE.around(market).height + missing.height == market.height


def test_no_fault_lies_in_the_hole() -> None:
    assert not [fault.name for fault in FAULTS if HOLE.first <= fault.day < HOLE.end]


def test_the_missing_day_is_never_sent(scenario: Scenario) -> None:
    assert rows_of(pl.concat([scenario.governed, scenario.refused]), MISSING.symbol, MISSING.day) == []


def test_the_late_bar_comes_behind_one_that_is_more_than_five_days_younger(scenario: Scenario) -> None:
    feed = scenario.governed.filter(pl.col("Ticker") == LATE.symbol)["Date"].to_list()
    at = feed.index(LATE.day)
    assert date.fromisoformat(feed[at - 1]) - date.fromisoformat(LATE.day) > timedelta(days=5)


def test_foreign_times_are_the_same_midnight_in_new_york(scenario: Scenario) -> None:
    times = [moment(text) for text in scenario.governed["Date"] if "T" in text]
    assert [t.astimezone(NEW_YORK) for t in times] == [
        datetime(2010, 5, 3, tzinfo=NEW_YORK),
        datetime(2010, 5, 4, tzinfo=NEW_YORK),
    ]


def test_refused_rows_and_nothing_else_break_the_contract(scenario: Scenario) -> None:
    def broken(frame: pl.DataFrame) -> int:
        prices = frame.select(pl.col("Open", "High", "Low", "Close").cast(pl.Float64, strict=False))
        sound = (
            pl.all_horizontal(pl.all().is_not_null() & pl.all().is_finite())
            & (pl.col("High") >= pl.max_horizontal("Open", "Close", "Low"))
            & (pl.col("Low") <= pl.min_horizontal("Open", "Close"))
        )
        return prices.filter(~sound.fill_null(False)).height

    assert broken(scenario.refused) == scenario.refused.height == 3
    assert broken(scenario.governed) == 0


def test_junk_is_no_record_of_a_registered_schema(scenario: Scenario) -> None:
    raw = RegisteredSchema("demo", 7, 1, read_avsc(RAW_SCHEMA))
    written = list(payloads(raw, scenario.refused, scenario.junk))
    text, cut, unknown = (payload for _, payload in written[-3:])
    assert len(written) == 6
    assert {schema_id(payload) for _, payload in written[:3]} == {7}
    assert schema_id(text) is None
    assert schema_id(cut) == 7
    assert struct.unpack(">bI", unknown[:5]) == (0, UNREGISTERED)


def test_the_counts_agree_with_a_plain_recount_of_what_is_sent(
    market: pl.DataFrame, scenario: Scenario, sessions: list[date]
) -> None:
    found: Counter[str] = Counter()
    place = {day: number for number, day in enumerate(sessions)}
    for (_,), feed in scenario.governed.group_by("Ticker", maintain_order=True):
        newest: date | None = None
        seen: dict[date, tuple[object, ...]] = {}
        for row in feed.iter_rows():
            day = moment(row[1]).astimezone(NEW_YORK).date()
            if day in seen:
                found["duplicate_ts" if seen[day] == row[2:] else "revision"] += 1
            seen[day] = row[2:]
            if newest is not None and day < newest:
                found["out_of_order"] += 1
                found["late"] += newest - day > timedelta(days=5)
            elif newest is not None and day > newest:
                found["gap"] += place[day] - place[newest] > 1
            newest = day if newest is None else max(newest, day)
    expected = expected_facts(market)
    for flag in ("gap", "late", "out_of_order", "duplicate_ts", "revision"):
        assert expected["found", f"{flag} · event_time"] == found[flag], flag
    sent = scenario.governed.height + scenario.refused.height + len(scenario.junk)
    assert expected["producer", "rows taken"] == scenario.governed.height
    assert expected["rows", "in"] == sent == 12_158 - 2_016
    assert expected["rows", "quarantined"] == scenario.refused.height + len(scenario.junk)
    assert expected["rows", "out"] == scenario.governed.height - found["duplicate_ts"]
    bars = scenario.governed.select("Ticker", pl.col("Date").str.head(10)).n_unique()
    assert expected["strategy", "bars of the feed"] == bars
    assert expected["strategy", "bars with history"] == bars + 2_016 == 12_150
    fed, whole = (sum(expected[s, name] for s in market["Ticker"].unique()) for name in ("bars of the feed", "bars"))
    assert (fed, whole) == (bars, 12_150)


def test_the_backfill_must_bring_exactly_what_is_missing(market: pl.DataFrame) -> None:
    expected = expected_facts(market)
    assert {expected["backfill", name] for name in ("bars due", "rows written", "rows proven", "history rows")} == {
        2_016
    }
    assert {expected["backfill", name] for name in ("shards", "shards done", "shards proven")} == {32}


def test_the_strategy_counts_the_crossings_that_exact_arithmetic_expects(market: pl.DataFrame) -> None:
    strategy = MovingAverages(FAST, SLOW)
    for part in market.iter_slices(5_000):
        strategy.take(
            part.select(
                symbol="Ticker",
                event_time=pl.col("Date").str.to_datetime("%Y-%m-%d").dt.replace_time_zone("America/New_York"),
                close=pl.col("Close").cast(pl.Float64),
            ).with_columns(pl.col("event_time").dt.convert_time_zone("UTC"))
        )
    for result in strategy.results():
        closes = market.filter(pl.col("Ticker") == result.symbol)["Close"].str.to_decimal(scale=6).to_list()
        assert result.signals == crossings(closes, FAST, SLOW)
    assert strategy.not_at_midnight() == 0


def test_a_strategy_that_gets_history_knows_all_bars_and_the_one_without_it_stays_as_it_is(
    market: pl.DataFrame,
) -> None:
    def rows(part: pl.DataFrame) -> pl.DataFrame:
        return part.select(
            symbol="Ticker",
            event_time=pl.col("Date")
            .str.to_datetime("%Y-%m-%d", time_zone="America/New_York")
            .dt.convert_time_zone("UTC"),
            close=pl.col("Close").cast(pl.Float64),
        )

    live = MovingAverages(FAST, SLOW)
    live.take(rows(HOLE.around(market)))
    whole = live.joined(rows(HOLE.bars(market)))
    assert (live.rows, whole.rows, whole.bars().height) == (10_138, 12_154, 12_154)
    assert whole.unlike(market) == 0
    assert whole.unlike(market.with_columns(pl.lit("1.0").alias("Close"))) == 12_154


def test_of_a_revised_bar_the_newest_row_counts() -> None:
    strategy = MovingAverages(1, 2)
    day = datetime(2020, 1, 2, tzinfo=NEW_YORK).astimezone(ZoneInfo("UTC"))
    for close in (1.0, 2.0):
        strategy.take(pl.DataFrame({"symbol": ["X"], "event_time": [day], "close": [close]}))
    assert (strategy.rows, strategy.bars().height) == (2, 1)
    assert strategy.close_of("X", date(2020, 1, 2)) == 2.0
    assert strategy.close_of("X", date(2020, 1, 3)) is None
