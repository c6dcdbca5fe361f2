"""Operations are decided and written down: one at a time, each with its entry in the audit trail, both or neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

from streams import topics
from streams.audit_trail import AuditTrail, in_transaction
from streams.clock import now_ms
from streams.events import EventCodec
from streams.operating.feed import OperationsFeed
from streams.operating.operation import Change, Operation
from streams.operating.standing import Standing
from streams.registry import Registry
from streams.schema_audit import AuditEntry
from streams.settings import Settings
from streams.transactions import TransactionalProducer

__all__ = ["decided", "new_operation", "standing_now"]

_NAMES = {"override": "override", "undo": "undo", "deploy": "deploy"}


def standing_now(settings: Settings, registry: Registry) -> Standing:
    """Return what is in force now.

    Raises:
        RegistryError: if the topic's subject is not registered.
        BrokerError: if the operations topic cannot be read.
    """
    feed = OperationsFeed(settings, registry)
    try:
        feed.open()
        return feed.standing
    finally:
        feed.close()


def new_operation(
    what: str,
    by: str,
    reason: str,
    changes: Sequence[Change] = (),
    *,
    undoes: str | None = None,
    version: str | None = None,
) -> Operation:
    """Return an operation that is done now."""
    return Operation(uuid4().hex[:12], now_ms(), by, what, reason, tuple(changes), undoes, version)


def decided(
    settings: Settings, registry: Registry, plan: Callable[[Standing], Sequence[Operation]]
) -> tuple[Sequence[Operation], Standing]:
    """Ask what is to be done in view of what is in force, and write it; return it, and what is in force with it.

    Of two who decide at once, whoever began first is refused: nobody decides in ignorance of what another has written.

    Raises:
        RegistryError: if a topic's subject is not registered.
        BrokerError: if Kafka did not take it; nothing was changed.
    """
    trail, topic = AuditTrail(settings, registry), topics.operations(settings.world)
    codec = EventCodec(registry, topic, "operation")
    found: Sequence[Operation] = ()
    standing = Standing()

    def send(producer: TransactionalProducer) -> None:
        nonlocal found, standing
        standing = standing_now(settings, registry)
        found = plan(standing)
        if found:
            payloads = [codec.encode(each.to_avro()) for each in found]
            producer.send(topic, payloads, [each.id.encode() for each in found], [0] * len(found))
            trail.send(producer, [entry for each in found for entry in _entries(each)])

    in_transaction(settings, "operations", send)
    for each in found:
        standing.take(each)
    return found, standing


def _entries(operation: Operation) -> list[AuditEntry]:
    what = _NAMES.get(operation.what, f"rollback {operation.what}")
    if not operation.changes:
        return [AuditEntry(operation.at, operation.by, what, after=operation.version, reason=operation.reason)]
    return [
        AuditEntry(
            operation.at,
            operation.by,
            what,
            change.dataset,
            before=f"{change.target}: {change.was}",
            after=f"{change.target}: {change.now}",
            reason=operation.reason,
        )
        for change in operation.changes
    ]
