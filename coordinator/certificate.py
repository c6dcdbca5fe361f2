"""Completeness certificates: what was proven about a job, shard by shard, under one root hash.

The root is a Merkle tree hash as in RFC 6962 (SHA-256; leaves and nodes hashed with different prefixes) over the
canonical JSON of the certificate's head and of each shard's proof. So one text of 64 digits, kept anywhere else, binds
every range, row count, digest and offset. The same rows give the same certificate to the byte: it holds no time of its
own making. The root tells a change by accident, or by somebody who cannot change the copy of the root; that the proofs
are true, only the topics tell (`coordinator.verify.check`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from coordinator.digest import EMPTY
from streams.errors import SeamlessError

__all__ = ["FORMAT", "Certificate", "CertificateError", "LeftOut", "ShardProof", "Span", "merkle_root"]

FORMAT = "seamless-completeness/1"
_LEAF, _NODE = b"\x00", b"\x01"


class CertificateError(SeamlessError):
    """A file is no certificate, or one that was changed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a shard's rows are in one partition of history: offsets of the first and the last, and how many."""

    partition: int
    first: int
    last: int
    rows: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of the request that no shard of the job fetches, as whoever asked had it; nanoseconds, half open."""

    symbol: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ShardProof:
    """What was found in history of one shard.

    Attributes:
        epoch: its latest; rows of earlier ones are counted where the shard went on from a cursor.
        start, end: nanoseconds since the epoch, half open.
        rows, digest: of all its records in history, by `coordinator.digest`.
        spans: by partition.
    """

    shard: str
    epoch: int
    dataset: str
    symbols: tuple[str, ...]
    start: int
    end: int
    rows: int
    digest: str = EMPTY
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proofs of a job's shards, in the order of their ids, under one root hash.

    Attributes:
        start, end: the range that was asked for, nanoseconds since the epoch, half open.
        as_of: milliseconds since the epoch.
        left_out: what of the request no shard fetches.
        root: 64 hexadecimal digits.
    """

    world: str
    job: str
    dataset: str
    symbols: tuple[str, ...]
    start: int
    end: int
    source: str
    as_of: int
    contract_version: int
    proofs: tuple[ShardProof, ...]
    left_out: tuple[LeftOut, ...] = ()
    root: str = field(default="")

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(proof.rows for proof in self.proofs)

    def sealed(self) -> Certificate:
        """Return it with its proofs in order and the root that belongs to them."""
        ordered = tuple(sorted(self.proofs, key=lambda proof: proof.shard))
        bare = Certificate(**{**_shallow(self), "proofs": ordered, "root": ""})
        return Certificate(**{**_shallow(bare), "root": bare.computed_root()})

    def computed_root(self) -> str:
        """Return the root hash that its content has, whatever root it claims."""
        head = {name: value for name, value in asdict(self).items() if name not in ("proofs", "root")}
        return merkle_root([_canonical({"format": FORMAT, **head}), *(_canonical(asdict(p)) for p in self.proofs)])

    def require_whole(self) -> None:
        """Do nothing if the root belongs to the content.

        Raises:
            CertificateError: if the certificate was changed after it was made.
        """
        found = self.computed_root()
        if found != self.root:
            raise CertificateError(
                f"the certificate of {self.job} was changed: its root is {self.root or 'missing'}, and what it says "
                f"hashes to {found}. Make it again: seamless backfill verify {self.job} --certificate FILE"
            )

    def to_json(self) -> str:
        """Return the text of its file: a line for the head's fields and one for each proof, in a fixed order."""
        datum = {"format": FORMAT, **asdict(self)}
        proofs = ",\n".join("    " + json.dumps(proof, sort_keys=True) for proof in datum.pop("proofs"))
        head = json.dumps(datum, indent=2, sort_keys=True)
        return head.removesuffix("\n}") + ',\n  "proofs": [\n' + proofs + "\n  ]\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """Read what `to_json` wrote; whether the root is right is asked with `require_whole`.

        Raises:
            CertificateError: naming what is missing, unknown or of another type.
        """
        try:
            datum = json.loads(text)
        except ValueError as error:
            raise CertificateError(f"the certificate is no JSON: {error}") from None
        if not isinstance(datum, dict) or datum.get("format") != FORMAT:
            raise CertificateError(f'this is no certificate of completeness: it does not say "format": "{FORMAT}"')
        del datum["format"]
        values = _checked(cls, datum, "the certificate")
        values["symbols"] = _texts(values["symbols"], "symbols")
        values["left_out"] = tuple(LeftOut(**_checked(LeftOut, v, "left_out")) for v in values["left_out"])
        values["proofs"] = tuple(_proof(v) for v in values["proofs"])
        return cls(**values)

    def write(self, path: Path) -> None:
        """Write it to a file.

        Raises:
            CertificateError: if it cannot be written.
        """
        try:
            path.write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            raise CertificateError(f"the certificate cannot be written to {path}: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Certificate:
        """Read it from a file.

        Raises:
            CertificateError: if it cannot be read, or is none.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CertificateError(f"the certificate {path} cannot be read: {error}") from error
        try:
            return cls.from_json(text)
        except CertificateError as error:
            raise CertificateError(f"{path}: {error}") from None


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Return the Merkle tree hash of leaves in order, as RFC 6962 section 2.1 has it, in hexadecimal."""
    return _tree([hashlib.sha256(_LEAF + leaf).digest() for leaf in leaves]).hex()


def _tree(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)  # the largest power of two below the number of leaves
    return hashlib.sha256(_NODE + _tree(hashes[:split]) + _tree(hashes[split:])).digest()


def _canonical(datum: Mapping[str, Any]) -> bytes:
    """Equal content, equal bytes: names in order, no white space, ASCII only, integers only."""
    return json.dumps(datum, sort_keys=True, separators=(",", ":")).encode("ascii")


def _shallow(record: Any) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record)}


def _proof(datum: Any) -> ShardProof:
    values = _checked(ShardProof, datum, "a proof")
    values["symbols"] = _texts(values["symbols"], "symbols of a proof")
    values["spans"] = tuple(Span(**_checked(Span, v, "a span")) for v in values["spans"])
    return ShardProof(**values)


def _checked(kind: type, datum: Any, what: str) -> dict[str, Any]:
    """Return the fields of a record if they are all there, none besides, and of their types."""
    if not isinstance(datum, dict):
        raise CertificateError(f"{what} is no JSON object")
    wanted = {each.name: str(each.type) for each in fields(kind)}
    strange, missing = sorted(datum.keys() - wanted.keys()), sorted(wanted.keys() - datum.keys())
    if strange or missing:
        faults = [f"{n!r} is unknown" for n in strange] + [f"{n!r} is missing" for n in missing]
        raise CertificateError(f"{what}: {', '.join(faults)}")
    for name, value in datum.items():
        expected = {"str": str, "int": int}.get(wanted[name], list)
        if type(value) is not expected:
            raise CertificateError(f"{what}: {name!r} is {json.dumps(value)[:40]}, and not of type {wanted[name]}")
    return dict(datum)


def _texts(values: list[Any], what: str) -> tuple[str, ...]:
    if not all(type(value) is str for value in values):
        raise CertificateError(f"{what} are not all texts")
    return tuple(values)
