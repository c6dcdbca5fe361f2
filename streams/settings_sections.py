"""The sections of the settings that concern one process or one dataset each."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from schemas.compatibility import Level
from streams.calendar_names import calendar_names
from streams.durations import DAY_NS, MS_NS, duration_ns
from streams.settings_kafka import Section

__all__ = [
    "BackfillSettings",
    "ConformanceSettings",
    "CoordinatorSettings",
    "DatasetSettings",
    "LogSettings",
    "MetricsSettings",
    "Mode",
    "NormalizerSettings",
    "ProducerSettings",
    "QuarantineSettings",
    "SchemaMode",
    "TopicSettings",
]

Mode = Literal["shadow", "blocking"]
SchemaMode = Literal["optional", "canary", "strict"]
Compression = Literal["none", "lz4", "zstd", "snappy", "gzip"]

FOREVER_MS = -1
_INTERVALS_BEYOND_A_DAY = {DAY_NS, 7 * DAY_NS}
# The database is walked file by file for its names: that takes longer than the rest of the settings together.
_time_zones = cache(available_timezones)


def _duration(text: str) -> str:
    duration_ns(text)
    return text


def _retention(text: str) -> str:
    if text != "forever" and duration_ns(text) < 1_000 * MS_NS:
        raise ValueError("is shorter than a second; write for ever as forever")
    return text


def _interval(text: str) -> str:
    span = duration_ns(text)
    if span > DAY_NS and span not in _INTERVALS_BEYOND_A_DAY:
        raise ValueError("an interval longer than a day fits no trading calendar; use 1d or 1w")
    if span < DAY_NS and DAY_NS % span:
        raise ValueError("does not divide a day evenly, so bars would not begin at the same times each day")
    return text


Duration = Annotated[str, AfterValidator(_duration)]


class ConformanceSettings(Section):
    """What happens to rows that break their contract."""

    mode: Mode = Field("shadow", description="shadow passes and reports; blocking quarantines violations")
    memory: int = Field(64, ge=1, le=4096, description="identities remembered per key, to tell duplicates")
    exceptions: str | None = Field(
        None, min_length=1, description="path of the .toml of exceptions; unset: the shipped one, which has none"
    )


class NormalizerSettings(Section):
    """How the normalizer batches, commits and recovers."""

    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="a name that stays the same across restarts; unset: host and process",
    )
    commit_interval_ms: int = Field(100, ge=1, le=60_000, description="longest a row waits for its commit")
    max_batch_rows: int = Field(50_000, ge=1, le=1_000_000, description="most rows of one transaction")
    transaction_timeout_ms: int = Field(
        5_000, ge=1_000, le=900_000, description="after this the broker aborts a dead process's transaction"
    )
    restore_deadline_s: float = Field(60.0, gt=0, le=3_600, description="longest reading of state at the start")
    queued_min_messages: int = Field(100_000, ge=1, le=10_000_000, description="records fetched ahead per partition")
    queued_max_kbytes: int = Field(65_536, ge=1, le=2_097_151, description="kilobytes fetched ahead per partition")
    fetch_min_bytes: int = Field(1, ge=1, le=100_000_000, description="bytes that the broker gathers per answer")
    fetch_wait_max_ms: int = Field(50, ge=0, le=5_000, description="longest the broker gathers them")
    compression: Compression = Field("lz4", description="codec of everything the normalizer writes")

    @model_validator(mode="after")
    def _commit_in_time(self) -> NormalizerSettings:
        if self.commit_interval_ms >= self.transaction_timeout_ms:
            raise ValueError(
                f"commit_interval_ms ({self.commit_interval_ms}) must be less than transaction_timeout_ms "
                f"({self.transaction_timeout_ms}), or the broker aborts every transaction before its commit"
            )
        return self


class QuarantineSettings(Section):
    """When so much is quarantined that stopping is better than going on."""

    max_share: float = Field(0.5, ge=0, le=1, description="share of rows that may fail before the dataset is stopped")
    window_rows: int = Field(10_000, ge=1, le=10_000_000, description="latest rows over which the share is taken")


class BackfillSettings(Section):
    """How workers fetch history."""

    slots: int = Field(2, ge=1, le=256, description="shards that one worker runs at once")
    chunk_rows: int = Field(10_000, ge=1, le=1_000_000, description="most rows of one transaction")
    max_attempts: int = Field(
        5, ge=1, le=100, description="claims of a shard in a row without a chunk before it is given up as failed"
    )
    retries: int = Field(4, ge=0, le=100, description="times that a source error is retried within one claim")
    retry_base_s: float = Field(0.5, gt=0, le=60, description="first pause after a source error; doubles, with jitter")
    retry_max_s: float = Field(30.0, gt=0, le=3_600, description="longest pause after a source error")
    stall_timeout_s: float = Field(60.0, gt=0, le=86_400, description="silence of a slot that ends its process")
    revoke_deadline_s: float = Field(5.0, gt=0, le=60, description="time for a slot to stop when its lease is revoked")
    drain_deadline_s: float = Field(20.0, gt=0, le=3_600, description="time to finish chunks when told to end")
    transaction_timeout_ms: int = Field(
        5_000, ge=1_000, le=900_000, description="after this the broker aborts a dead worker's transaction"
    )
    max_overrun: float = Field(
        20.0, ge=1, le=10_000, description="rows a source may give, as a multiple of what was estimated"
    )

    @model_validator(mode="after")
    def _rising(self) -> BackfillSettings:
        if self.retry_max_s < self.retry_base_s:
            raise ValueError("retry_max_s is less than retry_base_s, so pauses could not grow")
        return self


class CoordinatorSettings(Section):
    """The coordinator service, and how its clients reach it; its address is seamless.coordinator_url."""

    host: str = Field("127.0.0.1", min_length=1, description="address that the service listens on")
    port: int = Field(8090, ge=0, le=65_535, description="port that it listens on; 0: any free one")
    token: SecretStr | None = Field(None, description="bearer token for everything that changes something")
    max_body_bytes: int = Field(1_048_576, ge=1_024, le=67_108_864, description="largest request that it reads")
    stalled_after_s: float = Field(60.0, gt=0, le=86_400, description="age of progress at which a lease is stalled")
    timeout_s: float = Field(10.0, gt=0, le=300, description="client: seconds to wait for one answer")
    retries: int = Field(3, ge=0, le=20, description="client: times that an unanswered request is sent again")


class ProducerSettings(Section):
    """How the governed producer writes."""

    on_violation: Literal["refuse", "warn"] = Field("refuse", description="a row that breaks its own schema's rules")
    linger_ms: float = Field(5.0, ge=0, le=10_000, description="longest a record waits for company")
    compression: Compression = Field("lz4", description="codec of the records")


class MetricsSettings(Section):
    """The HTTP endpoint of each process with `/metrics` and `/healthz`."""

    enabled: bool = Field(True, description="whether to serve it at all")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all")
    port: int = Field(0, ge=0, le=65_535, description="0 takes a free port, which the process logs")


class LogSettings(Section):
    """What a process says on its standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity shown")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: readable on a terminal, else JSON")


class TopicSettings(Section):
    """How topics are created; those of a dataset take their partitions from the dataset."""

    replication_factor: int = Field(-1, ge=-1, le=32_767, description="copies of each record; -1: the broker's default")
    min_insync_replicas: int | None = Field(None, ge=1, description="copies that must be written; unset: the broker's")
    shard_partitions: int = Field(8, ge=1, le=10_000, description="partitions of the backfill queues")
    event_partitions: int = Field(4, ge=1, le=10_000, description="partitions of reports, progress and observations")

    @model_validator(mode="after")
    def _possible(self) -> TopicSettings:
        if self.replication_factor == 0:
            raise ValueError("replication_factor is at least 1, or -1 for the broker's default")
        if self.min_insync_replicas is not None and 0 < self.replication_factor < self.min_insync_replicas:
            raise ValueError("min_insync_replicas is more than replication_factor, so nothing could be written")
        return self


class DatasetSettings(Section):
    """A named series family: a contract, an interval (or none for ticks), a calendar and a source."""

    contract: str = Field(
        pattern=r"^([a-z][a-z0-9_]*|.+\.avsc)$", description="a contract's name, or the path of its .avsc"
    )
    interval: Annotated[str, AfterValidator(_interval)] | None = Field(
        None, description="spacing of bars, such as 1d or 5m; unset for ticks"
    )
    calendar: str = Field("24/7", description="an exchange_calendars name such as XNYS, or 24/7")
    partitions: int = Field(4, ge=1, le=10_000, description="partitions of each of the dataset's topics")
    symbols: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None, description="all symbols there are, so that a backfill of another one is refused; unset: any"
    )
    retention: Annotated[str, AfterValidator(_retention)] = Field(
        "30d", description="how long Kafka keeps rows, such as 30d, or forever"
    )
    mode: Mode | None = Field(None, description="overrides seamless.conformance.mode")
    schema_mode: SchemaMode = Field(
        "optional", description="optional, canary or strict: which schemas may be written; see docs/governance.md"
    )
    schema_compatibility: Level = Field(
        "FULL_TRANSITIVE", description="what strict asks between the versions of the raw subject"
    )
    canary_share: float = Field(0.1, ge=0, le=1, description="share of the keys that canary judges strictly")
    canary_producers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="producers that canary judges strictly, by name"
    )
    lateness: Duration | None = Field(None, description="how far behind the newest a row may be before it is late")
    source: str | None = Field(None, min_length=1, description="where backfill fetches history from")
    timezone: str = Field("UTC", description="zone of timestamps that carry none")
    raw_schema: str | None = Field(None, pattern=r"\.avsc$", description="path of the vendor's .avsc for the raw topic")

    @field_validator("calendar")
    @classmethod
    def _known_calendar(cls, value: str) -> str:
        if value not in calendar_names():
            raise ValueError("no such trading calendar; use an exchange_calendars name such as XNYS, or 24/7")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _time_zones():
            raise ValueError("no such time zone; use an IANA name such as America/New_York")
        return value

    def interval_ns(self) -> int | None:
        """Return the spacing of bars in nanoseconds, None for ticks."""
        return None if self.interval is None else duration_ns(self.interval)

    def lateness_ns(self) -> int | None:
        """Return the allowed lateness in nanoseconds, None where lateness is not judged."""
        return None if self.lateness is None else duration_ns(self.lateness)

    def retention_ms(self) -> int:
        """Return how long Kafka keeps rows in milliseconds, -1 for ever."""
        return FOREVER_MS if self.retention == "forever" else duration_ns(self.retention) // MS_NS

    def zone(self) -> ZoneInfo:
        """Return the zone of naive timestamps."""
        return ZoneInfo(self.timezone)
