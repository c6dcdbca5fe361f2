"""Control-plane records on the wire: Avro under registered subjects, record by record."""

from __future__ import annotations

from typing import Any

from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from schemas.events import load_event
from schemas.wire import schema_id
from streams.errors import RegistryError
from streams.registry import Registry
from streams.topics import subject

__all__ = ["EventCodec"]

_LOGICAL = frozenset({"timestamp-millis", "timestamp-micros"})


class EventCodec:
    """Encodes and decodes the events of one topic.

    Args:
        registry: where the subject is registered.
        topic: the topic's full name.
        event: the name of the event schema, as in `schemas/events`.

    Raises:
        RegistryError: if the subject does not hold this schema; nothing is ever registered on the way.
    """

    def __init__(self, registry: Registry, topic: str, event: str) -> None:
        self._registry = registry
        found = registry.lookup(subject(topic), load_event(event))
        if found is None:
            raise RegistryError(
                f"the subject {subject(topic)} does not hold the schema {event}: run `seamless schema register`"
            )
        self._own = ReferenceCodec(parse_record(found.schema), found.id, _LOGICAL)
        self._codecs = {found.id: self._own}

    def encode(self, datum: dict[str, Any]) -> bytes:
        """Return the framed record; times are aware datetimes, or integers in the schema's unit."""
        return self._own.encode_one(datum)

    def knows(self, payload: bytes) -> bool:
        """Whether a record can be decoded, or refused, without asking the registry."""
        identifier = schema_id(payload)
        return identifier is None or identifier in self._codecs

    def decode(self, payload: bytes) -> dict[str, Any]:
        """Return the datum of a framed record, written with any version of the schema; times are aware datetimes.

        Raises:
            RegistryError: if the payload names no schema that the registry knows.
        """
        identifier = schema_id(payload)
        if identifier is None:
            raise RegistryError("an event carries no schema id: something else writes to this topic")
        codec = self._codecs.get(identifier)
        if codec is None:
            codec = ReferenceCodec(parse_record(self._registry.schema_by_id(identifier)), identifier, _LOGICAL)
            self._codecs[identifier] = codec
        return codec.decode_one(payload)
