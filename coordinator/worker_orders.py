"""The orders of operators, as a worker follows them: the control topic, read in full at the start and then on."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from coordinator.orders import Order, OrderKind, applies, later
from coordinator.records import ControlPlane
from coordinator.shards import Shard, ShardState
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.log import get_logger
from streams.offsets import end_offsets, is_hopeless
from streams.settings import Settings

__all__ = ["WorkerOrders"]

log = get_logger(__name__)

_ENDS_IN = {
    OrderKind.CANCEL: ShardState.CANCELLED,
    OrderKind.PAUSE: ShardState.PARKED,
    OrderKind.SKIP: ShardState.SKIPPED,
}


class WorkerOrders:
    """Read on the thread that polls; asked from any."""

    def __init__(self, settings: Settings, plane: ControlPlane) -> None:
        self._settings, self._plane = settings, plane
        self._orders: dict[str, Order] = {}
        self._reader = Consumer(reader_config(settings))
        self._position = 0

    def catch_up(self, deadline: Deadline) -> None:
        """Read what has been ordered so far; a paused job must not be started in ignorance.

        Raises:
            BrokerError: if the end was not reached in time.
        """
        where = TopicPartition(self._plane.control, 0)
        end = end_offsets(self._settings, [where], stable=False, deadline=deadline)[0]
        self._reader.assign([TopicPartition(self._plane.control, 0, OFFSET_BEGINNING)])
        while self._position < end:
            if deadline.passed():
                raise BrokerError(f"{self._plane.control} could not be read to its end within {deadline.seconds:g} s")
            self.poll(0.2)

    def poll(self, seconds: float = 0.0) -> None:
        """Take in what is there."""
        for message in self._reader.consume(1_000, seconds):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._position = max(self._position, message.offset() or 0)
                elif is_hopeless(error):
                    raise BrokerError(f"{self._plane.control} cannot be read: {error.str()}")
                continue
            self._position = (message.offset() or 0) + 1
            self._take(message.key(), message.value())

    def state_for(self, shard: Shard) -> ShardState | None:
        """Return the state that an order wants a shard to end in; the shard's own order goes before its job's."""
        for target in (shard.id, shard.job):
            order = self._orders.get(target)
            if order is not None and applies(order, shard, None) and order.order in _ENDS_IN:
                return _ENDS_IN[order.order]
        return None

    def released(self, shard: Shard, attempt: int) -> bool:
        """Whether this claim of a shard is to end."""
        order = self._orders.get(shard.id)
        return order is not None and order.order is OrderKind.RELEASE and applies(order, shard, attempt)

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        if key is None or value is None:
            self._orders.pop((key or b"").decode(errors="replace"), None)
            return
        try:
            order = self._plane.decode(self._plane.control, value)
        except Exception as error:
            log.warning("order_unreadable", key=key.decode(errors="replace"), error=str(error))
            return
        if isinstance(order, Order):
            before = self._orders.get(order.target)
            self._orders[order.target] = order if before is None else later(before, order)
