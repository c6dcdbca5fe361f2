"""Committed rows of a dataset behind chosen offsets: what the normalizer and the backfill's workers write, as it comes.

The reader assigns partitions itself and joins no group. Rows are decoded as the archive decodes them, with where each
came from, so that they can be held against the archive's.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.columns import to_polars
from schemas.contract import Contract
from streams import topics
from streams.archive.layout import SYSTEM, Source
from streams.archive.rows import RowDecoder, Undecodable
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError, SettingsError
from streams.log import get_logger
from streams.offsets import end_offsets
from streams.partition_reader import hopeless
from streams.partitioning import partitions_of
from streams.raw_batch import RawBatch
from streams.registry import Registry
from streams.settings import Settings
from streams.subscription import UnreadableRow

__all__ = ["LiveReader", "users_rows"]

_POLL_S = 0.1  # the longest that a row waits for company
_ANSWER_S = 15.0
_ASK_AGAIN_S = 5.0

log = get_logger("provider")
_quiet = logging.getLogger("librdkafka.stream")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # librdkafka tells every failed connection; ours are told once, with a remedy


class LiveReader:
    """Reads both topics of a dataset. One thread at a time.

    Args:
        symbols: only rows of these, read from only the partitions that can hold them; None for all.
        starts: where to begin; a partition that is not named is read from its oldest record.
        fixed: the version of the contract whose columns rows have; unset for the newest that is registered.

    Attributes:
        contract, version: that version.
        reached: next offset of each partition, behind records and the transactions' own marks.

    Raises:
        SettingsError: if Kafka's client refuses the settings.
        RegistryError: if the contract is not registered, or the registry does not answer.
        BrokerError: if Kafka does not answer, or a topic is not there.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: str,
        symbols: Collection[str] | None,
        starts: Mapping[Source, int],
        *,
        fixed: tuple[Contract, int] | None = None,
    ) -> None:
        self._settings = settings
        self._symbols = None if symbols is None else sorted(set(symbols))
        self._registry = Registry(settings.registry)
        try:
            self._decoder = RowDecoder(self._registry, settings.world, dataset, fixed=fixed)
            self.contract, self.version = self._decoder.contract, self._decoder.version
            self._consumer = Consumer(reader_config(settings), logger=_quiet)
        except KafkaException as error:
            self._registry.close()
            raise SettingsError(
                f"Kafka's client refuses seamless.kafka.client: {error.args[0].str()}. Correct or remove it."
            ) from None
        except BaseException:
            self._registry.close()
            raise
        try:
            self._sources = self._chosen(topics.history(settings.world, dataset)) + self._chosen(
                topics.normalized(settings.world, dataset)
            )
        except BaseException:
            self.close()
            raise
        self.reached = {source: starts.get(source, 0) for source in self._sources}
        self._starts = {source: starts[source] for source in self._sources if source in starts}
        self._at_end: set[Source] = set()
        self._pending: list[Message] = []
        self._quiet_since = Deadline(_ASK_AGAIN_S)
        self._consumer.assign(
            [TopicPartition(s.topic, s.partition, starts.get(s, OFFSET_BEGINNING)) for s in self._sources]
        )

    @property
    def at_end(self) -> bool:
        """Whether every partition was read to its last stable offset when it was last looked at."""
        return len(self._at_end) == len(self._sources) and not self._pending

    def read(self, rows: int, seconds: float) -> pl.DataFrame | None:
        """Return at most so many records as rows with the system's columns, in the order of their delivery.

        None if none came in time, or if all ends were reached meanwhile. After an error the same records are tried
        again.

        Raises:
            BrokerError: if reading cannot go on.
            RegistryUnavailable: if a row's schema is not known yet and the registry does not answer.
            UnreadableRow: if a record is no row of the dataset.
        """
        deadline = Deadline(seconds)
        while not self._pending:
            was_at_end = self.at_end
            delivered = self._consumer.consume(rows, min(_POLL_S, deadline.left()))
            self._pending = [message for message in delivered if self._is_row(message)]
            if delivered or self.at_end:
                self._quiet_since = Deadline(_ASK_AGAIN_S)
            elif self._quiet_since.passed():
                self._ask_again()
            if not self._pending and (deadline.passed() or (self.at_end and not was_at_end)):
                return None
        frame = self._decoded(self._pending)
        for message in self._pending:
            self._came_to(Source(str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0) + 1)
        self._pending = []
        return frame

    def gone(self) -> list[Source]:
        """Return the partitions whose records at the chosen offset were deleted by retention.

        Raises:
            BrokerError: if Kafka does not answer, or a partition ends before the chosen offset.
        """
        found = []
        for source, start in self._starts.items():
            oldest, end = self._borders(source)
            if end < start:
                raise BrokerError(
                    f"{source.topic}, partition {source.partition}, ends at offset {end}, but was read up to {start}: "
                    "it was made anew or cut off, or archive and Kafka are of different clusters. Look at "
                    "seamless.archive.url and seamless.kafka.bootstrap_servers, or begin a new stream."
                )
            if start < oldest:
                found.append(source)
        return found

    def ends(self) -> dict[Source, int]:
        """Return the last stable offset of each partition as it is now; BrokerError if Kafka does not answer."""
        found: dict[Source, int] = {}
        for topic in sorted({source.topic for source in self._sources}):
            wanted = [TopicPartition(topic, source.partition) for source in self._sources if source.topic == topic]
            ends = end_offsets(self._settings, wanted, stable=True, deadline=Deadline(_ANSWER_S))
            found |= {Source(topic, partition): end for partition, end in ends.items()}
        return found

    def behind(self) -> int:
        """Return how many records, at most, are committed and not read yet, as far as the broker has told."""
        total = 0
        for source, offset in self.reached.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(source.topic, source.partition), cached=True)
            total += max(0, end - offset)
        return total

    def close(self) -> None:
        """Let go of Kafka and the registry."""
        self._consumer.close()
        self._registry.close()

    # How

    def _borders(self, source: Source) -> tuple[int, int]:
        """Return the offsets of the oldest record and of the end."""
        place = TopicPartition(source.topic, source.partition)
        try:
            oldest, end = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
        except KafkaException as error:
            raise self._silent(error) from None
        return int(oldest), int(end)

    def _silent(self, error: KafkaException) -> BrokerError:
        return BrokerError(
            f"Kafka at {self._settings.kafka.bootstrap_servers} does not answer: {error.args[0].str()}. Check that it "
            "runs and that seamless.kafka is right; `seamless up` starts one."
        )

    def _chosen(self, topic: str) -> list[Source]:
        try:
            found = self._consumer.list_topics(topic, timeout=_ANSWER_S).topics.get(topic)
        except KafkaException as error:
            raise self._silent(error) from None
        if found is None or found.error is not None:
            raise BrokerError(f"there is no topic {topic}: run `seamless topics apply`")
        count = len(found.partitions)
        chosen = range(count) if self._symbols is None else partitions_of(self._symbols, count)
        return [Source(topic, partition) for partition in chosen]

    def _is_row(self, message: Message) -> bool:
        """Judge one delivery: a record, or news of how far a partition has come."""
        error, topic = message.error(), str(message.topic())
        source = Source(topic, int(message.partition() or 0))
        if error is None:
            self._at_end.discard(source)
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._at_end.add(source)
            self._came_to(source, int(message.offset() or 0))
        elif (refusal := hopeless(topic, error, message.partition())) is not None:
            raise refusal
        return False

    def _ask_again(self) -> None:
        """Begin anew to fetch partitions of which there is neither a record nor the news of an end.

        Seen once in some thousand openings on a machine with a load of twenty: nothing came for minutes.
        """
        self._quiet_since = Deadline(_ASK_AGAIN_S)
        silent = [source for source in self._sources if source not in self._at_end]
        log.info("partitions_asked_again", partitions=[f"{s.topic}/{s.partition}" for s in silent])
        places = [TopicPartition(s.topic, s.partition, self.reached[s] or OFFSET_BEGINNING) for s in silent]
        self._consumer.incremental_unassign(places)
        self._consumer.incremental_assign(places)

    def _came_to(self, source: Source, offset: int) -> None:
        self.reached[source] = max(self.reached[source], offset)

    def _decoded(self, messages: list[Message]) -> pl.DataFrame:
        parts = []
        of_topic: dict[str, list[Message]] = {}
        for message in messages:
            of_topic.setdefault(str(message.topic()), []).append(message)
        for topic, several in of_topic.items():
            partitions = np.array([m.partition() for m in several], np.int32)
            offsets = np.array([m.offset() for m in several], np.int64)
            try:
                table = self._decoder.decode(topic, RawBatch(several, partitions, offsets, {}, []))
            except Undecodable as error:
                raise UnreadableRow(topic, int(partitions[0]), int(offsets[0]), str(error)) from None
            parts.append(users_rows(table, self.contract))
        frame = pl.concat(parts) if len(parts) > 1 else parts[0]
        if self._symbols is not None:
            frame = frame.filter(pl.col(self.contract.key).is_in(self._symbols))
        return frame


def users_rows(table: pa.Table, contract: Contract) -> pl.DataFrame:
    """Return plain columns as users want them, and the system's as they are."""
    own: Any = table.select(contract.columns.names)
    return to_polars(own, contract.record).hstack(pl.DataFrame(table.select(list(SYSTEM))))
