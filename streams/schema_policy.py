"""How the schemas of a dataset's raw rows are judged: the mode, whom canary picks, and what strict asks.

Pure: what is in force comes from the settings, or from the governance topic where that says something of the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from streams.settings import Settings
from streams.settings_sections import SchemaMode

__all__ = ["PRODUCER_HEADER", "SchemaPolicy", "in_share", "policy_from_settings"]

# The name of a record's producer, by which canary knows it.
PRODUCER_HEADER = "seamless-producer"

_HASHES = 1 << 32


@dataclass(frozen=True, slots=True)
class SchemaPolicy:
    """What is in force for one dataset; the fields are those of `events/schema_governance.avsc`.

    Attributes:
        at: when it was set, milliseconds since the epoch; 0 for the settings.
    """

    dataset: str
    mode: SchemaMode = "optional"
    compatibility: str = "FULL_TRANSITIVE"
    share: float = 0.1
    producers: frozenset[str] = field(default_factory=frozenset)
    by: str = "the settings"
    reason: str = ""
    at: int = 0

    def judges(self, key: bytes | None, producer: str | None = None) -> bool:
        """Return whether a row is judged strictly; the same key always is, or never."""
        if self.mode == "canary":
            return in_share(key, self.share) or (producer is not None and producer in self.producers)
        return self.mode == "strict"

    def words(self) -> str:
        """Return the policy in a few words, for the trail and for people."""
        if self.mode == "optional":
            return "optional"
        if self.mode == "strict":
            return f"strict at {self.compatibility}"
        named = f" and the producers {', '.join(sorted(self.producers))}" if self.producers else ""
        return f"canary at {self.compatibility} for {self.share:.0%} of the keys{named}"

    def to_avro(self) -> dict[str, Any]:
        """Return the datum of the event."""
        names = ("dataset", "mode", "compatibility", "share", "by", "reason", "at")
        return {**{name: getattr(self, name) for name in names}, "producers": sorted(self.producers)}

    @classmethod
    def from_avro(cls, datum: Mapping[str, Any]) -> SchemaPolicy:
        """Return the policy of a datum; ValueError if it has a mode that this program does not know."""
        if datum["mode"] not in {"optional", "canary", "strict"}:
            raise ValueError(f"the mode {datum['mode']!r} is unknown")
        at = datum["at"]
        millis = at if isinstance(at, int) else round(at.timestamp() * 1_000)
        return cls(**{**datum, "producers": frozenset(datum["producers"]), "at": millis})


def in_share(key: bytes | None, share: float) -> bool:
    """Return whether a key is among a share of all keys; a row without key is not.

    CRC-32, and not the partitioner's hash: the keys of one partition would else all be in, or all out.
    """
    return key is not None and crc32(key) < share * _HASHES


def policy_from_settings(settings: Settings, dataset: str) -> SchemaPolicy:
    """Return what the settings say of a dataset.

    Raises:
        SettingsError: if it is not configured.
    """
    found = settings.dataset(dataset)
    return SchemaPolicy(
        dataset,
        found.schema_mode,
        found.schema_compatibility,
        found.canary_share,
        frozenset(found.canary_producers),
    )
