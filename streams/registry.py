"""The schema registry: a thin adapter over confluent_kafka's client that always ends, in our errors.

Avro schemas are dictionaries on our side, canonical JSON on the wire; custom attributes stay as they are.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

# the client takes httpx2 where installed, else httpx: only errors of the same one can be caught
from confluent_kafka.schema_registry.common._httpx_compat import httpx
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.bounded import Recent
from schemas.references import inlined
from streams.errors import RegistryError, SettingsError
from streams.registry_config import client_config
from streams.registry_errors import RegistryUnavailable, SchemaRefused, UnknownSchemaId, UnusableSchema
from streams.settings_kafka import RegistrySettings

__all__ = [
    "AvroSchema",
    "RegisteredSchema",
    "Registry",
    "RegistryUnavailable",
    "SchemaRefused",
    "StoredVersion",
    "UnknownSchemaId",
    "UnusableSchema",
    "canonical",
]

AvroSchema = dict[str, Any]
Answer = TypeVar("Answer")

_PAGE = 500
_MOST_SCHEMAS = 2_000
_SUBJECT_UNKNOWN = {40401, 40402, 40403}
_ID_UNKNOWN = 40403


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as it is stored: the text, byte for byte, and what it refers to as (name, subject, version)."""

    subject: str
    id: int
    version: int
    text: str
    references: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry knows it: its global id, and its version within the subject."""

    subject: str
    id: int
    version: int
    schema: AvroSchema


def canonical(schema: AvroSchema) -> str:
    """Return the JSON sent to the registry: names in order, no white space: equal schemas, equal text."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


class Registry:
    """A registry at one URL. Safe to share between threads.

    Every method raises RegistryUnavailable when the registry is down, too slow or answers nonsense, and
    RegistryError when it says no, for instance for want of credentials. None waits longer than three timeouts
    and two seconds.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.url = settings.url
        try:
            self._client = SchemaRegistryClient(client_config(settings))
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"The registry client cannot be set up: {error}. Check ca_path, cert_path and key_path in "
                "seamless.registry."
            ) from error
        self._finalizer = weakref.finalize(self, self._client.close)
        self._by_id: Recent[int, AvroSchema] = Recent(_MOST_SCHEMAS)
        self._lock, self._asked = threading.Lock(), 0

    def close(self) -> None:
        """Close the connections; also done when the object is forgotten."""
        self._finalizer()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def schema_by_id(self, schema_id: int) -> AvroSchema:
        """Return the schema of an id, with what it refers to; treat it as read-only, as it is remembered.

        What an id stands for never changes, so only the least used of thousands is ever asked for again.

        Raises UnknownSchemaId; that answer is not remembered.
        """
        known = self._by_id.get(schema_id)
        if known is None:
            try:
                answer = self._ask(lambda: self._client.get_schema(schema_id))
                known = self._whole(answer, f"id {schema_id}")
            except _Refusal as refusal:
                if refusal.code == _ID_UNKNOWN:
                    raise UnknownSchemaId(schema_id, self.url) from None
                raise refusal.as_error() from None
            self._by_id.put(schema_id, known)
            self._forget_some()
        return known

    def latest(self, subject: str) -> RegisteredSchema | None:
        """Return the newest version under a subject, None if there is none. Asks the registry each time."""
        return self._one(subject, lambda: self._client.get_latest_version(subject))

    def version(self, subject: str, version: int) -> RegisteredSchema | None:
        """Return one version under a subject, None if there is no such subject or version."""
        return self._one(subject, lambda: self._client.get_version(subject, version))

    def versions(self, subject: str) -> list[int]:
        """Return the numbers of the versions under a subject, rising; none if there is no such subject."""
        try:
            return sorted(int(v) for v in self._ask(lambda: self._client.get_versions(subject)))
        except _Refusal as refusal:
            if refusal.code in _SUBJECT_UNKNOWN:
                return []
            raise refusal.as_error() from None

    def stored(self, subject: str, version: int) -> StoredVersion | None:
        """Return one version as it is stored, None if there is no such subject or version.

        Raises UnusableSchema if it is not Avro.
        """
        try:
            found = self._ask(lambda: self._client.get_version(subject, version))
        except _Refusal as refusal:
            if refusal.code in _SUBJECT_UNKNOWN:
                return None
            raise refusal.as_error() from None
        _parsed(found.schema, f"subject {subject}")
        references = [(str(r.name), str(r.subject), int(r.version or 0)) for r in found.schema.references or ()]
        text = found.schema.schema_str or ""
        return StoredVersion(subject, int(found.schema_id or 0), int(found.version or 0), text, tuple(references))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask what no other method does; return the answer's JSON. Raises RegistryError if the registry says no."""
        try:
            return self._ask(lambda: self._client._rest_client.send_request(path, method=method, body=body))
        except _Refusal as refusal:
            raise refusal.as_error() from None

    def lookup(self, subject: str, schema: AvroSchema) -> RegisteredSchema | None:
        """Return where this very schema is registered under the subject, None if it is not."""
        return self._one(subject, lambda: self._client.lookup_schema(subject, _wire(schema)))

    def register(self, subject: str, schema: AvroSchema) -> RegisteredSchema:
        """Register a schema and return it with its id and version; a schema already there keeps both.

        Raises SchemaRefused, with the registry's reason, if it is incompatible or no valid schema.
        """
        try:
            self._ask(lambda: self._client.register_schema(subject, _wire(schema)))
        except _Refusal as refusal:
            if refusal.status in (409, 422):
                raise SchemaRefused(
                    f"The registry refuses the schema for {subject}: {refusal.reason}. Change it so that "
                    "readers of earlier versions can read it (added fields need defaults), or use a new one."
                ) from None
            raise refusal.as_error() from None
        found = self.lookup(subject, schema)
        if found is None:
            raise RegistryError(
                f"The registry at {self.url} took a schema for {subject} and cannot find it again; "
                "somebody deleted it at this moment, or the registry changes schemas that it stores."
            )
        return found

    def subjects(self) -> list[str]:
        """Return all subjects, sorted."""
        found: set[str] = set()
        try:
            while True:
                # Page by page: a registry may hold back what is more than it likes to tell at once, and say nothing.
                page = self._ask(partial(self._client.get_subjects, offset=len(found), limit=_PAGE))
                new = set(page) - found
                found |= new
                if len(page) < _PAGE or not new:
                    return sorted(found)
        except _Refusal as refusal:
            raise refusal.as_error() from None

    def check_compatible(self, subject: str, schema: AvroSchema) -> list[str]:
        """Return why the subject would refuse the schema, empty if it would not or has no version yet."""
        # Asked about all versions, Apicurio compares with all of them, whatever the level promises.
        which = "" if self.compatibility(subject).endswith("_TRANSITIVE") else "/latest"
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions{which}?verbose=true"
        try:
            # the client's own method asks the same and throws the reasons away
            return self._ask(lambda: _reasons(self._client._rest_client.post(path, body=_wire(schema).to_dict())))
        except _Refusal as refusal:
            if refusal.code in _SUBJECT_UNKNOWN:
                return []
            if refusal.status == 422:
                return [refusal.reason]
            raise refusal.as_error() from None

    def compatibility(self, subject: str) -> str:
        """Return the compatibility level that holds for a subject: its own, else the registry's general one."""
        try:
            return self._level(subject)
        except _Refusal as refusal:
            if refusal.status != 404:
                raise refusal.as_error() from None
        try:  # a registry may say 404 for a subject without a level of its own
            return self._level(None)
        except _Refusal as refusal:
            raise refusal.as_error() from None

    def _level(self, subject: str | None) -> str:
        return str(self._ask(lambda: self._client.get_compatibility(subject)))

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set a subject's compatibility level, such as FULL_TRANSITIVE; it need not exist yet."""
        try:
            self._ask(lambda: self._client.set_compatibility(subject, level))
        except _Refusal as refusal:
            raise refusal.as_error() from None

    def _one(self, subject: str, call: Callable[[], Any]) -> RegisteredSchema | None:
        try:
            found = self._ask(call)
        except _Refusal as refusal:
            if refusal.code in _SUBJECT_UNKNOWN:
                return None
            raise refusal.as_error() from None
        return RegisteredSchema(
            subject=subject,
            id=found.schema_id,
            version=found.version,
            schema=self._whole(found.schema, f"subject {subject}"),
        )

    def _whole(self, answer: Schema, what: str) -> AvroSchema:
        """Return a schema with the types of its references written out where they are first used."""
        parsed = _parsed(answer, what)
        if not answer.references:
            return parsed
        types: dict[str, AvroSchema] = {}
        for reference in answer.references:
            subject, version = str(reference.subject), int(reference.version or 0)
            try:
                found = self._ask(partial(self._client.get_version, subject, version))
            except _Refusal as refusal:
                raise UnusableSchema(
                    f"The schema of {what} refers to {reference.name}, version {version} of {subject}, which the "
                    f"registry does not give: {refusal.reason}. Register it again."
                ) from None
            types[str(reference.name)] = self._whole(found.schema, f"{subject}@{version}")
        return inlined(parsed, types)

    def _forget_some(self) -> None:
        """The client remembers all that it was ever asked; a fleet with ever new ids would fill the memory."""
        with self._lock:
            self._asked += 1
            if self._asked % _MOST_SCHEMAS == 0:
                self._client.clear_caches()  # type: ignore[no-untyped-call]

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """Make one call; raise _Refusal for a considered no, RegistryUnavailable for what time may mend."""
        try:
            return call()
        except SchemaRegistryError as error:
            if error.http_status_code >= 500 or error.http_status_code in (408, 429):
                raise self._unavailable(f"answered with HTTP status {error.http_status_code}") from error
            raise _Refusal(self.url, error) from error
        except httpx.TimeoutException as error:
            raise self._unavailable("did not answer in time") from error
        except (httpx.HTTPError, OSError) as error:
            raise self._unavailable(f"cannot be reached ({error})") from error
        except RuntimeError as error:  # a thread asks on while its process ends
            raise self._unavailable("is no longer talked to: the client was closed") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unavailable(f"gave an answer that is no registry's ({type(error).__name__})") from error

    def _unavailable(self, what: str) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"The registry at {self.url} {what}. Check that it runs and that seamless.registry.url is right; "
            "`seamless up` starts one."
        )


class _Refusal(Exception):  # noqa: N818 - never leaves this module
    """A considered no from the registry."""

    def __init__(self, url: str, error: SchemaRegistryError) -> None:
        self.status: int = error.http_status_code
        self.code: int | None = error.error_code
        self.reason = str(error.error_message or "no reason given").rstrip(".")
        self._url = url
        super().__init__(self.reason)

    def as_error(self) -> RegistryError:
        """Return the error for a caller that did not expect this no."""
        if self.status in (401, 403):
            remedy = "Set seamless.registry.user and password, or bearer_token, of someone who may do this"
        elif self.status == 404:
            remedy = "Check that seamless.registry.url is the root of the registry's Confluent API"
        else:
            remedy = "Change what was asked for accordingly"
        return RegistryError(f"The registry at {self._url} says no (HTTP {self.status}): {self.reason}. {remedy}.")


def _wire(schema: AvroSchema) -> Schema:
    return Schema(canonical(schema), schema_type="AVRO")


def _reasons(answer: dict[str, Any]) -> list[str]:
    if answer["is_compatible"]:
        return []
    return [str(reason) for reason in answer.get("messages") or ["the registry gives no reason"]]


def _parsed(schema: Schema, what: str) -> AvroSchema:
    if schema.schema_type not in (None, "AVRO"):
        raise UnusableSchema(
            f"The schema of {what} is {schema.schema_type}; Seamless reads AVRO only. Use another subject."
        )
    try:
        parsed = json.loads(schema.schema_str or "")
    except (TypeError, ValueError) as error:
        raise RegistryUnavailable(
            f"The registry gave a schema of {what} that is no JSON. Ask again or repair it."
        ) from error
    return parsed if isinstance(parsed, dict) else {"type": parsed}
