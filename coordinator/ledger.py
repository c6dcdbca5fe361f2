"""The ledger: writes plans and orders, each in one transaction, and never two at once, however many replicas there are.

All replicas of a world share one transactional id. Whoever wants to write has a producer that is initialised under it,
reads the view to its end, decides, writes and commits. If another replica initialised its producer in between, the
broker fences this one: its commit fails as a whole, and it decides again on a view that holds what the other wrote.
What is committed was therefore decided on all that had been committed before: an optimistic lock, and nothing that a
dead replica could keep: who cannot read past the transaction that it left open initialises a producer anew.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from coordinator.feed import Feed, HeldUp
from coordinator.protocol import BackfillRejected
from coordinator.records import ControlPlane, Event, Outgoing, send
from coordinator.shards import Job
from streams.clients import producer_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.log import get_logger
from streams.settings import Settings
from streams.transactions import TransactionAborted, TransactionalProducer

__all__ = ["Ledger", "ledger_id"]

log = get_logger("coordinator")

Answer = TypeVar("Answer")

# Long enough for the largest plan to be sent, short enough that a replica that dies in between holds up readers of the
# control topics only for a while; the next replica that writes ends its transaction within the patience below.
_TRANSACTION_MS = 30_000
# How long an open transaction may be that of a replica which is about to commit, and not of a dead one.
_PATIENCE_S = 3.0
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
# The broker takes 1,048,588 bytes in one batch unless told otherwise; a batch has some bytes of its own.
_MOST_BYTES = 1_000_000


def ledger_id(world: str) -> str:
    """Return the transactional id that all replicas of a world share."""
    return f"{world}.backfill.ledger"


class Ledger:
    """Writes to the control topics. Any thread may use it; threads of one process take turns.

    Args:
        feed: the view that decisions are made on.
        deadline_s: how long one write may take, all attempts together.
    """

    def __init__(self, settings: Settings, plane: ControlPlane, feed: Feed, *, deadline_s: float = 30.0) -> None:
        self._plane, self._feed, self._deadline_s = plane, feed, deadline_s
        config = producer_config(
            settings,
            transactional_id=ledger_id(settings.world),
            transaction_timeout_ms=_TRANSACTION_MS,
            compression="lz4",
        )
        self._producer = TransactionalProducer(config, deadline_s)
        self._turn = threading.Lock()
        self._closing = threading.Event()

    def write(
        self, decide: Callable[[Feed], tuple[Answer, Iterable[Event]]], *, refused: Callable[[], None] = lambda: None
    ) -> Answer:
        """Write what `decide` returns beside its answer; it is called again if somebody else wrote meanwhile.

        When this returns, the feed holds what was written.

        Args:
            decide: looks at the view that the feed holds; whatever it raises ends the write.
            refused: is called where another writer came first, so that nothing of the attempt was written. After any
                other failure that is not known.

        Raises:
            BrokerError: if it could not be done in time; it may have been done nevertheless.
            BackfillRejected: if a record is too large.
        """
        deadline = Deadline(self._deadline_s)
        if not self._turn.acquire(timeout=self._deadline_s):
            raise BrokerError(f"other writes to {self._plane.progress} did not end within {self._deadline_s:g} s")
        try:
            pause = _FIRST_PAUSE_S
            while True:
                self._producer.ready()
                self._catch_up(deadline)
                answer, events = decide(self._feed)
                # Encoded before the transaction begins, so that it is open for as short as can be.
                records = [self._encode(event) for event in events]
                if not records:
                    return answer
                try:
                    self._commit(records)
                except TransactionAborted as error:
                    log.info("seamless.backfill.ledger_retried", reason=error.reason, detail=str(error))
                    if error.reason == "fenced":
                        refused()
                    if deadline.passed() or self._closing.is_set():
                        raise BrokerError(
                            f"the plan could not be written within {deadline.seconds:g} s: {error}"
                        ) from error
                    # Two replicas that fence each other in turn must not stay in step.
                    self._closing.wait(random.uniform(0, pause))  # noqa: S311 - not a secret
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                else:
                    self._catch_up(deadline)
                    return answer
        finally:
            self._turn.release()

    def close(self) -> None:
        """Let go of the producer; what is not committed is aborted."""
        self._closing.set()
        with self._turn:
            self._producer.close()

    def _catch_up(self, deadline: Deadline) -> None:
        """Read all that was committed, past what a replica may have left open that died after this one had begun."""
        patience = Deadline(min(_PATIENCE_S, deadline.left()))
        try:
            self._feed.catch_up(patience)
        except HeldUp:
            self._producer.renew()
        except BrokerError:
            if not patience.passed():
                raise  # not for want of time
        else:
            return
        self._feed.catch_up(deadline)

    def _commit(self, records: list[Outgoing]) -> None:
        self._producer.begin()
        try:
            # Records of one topic one after the other; the order within each topic stays.
            send(self._producer, sorted(records, key=lambda record: record.topic))
            self._producer.commit()
        except BaseException:
            self._producer.abort()
            raise

    def _encode(self, event: Event) -> Outgoing:
        record = self._plane.encode(event)
        if len(record.payload) > _MOST_BYTES:
            what, field = "its record", "symbols"
            if isinstance(event, Job) and len(event.shards) > len(event.symbols):
                what, field = f"the list of its {len(event.shards):,} shards", "target_rows"
            raise BackfillRejected(
                f"the request is too large: {what} takes {len(record.payload):,} bytes, and {_MOST_BYTES:,} is the "
                "most; ask for larger shards (target_rows), or for less at once",
                field=field,
            )
        return record
