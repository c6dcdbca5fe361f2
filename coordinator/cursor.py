"""The cursor: where a shard goes on, kept in the metadata of its partition's committed offset.

It moves in the same transaction as the rows before it, so rows, cursor and lease are one. It names the shard, epoch and
attempt that it belongs to, and is trusted only where they agree with the record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from coordinator.digest import EMPTY
from streams.errors import SeamlessError

__all__ = ["MAX_METADATA", "Cursor", "CursorError"]

# The broker's limit of 4,096 (offset.metadata.max.bytes) is counted with what librdkafka adds: 4,095 is what passes.
MAX_METADATA = 4_095
_VERSION = 1


class CursorError(SeamlessError):
    """A cursor cannot be read, or belongs to another shard."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a shard goes on.

    Attributes:
        shard, epoch, attempt: what it belongs to.
        fruitless: claims in a row that committed no chunk.
        holder: host and process that claimed it last.
        sequence: chunks committed in this epoch.
        at: the source's own place; None before its first batch.
        skip: rows of the batch after `at` that are done, where a batch was too large for one chunk.
        rows, rejected, outside, dropped: rows written, refused by the contract, not asked for, and repeated; together
            all that were fetched.
        digest: of the rows written.
        newest: greatest event time written, nanoseconds since the epoch.
        started_at: when the shard was first claimed in this epoch, milliseconds since the epoch.
        last: newest event time of each symbol, in the contract's units: what conformance remembers across chunks.
        seen: hashes of each symbol's last row, by which its repetition is known.
    """

    shard: str
    epoch: int
    attempt: int
    fruitless: int = 0
    holder: str = ""
    sequence: int = 0
    at: str | None = None
    skip: int = 0
    rows: int = 0
    rejected: int = 0
    outside: int = 0
    digest: str = EMPTY
    newest: int | None = None
    started_at: int = 0
    last: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    seen: dict[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """Return at most MAX_METADATA ASCII characters; `seen`, and then `last`, is left out where it does not fit.

        Raises:
            CursorError: if the source's own place is too long.
        """
        for candidate in (self, replace(self, seen={}), replace(self, seen={}, last={})):
            text = json.dumps({"v": _VERSION, **asdict(candidate)}, separators=(",", ":"))
            if len(text) <= MAX_METADATA:
                return text
        raise CursorError(
            f"the source's cursor takes {len(self.at or '')} characters and does not fit into the metadata of an offset"
        )

    def fitting(self) -> Cursor:
        """Return the cursor as whoever goes on from it will read it."""
        return Cursor.decode(self.encode())

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Return the cursor of a text.

        Raises:
            CursorError: if it is none, or of a version that this program does not know.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            version = values.pop("v")
            if version != _VERSION:
                raise CursorError(f"a cursor of version {version} was written by another release: use that one")
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CursorError(f"the metadata of a committed offset is no cursor: {text[:80]!r}") from error
