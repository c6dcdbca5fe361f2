"""The section of the settings that concerns the archive."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from streams.durations import DAY_NS, MS_NS, duration_ns
from streams.settings_kafka import Section

__all__ = ["DEFAULT_URL", "ArchiveSettings", "is_secret_option"]

DEFAULT_URL = ".seamless/archive"

# Of an object store nearly everything else than where it is lets somebody in.
_SECRET = re.compile(r"key|token|secret|password|credential|signature|sas|private")
_USER = re.compile(r"^[a-z0-9+.-]+://[^/]*@", re.I)


def is_secret_option(name: str) -> bool:
    """Return whether the value of a storage option must never be shown."""
    return _SECRET.search(name.lower()) is not None


def _span(text: str) -> str:
    duration_ns(text)
    return text


Span = Annotated[str, AfterValidator(_span)]


class ArchiveSettings(Section):
    """Where rows are kept for good, and how they are written there."""

    url: str = Field(DEFAULT_URL, min_length=1, description="a folder, or an object store such as s3://bucket/archive")
    storage: dict[str, str | SecretStr] = Field(
        default_factory=dict, description="options of the object store, handed to delta-rs as they are"
    )
    commit_interval_s: float = Field(10.0, gt=0, le=3_600, description="longest a row waits for its commit, in seconds")
    commit_rows: int = Field(300_000, ge=1, le=10_000_000, description="most rows of one commit, and in memory")
    queued_max_kbytes: int = Field(32_768, ge=1, le=2_097_151, description="kilobytes fetched ahead of the commit")
    target_file_mb: int = Field(64, ge=1, le=4_096, description="size to which compaction lets files grow")
    compact_files: int = Field(8, ge=2, le=10_000, description="files of like size that are merged into one")
    maintain_interval_s: float = Field(
        60.0, ge=0, le=86_400, description="seconds between looks for something to compact; 0: only by command"
    )
    keep_removed: Span = Field("1d", description="how long files stay that compaction replaced: the longest read")
    keep_versions: Span = Field("7d", description="how long the log keeps old versions of a table")

    @field_validator("url")
    @classmethod
    def _no_way_in(cls, value: str) -> str:
        if _USER.match(value):
            raise ValueError("may not carry a user or password, as URLs are logged; use seamless.archive.storage")
        return value.rstrip("/") or "/"

    @field_validator("storage", mode="before")
    @classmethod
    def _seal(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: SecretStr(str(given))
            if is_secret_option(str(name)) and isinstance(given, str | int | float)
            else str(given).lower()
            if isinstance(given, bool)
            else str(given)
            if isinstance(given, int | float)
            else given
            for name, given in value.items()
        }

    @model_validator(mode="after")
    def _versions_have_files(self) -> ArchiveSettings:
        if duration_ns(self.keep_removed) > duration_ns(self.keep_versions):
            raise ValueError("keep_removed is longer than keep_versions, so files would stay that nothing knows of")
        if duration_ns(self.keep_removed) < 60_000 * MS_NS:
            raise ValueError("keep_removed is less than a minute, in which no large read ends")
        return self

    def storage_options(self) -> dict[str, str] | None:
        """Return the options of the object store, secrets in the clear: for clients and nothing else."""
        found = {n: v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in self.storage.items()}
        return found or None

    def keep_removed_hours(self) -> int:
        """Return how long removed files stay, in hours, rounded up."""
        return -(-duration_ns(self.keep_removed) * 24 // DAY_NS)
