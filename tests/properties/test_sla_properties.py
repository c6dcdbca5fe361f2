"""Windows, quantiles and breaches do not depend on the order, the partitioning and the repetition of observations."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st

from streams.sla.fold import Fold
from streams.sla.objectives import SeriesKey
from streams.sla.sketch import ACCURACY, SHORTEST_S, bin_at, bin_of, bins_of, value_of
from streams.sla.verdict import nanos
from tests.support.examples import examples
from tests.support.sla import NS, START, Log, Seen, exact_quantile, sla_settings

WINDOW_S = 4
SETTINGS = sla_settings(
    {
        "slow": {"kind": "quantile", "quantile": 0.5, "limit": "1s", "window": f"{WINDOW_S}s"},
        "often": {
            "kind": "quantile",
            "quantile": 0.5,
            "limit": "1s",
            "window": f"{WINDOW_S}s",
            "hop": "1s",
            "min_count": 2,
            "escalate_after": "3s",
        },
        "burnt": {
            "kind": "budget",
            "target": 0.9,
            "period": "60s",
            "burn": [
                {"long": "10s", "short": "5s", "rate": 2, "severity": "critical"},
                {"long": "30s", "short": "11s", "rate": 1, "severity": "warning"},
            ],
        },
        "brief": {
            "kind": "budget",
            "target": 0.5,
            "limit": "1s",
            "period": "4s",
            "burn": [{"long": "7s", "short": "1s", "rate": 1, "severity": "warning"}],
            "min_count": 2,
            "escalate_after": "2s",
        },
        "stale": {"kind": "staleness", "limit": "5s", "consumer": "reader0", "escalate_after": "4s"},
    },
    interval=None,
)
READERS = [SeriesKey("bars", f"reader{n}", "total") for n in range(3)]
AGE = SeriesKey("bars", "reader0", "staleness")
SLOW_S = 3.0

times = st.floats(0.0, 40.0).map(lambda at: round(at, 3))
ticks = st.integers(0, 45).map(float)
elapsed = st.sampled_from([0.1, 0.5, SLOW_S, 9.0])
read = st.builds(
    Seen, at=times, elapsed=elapsed, ok=st.booleans(), series=st.sampled_from(READERS), synthetic=st.booleans()
)
looked = st.builds(Seen, at=times, series=st.just(AGE), newest=st.none() | times.map(lambda at: START + int(at * NS)))
seen = read | looked


def breaches_of(*logs: Log) -> list[object]:
    found = [breach for log in logs for breach in log.breaches]
    return sorted(found, key=lambda b: (b.id, b.sequence))


def read_in_order(observations: list[Seen]) -> Log:
    """Return a log that one process has read without interruption, with a tick after each second's observations."""
    log = Log(SETTINGS)
    for second, group in groupby(sorted(observations, key=lambda s: s.at), key=lambda s: int(s.at)):
        log.write(float(second), *group)
    log.write(200.0)
    log.checkpoint()
    return log


@examples(60)
@given(st.lists(seen, max_size=30), st.data())
def test_any_order_partitioning_and_restarts_give_the_same_breaches(
    observations: list[Seen], data: st.DataObject
) -> None:
    expected = read_in_order(observations)
    assert expected.late == 0
    places = {series: data.draw(st.integers(0, 2), label=str(series)) for series in [*READERS, AGE]}
    logs = [Log(SETTINGS) for _ in range(3)]
    ticks = sorted(data.draw(st.sets(st.integers(0, 45), max_size=6), label="ticks"))
    written: set[int] = set()
    for tick in [*ticks, 46]:
        # What is told before a tick comes in any order; it is in the log before the tick.
        ready = [i for i, s in enumerate(observations) if s.at < tick and i not in written]
        for each in data.draw(st.permutations(ready), label="order"):
            logs[places[observations[each].series]].write(observations[each])
            written.add(each)
        for log in logs:
            if data.draw(st.booleans(), label="checkpoint"):
                log.checkpoint()
            if data.draw(st.booleans(), label="restart"):
                log.restart()
            log.write(float(tick))
    for log in logs:
        log.write(200.0)
        log.checkpoint()
        assert log.late == 0
    event(f"{min(len(expected.breaches), 5)} records of breaches")
    assert breaches_of(*logs) == breaches_of(expected)


@examples(60)
@given(st.lists(seen | ticks, max_size=40), st.data())
def test_restarts_change_nothing_though_observations_are_late(records: list[Seen | float], data: st.DataObject) -> None:
    expected, log = Log(SETTINGS), Log(SETTINGS)
    for record in [*records, 200.0]:
        expected.write(record)
        log.write(record)
        match data.draw(st.sampled_from(["", "checkpoint", "restart"]), label="then"):
            case "checkpoint":
                log.checkpoint()
            case "restart":
                log.restart()
    expected.checkpoint()
    log.checkpoint()
    event(f"{min(expected.late, 5)} late")
    assert breaches_of(log) == breaches_of(expected)
    assert log.late == expected.late
    assert log.windows.windows == expected.windows.windows


@examples(60)
@given(st.lists(seen, max_size=30))
def test_breaches_are_those_that_a_plain_look_at_each_window_finds(observations: list[Seen]) -> None:
    log = read_in_order(observations)
    expected = []
    for reader in READERS:
        is_open = False
        for start in range(0, 100, WINDOW_S):
            inside = [s.elapsed for s in observations if s.series == reader and start <= s.at < start + WINDOW_S]
            broken = bool(inside) and exact_quantile(inside, 0.5) > 1.0
            if broken != is_open:
                expected.append((reader.consumer, "opened" if broken else "resolved", start + WINDOW_S))
            is_open = broken
    found = [(b.consumer, b.state, (nanos(b.at) - START) / NS) for b in log.breaches if b.objective == "slow"]
    assert Counter(found) == Counter(expected)


@examples(60)
@given(st.lists(seen, max_size=30))
def test_a_breach_opens_once_and_resolves_once_and_its_records_are_numbered(observations: list[Seen]) -> None:
    log = read_in_order(observations)
    for _, records in groupby(breaches_of(log), key=lambda b: b.id):  # type: ignore[attr-defined]
        found = list(records)
        states = [record.state for record in found]  # type: ignore[attr-defined]
        if found[0].kind == "staleness" and states[-1] != "resolved":  # type: ignore[attr-defined]
            states.append("resolved")  # silence goes on
        assert states in (["opened", "resolved"], ["opened", "escalated", "resolved"])
        assert [record.sequence for record in found] == list(range(len(found)))  # type: ignore[attr-defined]


@examples(60)
@given(st.lists(read, min_size=1, max_size=30))
def test_each_observation_is_in_exactly_one_tumbling_window(observations: list[Seen]) -> None:
    log = Log(SETTINGS)
    log.write(*observations)
    panes = [
        fold
        for state in (state for _, state in log.windows.checkpoint() if state is not None)
        if state["key"].startswith("slow|")
        for fold in (pane["fold"] for pane in state["panes"])
    ]
    assert sum(fold["count"] for fold in panes) == len(observations)


spans = st.floats(SHORTEST_S, 1e5, allow_subnormal=False)


@examples(200)
@given(st.lists(spans, min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_is_within_the_error_of_the_sketch(values: list[float], share: float) -> None:
    bins = Counter(bins_of(np.array(values)).tolist())
    found = bin_at(bins, share)
    assert found is not None
    exact = exact_quantile(values, share)
    assert abs(value_of(found) - exact) <= ACCURACY * exact * (1 + 1e-9)


@examples(100)
@given(st.lists(st.tuples(spans, st.booleans()), max_size=40), st.randoms())
def test_folds_add_up_to_the_same_in_any_order_and_grouping(values: list[tuple[float, bool]], random: object) -> None:
    folds = [Seen(n, elapsed, ok).told().fold for n, (elapsed, ok) in enumerate(values)]
    whole = Fold()
    for fold in folds:
        whole.add(fold)
    random.shuffle(folds)  # type: ignore[attr-defined]
    middle = len(folds) // 2
    parts = []
    for some in (folds[:middle], folds[middle:]):
        part = Fold()
        for fold in some:
            part.add(fold)
        parts.append(part)
    total = Fold()
    for part in reversed(parts):
        total.add(part)
    assert total == whole
    assert Fold.from_datum(total.datum()) == total
    assert whole.above(1.0) == sum(bin_of(elapsed) > bin_of(1.0) for elapsed, _ in values)
