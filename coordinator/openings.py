"""What the group has committed for a queue partition: offset and cursor, asked off the thread that polls.

A predecessor that died in the middle of a chunk leaves an open transaction, and the broker does not tell an offset that
may still change. Taking over the partition's transactional id aborts that transaction at once; waiting for its timeout
would take seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from coordinator.ownership import Open, Place
from streams.clients import consumer_config
from streams.clock import Deadline
from streams.errors import BrokerError, SeamlessError
from streams.offsets import is_hopeless, patiently
from streams.settings import Settings

__all__ = ["Opened", "Openings", "committed_place"]

_THREADS = 4
_REQUEST_SECONDS = 0.5  # that a dead holder left a transaction open is found out only by waiting in vain
_ANSWER_SECONDS = 2.0
_AGAIN_SECONDS = 0.1
_NONE = -1


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer: where a partition goes on, or why that cannot be told."""

    place: Place
    grant: int
    offset: int = _NONE
    cursor: str = ""
    error: SeamlessError | None = None


class Openings:
    """Asks for committed offsets on threads of its own.

    Args:
        group: the workers' group.
        release: takes over a partition's transactional id, so that a predecessor's transaction is aborted.
        untouched: tells whether no shard of a partition was ever claimed, so that having no offset is right.
        report: is given every answer, on the thread that found it.
        deadline_s: how long a broker may keep quiet.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        *,
        release: Callable[[Place], None],
        untouched: Callable[[Place], bool],
        report: Callable[[Opened], None],
        deadline_s: float,
    ) -> None:
        self._settings, self._group = settings, group
        self._release, self._untouched, self._report, self._deadline_s = release, untouched, report, deadline_s
        # It never joins. That it reads committed offsets only is a guard, too: one that an open transaction may still
        # move is not told, so a zombie's pending chunk cannot land behind the cursor that was read here. An AdminClient
        # is of no use: when the broker is killed, it may wait in vain for the group's coordinator ever after, or end
        # the process by an assertion (librdkafka's issue 4605).
        self._asker = Consumer(consumer_config(settings, group))
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="openings")
        self._closing = threading.Event()

    def ask(self, wanted: Open, after_s: float = 0.0) -> None:
        """Ask for a partition, after a pause if need be; the answer is reported later."""
        self._pool.submit(self._answer, wanted, after_s)

    def close(self) -> None:
        """Ask no more; answers that are on their way may still be reported."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, wanted: Open, after_s: float) -> None:
        self._closing.wait(after_s)
        try:
            self._report(self._find(wanted))
        except SeamlessError as error:
            self._report(Opened(wanted.place, wanted.grant, error=error))
        except Exception as error:
            self._report(Opened(wanted.place, wanted.grant, error=BrokerError(f"{wanted.place}: {error!r}")))

    def _find(self, wanted: Open) -> Opened:
        place = wanted.place
        deadline = Deadline(self._deadline_s)
        released = False
        while not self._closing.is_set():
            try:
                offset, cursor = committed_place(self._asker, place)
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if is_hopeless(cause) or deadline.passed():
                    raise BrokerError(f"the offsets of {self._group} cannot be read: {cause.str()}") from error
                if cause.code() in _PERHAPS_OPEN and not released:
                    self._release(place)
                    released = True
                else:
                    self._closing.wait(_AGAIN_SECONDS)
                continue
            return Opened(place, wanted.grant, *self._checked(place, offset, cursor, deadline))
        raise BrokerError("the worker ends")

    def _checked(self, place: Place, offset: int, cursor: str, deadline: Deadline) -> tuple[int, str]:
        where = TopicPartition(place.queue, place.partition)
        what = f"the ends of partition {place.partition} of {place.queue} cannot be found"
        # Of the same client, as this is asked whenever a lease moves: one that was just made takes much longer.
        oldest, end = patiently(
            lambda: self._asker.get_watermark_offsets(where, timeout=_ANSWER_SECONDS, cached=False), deadline, what
        )
        if oldest <= offset <= end:
            return offset, cursor
        if offset < 0 and self._untouched(place):
            return oldest, ""
        what = f"has offset {offset}, which is {'past the end' if offset >= oldest else 'deleted by retention'},"
        if offset < 0:
            what = "has no offset"
        raise BrokerError(
            f"the group {self._group} {what} for partition {place.partition} of {place.queue}, though shards of it "
            "were worked on: beginning anew would do them again. Offsets expire when a group stays empty for long; "
            "`python scripts/lease_recover.py rebuild-offsets` sets them from the progress topic"
        )


# An open transaction, as the broker says it; librdkafka asks again until its time is up.
_PERHAPS_OPEN = {KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT}


def committed_place(asker: Consumer, place: Place) -> tuple[int, str]:
    """Return (offset, metadata) that a consumer's group has committed; a negative offset if it has none.

    Raises:
        KafkaException: for want of an answer, as while a transaction may still change it; others as they come.
    """
    (found,) = asker.committed([TopicPartition(place.queue, place.partition)], timeout=_REQUEST_SECONDS)
    if found.error is not None:
        raise KafkaException(found.error)
    return (found.offset, found.metadata or "") if found.offset >= 0 else (_NONE, "")
