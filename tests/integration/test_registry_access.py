"""The registry behind TLS and credentials: who has them works as everybody does, who has not learns what to set."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from operations.stack import EmbeddedStack
from streams.errors import RegistryError
from streams.registry import Registry, RegistryUnavailable
from streams.schema_bundle import Bundle, BundledSubject
from streams.schema_moving import _import_as_apicurio, export_subjects, import_subjects
from streams.settings import RegistrySettings
from tests.support.evolutions import record
from tests.support.gatekeeper import Gatekeeper, certify

pytestmark = pytest.mark.kafka

BAR = record({"name": "a", "type": "long"})
PASSWORD = "correct horse"
BASIC = "Basic " + b64encode(f"team:{PASSWORD}".encode()).decode()


@pytest.fixture
def door(tmp_path: Path) -> tuple[Path, Path]:
    return certify(tmp_path, "door")


def works(settings: RegistrySettings, subject: str) -> bool:
    """Do what a process does with a registry."""
    with Registry(settings) as registry:
        done = registry.register(subject, BAR)
        return registry.schema_by_id(done.id) == BAR and registry.versions(subject) == [1]


@pytest.mark.parametrize(
    ("authorization", "right", "wrong"),
    [
        (
            BASIC,
            {"user": "team", "password": SecretStr(PASSWORD)},
            {"user": "team", "password": SecretStr("battery staple")},
        ),
        ("Bearer abc.def", {"bearer_token": SecretStr("abc.def")}, {"bearer_token": SecretStr("expired")}),
    ],
    ids=["basic", "bearer"],
)
def test_credentials_over_tls_are_let_in_and_wrong_ones_are_told_what_to_set(
    stack: EmbeddedStack,
    world: str,
    door: tuple[Path, Path],
    authorization: str,
    right: dict[str, object],
    wrong: dict[str, object],
) -> None:
    with Gatekeeper(stack.registry_url, *door, authorization=authorization) as gate:
        known = {"url": gate.url, "ca_path": str(door[0]), "timeout": 20.0}
        assert works(RegistrySettings.model_validate(known | right), f"{world}-value")
        for refused in (wrong, {}):
            settings = RegistrySettings.model_validate(known | refused)
            with pytest.raises(RegistryError, match=r"HTTP 401.*seamless\.registry\.user and password") as told:
                works(settings, f"{world}-value")
            assert not isinstance(told.value, RegistryUnavailable)
            assert "battery" not in str(told.value)


def test_a_server_that_nobody_vouches_for_is_not_talked_to(
    stack: EmbeddedStack, world: str, door: tuple[Path, Path]
) -> None:
    with Gatekeeper(stack.registry_url, *door) as gate:
        assert works(RegistrySettings(url=gate.url, ca_path=str(door[0]), timeout=20.0), f"{world}-value")
        with pytest.raises(RegistryUnavailable, match="certificate"):
            works(RegistrySettings(url=gate.url), f"{world}-value")


def test_a_client_shows_its_own_certificate_where_one_is_asked_for(
    stack: EmbeddedStack, world: str, tmp_path: Path, door: tuple[Path, Path]
) -> None:
    cert, key = certify(tmp_path, "client")
    with Gatekeeper(stack.registry_url, *door, clients=cert) as gate:
        known = {"url": gate.url, "ca_path": str(door[0]), "timeout": 20.0}
        both = {"cert_path": str(cert), "key_path": str(key)}
        assert works(RegistrySettings.model_validate(known | both), f"{world}-value")
        with pytest.raises(RegistryUnavailable):
            works(RegistrySettings.model_validate(known), f"{world}-value")


def test_subjects_are_imported_through_the_same_door(stack: EmbeddedStack, world: str, door: tuple[Path, Path]) -> None:
    subject = f"{world}-value"
    with Registry(RegistrySettings(url=stack.registry_url)) as registry:
        registry.register(subject, BAR)
        bundle = export_subjects(registry, [subject])
    moved = BundledSubject(
        f"{subject}-moved", "FULL", (replace(bundle.subjects[0].versions[0], subject=f"{subject}-moved"),)
    )
    with Gatekeeper(stack.registry_url, *door, authorization=BASIC) as gate:
        known = {"url": gate.url, "ca_path": str(door[0]), "timeout": 20.0, "user": "team"}
        settings = RegistrySettings.model_validate(known | {"password": SecretStr(PASSWORD)})
        with Registry(settings) as registry:
            (done,) = import_subjects(registry, settings, Bundle((moved,)))
            assert registry.stored(moved.name, 1) == done
            assert done.id == bundle.subjects[0].versions[0].id
        with pytest.raises(RegistryError, match="HTTP 401"):
            _import_as_apicurio(settings.model_copy(update={"password": SecretStr("wrong")}), [done])
