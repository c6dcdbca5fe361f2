"""Which schema ids of raw payloads the contract can conform, asked of the registry once and remembered."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from schemas.avro import AvroRecord, parse_record
from schemas.bounded import Recent
from schemas.codec_reference import ReferenceCodec
from schemas.contract import Contract
from schemas.mapping import admissible
from streams.clock import monotonic
from streams.errors import RegistryError
from streams.log import get_logger
from streams.registry import AvroSchema, Registry, RegistryUnavailable, UnknownSchemaId, UnusableSchema

__all__ = ["RawSchemas"]

_ASK_AGAIN_SECONDS = 1.0
_UNKNOWN_FOR_SECONDS = 30.0
_PATIENCE_SECONDS = 0.5
_BATCH_SECONDS = 2.0
_MOST_KNOWN = 2_000
_MOST_UNKNOWN = 10_000

log = get_logger(__name__)


class RawSchemas:
    """Resolves schema ids for `schemas.codec.Decoder`.

    Known ids never need the registry again. Others are asked for on a thread of their own, which is waited for only
    briefly, as a registry that hangs would hold up the rows of known ids and the open transaction. While it is down an
    id stays unresolved, and it is asked again at most once a second.
    """

    def __init__(self, registry: Registry, contract: Contract, now: Callable[[], float] = monotonic) -> None:
        self._registry, self._contract, self._now = registry, contract, now
        # Bounded, as a fleet that writes ever new ids must not fill the memory.
        self._known: Recent[int, AvroRecord | str] = Recent(_MOST_KNOWN)
        self._unknown: Recent[int, tuple[float, str]] = Recent(_MOST_UNKNOWN)
        self._ask_after: Recent[int, float] = Recent(_MOST_UNKNOWN)
        self._asking: Thread | None = None
        self._enough_at = float("inf")

    def begin_batch(self) -> None:
        """Spend at most a few seconds on the ids of the batch that follows; those beyond are not known yet."""
        self._enough_at = self._now() + _BATCH_SECONDS

    def __call__(self, schema_id: int) -> AvroRecord | str | None:
        """Return the record of a schema id, a text saying why it cannot be used, or None if nobody knows yet."""
        answer = self._answer(schema_id)
        if answer is None and self._may_ask(schema_id):
            self._asking = Thread(target=self._ask, args=(schema_id,), name="raw-schemas", daemon=True)
            self._asking.start()
            self._asking.join(_PATIENCE_SECONDS)
            answer = self._answer(schema_id)
        return answer

    def _answer(self, schema_id: int) -> AvroRecord | str | None:
        known = self._known.get(schema_id)
        if known is not None:
            return known
        until, reason = self._unknown.get(schema_id) or (0.0, "")
        return reason if self._now() < until else None

    def _may_ask(self, schema_id: int) -> bool:
        now = self._now()
        return not self._busy() and now < self._enough_at and now >= (self._ask_after.get(schema_id) or 0.0)

    def _busy(self) -> bool:
        return self._asking is not None and self._asking.is_alive()

    def _ask(self, schema_id: int) -> None:
        self._ask_after.put(schema_id, self._now() + _ASK_AGAIN_SECONDS)
        try:
            self._known.put(schema_id, self._judge(schema_id, self._registry.schema_by_id(schema_id)))
        except UnknownSchemaId:
            reason = f"unknown schema id {schema_id}: the registry does not have it"
            # It may be registered later, so this is not remembered for ever.
            self._unknown.put(schema_id, (self._now() + _UNKNOWN_FOR_SECONDS, reason))
        except UnusableSchema as error:
            self._known.put(schema_id, f"incompatible schema id {schema_id}: {error}")
        except RegistryUnavailable as error:
            log.warning("registry_unavailable", schema_id=schema_id, error=str(error))
        except RegistryError as error:
            log.error("registry_refused", schema_id=schema_id, error=str(error))

    def _judge(self, schema_id: int, schema: AvroSchema) -> AvroRecord | str:
        """Return the record, or why the contract cannot conform it, as also a schema that our readers break on."""
        try:
            record = parse_record(schema)
            ReferenceCodec(record, schema_id)
            reasons = admissible(self._contract, record)
        except Exception as error:
            reasons = [str(error) or type(error).__name__]
        return f"incompatible schema id {schema_id}: {'; '.join(reasons)}" if reasons else record
