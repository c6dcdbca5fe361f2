"""What the registry may have to say that callers tell apart."""

from __future__ import annotations

from streams.errors import RegistryError

__all__ = ["RegistryUnavailable", "SchemaRefused", "UnknownSchemaId", "UnusableSchema"]


class RegistryUnavailable(RegistryError):  # noqa: N818 - named for the state, as callers wait for its end
    """The registry cannot be reached, or what answers is not working; asking later may succeed."""


class UnknownSchemaId(RegistryError):  # noqa: N818 - a fact about an id, not a failure of the registry
    """The registry answers, and has no schema of this id (yet)."""

    def __init__(self, schema_id: int, url: str) -> None:
        self.schema_id = schema_id
        super().__init__(
            f"The registry at {url} has no schema with id {schema_id}. Register the schema, or check "
            "that producer and reader use the same registry (seamless.registry.url)."
        )


class SchemaRefused(RegistryError):  # noqa: N818 - the registry's verdict
    """The registry will not take this schema: it breaks compatibility, or is no valid schema."""


class UnusableSchema(RegistryError):  # noqa: N818 - a fact about a schema, not a failure of the registry
    """The registry has a schema there that is not Avro."""
