"""Settings: which source wins, what is refused and in which words, and that no secret is ever shown."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exchange_calendars
import pytest
from typer.testing import CliRunner

from streams.calendar_names import calendar_names
from streams.cli import config as config_command
from streams.errors import SettingsError
from streams.settings import DatasetSettings, KafkaSettings, Settings, load_settings, load_with_origins
from streams.settings_kafka import OWNED_PROPERTIES
from streams.settings_problems import dotted, known_names

SECRET = "hunter2-do-not-show"
DATASET = '[datasets."ohlcv.us.1d"]\ncontract = "ohlcv"\ninterval = "1d"\ncalendar = "XNYS"\n'


@dataclass(frozen=True)
class FakeState:
    bootstrap_servers: str = "127.0.0.1:19092"
    registry_url: str = "http://127.0.0.1:18081/apis/ccompat/v7"


Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load settings from the text of a file and an environment, without looking for a running stack."""
    monkeypatch.chdir(tmp_path)

    def call(
        text: str = "", env: dict[str, str] | None = None, stack: FakeState | None = None, **overrides: Any
    ) -> Settings:
        file = tmp_path / "given.toml"
        file.write_text(text)
        return load_settings(file, env or {}, overrides, stack=lambda: stack)

    return call


def refusal(load: Load, text: str = "", env: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(text, env, **overrides)
    return str(caught.value)


def test_without_any_source_the_defaults_hold(load: Load) -> None:
    settings = load()
    assert settings.world == "live"
    assert settings.conformance.mode == "shadow"
    assert settings.conformance.memory == 64
    assert settings.quarantine.max_share == 0.5
    assert settings.producer.on_violation == "refuse"
    assert settings.metrics.host == "127.0.0.1"
    assert settings.coordinator_url is None
    assert settings.datasets == {}


@pytest.mark.parametrize(
    ("text", "env", "flag", "world"),
    [
        ("", {}, None, "live"),
        ('world = "a"', {}, None, "a"),
        ('world = "a"', {"SEAMLESS_WORLD": "b"}, None, "b"),
        ('world = "a"', {"SEAMLESS_WORLD": "b"}, "c", "c"),
        ("", {"SEAMLESS_WORLD": "b"}, None, "b"),
    ],
)
def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(
    load: Load, text: str, env: dict[str, str], flag: str | None, world: str
) -> None:
    assert load(text, env, world=flag).world == world


def test_sources_are_merged_setting_by_setting_not_table_by_table(load: Load) -> None:
    settings = load("[conformance]\nmode = 'blocking'\nmemory = 8\n", {"SEAMLESS_CONFORMANCE__MEMORY": "9"})
    assert (settings.conformance.mode, settings.conformance.memory) == ("blocking", 9)


def test_a_table_seamless_around_the_whole_file_is_understood(load: Load) -> None:
    assert load('[seamless]\nworld = "paper"\n').world == "paper"


def test_the_file_is_found_in_the_working_folder_or_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("seamless.toml").write_text('world = "here"')
    other = tmp_path / "other.toml"
    other.write_text('world = "there"')
    assert load_settings(env={}, stack=lambda: None).world == "here"
    assert load_settings(env={"SEAMLESS_CONFIG": str(other)}, stack=lambda: None).world == "there"


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file .*gone\.toml"):
        load_settings(tmp_path / "gone.toml", {}, stack=lambda: None)


def test_a_file_that_is_no_toml_is_refused_with_the_line(load: Load) -> None:
    assert "line 2" in refusal(load, "world = 'a'\nworld =\n")


def test_paths_in_the_file_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    settings = load(DATASET + 'raw_schema = "vendor/bars.avsc"\n[registry]\nca_path = "ca.pem"\n')
    assert settings.dataset("ohlcv.us.1d").raw_schema == str(tmp_path / "vendor/bars.avsc")
    assert settings.registry.ca_path == str(tmp_path / "ca.pem")


def test_the_running_stack_gives_what_no_other_source_says(load: Load) -> None:
    settings = load(stack=FakeState())
    assert settings.kafka.bootstrap_servers == FakeState().bootstrap_servers
    assert settings.registry.url == FakeState().registry_url


def test_the_registry_of_the_stack_is_never_paired_with_another_cluster(load: Load) -> None:
    settings = load(env={"SEAMLESS_KAFKA__BOOTSTRAP_SERVERS": "kafka.example:9092"}, stack=FakeState())
    assert settings.registry.url == Settings().registry.url


def test_the_stack_is_not_looked_for_when_both_addresses_are_given(tmp_path: Path) -> None:
    def never() -> None:
        raise AssertionError("looked for the stack")

    env = {"SEAMLESS_KAFKA__BOOTSTRAP_SERVERS": "a:1", "SEAMLESS_REGISTRY__URL": "http://b:2"}
    file = tmp_path / "empty.toml"
    file.touch()
    assert load_settings(file, env, stack=never).kafka.bootstrap_servers == "a:1"


def test_environment_reaches_client_properties_and_datasets_with_dots(load: Load) -> None:
    env = {
        "SEAMLESS_KAFKA__CLIENT__SECURITY_PROTOCOL": "SSL",
        "SEAMLESS_DATASETS__OHLCV_US_1D__PARTITIONS": "7",
    }
    settings = load(DATASET, env)
    assert settings.kafka.client == {"security.protocol": "SSL"}
    assert settings.dataset("ohlcv.us.1d").partitions == 7


def test_client_properties_may_be_written_without_quotes(load: Load) -> None:
    settings = load("[kafka.client]\nsasl.username = 'u'\nsocket.keepalive.enable = true\n")
    assert settings.kafka.client == {"sasl.username": "u", "socket.keepalive.enable": True}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SEAMLESS_CONFIG", ""),
        ("SEAMLESS_STACK_DIR", "/somewhere"),
        ("SEAMLESS_CACHE_DIR", "/somewhere"),
        ("SEAMLESS_STACK_KAFKA_HEAP", "512m"),
        ("SEAMLESS_COORDINATOR_SERVICE_HOST", "10.0.0.1"),
        ("SEAMLESS_COORDINATOR_PORT_8300_TCP_ADDR", "10.0.0.1"),
        ("SEAMLESS_PORT", "tcp://10.0.0.1:80"),
        ("SEAMLESSLY", "unrelated"),
    ],
)
def test_variables_of_other_uses_are_left_alone(load: Load, variable: str, text: str) -> None:
    assert load(env={variable: text}) == Settings()


@pytest.mark.parametrize(
    ("text", "env", "expected"),
    [
        (
            "[conformance]\nmod = 1",
            {},
            ["seamless.conformance.mod", "given.toml", "seamless.conformance.mode"],
        ),
        ("wrld = 'a'", {}, ["seamless.wrld", "seamless.world"]),
        (
            DATASET + "intervl = '1d'",
            {},
            ['seamless.datasets."ohlcv.us.1d".intervl', '."ohlcv.us.1d".interval?'],
        ),
        ("", {"SEAMLESS_WRLD": "a"}, ["seamless.wrld", "SEAMLESS_WRLD", "SEAMLESS_WORLD"]),
        ("", {"SEAMLESS_KAFKA_BOOTSTRAP_SERVERS": "a:1"}, ["SEAMLESS_KAFKA__BOOTSTRAP_SERVERS?"]),
        ("", {"SEAMLESS_BOOTSTRAP_SERVERS": "a:1"}, ["SEAMLESS_KAFKA__BOOTSTRAP_SERVERS?"]),
        ("", {"SEAMLESS_ZZZZ": "a"}, ["seamless.zzzz", "Remove it"]),
        ("", {"SEAMLESS_PORT": "80"}, ["seamless.port", "SEAMLESS_METRICS__PORT?"]),
        ("", {"SEAMLESS_DATASETS__NOPE__MODE": "shadow"}, ["SEAMLESS_DATASETS__NOPE__MODE", "no dataset"]),
        ("[datasets.ohlcv.us.1d]\ncontract = 'ohlcv'", {}, ["seamless.datasets.ohlcv.us", "in quotes"]),
        ("kafka = 'a:1'", {}, ["seamless.kafka", "is a table", "seamless.kafka.<name>"]),
    ],
)
def test_an_unknown_setting_is_refused_with_its_name_its_source_and_a_suggestion(
    load: Load, text: str, env: dict[str, str], expected: list[str]
) -> None:
    message = refusal(load, text, env)
    assert [part for part in expected if part not in message] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("world = 'Live'", "'Live': a world's name is"),
        ("world = 'a.b'", "seamless.world"),
        (f"world = '{'a' * 41}'", "at most 40"),
        ("[conformance]\nmode = 'loud'", "'shadow' or 'blocking'"),
        ("[conformance]\nmemory = 4097", "4096"),
        ("[quarantine]\nmax_share = 1.5", "less than or equal to 1"),
        ("[normalizer]\ncommit_interval_ms = 5000", "must be less than transaction_timeout_ms"),
        ("[metrics]\nport = 70000", "65535"),
        ("[kafka]\nbootstrap_servers = 'localhost'", "host:port"),
        ("[kafka]\nbootstrap_servers = 'http://localhost:9092/x'", "host:port"),
        ("[kafka.client]\nfoo = ['a']", "neither text, nor a number"),
        ("[registry]\nuser = 'u'", "user and password belong together"),
        ("[registry]\nuser = 'u'\npassword = 'p'\nbearer_token = 't'", "exclude each other"),
        ("[registry]\nkey_path = 'k'", "needs cert_path"),
        ("[registry]\nurl = 'localhost'", "seamless.registry.url"),
        ("[topics]\nreplication_factor = 0", "at least 1"),
        ("[topics]\nreplication_factor = 2\nmin_insync_replicas = 3", "nothing could be written"),
        ("coordinator_url = 'nowhere'", "seamless.coordinator_url"),
        ("[datasets.x]", "contract: is needed"),
        ("[datasets.x]\ncontract = 'Bad Name'", "seamless.datasets.x.contract"),
        ("[datasets.x]\ncontract = 'trade'\ncalendar = 'XNYZ'", "no such trading calendar"),
        ("[datasets.x]\ncontract = 'trade'\ntimezone = 'Mars'", "no such time zone"),
        ("[datasets.x]\ncontract = 'ohlcv'\ninterval = '2d'", "longer than a day"),
        ("[datasets.x]\ncontract = 'ohlcv'\ninterval = '7m'", "divide a day"),
        ("[datasets.x]\ncontract = 'ohlcv'\ninterval = '0s'", "is no duration"),
        ("[datasets.x]\ncontract = 'ohlcv'\nlateness = 'soon'", "is no duration"),
        ("[datasets.x]\ncontract = 'ohlcv'\nretention = '5ms'", "shorter than a second"),
        ("[datasets.x]\ncontract = 'ohlcv'\npartitions = 0", "greater than or equal to 1"),
        ("[datasets.X]\ncontract = 'ohlcv'", "lower-case"),
        ("[datasets.'a..b']\ncontract = 'ohlcv'", "single dots"),
        ("[datasets.'state.x']\ncontract = 'ohlcv'", "may not begin with the word state"),
        (f"[datasets.{'a' * 220}]\ncontract = 'ohlcv'", "too long"),
        ("[datasets.'a.b']\ncontract = 'ohlcv'\n[datasets.a_b]\ncontract = 'ohlcv'", "a.b and a_b"),
    ],
)
def test_a_wrong_or_contradictory_value_is_refused_with_the_reason(load: Load, text: str, expected: str) -> None:
    assert expected in refusal(load, text)


def test_all_problems_of_all_sources_are_listed_at_once(load: Load) -> None:
    message = refusal(load, "wrld = 'a'\n[conformance]\nmemory = 0\n", {"SEAMLESS_METRICS__PORT": "x"}, world="A")
    assert "refused for 4 reasons" in message
    for name in (
        "seamless.wrld",
        "seamless.conformance.memory",
        "SEAMLESS_METRICS__PORT",
        "the command line",
    ):
        assert name in message


@pytest.mark.parametrize("name", sorted(OWNED_PROPERTIES))
def test_properties_that_exactly_once_depends_on_are_refused_with_the_reason(load: Load, name: str) -> None:
    message = refusal(load, f'[kafka.client]\n"{name}" = "1"\n')
    assert f'seamless.kafka.client."{name}"' in message or f"seamless.kafka.client.{name}" in message
    assert OWNED_PROPERTIES[name] in message


SECRETS = [
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.pem",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_property_reaches_the_client_and_no_repr(name: str) -> None:
    settings = Settings(kafka=KafkaSettings(client={name: SECRET}))
    assert settings.kafka.client_config()[name] == SECRET
    for shown in (repr(settings), str(settings), repr(settings.kafka), settings.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize("name", ["sasl.username", "ssl.key.location", "sasl.oauthbearer.token.endpoint.url"])
def test_properties_that_are_no_secrets_are_shown(name: str) -> None:
    assert "visible" in repr(KafkaSettings(client={name: "visible"}))


@pytest.mark.parametrize(
    ("text", "env"),
    [
        (f"[registry]\npassword = '{SECRET}'", {}),
        (f"[registry]\npasword = '{SECRET}'", {}),
        (f"[registry]\nurl = 'http://u:{SECRET}@host:1'", {}),
        (f"[registry]\nbearer_token = ['{SECRET}']", {}),
        (f"coordinator_url = 'http://u:{SECRET}@host:1'", {}),
        (f"[kafka.client]\nsasl.password = ['{SECRET}']", {}),
        (f"[kafka]\nclient = '{SECRET}'", {}),
        (f"[kafka]\nbootstrap_servers = 'sasl://u:{SECRET}@host:1'", {}),
        ("", {"SEAMLESS_REGISTRY__PASSWORDD": SECRET}),
        ("", {"SEAMLESS_KAFKA__CLIENT__GROUP_ID": SECRET}),
    ],
)
def test_no_refusal_ever_shows_a_secret(load: Load, text: str, env: dict[str, str]) -> None:
    assert SECRET not in refusal(load, text, env)


def test_config_show_masks_secrets_and_says_where_values_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAMLESS_KAFKA__CLIENT__SASL_PASSWORD", SECRET)
    monkeypatch.setenv("SEAMLESS_REGISTRY__PASSWORD", SECRET)
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "no-stack"))
    file = tmp_path / "seamless.toml"
    file.write_text("[registry]\nuser = 'u'\n" + DATASET)
    for options in ([], ["--json"]):
        result = CliRunner().invoke(config_command.app, ["show", "--config", str(file), "--world", "paper", *options])
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
    rows = {row["name"]: (row["value"], row["from"]) for row in json.loads(result.stdout)}
    assert rows["seamless.world"] == ("paper", "the command line")
    assert rows["seamless.registry.user"] == ("u", str(file))
    assert rows["seamless.registry.password"] == ("********", "SEAMLESS_REGISTRY__PASSWORD")
    assert rows['seamless.kafka.client."sasl.password"'][0] == "********"
    assert rows["seamless.conformance.mode"] == ("shadow", "default")


@pytest.mark.parametrize(("text", "code"), [("world = 'paper'", 0), ("wrld = 'paper'", 2)])
def test_config_check_says_in_json_and_exit_code_whether_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int
) -> None:
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "no-stack"))
    file = tmp_path / "seamless.toml"
    file.write_text(text)
    result = CliRunner().invoke(config_command.app, ["check", "--config", str(file), "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout)["ok"] is (code == 0)


def test_config_check_refuses_a_property_that_librdkafka_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "no-stack"))
    file = tmp_path / "seamless.toml"
    file.write_text("[kafka.client]\nno.such.thing = 1\n")
    result = CliRunner().invoke(config_command.app, ["check", "--config", str(file), "--json"])
    assert "no.such.thing" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize(
    ("dataset", "where", "says"),
    [
        ('contract = "nix"', "contract (from ", "use one of ohlcv, quote, trade"),
        ('contract = "gone.avsc"', "contract (from ", "the path of an .avsc file"),
        (
            'contract = "trade"\ninterval = "1d"',
            "interval (from ",
            "trade_id tells its rows apart; leave the interval out",
        ),
        ('contract = "quote"\ninterval = "1m"', "interval (from ", "sequence tells its rows apart"),
        ('contract = "ohlcv"\nraw_schema = "gone.avsc"', "raw_schema (from ", "not a readable Avro schema"),
        (
            'contract = "ohlcv"\nraw_schema = "thin.avsc"',
            "raw_schema (from ",
            "has neither 'open' nor one of its aliases",
        ),
    ],
)
def test_config_check_refuses_a_dataset_that_does_not_fit_its_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, where: str, says: str
) -> None:
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "no-stack"))
    fields = [{"name": name, "type": "string"} for name in ("symbol", "event_time")]
    (tmp_path / "thin.avsc").write_text(json.dumps({"type": "record", "name": "Thin", "fields": fields}))
    file = tmp_path / "seamless.toml"
    file.write_text(f'[datasets."a.b"]\n{dataset}\n')
    result = CliRunner().invoke(config_command.app, ["check", "--config", str(file), "--json"])
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert f'seamless.datasets."a.b".{where}' in error
    assert says in error


def test_config_check_takes_ticks_without_an_interval_and_bars_with_or_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAMLESS_STACK_DIR", str(tmp_path / "no-stack"))
    file = tmp_path / "seamless.toml"
    file.write_text(
        '[datasets.a]\ncontract = "trade"\n[datasets.b]\ncontract = "ohlcv"\n'
        '[datasets.c]\ncontract = "ohlcv"\ninterval = "1m"\n'
    )
    result = CliRunner().invoke(config_command.app, ["check", "--config", str(file), "--json"])
    assert json.loads(result.stdout)["ok"] is True


def test_origins_name_the_variable_the_file_or_the_stack(tmp_path: Path) -> None:
    file = tmp_path / "seamless.toml"
    file.write_text("world = 'paper'")
    loaded = load_with_origins(file, {"SEAMLESS_LOG__LEVEL": "debug"}, stack=FakeState)
    kinds = {dotted(where): origin.kind for where, origin in loaded.origins.items()}
    assert kinds == {
        "seamless.world": "file",
        "seamless.log.level": "env",
        "seamless.kafka.bootstrap_servers": "stack",
        "seamless.registry.url": "stack",
    }


def test_the_mode_of_a_dataset_is_its_own_or_else_the_general_one(load: Load) -> None:
    settings = load(
        "[conformance]\nmode = 'blocking'\n[datasets.a]\ncontract = 'ohlcv'\n"
        "[datasets.b]\ncontract = 'ohlcv'\nmode = 'shadow'\n"
    )
    assert (settings.mode_of("a"), settings.mode_of("b")) == ("blocking", "shadow")


def test_an_unknown_dataset_is_refused_with_the_known_ones(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"'nope'.*ohlcv\.us\.1d"):
        load(DATASET).mode_of("nope")


@pytest.mark.parametrize(
    ("interval", "ns"),
    [(None, None), ("100ms", 10**8), ("30s", 30 * 10**9), ("5m", 300 * 10**9), ("1d", 86_400 * 10**9)],
)
def test_intervals_are_nanoseconds_and_ticks_have_none(interval: str | None, ns: int | None) -> None:
    assert DatasetSettings(contract="ohlcv", interval=interval).interval_ns() == ns


@pytest.mark.parametrize(("retention", "ms"), [("30d", 2_592_000_000), ("1s", 1_000), ("forever", -1)])
def test_retention_is_milliseconds_and_for_ever_is_minus_one(retention: str, ms: int) -> None:
    assert DatasetSettings(contract="ohlcv", retention=retention).retention_ms() == ms


def test_settings_cannot_be_changed_once_read(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().world = "other"  # type: ignore[misc]


def test_the_calendar_names_are_those_of_the_library() -> None:
    assert calendar_names() == set(exchange_calendars.get_calendar_names(include_aliases=True))


def is_in(tables: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Say whether a path of names leads to something in nested tables."""
    found: Any = tables
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def test_the_example_file_mentions_every_setting_and_is_accepted() -> None:
    example = Path(__file__).parents[2] / "seamless.toml"
    settings = load_settings(example, {}, stack=lambda: None)
    assert settings.mode_of("ohlcv.us.1d") == "blocking"
    assert settings.dataset("trade.us").interval_ns() is None
    assert "quote.us" in settings.datasets
    text = example.read_text()
    all_in_use = tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.M))
    all_in_use["datasets"]["<dataset>"] = all_in_use["datasets"]["ohlcv.us.1d"]
    promises = all_in_use["sla"]
    policy = promises["presets"]["<preset>"] = promises["presets"]["overnight"]  # the other tables take the same fields
    promises["datasets"]["<dataset>"] = policy | promises["datasets"]["ohlcv.us.1d"]
    consumer = promises["consumers"]["<consumer>"] = policy | promises["consumers"]["momentum"]
    consumer["datasets"] = {"<dataset>": policy | consumer["datasets"]["ohlcv.us.1d"]}
    objective = promises["objectives"]["<objective>"] = promises["objectives"]["morning"]
    objective["burn"] = {"<burn>": objective["burn"][0]}
    # A file is the wrong place for secrets, so they are named as variables.
    secret = {p for p in known_names(Settings) if p[-1] in ("password", "bearer_token", "token")}
    assert [p for p in known_names(Settings) if p not in secret and not is_in(all_in_use, p)] == []
    assert [p for p in secret if f"SEAMLESS_{'__'.join(p).upper()}" not in text] == []
