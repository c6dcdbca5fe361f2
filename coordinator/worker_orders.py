"""The orders of operators, as a worker follows them: the control topic, read in full at the start and then on."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from coordinator.orders import Order, OrderKind, applies, later
from coordinator.records import ControlPlane
from coordinator.shards import Shard, ShardState
from streams.clients import reader_config
from streams.clock import Deadline, monotonic
from streams.errors import BrokerError
from streams.log import get_logger
from streams.offsets import end_offsets, is_hopeless
from streams.registry import RegistryUnavailable
from streams.settings import Settings

__all__ = ["WorkerOrders"]

log = get_logger(__name__)

_ASK_AGAIN_SECONDS = 2.0
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
        # Orders of another release, whose schema the registry could not tell: by target, as they came.
        self._unread: dict[bytes, list[bytes]] = {}
        self._ask_at = 0.0

    def catch_up(self, deadline: Deadline) -> None:
        """Read what has been ordered so far; a paused job must not be started in ignorance.

        Raises:
            BrokerError: if the end was not reached in time, or an order needs a schema and the registry is away.
        """
        where = TopicPartition(self._plane.control, 0)
        end = end_offsets(self._settings, [where], stable=False, deadline=deadline)[0]
        self._reader.assign([TopicPartition(self._plane.control, 0, OFFSET_BEGINNING)])
        while self._position < end or self._unread:
            if deadline.passed():
                why = ": the registry does not answer" if self._unread else ""
                raise BrokerError(
                    f"{self._plane.control} could not be read to its end within {deadline.seconds:g} s{why}"
                )
            self.poll(0.2)

    def poll(self, seconds: float = 0.0) -> None:
        """Take in what is there, and from time to time what could not be read."""
        if self._unread and monotonic() >= self._ask_at:
            self._read_again()
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

    @property
    def waiting(self) -> int:
        """How many orders cannot be read until the registry is back."""
        return sum(map(len, self._unread.values()))

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
            self._unread.pop(key or b"", None)
            self._orders.pop((key or b"").decode(errors="replace"), None)
            return
        try:
            self._apply(key, value)
        except RegistryUnavailable as error:
            if not self._unread:
                log.warning("orders_wait_for_registry", key=key.decode(errors="replace"), error=str(error))
            self._unread.setdefault(key, []).append(value)
            self._ask_at = monotonic() + _ASK_AGAIN_SECONDS

    def _read_again(self) -> None:
        """Read what waits, until the registry turns out to be still away: each question may take its whole timeout."""
        try:
            for key in list(self._unread):
                while self._unread[key]:
                    self._apply(key, self._unread[key][0])
                    self._unread[key].pop(0)
                del self._unread[key]
        except RegistryUnavailable:
            self._ask_at = monotonic() + _ASK_AGAIN_SECONDS
        else:
            log.info("orders_read")

    def _apply(self, key: bytes, value: bytes) -> None:
        try:
            order = self._plane.decode(self._plane.control, value)
        except RegistryUnavailable:
            raise
        except Exception as error:
            log.warning("order_unreadable", key=key.decode(errors="replace"), error=str(error))
            return
        if isinstance(order, Order):
            before = self._orders.get(order.target)
            self._orders[order.target] = order if before is None else later(before, order)
