"""Committed records of some partitions of one topic, from chosen offsets, perhaps up to their ends of now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError, SettingsError
from streams.offsets import end_offsets, is_hopeless, oldest_offsets
from streams.settings import Settings

__all__ = ["PartitionReader", "Records", "Start", "hopeless"]

Start: TypeAlias = 'Literal["earliest", "latest"] | datetime | Mapping[int, int]'

_ANSWER_SECONDS = 15.0
_POLL_SECONDS = 0.1  # the longest that a row waits for company

_quiet = logging.getLogger("librdkafka.reader")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # librdkafka tells every failed connection; ours are told once, with a remedy


@dataclass(frozen=True, slots=True)
class Records:
    """Records in the order of their delivery, with their coordinates; arrays of one length."""

    values: list[bytes | None]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


class PartitionReader:
    """Reads partitions that it assigned itself.

    Args:
        topic: must exist.
        choose: given the number of partitions, returns those to read.
        from_: where to begin; see `streams.subscription.subscribe`.
        until_end: whether to end at the last stable offsets as they are now.

    Attributes:
        partitions: those that are read.
        start: the offset at which each begins.
        reached: the offset that each has come to, behind records and the transactions' own marks.

    Raises:
        SettingsError: if `from_` makes no sense.
        BrokerError: if Kafka does not answer, the topic is not there, or an offset asked for is gone.
    """

    def __init__(
        self, settings: Settings, topic: str, choose: Callable[[int], list[int]], from_: Start, *, until_end: bool
    ) -> None:
        self._topic, self._servers = topic, settings.kafka.bootstrap_servers
        _check_start(from_)
        try:
            self._consumer = Consumer(reader_config(settings), logger=_quiet)
        except KafkaException as error:
            raise SettingsError(
                f"Kafka's client refuses seamless.kafka.client: {error.args[0].str()}. Correct or remove it."
            ) from None
        try:
            self.partitions = choose(self._count())
            borders = self._borders(settings)
            self.start = self._offsets(from_, borders)
        except BaseException:
            self._consumer.close()
            raise
        self.reached = dict(self.start)
        self._ends = {p: end for p, (_, end) in borders.items()} if until_end else None
        self._open = {p for p in self.partitions if self._ends is None or self.start[p] < self._ends[p]}
        self._closed = False
        if self._open:
            self._consumer.assign([TopicPartition(topic, p, self.start[p]) for p in sorted(self._open)])

    def read(self, rows: int, timeout: float | None) -> Records | None:
        """Return at most `rows` records, in order within each partition; None at the end or after `timeout` seconds.

        Raises:
            BrokerError: if reading cannot go on.
        """
        deadline = Deadline(timeout) if timeout is not None else None
        while self._open and not self._closed:
            patience = _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline.left())
            found = [m for m in self._consumer.consume(rows, patience) if self._is_row(m)]
            if found:
                return Records(
                    [m.value() for m in found],
                    np.array([m.partition() for m in found], np.int32),
                    np.array([m.offset() for m in found], np.int64),
                )
            if deadline is not None and deadline.passed():
                return None
        return None

    @property
    def at_end(self) -> bool:
        """Whether all was read that there was to be read when it began; never where there is no end."""
        return not self._open

    def close(self) -> None:
        """Let go of Kafka; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _is_row(self, message: Message) -> bool:
        """Judge one delivery: a record to be read, or only news of how far a partition has come."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if (refusal := hopeless(self._topic, error, partition)) is not None:
                raise refusal
            return False
        if partition is None or offset is None or partition not in self._open:
            return False  # fetched before the partition was let go
        end = None if self._ends is None else self._ends[partition]
        wanted = error is None and (end is None or offset < end)
        come_to = offset + 1 if error is None else offset
        self.reached[partition] = max(self.reached[partition], come_to if end is None else min(come_to, end))
        if end is not None and come_to >= end:
            self._open.discard(partition)
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
        return wanted

    def _count(self) -> int:
        try:
            found = self._consumer.list_topics(self._topic, timeout=_ANSWER_SECONDS).topics.get(self._topic)
        except KafkaException as error:
            raise self._silent(error) from None
        if found is None or found.error is not None:
            raise BrokerError(f"there is no topic {self._topic}: run `seamless topics apply`")
        return len(found.partitions)

    def _borders(self, settings: Settings) -> dict[int, tuple[int, int]]:
        """Return the oldest offset and the last stable one of each partition: behind it nothing is committed yet."""
        wanted = [TopicPartition(self._topic, p) for p in self.partitions]
        oldest = oldest_offsets(settings, wanted, deadline=Deadline(_ANSWER_SECONDS))
        ends = end_offsets(settings, wanted, stable=True, deadline=Deadline(_ANSWER_SECONDS))
        return {p: (oldest[p], ends[p]) for p in self.partitions}

    def _offsets(self, from_: Start, borders: dict[int, tuple[int, int]]) -> dict[int, int]:
        if from_ == "earliest":
            return {p: first for p, (first, _) in borders.items()}
        if from_ == "latest":
            return {p: end for p, (_, end) in borders.items()}
        if isinstance(from_, datetime):
            return self._offsets_at(from_, borders)
        assert isinstance(from_, Mapping)
        return {p: self._kept(p, from_, *border) for p, border in borders.items()}

    def _kept(self, partition: int, from_: Mapping[int, int], first: int, end: int) -> int:
        offset = from_.get(partition)
        if offset is None:
            raise SettingsError(
                f"from_ names no offset for partition {partition} of {self._topic}, which has to be read: give one for "
                f"each of {', '.join(map(str, self.partitions))}"
            )
        if not first <= offset <= end:
            gone = "retention removed what was before" if offset < first else "rows behind it were never committed"
            raise BrokerError(
                f"{self._topic}, partition {partition}: offset {offset} is not there, but {first} to {end} ({gone}). "
                'Choose an offset among them, or "earliest".'
            )
        return int(offset)

    def _offsets_at(self, moment: datetime, borders: dict[int, tuple[int, int]]) -> dict[int, int]:
        millis = int(moment.timestamp() * 1_000)
        asked = [TopicPartition(self._topic, p, millis) for p in borders]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=_ANSWER_SECONDS) if asked else []
        except KafkaException as error:
            raise self._silent(error) from None
        for answer in found:
            if answer.error is not None:
                raise BrokerError(
                    f"Kafka did not say where {moment.isoformat()} is in {self._topic}: {answer.error.str()}"
                )
        # A negative answer says that nothing is as young.
        return {a.partition: a.offset if a.offset >= 0 else borders[a.partition][1] for a in found}

    def _silent(self, error: KafkaException) -> BrokerError:
        return BrokerError(
            f"Kafka at {self._servers} does not answer: {error.args[0].str()}. Check that it runs and that "
            "seamless.kafka is right; `seamless up` starts one."
        )


_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


def hopeless(topic: str, error: KafkaError, partition: int | None) -> BrokerError | None:
    """Return the error to raise for what does not pass by itself; librdkafka goes on trying brokers that are away."""
    if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
        where = f"partition {partition}" if partition is not None and partition >= 0 else "a partition"
        return BrokerError(
            f"{topic}: {where} no longer has the rows at the reader's position; retention removed them. "
            'Subscribe again, from "earliest", and fetch what is missing from the archive.'
        )
    if is_hopeless(error) or error.code() in _GONE:
        return BrokerError(f"{topic} cannot be read: {error.str()}. Check seamless.kafka and who may read it.")
    return None


def _check_start(from_: Start) -> None:
    if isinstance(from_, datetime):
        if from_.tzinfo is None:
            raise SettingsError(f"from_ {from_.isoformat()} has no time zone: give one, such as datetime.UTC")
    elif isinstance(from_, Mapping):
        strange = [
            f"{p!r}: {o!r}" for p, o in from_.items() if not (isinstance(p, int) and isinstance(o, int) and o >= 0)
        ]
        if strange:
            raise SettingsError(f"from_ maps partitions to offsets, but holds {', '.join(strange)}")
    elif from_ not in {"earliest", "latest"}:
        raise SettingsError(f"from_ is {from_!r}: use earliest, latest, an aware datetime, or offsets by partition")
