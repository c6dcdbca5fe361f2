"""docker-compose.yml is valid, and runs the same parts at the same settings as the embedded stack."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from jsonschema import Draft201909Validator

from coordinator.service.server import DRAIN_S
from operations.stack.settings import (
    BROKER_SETTINGS,
    KAFKA_HEAP,
    KAFKA_VERSION,
    REGISTRY_API,
    REGISTRY_HEAP,
    REGISTRY_SETTINGS,
    REGISTRY_VERSION,
)
from streams.cli import app
from streams.settings import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
OURS = ("alert-bridge", "archiver", "coordinator", "normalizer", "setup", "sla-agent", "worker")

KAFKA_PLACES = {
    "KAFKA_ADVERTISED_LISTENERS",
    "KAFKA_CONTROLLER_LISTENER_NAMES",
    "KAFKA_CONTROLLER_QUORUM_VOTERS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_INTER_BROKER_LISTENER_NAME",
    "KAFKA_LISTENERS",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
    "KAFKA_LOG_DIRS",
}
"""What is about addresses, folders and the JVM, and so differs from the embedded stack."""
REGISTRY_PLACES = {"APICURIO_KAFKASQL_BOOTSTRAP_SERVERS", "JAVA_TOOL_OPTIONS"}


def of_kafka(property_name: str) -> str:
    """Return the variable that the Kafka image turns into a property."""
    assert not set(property_name) & set("_-"), "the image has rules of its own for those"
    return "KAFKA_" + property_name.upper().replace(".", "_")


def of_registry(property_name: str) -> str:
    """Return the variable that stands for a property by the rule of MicroProfile Config."""
    return re.sub(r"[^A-Z0-9]", "_", property_name.upper())


def test_it_is_valid_by_the_compose_specification() -> None:
    schema = json.loads(Path(__file__).with_name("compose_spec.json").read_text("utf-8"))
    problems = [
        f"{'/'.join(map(str, error.path))}: {error.message}"
        for error in Draft201909Validator(schema).iter_errors(COMPOSE)
    ]
    assert problems == []


def test_the_specification_would_refuse_a_misspelt_key() -> None:
    schema = json.loads(Path(__file__).with_name("compose_spec.json").read_text("utf-8"))
    broken = {"services": {"kafka": {"image": "apache/kafka", "health_check": {}}}}
    assert not Draft201909Validator(schema).is_valid(broken)


def test_the_images_are_of_the_embedded_versions() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert SERVICES["registry"]["image"] == f"apicurio/apicurio-registry:{REGISTRY_VERSION}"


def test_the_broker_has_the_embedded_settings_and_no_others() -> None:
    environment = SERVICES["kafka"]["environment"]
    same = {name: value for name, value in environment.items() if name not in KAFKA_PLACES}
    assert same == {of_kafka(name): value for name, value in BROKER_SETTINGS.items()}
    assert environment["KAFKA_HEAP_OPTS"] == f"-Xmx{KAFKA_HEAP}"


def test_the_registry_has_the_embedded_settings_and_no_others() -> None:
    environment = SERVICES["registry"]["environment"]
    same = {name: value for name, value in environment.items() if name not in REGISTRY_PLACES}
    assert same == {of_registry(name): value for name, value in REGISTRY_SETTINGS.items()}
    assert environment["JAVA_TOOL_OPTIONS"] == f"-Xmx{REGISTRY_HEAP}"


def test_everyone_reaches_the_broker_by_the_listener_it_advertises_to_containers() -> None:
    advertised = dict(
        entry.split("://") for entry in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    )
    assert SERVICES["registry"]["environment"]["APICURIO_KAFKASQL_BOOTSTRAP_SERVERS"] == advertised["INTERNAL"]
    for name in OURS:
        assert SERVICES[name]["environment"]["SEAMLESS_KAFKA__BOOTSTRAP_SERVERS"] == advertised["INTERNAL"]
    published = advertised["EXTERNAL"].rpartition(":")[2]
    assert SERVICES["kafka"]["ports"] == [f"127.0.0.1:{published}:{published}"]


@pytest.mark.parametrize("name", OURS)
def test_our_processes_get_settings_that_are_accepted(name: str) -> None:
    service = SERVICES[name]
    environment = {key: value for key, value in service["environment"].items() if key != "SEAMLESS_CONFIG"}
    settings = load_settings(ROOT / "seamless.toml", environment, stack=lambda: None)
    assert settings.kafka.bootstrap_servers == "kafka:19092"
    assert str(settings.registry.url) == f"http://registry:8080{REGISTRY_API}"
    mounted = f"./seamless.toml:{service['environment']['SEAMLESS_CONFIG']}:ro"
    assert mounted in service["volumes"]


@pytest.mark.parametrize("name", ["alert-bridge", "archiver", "normalizer", "sla-agent", "worker"])
def test_a_process_is_asked_for_its_health_where_it_serves_it(name: str) -> None:
    service = SERVICES[name]
    port = service["environment"]["SEAMLESS_METRICS__PORT"]
    assert service["expose"] == [port]
    assert f"127.0.0.1:{port}/healthz" in " ".join(service["healthcheck"]["test"])


def test_the_coordinator_is_asked_whether_it_is_ready_and_brings_no_token_of_its_own() -> None:
    service = SERVICES["coordinator"]
    port = service["environment"]["SEAMLESS_COORDINATOR__PORT"]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"127.0.0.1:{port}/readyz" in " ".join(service["healthcheck"]["test"])
    assert service["environment"]["SEAMLESS_COORDINATOR__TOKEN"] == "${SEAMLESS_COORDINATOR__TOKEN:-}"


def test_every_command_that_a_service_runs_is_there() -> None:
    root: Any = typer.main.get_command(app)
    for name in OURS:
        for command in " ".join(SERVICES[name]["command"]).split("&&"):
            found = root
            for word in command.split():
                if word != "seamless":
                    assert word in found.commands, f"{name} runs `{command.strip()}`"
                    found = found.commands[word]


def test_a_service_is_given_more_time_to_end_than_it_takes_at_most() -> None:
    settings = load_settings(ROOT / "seamless.toml", {}, stack=lambda: None)
    grace = {name: int(SERVICES[name]["stop_grace_period"].removesuffix("s")) for name in ("coordinator", "worker")}
    assert grace["worker"] > settings.backfill.drain_deadline_s + settings.backfill.revoke_deadline_s
    assert grace["coordinator"] > 2 * DRAIN_S


def test_every_service_has_a_health_check_and_waits_for_ones_that_can_tell() -> None:
    for name, service in SERVICES.items():
        assert "healthcheck" in service, name
        for needed, how in service.get("depends_on", {}).items():
            one_shot = SERVICES[needed]["healthcheck"].get("disable", False)
            expected = "service_completed_successfully" if one_shot else "service_healthy"
            assert how["condition"] == expected, f"{name} waits for {needed}"


def test_data_is_kept_in_named_volumes() -> None:
    folder = SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    (volume,) = SERVICES["kafka"]["volumes"]
    assert volume == f"kafka-data:{folder}"
    assert "kafka-data" in COMPOSE["volumes"]


def test_the_archive_is_kept_in_a_named_volume_that_its_process_may_write() -> None:
    archiver = SERVICES["archiver"]
    url = archiver["environment"]["SEAMLESS_ARCHIVE__URL"]
    assert f"archive-data:{url}" in archiver["volumes"]
    assert "archive-data" in COMPOSE["volumes"]
    assert f"-o seamless {url}" in DOCKERFILE


def test_nothing_is_published_beyond_this_machine() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_the_image_is_built_from_locks_and_runs_without_root() -> None:
    assert "FROM python:3.11-slim\n" in DOCKERFILE
    installs = [line for line in DOCKERFILE.splitlines() if line.startswith("RUN pip install")]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-deps" in line, line
    assert "COPY locks/runtime.txt" in DOCKERFILE
    after_the_last_user = DOCKERFILE.rpartition("USER ")[2]
    assert after_the_last_user.split()[0] not in {"root", "0"}


def test_the_image_is_given_all_that_it_copies() -> None:
    wanted = {
        line.split()[1].split("/")[0]
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
    } | {"README.md", "LICENSE"}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert wanted <= allowed
    assert all((ROOT / name).exists() for name in wanted)
