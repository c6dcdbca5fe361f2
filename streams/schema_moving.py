"""Moves subjects between registries, with the ids that records carry: what was written stays readable."""

from __future__ import annotations

import io
import json
import ssl
import zipfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from streams.errors import RegistryError
from streams.registry import Registry, StoredVersion
from streams.registry_errors import UnknownSchemaId
from streams.schema_bundle import Bundle, BundledSubject
from streams.settings_kafka import RegistrySettings

__all__ = ["export_subjects", "import_subjects"]

_CONFLUENT_PATH = "/apis/ccompat/"  # where Apicurio has the Confluent API
_APICURIO_IMPORT = "/apis/registry/v3/admin/import?requireEmptyRegistry=false"


def export_subjects(registry: Registry, subjects: Iterable[str]) -> Bundle:
    """Return subjects with all their versions, and those that they refer to.

    Raises:
        RegistryError: if a subject does not exist, is not Avro, or the registry does not answer.
    """
    found: dict[str, BundledSubject] = {}
    wanted = list(subjects)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        versions = [v for number in registry.versions(name) if (v := registry.stored(name, number)) is not None]
        if not versions:
            raise RegistryError(f"the registry at {registry.url} has no subject {name}: correct the name")
        found[name] = BundledSubject(name, registry.compatibility(name), tuple(versions))
        wanted += [subject for v in versions for _, subject, _ in v.references]
    return Bundle(tuple(found[name] for name in sorted(found)))


def import_subjects(
    registry: Registry,
    settings: RegistrySettings,
    bundle: Bundle,
    progress: Callable[[int], None] = lambda _: None,
) -> list[StoredVersion]:
    """Register what a registry does not have yet, under the same ids and versions; return it.

    Nothing is written if an id or a version stands for something else there. Run again it goes on where it stopped.

    Args:
        progress: told the number of versions so far.

    Raises:
        RegistryError: if something else stands there, or the registry keeps no ids.
    """
    missing = _missing(registry, bundle)
    if not missing:
        return []
    try:
        if _CONFLUENT_PATH in urlsplit(settings.url).path:
            # Apicurio takes ids over its Confluent API, says yes, and gives its own; its own API keeps them.
            _import_in_rounds(registry, settings, missing, progress)
        else:
            _import_as_confluent(registry, missing, progress)
    finally:  # no subject may stay without its guard
        for subject in bundle.subjects:
            registry.set_compatibility(subject.name, subject.compatibility)
    wrong = [v for v in missing if (found := registry.stored(v.subject, v.version)) is None or found.id != v.id]
    if wrong:
        named = ", ".join(f"{v.subject}@{v.version} (id {v.id})" for v in wrong[:5])
        raise RegistryError(
            f"the registry at {registry.url} did not keep the ids of {len(wrong)} versions: {named}. Records that "
            "carry them cannot be read there. Import into an empty registry that keeps ids."
        )
    return missing


def _missing(registry: Registry, bundle: Bundle) -> list[StoredVersion]:
    """Return what is not there yet; raise RegistryError for what is there and is something else."""
    missing, clashes = [], []
    for version in bundle.stored():
        there = registry.stored(version.subject, version.version)
        if there is not None:
            if there.id != version.id or json.loads(there.text) != json.loads(version.text):
                clashes.append(f"{version.subject}@{version.version} is id {there.id} there, and {version.id} here")
            continue
        try:
            other = registry.schema_by_id(version.id)
        except UnknownSchemaId:
            pass
        else:
            if not version.references and other != json.loads(version.text):
                clashes.append(f"id {version.id} is another schema there than {version.subject}@{version.version}")
        missing.append(version)
    if clashes:
        raise RegistryError(
            f"nothing was imported: the registry at {registry.url} has something else: {'; '.join(clashes[:5])}"
            f"{f'; and {len(clashes) - 5} more' if len(clashes) > 5 else ''}. Import into an empty registry, or leave "
            "these subjects out."
        )
    return missing


def _import_as_confluent(registry: Registry, missing: list[StoredVersion], progress: Callable[[int], None]) -> None:
    """Use the import mode of the Confluent API, subject by subject; it is taken back whatever happens."""
    done = 0
    for subject, versions in _by_subject(missing).items():
        path = quote(subject, safe="")
        registry.call("PUT", f"mode/{path}?force=true", {"mode": "IMPORT"})
        try:
            for version in versions:
                references = [{"name": n, "subject": s, "version": v} for n, s, v in version.references]
                body = {"schema": version.text, "id": version.id, "version": version.version, "references": references}
                registry.call("POST", f"subjects/{path}/versions", body)
                done += 1
                progress(done)
        finally:
            registry.call("PUT", f"mode/{path}", {"mode": "READWRITE"})


def _import_in_rounds(
    registry: Registry, settings: RegistrySettings, missing: list[StoredVersion], progress: Callable[[int], None]
) -> None:
    """Import what Apicurio does not have, and register under the other subjects what it has: it then keeps the id.

    Its import refuses contents that are there already, and versions are numbered as they come, so the two take turns.
    """
    left = _by_subject(missing)
    for subject in left:
        registry.set_compatibility(subject, "NONE")
    while any(left.values()):
        for subject, versions in left.items():
            while versions and _knows(registry, versions[0].id):
                version = versions.pop(0)
                references = [{"name": n, "subject": s, "version": v} for n, s, v in version.references]
                body = {"schema": version.text, "references": references}
                registry.call("POST", f"subjects/{quote(subject, safe='')}/versions", body)
        fresh: list[StoredVersion] = []
        for versions in left.values():
            while versions and not _knows(registry, versions[0].id):
                fresh.append(versions.pop(0))
        if fresh:
            _import_as_apicurio(settings, fresh)
        progress(len(missing) - sum(map(len, left.values())))


def _knows(registry: Registry, schema_id: int) -> bool:
    try:
        registry.schema_by_id(schema_id)
    except UnknownSchemaId:
        return False
    return True


def _by_subject(versions: list[StoredVersion]) -> dict[str, list[StoredVersion]]:
    found: dict[str, list[StoredVersion]] = {}
    for version in sorted(versions, key=lambda v: v.version):
        found.setdefault(version.subject, []).append(version)
    return found


def _import_as_apicurio(settings: RegistrySettings, missing: list[StoredVersion]) -> None:
    parts = urlsplit(settings.url)
    url = f"{parts.scheme}://{parts.netloc}{parts.path.partition(_CONFLUENT_PATH)[0]}{_APICURIO_IMPORT}"
    headers = {
        "Content-Type": "application/zip",
        "X-Registry-Preserve-GlobalId": "false",
        "X-Registry-Preserve-ContentId": "true",
    }
    auth = None
    if settings.user is not None and settings.password is not None:
        auth = httpx.BasicAuth(settings.user, settings.password.get_secret_value())
    if settings.bearer_token is not None:
        headers["Authorization"] = f"Bearer {settings.bearer_token.get_secret_value()}"
    try:
        with httpx.Client(auth=auth, verify=_trust(settings), timeout=settings.timeout) as client:
            answer = client.post(url, content=_apicurio_zip(missing), headers=headers)
    except (httpx.HTTPError, OSError) as error:
        raise RegistryError(f"the registry at {url} does not take an import: {error}. Try again later.") from error
    if answer.status_code >= 300:
        raise RegistryError(
            f"the registry at {url} does not take an import (HTTP {answer.status_code}): {answer.text[:200]}. Its "
            "administrator has to allow it."
        )


def _trust(settings: RegistrySettings) -> ssl.SSLContext:
    """Return whom to trust, and the certificate to show, as the registry's own client does."""
    ca = settings.ca_path
    is_folder = ca is not None and Path(ca).is_dir()
    context = ssl.create_default_context(cafile=None if is_folder else ca, capath=ca if is_folder else None)
    if settings.cert_path is not None:
        context.load_cert_chain(settings.cert_path, settings.key_path)
    return context


def _apicurio_zip(missing: list[StoredVersion]) -> bytes:
    """Return versions in Apicurio's own format of exports, 3.0, as its documentation and its exports show it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        head = {"systemVersion": "3", "systemName": "Seamless", "exportVersion": "3.0", "exportedBy": ""}
        file.writestr("manifest-seamless.Manifest.json", json.dumps(head))
        for version in {v.id: v for v in missing}.values():
            data, digest = version.text.encode(), sha256(version.text.encode()).hexdigest()
            references = [
                {"groupId": None, "artifactId": subject, "version": str(number), "name": name}
                for name, subject, number in version.references
            ]
            content = {
                "contentId": version.id,
                "canonicalHash": digest,  # it finds schemas by the other; this one must only not be empty
                "contentHash": digest,
                "artifactType": None,
                "contentType": "application/json",
                "serializedReferences": json.dumps(references) if references else None,
            }
            file.writestr(f"content/{digest}.Content.json", json.dumps(content))
            file.writestr(f"content/{digest}.Content.data", data)
        stamps = {"owner": "", "createdOn": 0, "modifiedBy": "", "modifiedOn": 0}
        for subject, versions in _by_subject(missing).items():
            folder = f"groups/default/artifacts/{subject}"
            about = {"groupId": None, "artifactId": subject, "name": None, "description": None, "labels": None}
            file.writestr(f"{folder}/MetaData.Artifact.json", json.dumps({**about, **stamps, "artifactType": "AVRO"}))
            for version in versions:
                entry = {
                    **about,
                    **stamps,
                    "globalId": version.id,
                    "version": str(version.version),
                    "versionOrder": version.version,
                    "state": "ENABLED",
                    "contentId": version.id,
                }
                file.writestr(f"{folder}/versions/{version.version}.ArtifactVersion.json", json.dumps(entry))
            branch = {
                "groupId": None,
                "artifactId": subject,
                "branchId": "latest",
                "description": None,
                "systemDefined": True,
                **stamps,
                "versions": [str(v.version) for v in versions],
            }
            file.writestr(f"{folder}/branches/latest.Branch.json", json.dumps(branch))
    return buffer.getvalue()
