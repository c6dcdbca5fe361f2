"""How to reach Kafka and the schema registry, and which librdkafka properties Seamless keeps to itself."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

__all__ = [
    "OWNED_PROPERTIES",
    "KafkaSettings",
    "RegistrySettings",
    "Section",
    "is_secret_property",
    "without_userinfo",
]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys and keeps values out of pydantic's messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


_EXACTLY_ONCE = "exactly-once delivery depends on it and Seamless sets it itself"
_OFFSETS = "offsets are committed inside transactions and Seamless sets it itself"
_GROUP = "groups belong to a world and Seamless names and runs them itself"
_PARTITIONER = "co-partitioning by symbol needs one partitioner everywhere"

OWNED_PROPERTIES: dict[str, str] = {
    "bootstrap.servers": "set seamless.kafka.bootstrap_servers instead",
    "metadata.broker.list": "set seamless.kafka.bootstrap_servers instead",
    "acks": _EXACTLY_ONCE,
    "request.required.acks": _EXACTLY_ONCE,
    "enable.idempotence": _EXACTLY_ONCE,
    "enable.gapless.guarantee": _EXACTLY_ONCE,
    "max.in.flight": _EXACTLY_ONCE,
    "max.in.flight.requests.per.connection": _EXACTLY_ONCE,
    "retries": _EXACTLY_ONCE,
    "message.send.max.retries": _EXACTLY_ONCE,
    "transactional.id": _EXACTLY_ONCE,
    "transaction.timeout.ms": "set seamless.normalizer.transaction_timeout_ms instead",
    "delivery.timeout.ms": "set seamless.normalizer.transaction_timeout_ms instead",
    "message.timeout.ms": "set seamless.normalizer.transaction_timeout_ms instead",
    "isolation.level": _EXACTLY_ONCE,
    "enable.auto.commit": _OFFSETS,
    "auto.commit.enable": _OFFSETS,
    "auto.commit.interval.ms": _OFFSETS,
    "enable.auto.offset.store": _OFFSETS,
    "auto.offset.reset": _OFFSETS,
    "enable.partition.eof": _OFFSETS,
    "partitioner": _PARTITIONER,
    "partition.assignment.strategy": _GROUP,
    "group.id": _GROUP,
    "group.instance.id": _GROUP,
    "group.protocol": _GROUP,
    "group.remote.assignor": _GROUP,
    "session.timeout.ms": "it is the broker's now: group.consumer.session.timeout.ms",
    "heartbeat.interval.ms": "it is the broker's now: group.consumer.heartbeat.interval.ms",
    "linger.ms": "set seamless.producer.linger_ms instead",
    "queue.buffering.max.ms": "set seamless.producer.linger_ms instead",
    "compression.type": "set seamless.producer.compression or seamless.normalizer.compression instead",
    "compression.codec": "set seamless.producer.compression or seamless.normalizer.compression instead",
    "queued.min.messages": "set seamless.normalizer.queued_min_messages instead",
    "queued.max.messages.kbytes": "set seamless.normalizer.queued_max_kbytes instead",
}

_SECRET = re.compile(r"password|passphrase|secret|private|credential|assertion|key\.pem|oauthbearer\.config|jaas|kinit")


def is_secret_property(name: str) -> bool:
    """Return whether the value of a librdkafka property must never be shown."""
    return _SECRET.search(name.lower()) is not None and not name.lower().endswith((".location", ".url"))


def _not_owned(name: str) -> str:
    reason = OWNED_PROPERTIES.get(name.strip().lower().removeprefix("topic."))
    if reason is not None:
        raise ValueError(f"may not be set: {reason}")
    return name


def without_userinfo(url: AnyHttpUrl) -> AnyHttpUrl:
    """Return the URL; ValueError if it carries a user or a password, as URLs are logged and shown."""
    if url.username is not None or url.password is not None:
        raise ValueError("a URL may not carry a user or password, as URLs are logged; give them settings of their own")
    return url


def _as_text(url: AnyHttpUrl) -> str:
    return str(without_userinfo(url)).rstrip("/")


ClientValue = str | int | float | bool | SecretStr


class KafkaSettings(Section):
    """Where Kafka is, and properties handed to every client as they are."""

    bootstrap_servers: str = Field("localhost:9092", min_length=1, description="host:port pairs, comma-separated")
    client: dict[Annotated[str, AfterValidator(_not_owned)], ClientValue] = Field(
        default_factory=dict, description="librdkafka properties for every client, such as security.protocol"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        servers = [part.strip() for part in value.split(",")]
        for server in servers:
            if re.fullmatch(r"([A-Za-z0-9_+]+://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}", server) is None:
                raise ValueError("needs host:port, several separated by commas")
        return ",".join(servers)

    @field_validator("client", mode="before")
    @classmethod
    def _seal(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: SecretStr(str(given))
            if is_secret_property(str(name)) and isinstance(given, str | int | float)
            else given
            for name, given in value.items()
        }

    def client_config(self) -> dict[str, str | int | float | bool]:
        """Return a new librdkafka configuration, secrets in the clear: for clients and nothing else."""
        config: dict[str, str | int | float | bool] = {"bootstrap.servers": self.bootstrap_servers}
        for name, value in self.client.items():
            config[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
        return config


class RegistrySettings(Section):
    """Where the schema registry is (any with the Confluent API) and how to be let in."""

    url: str = Field("http://localhost:8080/apis/ccompat/v7", description="the root of the registry's Confluent API")
    user: str | None = Field(None, min_length=1, description="user of basic authentication")
    password: SecretStr | None = Field(None, description="password of basic authentication")
    bearer_token: SecretStr | None = Field(None, description="token sent instead of a user and password")
    logical_cluster: str | None = Field(None, description="which registry of a shared host the token is for")
    ca_path: str | None = Field(None, description="PEM file or folder of the authorities to trust")
    cert_path: str | None = Field(None, description="PEM file of the client's certificate, for mutual TLS")
    key_path: str | None = Field(None, description="PEM file of the client's key, for mutual TLS")
    timeout: float = Field(10.0, gt=0, le=300, description="seconds to wait for one answer")

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        return _as_text(AnyHttpUrl(value))

    @model_validator(mode="after")
    def _one_way_in(self) -> RegistrySettings:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: set both or neither")
        if self.user is not None and self.bearer_token is not None:
            raise ValueError("user and bearer_token exclude each other: keep one")
        if self.logical_cluster is not None and self.bearer_token is None:
            raise ValueError("logical_cluster needs bearer_token beside it")
        if self.key_path is not None and self.cert_path is None:
            raise ValueError("key_path needs cert_path beside it")
        return self
