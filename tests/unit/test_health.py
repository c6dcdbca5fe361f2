"""Health: the worst part decides, silence counts as stopped, and the server tells it over HTTP."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from streams.errors import SettingsError
from streams.health import Health, HealthServer, Status
from streams.metrics import Metrics
from streams.settings import MetricsSettings


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[HealthServer]:
    with HealthServer(MetricsSettings(), Metrics("live"), health) as running:
        yield running


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.url}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], Status.OK),
        ([Status.OK, Status.OK], Status.OK),
        ([Status.OK, Status.DEGRADED], Status.DEGRADED),
        ([Status.STOPPED, Status.DEGRADED], Status.STOPPED),
    ],
)
def test_the_worst_part_decides(health: Health, parts: list[Status], expected: Status) -> None:
    for number, status in enumerate(parts):
        health.set(f"part {number}", status, "why")
    assert health.report().status is expected


def test_a_part_that_recovers_leaves_no_reason_behind(health: Health) -> None:
    health.set("registry", Status.DEGRADED, "unreachable")
    assert health.report().reasons == ("registry: unreachable",)
    health.set("registry", Status.OK)
    assert health.report().reasons == ()


def test_a_bad_status_without_a_reason_is_a_bug(health: Health) -> None:
    with pytest.raises(ValueError, match="no reason"):
        health.set("registry", Status.STOPPED)


def test_a_loop_that_falls_silent_is_stopped_until_it_beats_again() -> None:
    now = [100.0]
    health = Health(silence_limit=30, monotonic=lambda: now[0])
    now[0] = 130.0
    assert health.report().status is Status.OK
    now[0] = 131.0
    assert health.report().status is Status.STOPPED
    health.beat()
    assert health.report().status is Status.OK


def test_one_silent_loop_among_several_is_named_and_one_that_ended_is_not_missed() -> None:
    now = [0.0]
    health = Health(silence_limit=30, loops=["bars", "trades"], monotonic=lambda: now[0])
    now[0] = 31.0
    health.beat("bars")
    report = health.report()
    assert (report.status, report.reasons) == (Status.STOPPED, ("trades: silent for 31 s, more than 30 s",))
    health.ended("trades")
    assert health.report().status is Status.OK


@pytest.mark.parametrize(("status", "code"), [(Status.OK, 200), (Status.DEGRADED, 200), (Status.STOPPED, 503)])
def test_healthz_answers_503_only_when_stopped(server: HealthServer, health: Health, status: Status, code: int) -> None:
    health.set("dataset x", status, "too much is bad")
    answered, body = get(server, "/healthz")
    assert answered == code
    reasons = [] if status is Status.OK else ["dataset x: too much is bad"]
    assert json.loads(body) == {"status": status.value, "reasons": reasons}


def test_metrics_are_served_in_the_text_format(server: HealthServer) -> None:
    code, body = get(server, "/metrics")
    assert code == 200
    assert "# TYPE seamless_build_info gauge" in body


def test_any_other_path_is_not_found(server: HealthServer) -> None:
    assert get(server, "/admin")[0] == 404


def test_a_taken_port_is_refused_with_the_remedy(server: HealthServer, health: Health) -> None:
    port = int(str(server.url).rpartition(":")[2])
    second = HealthServer(MetricsSettings(port=port), Metrics("live"), health)
    with pytest.raises(SettingsError, match=rf"port {port}: the port is taken.*seamless\.metrics\.port"):
        second.start()
    assert second.url is None


def test_an_address_of_another_machine_is_refused_with_the_remedy(health: Health) -> None:
    with pytest.raises(SettingsError, match=r"seamless\.metrics\.host"):
        HealthServer(MetricsSettings(host="192.0.2.1"), Metrics("live"), health).start()


def test_stopping_frees_the_port_and_may_be_repeated(health: Health) -> None:
    server = HealthServer(MetricsSettings(), Metrics("live"), health)
    server.start()
    port = int(str(server.url).rpartition(":")[2])
    server.stop()
    server.stop()
    assert server.url is None
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_disabled_server_serves_nothing(health: Health) -> None:
    with HealthServer(MetricsSettings(enabled=False), Metrics("live"), health) as server:
        assert server.url is None
