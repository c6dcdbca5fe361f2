"""Policies: what a field may say, what contradicts, which layer wins, and that each value knows where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from streams import SLAPolicy
from streams.cli import app
from streams.durations import seconds_of, spelled
from streams.errors import SettingsError
from streams.settings import Settings, load_settings
from streams.sla_layers import preset_names
from streams.sla_policy import FIELDS, PRESETS
from streams.sla_resolve import Override, resolve

BARS = '[datasets."ohlcv.us.1d"]\ncontract = "ohlcv"\ninterval = "1d"\n[datasets.quotes]\ncontract = "quote"\n'
LAYERS = """
[sla.datasets."ohlcv.us.1d"]
max_wait_storage = 1
max_wait_live = 1
retry_backoff = "10ms"
[sla.consumers.alpha]
max_wait_live = 2
retry_backoff = "20ms"
[sla.consumers.alpha.datasets."ohlcv.us.1d"]
retry_backoff = "30ms"
"""

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def call(text: str = "", env: dict[str, str] | None = None) -> Settings:
        file = tmp_path / "seamless.toml"
        file.write_text(BARS + text)
        return load_settings(file, env or {}, stack=lambda: None)

    return call


def refusal(load: Load, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(text)
    return str(caught.value)


# Values


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(0.5, 0.5), (2, 2.0), ("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("1h", 3_600.0), ("0.25", 0.25), (0, 0.0)],
)
def test_a_span_is_seconds_or_text_with_a_unit(given: object, seconds: float) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize(
    "given", [-1, float("nan"), float("inf"), 10**400, True, None, "", "soon", "0s", "1.5s", "-1", "1e3", "٣", [1]]
)
def test_what_is_no_span_is_refused_with_the_forms_that_are(given: object) -> None:
    with pytest.raises(ValueError, match=r"write seconds, as in 0\.5, or text such as 500ms"):
        seconds_of(given)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (90, "90 s"), (0.50349, "0.503 s"), (1e6, "1,000,000 s")]
)
def test_a_span_is_spelled_for_people(seconds: float, text: str) -> None:
    assert spelled(seconds) == text


def test_a_policy_holds_seconds_whatever_it_was_given() -> None:
    policy = SLAPolicy.model_validate({"total_deadline": "500ms", "max_wait_live": 0.1, "max_staleness": "forever"})
    assert (policy.total_deadline, policy.max_wait_live, policy.max_staleness) == (0.5, 0.1, None)


def test_what_a_policy_does_not_say_is_no_limit() -> None:
    policy = SLAPolicy()
    assert [getattr(policy, name) for name in FIELDS[:5]] == [None] * 5
    assert (policy.min_coverage, policy.on_violation) == (0.0, "fail_fast")


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SLAPolicy().total_deadline = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"total_deadline": 0}, "total_deadline", "write a longer span, or forever"),
        ({"max_wait_storage": 0}, "max_wait_storage", "write a longer span"),
        ({"max_staleness": "0"}, "max_staleness", "write a longer span"),
        ({"max_wait_live": "two minutes"}, "max_wait_live", "write seconds"),
        ({"retry_backoff": 0}, "retry_backoff", "write at least 1ms"),
        ({"retry_backoff": "forever"}, "retry_backoff", "write seconds"),
        ({"min_coverage": 1.01}, "min_coverage", "less than or equal to 1"),
        ({"min_coverage": -0.1}, "min_coverage", "greater than or equal to 0"),
        ({"on_violation": "panic"}, "on_violation", "'fail_fast', 'partial_fill' or 'hold'"),
        ({"max_wait": 3}, "max_wait", "not permitted"),
        ({"max_wait_storage": 2, "total_deadline": 1}, "", "lower max_wait_storage or raise total_deadline"),
        ({"max_wait_backfill": 2, "total_deadline": 1}, "", "lower max_wait_backfill or raise total_deadline"),
        ({"max_wait_live": 2, "total_deadline": 1}, "", "lower max_wait_live or raise total_deadline"),
        ({"retry_backoff": 2, "total_deadline": 1}, "", "lower retry_backoff or raise total_deadline"),
        ({"max_wait_backfill": 0, "on_violation": "hold"}, "", "set a longer max_wait_backfill, or partial_fill"),
        ({"max_wait_live": 0, "on_violation": "hold"}, "", "set a longer max_wait_live, or partial_fill"),
    ],
)
def test_what_makes_no_sense_is_refused_with_field_and_remedy(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SLAPolicy.model_validate(fields)
    [error] = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == field
    assert says in error["msg"]


def test_a_wait_of_nothing_and_a_wait_as_long_as_the_whole_contradict_nothing() -> None:
    SLAPolicy(max_wait_backfill=0, max_wait_live=0, on_violation="partial_fill")
    SLAPolicy(max_wait_storage=1, max_wait_backfill=1, total_deadline=1)


# Presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_that_comes_along_says_every_field(name: str) -> None:
    assert PRESETS[name].model_fields_set == set(FIELDS)


def test_the_presets_that_were_asked_for_are_there() -> None:
    assert preset_names({}) == ["baseline", "permissive-dev", "strict-blocking", "tolerant-partial"]


def test_a_preset_of_the_settings_changes_the_one_of_its_name_field_by_field(load: Load) -> None:
    found = load('[sla.presets.baseline]\nmin_coverage = 0.5\ntotal_deadline = "30s"').sla.in_force()
    assert (found.policy.min_coverage, found.policy.total_deadline, found.policy.max_wait_live) == (0.5, 30.0, 10.0)
    # what the preset brings along gives way to what the settings say of it
    assert found.policy.max_wait_backfill == 30.0
    assert found.sources["max_wait_backfill"].cut


def test_a_preset_of_a_new_name_begins_as_baseline_as_the_settings_have_it(load: Load) -> None:
    text = (
        '[sla]\ndefault = "mine"\n[sla.presets.baseline]\nmin_coverage = 0.5\n[sla.presets.mine]\nmax_wait_live = "1s"'
    )
    found = load(text).sla.in_force()
    assert (found.policy.min_coverage, found.policy.max_wait_live) == (0.5, 1.0)
    assert found.policy.max_wait_storage == PRESETS["baseline"].max_wait_storage


@pytest.mark.parametrize(
    "text",
    [
        '[sla]\ndefault = "nightly"',
        '[sla.consumers.alpha]\npreset = "nightly"',
        '[sla.datasets.quotes]\npreset = ""',
        '[sla.consumers.alpha.datasets.quotes]\npreset = "nightly"',
    ],
)
def test_an_unknown_preset_is_refused_with_those_there_are(load: Load, text: str) -> None:
    assert "there are baseline, permissive-dev, strict-blocking, tolerant-partial" in refusal(load, text)


# Which layer wins


@pytest.mark.parametrize(
    ("dataset", "consumer", "override", "field", "value", "source"),
    [
        ("ohlcv.us.1d", "alpha", None, "min_coverage", 0.99, "preset baseline (sla.default)"),
        ("ohlcv.us.1d", "alpha", None, "max_wait_storage", 1.0, 'sla.datasets."ohlcv.us.1d"'),
        ("ohlcv.us.1d", "alpha", None, "max_wait_live", 2.0, "sla.consumers.alpha"),
        ("ohlcv.us.1d", "alpha", None, "retry_backoff", 0.03, 'sla.consumers.alpha.datasets."ohlcv.us.1d"'),
        ("ohlcv.us.1d", "alpha", SLAPolicy(retry_backoff=0.04), "retry_backoff", 0.04, "the call"),
        ("ohlcv.us.1d", "alpha", SLAPolicy(retry_backoff=0.04), "max_wait_live", 2.0, "sla.consumers.alpha"),
        ("ohlcv.us.1d", "alpha", {"retry_backoff": "40ms"}, "retry_backoff", 0.04, "the call"),
        ("ohlcv.us.1d", "alpha", "tolerant-partial", "retry_backoff", 0.25, "preset tolerant-partial (the call)"),
        ("ohlcv.us.1d", "alpha", {"preset": "tolerant-partial", "min_coverage": 0}, "min_coverage", 0.0, "the call"),
        ("ohlcv.us.1d", "beta", None, "retry_backoff", 0.01, 'sla.datasets."ohlcv.us.1d"'),
        ("ohlcv.us.1d", None, None, "max_wait_live", 1.0, 'sla.datasets."ohlcv.us.1d"'),
        ("quotes", "alpha", None, "retry_backoff", 0.02, "sla.consumers.alpha"),
        ("quotes", None, None, "retry_backoff", 0.25, "preset baseline (sla.default)"),
        ("quotes", None, SLAPolicy(max_staleness=None), "max_staleness", None, "the call"),
    ],
)
def test_the_strongest_layer_that_says_something_wins_and_is_named(
    load: Load, dataset: str, consumer: str | None, override: Override | None, field: str, value: Any, source: str
) -> None:
    found = resolve(load(LAYERS), dataset, consumer, override)
    assert getattr(found.policy, field) == value
    assert str(found.sources[field]) == source


def test_a_preset_beats_all_that_weaker_layers_say_and_gives_way_to_its_own_table(load: Load) -> None:
    text = LAYERS + '\n[sla.consumers.beta]\npreset = "strict-blocking"\nmin_coverage = 0.7\n'
    policy = resolve(load(text), "ohlcv.us.1d", "beta").policy
    assert policy == PRESETS["strict-blocking"].model_copy(update={"min_coverage": 0.7})


def test_a_resolved_policy_knows_whose_it_is_and_of_what(load: Load) -> None:
    settings = load(LAYERS, {"SEAMLESS_WORLD": "paper"})
    found = resolve(settings, "ohlcv.us.1d", "alpha")
    assert (found.dataset, found.consumer, found.world, found.interval) == ("ohlcv.us.1d", "alpha", "paper", "1d")
    assert resolve(settings, "quotes").interval is None
    assert resolve(settings, "quotes").consumer == "unnamed"
    assert set(found.sources) == set(FIELDS)


def test_a_shorter_whole_cuts_the_waits_of_weaker_layers(load: Load) -> None:
    found = resolve(load(LAYERS), "ohlcv.us.1d", "alpha", SLAPolicy(total_deadline=0.5))
    waits = [found.policy.max_wait_storage, found.policy.max_wait_backfill, found.policy.max_wait_live]
    assert waits == [0.5, 0.5, 0.5]
    assert str(found.sources["max_wait_live"]) == "sla.consumers.alpha, cut to total_deadline"
    assert str(found.sources["total_deadline"]) == "the call"


def test_a_wait_that_is_longer_than_the_whole_of_a_weaker_layer_is_refused_with_both_sources(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(load(), "quotes", None, SLAPolicy(max_wait_backfill=600))
    said = str(caught.value)
    assert "lower max_wait_backfill or raise total_deadline" in said
    assert "max_wait_backfill is from the call; total_deadline is from preset baseline (sla.default)" in said


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nightly", "no SLA preset 'nightly'"),
        ({"preset": "nightly"}, "no SLA preset 'nightly'"),
        ({"deadline": 3}, "deadline: there is no such field; there are max_wait_storage"),
        ({"total_deadline": "soon"}, "total_deadline: is no span of time"),
        ({"max_wait_live": 2, "total_deadline": 1}, "lower max_wait_live or raise total_deadline"),
        ({"on_violation": "hold", "max_wait_live": 0}, "set a longer max_wait_live"),
    ],
)
def test_a_call_that_asks_for_nonsense_is_refused_with_the_remedy(load: Load, override: Override, says: str) -> None:
    with pytest.raises(SettingsError, match="SLA p") as caught:
        resolve(load(), "quotes", None, override)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["", "Alpha", "a b", "a/b", "a..b", "ä", "a" * 65, 'a"'])
def test_a_name_that_cannot_be_a_label_is_refused(load: Load, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a consumer's name"):
        resolve(load(), "quotes", name)


def test_an_unknown_dataset_is_refused(load: Load) -> None:
    with pytest.raises(SettingsError, match="There is no dataset"):
        resolve(load(), "ticks")


# In the settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sla.datasets.ticks]\nmin_coverage = 1", "these datasets are not in the settings: ticks"),
        ("[sla.consumers.alpha.datasets.ticks]\nmin_coverage = 1", "these datasets are not in the settings: ticks"),
        ("[sla.datasets.ohlcv.us.1d]\nmin_coverage = 1", "put the whole name in quotes"),
        ("[sla.consumers.Alpha]\nmin_coverage = 1", "lower-case letters and digits"),
        ("[sla.presets.mine]\ntotal_deadlin = 1", "Did you mean seamless.sla.presets.mine.total_deadline?"),
        ("[sla.consumers.a]\nmax_wait_backfil = 1", "Did you mean seamless.sla.consumers.a.max_wait_backfill?"),
        ("[sla.consumers.a]\ntotal_deadline = 0", "seamless.sla.consumers.a.total_deadline (from"),
        ('[sla.consumers.a]\nmax_wait_backfill = "10m"', "max_wait_backfill is from sla.consumers.a"),
        ('[sla.presets.mine]\nmax_wait_backfill = "10m"', "max_wait_backfill is from preset mine (sla.presets.mine)"),
        ("[sla]\ndefalt = 'x'", "Did you mean seamless.sla.default?"),
    ],
)
def test_a_promise_that_makes_no_sense_is_refused_when_settings_are_read(load: Load, text: str, says: str) -> None:
    assert says in refusal(load, text)


def test_layers_that_contradict_only_together_are_refused_when_settings_are_read(load: Load) -> None:
    text = '[sla.datasets.quotes]\ntotal_deadline = "20s"\n[sla.consumers.alpha]\nmax_wait_backfill = "60s"\n'
    assert "total_deadline is from sla.datasets.quotes" in refusal(load, text)


def test_the_environment_reaches_presets_consumers_and_datasets_with_dashes_and_dots(load: Load) -> None:
    text = '[sla.consumers.alpha-1.datasets."ohlcv.us.1d"]\nmin_coverage = 0.1\n'
    env = {
        "SEAMLESS_SLA__DEFAULT": "strict-blocking",
        "SEAMLESS_SLA__PRESETS__STRICT_BLOCKING__TOTAL_DEADLINE": "400",
        "SEAMLESS_SLA__DATASETS__OHLCV_US_1D__RETRY_BACKOFF": "20ms",
        "SEAMLESS_SLA__CONSUMERS__ALPHA_1__MAX_WAIT_LIVE": "0.25",
        "SEAMLESS_SLA__CONSUMERS__ALPHA_1__DATASETS__OHLCV_US_1D__MIN_COVERAGE": "0.2",
    }
    policy = resolve(load(text, env), "ohlcv.us.1d", "alpha-1").policy
    assert (policy.total_deadline, policy.retry_backoff, policy.max_wait_live) == (400.0, 0.02, 0.25)
    assert policy.min_coverage == 0.2


# `seamless sla show`


def show(*options: str) -> Any:
    result = CliRunner().invoke(app, ["sla", "show", *options], env={"COLUMNS": "200", "SEAMLESS_STACK_DIR": "none"})
    assert result.exit_code == 0, result.output
    return result.output


def test_sla_show_says_what_is_in_force_for_a_consumer_of_a_dataset_and_from_which_file(load: Load) -> None:
    load(LAYERS)
    [shown] = json.loads(show("--dataset", "ohlcv.us.1d", "--consumer", "alpha", "--json"))
    assert (shown["dataset"], shown["consumer"]) == ("ohlcv.us.1d", "alpha")
    assert shown["policy"]["max_wait_live"] == {"value": 2.0, "from": "sla.consumers.alpha, seamless.toml"}
    assert shown["policy"]["min_coverage"] == {"value": 0.99, "from": "preset baseline (sla.default)"}
    assert list(shown["policy"]) == list(FIELDS)


def test_sla_show_lists_every_use_of_which_something_is_said_and_no_other(load: Load) -> None:
    load(LAYERS + "[sla.consumers.silent]\n[sla.datasets.quotes]\n")
    shown = json.loads(show("--json"))
    assert [(each["dataset"], each["consumer"]) for each in shown] == [
        (None, None),
        ("ohlcv.us.1d", None),
        (None, "alpha"),
        ("ohlcv.us.1d", "alpha"),
    ]


def test_sla_show_prints_a_table_with_units(load: Load) -> None:
    load(LAYERS)
    text = show("--dataset", "ohlcv.us.1d")
    assert "ohlcv.us.1d, any consumer" in text
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines() if line.split()[:1]}
    assert rows["max_staleness"].startswith("forever")
    assert rows["retry_backoff"].startswith("0.01 s")
    assert rows["min_coverage"].startswith("99.00%")


@pytest.mark.parametrize("options", [("--dataset", "ticks"), ("--consumer", "Alpha")])
def test_sla_show_refuses_a_dataset_that_is_not_there_and_a_consumer_that_cannot_be(
    load: Load, options: tuple[str, str]
) -> None:
    load()
    result = CliRunner().invoke(app, ["sla", "show", *options], env={"SEAMLESS_STACK_DIR": "none"})
    assert isinstance(result.exception, SettingsError)
