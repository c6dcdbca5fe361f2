"""Budgets for any policy and any course of a fetch: never more than is left, and times that add up."""

from __future__ import annotations

from hypothesis import assume, event, given
from hypothesis import strategies as st
from pydantic import ValidationError

from streams.errors import SettingsError
from streams.provider.budget import PhaseClock, Violated
from streams.sla_layers import Layer, merged
from streams.sla_policy import BOUND_BY_TOTAL, FIELDS, PRESETS, WAITS, Phase, SLAPolicy
from tests.support.examples import examples

ACTIONS = ["fail_fast", "partial_fill", "hold"]
PHASES: list[Phase] = ["storage_wait", "backfill_wait", "live_wait"]
SPANS = st.floats(0.0, 100.0)
LIMITS = st.none() | st.floats(0.001, 100.0)


@st.composite
def policies(draw: st.DrawFn) -> SLAPolicy:
    total = draw(LIMITS)
    waits = LIMITS if total is None else st.none() | st.floats(0.001, max(total, 0.001))
    fields = {name: draw(waits) for name in WAITS.values()}
    return SLAPolicy.model_validate({**fields, "total_deadline": total, "on_violation": draw(st.sampled_from(ACTIONS))})


# Each step: what passes before the phase, the phase, what passes in it.
COURSES = st.lists(st.tuples(SPANS, st.sampled_from(PHASES), SPANS, SPANS), max_size=12)


@examples(200)
@given(policy=policies(), started=st.floats(0, 1e6), course=COURSES)
def test_no_phase_is_handed_more_than_is_left_to_it_and_to_the_whole(
    policy: SLAPolicy, started: float, course: list[tuple[float, Phase, float, float]]
) -> None:
    clock, now = PhaseClock(policy, started), started
    spent = dict.fromkeys(PHASES, 0.0)
    for before, phase, inside, reserve in course:
        now += before
        clock.begin(phase, now)
        budget = clock.budget(phase, now, reserve)
        limits = [policy.wait(phase), policy.total_deadline]
        assert (budget.seconds is None) == (limits == [None, None])
        if budget.seconds is not None:
            assert budget.seconds >= 0
            if limits[0] is not None:
                assert budget.seconds <= max(0.0, limits[0] - spent[phase]) + 1e-6
            if limits[1] is not None:
                assert budget.seconds <= max(0.0, limits[1] - (now - started) - reserve) + 1e-6
        took = inside if budget.seconds is None else min(inside, budget.seconds)
        now += took
        spent[phase] += took
        clock.end(now)
    # whoever keeps to what it is handed breaks no limit of its own
    for phase in PHASES:
        own = policy.wait(phase)
        assert own is None or clock.spent(phase, now) <= own + 1e-6


@examples(200)
@given(policy=policies(), started=st.floats(0, 1e6), course=COURSES)
def test_what_phases_took_and_what_passed_between_them_is_the_whole(
    policy: SLAPolicy, started: float, course: list[tuple[float, Phase, float, float]]
) -> None:
    clock, now, between = PhaseClock(policy, started), started, 0.0
    for before, phase, inside, _ in course:
        clock.begin(phase, now + before)
        now += before + inside
        clock.end(now)
        between += before
    timings = clock.timings(now)
    total = timings.pop("total")
    assert set(timings) == {phase for _, phase, _, _ in course}
    assert abs(sum(timings.values()) + between - total) < 1e-6
    assert abs(total - (now - started)) < 1e-6


@examples(200)
@given(policy=policies(), phase=st.sampled_from(PHASES), took=SPANS, before=SPANS)
def test_a_violation_names_a_limit_that_is_broken_and_none_is_kept_back(
    policy: SLAPolicy, phase: Phase, took: float, before: float
) -> None:
    clock = PhaseClock(policy, 0.0)
    clock.begin(phase, before)
    found = clock.judge(phase, before + took)
    own, total = policy.wait(phase), policy.total_deadline
    spent, elapsed = clock.spent(phase, before + took), clock.elapsed(before + took)
    broken = {
        name
        for name, limit, actual in ((phase, own, spent), ("total", total, elapsed))
        if limit is not None and actual > limit
    }
    assert isinstance(found, Violated) == bool(broken)
    if isinstance(found, Violated):
        assert found.objective in broken
        assert found.actual > found.limit


SETTABLE = {
    "total_deadline": st.floats(0.001, 1_000),
    "max_wait_storage": st.floats(0.001, 1_000),
    "max_wait_backfill": st.floats(0, 1_000),
    "max_wait_live": st.floats(0, 1_000),
    "retry_backoff": st.floats(0.001, 10),
    "min_coverage": st.floats(0, 1),
    "on_violation": st.sampled_from(ACTIONS),
}
TABLES = st.fixed_dictionaries({}, optional=SETTABLE)


@examples(200)
@given(
    names=st.lists(st.none() | st.sampled_from(sorted(PRESETS)), max_size=4),
    tables=st.lists(TABLES, min_size=4, max_size=4),
)
def test_layers_give_a_policy_without_contradiction_or_are_refused(
    names: list[str | None], tables: list[dict[str, object]]
) -> None:
    layers = [Layer("bottom", preset="baseline")]
    for position, (name, table) in enumerate(zip(names, tables, strict=False)):
        try:
            fields = SLAPolicy.model_validate(table).given()
        except ValidationError:
            assume(False)
        layers.append(Layer(str(position), fields, name))
    refusal = ""
    try:
        found = merged(layers, {})
    except SettingsError as error:
        refusal = str(error)
    event("refused" if refusal else "in force")
    if refusal:
        assert "lower " in refusal or "set a longer" in refusal
        return
    assert set(found.sources) == set(FIELDS)
    total = found.policy.total_deadline
    for name in BOUND_BY_TOTAL:
        value = getattr(found.policy, name)
        assert total is None or value is None or value <= total
        assert not found.sources[name].cut or value == total
