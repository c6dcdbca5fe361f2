"""Subjects in a file: exported from one registry, checked against offline, imported into another with the same ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from schemas.avro import AvroSchema
from schemas.compatibility import breaks
from schemas.errors import ContractError
from schemas.references import inlined
from streams.registry import RegisteredSchema, StoredVersion
from streams.registry_errors import UnusableSchema

__all__ = ["Bundle", "BundledSubject"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BundledSubject:
    """A subject: its compatibility level and its versions, rising."""

    name: str
    compatibility: str
    versions: tuple[StoredVersion, ...]


@dataclass(frozen=True)
class Bundle:
    """Subjects as they were when they were exported; answers as `streams.registry.Registry` does, without network."""

    subjects: tuple[BundledSubject, ...]

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """Read a file.

        Raises:
            ContractError: if it cannot be read, or is no export.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise ContractError(f"{path}: it is of format {found['format']}; export it again with this release")
            return cls(tuple(_subject(entry) for entry in found["subjects"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContractError(
                f"{path}: it is no export of subjects ({error}): `seamless schema export` makes one"
            ) from error

    def write(self, path: Path) -> None:
        """Write a file; equal bundles make equal files.

        Raises:
            ContractError: if it cannot be written.
        """
        subjects = [
            {
                "subject": s.name,
                "compatibility": s.compatibility,
                "versions": [{k: v for k, v in asdict(version).items() if k != "subject"} for version in s.versions],
            }
            for s in self.subjects
        ]
        text = json.dumps({"format": _FORMAT, "subjects": subjects}, indent=1, ensure_ascii=False) + "\n"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ContractError(f"{path}: it cannot be written: {error}") from error

    def stored(self) -> Iterable[StoredVersion]:
        """Yield all versions, those of lower ids first: what is referred to has a lower one than what refers."""
        yield from sorted((v for s in self.subjects for v in s.versions), key=lambda v: (v.id, v.subject, v.version))

    # What the checks ask of a registry

    def versions(self, subject: str) -> list[int]:
        """Return the numbers of the versions under a subject."""
        return [v.version for v in self._versions(subject)]

    def version(self, subject: str, version: int) -> RegisteredSchema | None:
        """Return one version under a subject, its references written out; None if there is none."""
        found = next((v for v in self._versions(subject) if v.version == version), None)
        return None if found is None else RegisteredSchema(subject, found.id, found.version, self._whole(found))

    def latest(self, subject: str) -> RegisteredSchema | None:
        """Return the newest version under a subject, None if there is none."""
        numbers = self.versions(subject)
        return self.version(subject, numbers[-1]) if numbers else None

    def lookup(self, subject: str, schema: AvroSchema) -> RegisteredSchema | None:
        """Return where this very schema stands under a subject, None if it does not."""
        found = (self.version(subject, number) for number in self.versions(subject))
        return next((v for v in found if v is not None and v.schema == schema), None)

    def compatibility(self, subject: str) -> str:
        """Return the level of a subject; BACKWARD, as registries have it, for one that is not in the file."""
        found = self._by_name.get(subject)
        return "BACKWARD" if found is None else found.compatibility

    def check_compatible(self, subject: str, schema: AvroSchema) -> list[str]:
        """Return why the subject would refuse the schema, empty if it would not."""
        earlier = [(v.version, self._whole(v)) for v in self._versions(subject)]
        return [str(b) for b in breaks(self.compatibility(subject), schema, earlier)]

    @cached_property
    def _by_name(self) -> dict[str, BundledSubject]:
        return {s.name: s for s in self.subjects}

    def _versions(self, subject: str) -> tuple[StoredVersion, ...]:
        found = self._by_name.get(subject)
        return () if found is None else found.versions

    def _whole(self, stored: StoredVersion) -> AvroSchema:
        parsed = json.loads(stored.text)
        schema: AvroSchema = parsed if isinstance(parsed, dict) else {"type": parsed}
        types: dict[str, AvroSchema] = {}
        for name, subject, version in stored.references:
            found = self.version(subject, version)
            if found is None:
                raise UnusableSchema(
                    f"{stored.subject}@{stored.version} refers to {name}, version {version} of {subject}, which is not "
                    "in the file: export that subject, too"
                )
            types[name] = found.schema
        return inlined(schema, types) if types else schema


def _subject(entry: Any) -> BundledSubject:
    versions = [
        StoredVersion(
            str(entry["subject"]),
            int(v["id"]),
            int(v["version"]),
            str(v["text"]),
            tuple((str(name), str(subject), int(version)) for name, subject, version in v["references"]),
        )
        for v in entry["versions"]
    ]
    return BundledSubject(
        str(entry["subject"]), str(entry["compatibility"]), tuple(sorted(versions, key=lambda v: v.version))
    )
