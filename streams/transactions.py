"""Transactions of one producer, with their failures sorted by what has to be done about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from streams.clock import Deadline, monotonic
from streams.errors import BrokerError
from streams.lease import LeaseToken
from streams.metrics import AbortReason

__all__ = ["TransactionAborted", "TransactionalProducer"]

Headers = list[tuple[str, bytes]]

_SLICE_SECONDS = 5.0
_FLUSH_SECONDS = 0.05


class TransactionAborted(Exception):  # noqa: N818 - an outcome that the caller recovers from
    """The transaction is gone: whatever it held must be read and done again.

    Attributes:
        superseded: whether the broker refused the producer itself, as another has taken over its id. After a timeout it
            may also have been the broker that did so.
    """

    def __init__(self, reason: AbortReason, detail: str, *, superseded: bool = False) -> None:
        self.reason: AbortReason = reason
        self.superseded = superseded
        super().__init__(detail)


class TransactionalProducer:
    """A producer that writes in transactions and replaces itself after it was fenced.

    Args:
        config: from `producer_config`, with a transactional id.
        deadline_s: how long a commit or the start may take, all retries together.
    """

    def __init__(self, config: dict[str, Any], deadline_s: float) -> None:
        # Deliveries need no report of their own: a record that failed fails the commit.
        self._config = {**config, "delivery.report.only.error": True}
        self._deadline_s = deadline_s
        self._timeout_s = int(config["transaction.timeout.ms"]) / 1_000
        self._producer: Producer | None = None
        self._began = 0.0
        self.open = False

    def ready(self) -> None:
        """Make the producer if there is none.

        This aborts what an earlier holder of the transactional id left open and fences that holder.

        Raises:
            BrokerError: if the coordinator cannot be reached within the deadline, or refuses.
        """
        if self._producer is not None:
            return
        producer = Producer(self._config)
        try:
            self._retry(producer.init_transactions)
        except KafkaException as error:
            raise BrokerError(f"Kafka lets no transaction begin: {error.args[0].str()}") from error
        self._producer = producer

    def renew(self) -> None:
        """Replace the producer, which ends what another holder of the transactional id has open, dead or alive.

        Raises:
            BrokerError: as `ready`.
        """
        self.close()
        self.ready()

    def begin(self) -> None:
        """Begin a transaction.

        Raises:
            TransactionAborted: if this producer was fenced meanwhile.
            BrokerError: as `ready`.
        """
        self.ready()
        try:
            if self._producer is not None:
                self._producer.begin_transaction()
        except KafkaException as error:
            raise self._aborted(error) from error
        self._began = monotonic()
        self.open = True

    def send(
        self,
        topic: str,
        payloads: Iterable[bytes],
        keys: Iterable[bytes | None],
        partitions: Iterable[int],
        headers: Headers | None = None,
    ) -> None:
        """Hand records over for sending, all with the same headers; the commit tells whether they arrived.

        Raises:
            TransactionAborted: if the transaction cannot go on.
        """
        producer = self._require()
        # Headers are bound once: records without them take the short way.
        produce = producer.produce if headers is None else partial(producer.produce, headers=[*headers])
        try:
            for payload, key, partition in zip(payloads, keys, partitions, strict=True):
                try:
                    produce(topic, payload, key, partition)
                except BufferError:
                    self._produce_when_room(producer, produce, (topic, payload, key, partition))
            producer.poll(0)
        except KafkaException as error:
            raise self._aborted(error) from error

    def commit(self, offsets: Sequence[TopicPartition] = (), token: LeaseToken | None = None) -> None:
        """Commit what was sent, together with the group's offsets if a token is given.

        Raises:
            TransactionAborted: if anything of it failed; the transaction was aborted.
        """
        producer = self._require()
        try:
            if token is not None:
                self._retry(lambda t: self._send_offsets(producer, offsets, token, t))
            self._retry(producer.commit_transaction)
        except KafkaException as error:
            raise self._aborted(error) from error
        except BrokerError as error:
            self._drop()
            raise TransactionAborted("timeout", str(error)) from error
        self.open = False

    def abort(self) -> None:
        """Abort the open transaction, if there is one; a producer that cannot is dropped."""
        self._abort()

    def _abort(self) -> KafkaError | None:
        """Do so; return why it could not be done, if it is known."""
        refusal: KafkaError | None = None
        if not self.open or self._producer is None:
            return None
        try:
            self._retry(self._producer.abort_transaction)
        except KafkaException as error:
            refusal = self._first_cause(error)
            self._drop()
        except BrokerError:
            self._drop()
        self.open = False
        return refusal

    def close(self) -> None:
        """Abort what is open and let the producer go."""
        self.abort()
        self._drop()

    def _send_offsets(
        self, producer: Producer, offsets: Sequence[TopicPartition], token: LeaseToken, seconds: float
    ) -> None:
        """Send offsets on a thread of its own, as this call of librdkafka may never return; rows are sent meanwhile.

        It ignores its timeout where it waits for the group's coordinator (librdkafka's issue 5456), and a broker that
        was killed and came back was seen not to wake it. The thread and its producer are then left to themselves; the
        next producer of the same transactional id fences it.
        """
        outcome: list[BaseException | None] = []

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(list(offsets), token.metadata, seconds)
            except BaseException as error:
                outcome.append(error)
            else:
                outcome.append(None)

        thread = Thread(target=send, name="send-offsets", daemon=True)
        thread.start()
        failed: KafkaException | None = None
        try:
            # A flush does not linger. What it leaves, as after offsets that were refused, is the commit's.
            while producer.flush(_FLUSH_SECONDS) and thread.is_alive():
                pass
        except KafkaException as error:
            failed = error
        # Later than this the broker has aborted the transaction anyway.
        thread.join(seconds + self._timeout_s)
        if not outcome:
            self._producer, self.open = None, False
            raise TransactionAborted("timeout", "librdkafka does not come back from sending offsets")
        if (first := outcome[0] or failed) is not None:  # who is refused should know it, whatever else happened
            raise first

    def _require(self) -> Producer:
        if self._producer is None or not self.open:
            raise RuntimeError("no transaction is open: call begin() first")
        return self._producer

    def _produce_when_room(
        self, producer: Producer, produce: Callable[..., None], record: tuple[str, bytes, bytes | None, int]
    ) -> None:
        """The queue is full: wait until the broker took some of it. The queue is bounded, so is the wait."""
        deadline = Deadline(self._deadline_s)
        while True:
            producer.poll(0.01)
            try:
                produce(*record)
            except BufferError:
                if deadline.passed():
                    raise TransactionAborted("timeout", "the broker takes no records") from None
            else:
                return

    def _retry(self, call: Callable[[float], Any]) -> None:
        """Make a call again while librdkafka says that it may be made again."""
        deadline = Deadline(self._deadline_s)
        while True:
            try:
                call(min(_SLICE_SECONDS, max(0.1, deadline.left())))
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if not cause.retriable():
                    raise
                if deadline.passed():
                    raise BrokerError(f"Kafka did not finish a transaction in time: {cause.str()}") from error
            else:
                return

    def _aborted(self, error: KafkaException) -> TransactionAborted:
        cause = self._first_cause(error)
        if cause.fatal() or not cause.txn_requires_abort():
            # A fatal producer can do nothing more; one in an unknown state is not worth finding out about.
            self._drop()
            refusal = None
        else:
            refusal = self._abort()
        reason = _reason(cause)
        # One that was suspended may learn of its own messages first that they are too old, and only then of the other.
        superseded = reason == "fenced" or (refusal is not None and _reason(refusal) == "fenced")
        if reason == "fenced" and monotonic() - self._began > self._timeout_s:
            reason = "timeout"  # The broker itself fences a producer whose transaction took too long.
        return TransactionAborted(reason, f"{cause.name()}: {cause.str()}", superseded=superseded)

    def _first_cause(self, error: KafkaException) -> KafkaError:
        """Return what happened; after a fatal error every call says only that there was one, but for the next poll."""
        cause: KafkaError = error.args[0]
        if cause.code() == KafkaError._FATAL and self._producer is not None:
            try:
                self._producer.poll(0)
            except KafkaException as first:
                cause = first.args[0]
        return cause

    def _drop(self) -> None:
        producer, self._producer, self.open = self._producer, None, False
        if producer is not None:
            producer.purge()
            with suppress(KafkaException):  # A fatal error is raised by the first poll after it.
                producer.poll(0)


_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
_REBALANCED = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.REBALANCE_IN_PROGRESS,
}
_TIMED_OUT = {KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT, KafkaError.REQUEST_TIMED_OUT}


def _reason(cause: KafkaError) -> AbortReason:
    code = cause.code()
    if code in _FENCED:
        return "fenced"
    if code in _REBALANCED:
        return "rebalance"
    if code in _TIMED_OUT:
        return "timeout"
    return "error"
