"""What is in force after operations, and what rollbacks change; no Kafka."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.errors import SettingsError
from streams.operating.operation import Change, Operation
from streams.operating.override import checked_override, settings_under, sla_target, storage_first_reason
from streams.operating.standing import Standing
from streams.settings import Settings
from streams.sla.objectives import Objectives, SeriesKey
from streams.sla_resolve import resolve

SETTINGS = Settings.model_validate(
    {
        "conformance": {"mode": "blocking"},
        "datasets": {
            "bars": {"contract": "ohlcv", "interval": "1m"},
            "ticks": {"contract": "trade", "mode": "shadow"},
        },
        "sla": {
            "consumers": {"alpha": {"total_deadline": "40s"}},
            "objectives": {"own": {"kind": "quantile", "limit": "5s", "window": "1m"}},
        },
    }
)


def done(standing: Standing, what: str, changes: Any, **more: Any) -> Operation:
    """Take in an operation with these changes."""
    made = Operation(f"o{len(standing.done)}", len(standing.done), "ann@desk", what, "a reason", tuple(changes), **more)
    standing.take(made)
    return made


def overridden(standing: Standing, target: str, **values: str) -> Operation:
    after = checked_override(SETTINGS, standing, target, values)
    return done(standing, "override", [Change(target, standing.value(target), after)])


def rolled_back(standing: Standing, dataset: str | None = None) -> bool:
    changes = standing.previous_set(dataset)
    if changes:
        done(standing, "sla", changes)
    return bool(changes)


def undone(standing: Standing, what: str | None = None, dataset: str | None = None) -> None:
    for each in reversed(standing.rollbacks(what, dataset)):
        done(standing, "undo", standing.undoing(each, dataset), undoes=each.id)


def shadowed(standing: Standing, *datasets: str) -> bool:
    changes = standing.setting("conformance", "shadow", datasets, settings_under(SETTINGS, standing).mode_of)
    if changes:
        done(standing, "shadow", changes)
    return bool(changes)


def test_shadow_changes_what_blocks_and_undo_puts_each_mode_back() -> None:
    standing = Standing()
    assert shadowed(standing, "bars", "ticks")
    assert [(c.target, c.was) for c in standing.done[0].changes] == [("conformance/bars", "blocking")]
    assert settings_under(SETTINGS, standing).mode_of("bars") == "shadow"
    assert not shadowed(standing, "bars", "ticks"), "a second time there is nothing to do"
    undone(standing)
    now = settings_under(SETTINGS, standing)
    assert (now.mode_of("bars"), now.mode_of("ticks")) == ("blocking", "shadow")
    assert not standing.rollbacks()


def test_a_rollback_of_several_datasets_can_be_undone_for_one() -> None:
    standing = Standing()
    both = SETTINGS.model_copy(
        update={"datasets": {n: d.model_copy(update={"mode": "blocking"}) for n, d in SETTINGS.datasets.items()}}
    )
    done(standing, "shadow", standing.setting("conformance", "shadow", both.datasets, both.mode_of))
    undone(standing, "shadow", "bars")
    assert settings_under(both, standing).mode_of("bars") == "blocking"
    assert settings_under(both, standing).mode_of("ticks") == "shadow"
    (left,) = standing.rollbacks("shadow")
    assert [c.target for c in standing.still(left)] == ["conformance/ticks"]


def test_overrides_go_before_the_settings_and_the_call_before_overrides() -> None:
    standing = Standing()
    overridden(standing, sla_target(), total_deadline="30s", max_wait_backfill="10s")
    overridden(standing, sla_target("bars"), total_deadline="20s")
    overridden(standing, sla_target("bars", "alpha"), max_wait_live="1s")
    now = settings_under(SETTINGS, standing)

    found = resolve(now, "bars", "alpha")
    assert (found.policy.total_deadline, found.policy.max_wait_backfill, found.policy.max_wait_live) == (20, 10, 1)
    assert str(found.sources["total_deadline"]) == "the override of ann@desk"
    assert resolve(now, "bars").policy.max_wait_live == 10
    assert resolve(now, "ticks", "alpha").policy.total_deadline == 30
    assert resolve(now, "bars", "alpha", {"total_deadline": "50s"}).policy.total_deadline == 50
    assert resolve(SETTINGS, "bars", "alpha").policy.total_deadline == 40, "the settings stay as they are"


def test_what_the_agent_watches_follows_overridden_policies_and_objectives() -> None:
    standing = Standing()
    overridden(standing, sla_target("bars"), total_deadline="20s", max_wait_backfill="10s")
    overridden(standing, sla_target(objective="own"), limit="2s")
    series = SeriesKey("bars", "alpha", "total")
    limits = {w.name: w.limit for w in Objectives(settings_under(SETTINGS, standing)).of(series)}
    assert (limits["deadline"], limits["own"]) == (20, 2)


def test_sla_goes_back_one_set_however_often_it_is_asked_and_undo_goes_forth() -> None:
    standing, target = Standing(), sla_target("bars")
    overridden(standing, target, total_deadline="30s")
    overridden(standing, target, total_deadline="5s", max_wait_backfill="2s")
    assert rolled_back(standing)
    assert json.loads(standing.value(target) or "") == {"total_deadline": "30s"}
    assert not rolled_back(standing), "it is rolled back already"
    undone(standing, "sla")
    assert json.loads(standing.value(target) or "")["total_deadline"] == "5s"
    assert rolled_back(standing), "what was put back can be taken back again"
    overridden(standing, target, total_deadline="7s")
    assert not standing.rollbacks("sla"), "what was set anew since is not to be undone"
    assert rolled_back(standing)
    assert json.loads(standing.value(target) or "") == {"total_deadline": "30s"}


def test_sla_of_a_dataset_leaves_the_overrides_of_others() -> None:
    standing = Standing()
    overridden(standing, sla_target("bars"), total_deadline="80s")
    overridden(standing, sla_target("ticks"), total_deadline="70s")
    assert rolled_back(standing, "bars")
    assert standing.under("sla").keys() == {"sla/datasets/ticks"}
    assert [c.target for c in standing.without_overrides()] == ["sla/datasets/ticks"]


def test_storage_first_is_told_with_who_and_why() -> None:
    standing = Standing()
    assert storage_first_reason(standing, "bars") is None
    done(standing, "storage-first", standing.setting("provider", "storage-first", ["bars"], lambda _: "backfill"))
    assert storage_first_reason(standing, "bars") == "storage first, by ann@desk: a reason"
    assert storage_first_reason(standing, "ticks") is None
    undone(standing, "storage-first")
    assert storage_first_reason(standing, "bars") is None


@pytest.mark.parametrize(
    ("target", "values", "says"),
    [
        (sla_target("bars"), {"total_dedline": "1s"}, "total_dedline: there is no such field; there are preset"),
        (sla_target("bars"), {"min_coverage": "2"}, "min_coverage"),
        (sla_target(objective="own"), {"limit": "forever or so"}, "limit"),
        (sla_target(objective="new"), {"limit": "1s"}, "kind"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_by_its_field(
    target: str, values: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        checked_override(SETTINGS, Standing(), target, values)


def test_an_override_that_contradicts_the_settings_is_refused() -> None:
    standing = Standing()
    overridden(standing, sla_target("bars"), max_wait_backfill="200s")
    with pytest.raises(SettingsError, match="longer than total_deadline"):
        settings_under(SETTINGS, standing)


def test_an_operation_survives_its_record() -> None:
    made = Operation(
        "o1", 1_700_000_000_123, "ann@desk", "shadow", "why", (Change("conformance/bars", None, "shadow", "blocking"),)
    )
    assert Operation.from_avro(made.to_avro()) == made
    assert made.dataset == "bars"
