"""What Kafka has behind the archive: the committed rows of a dataset's two topics, from offsets to their ends of now.

Rows are decoded as the archiver decodes them, with where each came from, so that they compete with archived ones by
`streams.archive.newest` as if they had been archived. Only partitions that can hold the symbols are read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.contract import Contract
from streams import topics
from streams.archive.layout import AS_OF, NORMALIZED, PARTITION, SYSTEM, TOPIC, VERSION, Source
from streams.archive.rows import RowDecoder, Undecodable
from streams.clients import reader_config
from streams.clock import Deadline
from streams.errors import BrokerError, SettingsError
from streams.normalizer_job import registered_contract
from streams.partition_reader import hopeless
from streams.partitioning import partitions_of
from streams.provider.live_reader import users_rows
from streams.provider.stream_order import nanoseconds_of
from streams.raw_batch import RawBatch
from streams.registry import Registry
from streams.settings import Settings
from streams.subscription import UnreadableRow

__all__ = ["Tail", "TailReader", "Wanted"]

_ANSWER_S = 5.0
_SILENCE_S = 20.0
_POLL_S = 0.1
_BATCH = 10_000
_OLDEST = -2  # of Kafka's protocol: the time by which the oldest offset is asked for
# How long before its event time a row may have arrived: clocks differ, and bars may be stamped where they end.
_EARLIER_MS = 86_400_000

_quiet = logging.getLogger("librdkafka.tail")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # librdkafka tells every failed connection; ours are told once, with a remedy


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a dataset.

    Attributes:
        symbols: None for all.
        start, end: nanoseconds since the epoch, `end` not part of it.
        as_of: only what was known then, milliseconds since the epoch; None for now.
    """

    dataset: str
    symbols: tuple[str, ...] | None
    start: int
    end: int
    as_of: int | None = None


@dataclass(frozen=True)
class Tail:
    """What was found.

    Attributes:
        frame: rows as users want them, with the system's columns, in no order; superseded ones too.
        contract, version: whose columns these are.
        reached: the offset that each partition was read up to.
        watermarks: greatest event time, of any symbol, that was seen of each partition of the normalized topic.
        lost: partitions of which retention has deleted rows that were to be read.
    """

    frame: pl.DataFrame
    contract: Contract
    version: int
    reached: Mapping[Source, int]
    watermarks: Mapping[int, int] = field(default_factory=dict)
    lost: tuple[Source, ...] = ()


class TailReader:
    """A consumer that reads tails of any dataset, one after the other. After an error it must not be used again.

    Raises:
        SettingsError: if Kafka's client refuses the settings.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._registry = settings, registry
        self._decoders: dict[tuple[str, int], RowDecoder] = {}
        try:
            self._consumer = Consumer(reader_config(settings), logger=_quiet)
        except KafkaException as error:
            raise SettingsError(
                f"Kafka's client refuses seamless.kafka.client: {error.args[0].str()}. Correct or remove it."
            ) from None

    def read(
        self, wanted: Wanted, starts: Mapping[Source, int] | None, fixed: tuple[Contract, int] | None = None
    ) -> Tail:
        """Return the rows behind offsets, up to the last stable ones of this moment.

        Args:
            starts: a partition that is not named is read from its oldest record. None where nothing is known of what
                the archive has: history from its oldest record, live rows by their arrival.
            fixed: the version of the contract whose columns rows get, if none was written under a newer one.

        Raises:
            BrokerError: if Kafka does not answer, or a topic is not there.
            RegistryError: if a schema is not known yet, and the registry does not have it or does not answer.
            UnreadableRow: if a record is no row of the dataset.
        """
        sources = self._sources(wanted)
        oldest, ends = self._offsets(sources, _OLDEST), self._offsets(sources, OFFSET_END)
        begin, lost = self._begin(wanted, sources, starts, oldest, ends)
        found = self._collect(wanted, begin, ends, fixed)
        return Tail(
            found.frame, found.contract, found.version, {**begin, **found.reached, **ends}, found.watermarks, lost
        )

    def follow(self, wanted: Wanted, starts: Mapping[Source, int], fixed: tuple[Contract, int], seconds: float) -> Tail:
        """Return rows that come behind offsets as soon as there are some, or none after so many seconds.

        Raises: as `read`.
        """
        return self._collect(wanted, dict(starts), None, fixed, seconds)

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    # How

    def _sources(self, wanted: Wanted) -> list[Source]:
        world, dataset = self._settings.world, wanted.dataset
        count = self._settings.dataset(dataset).partitions
        chosen = range(count) if wanted.symbols is None else partitions_of(wanted.symbols, count)
        both = topics.history(world, dataset), topics.normalized(world, dataset)
        return [Source(topic, partition) for topic in both for partition in chosen]

    def _begin(
        self,
        wanted: Wanted,
        sources: Sequence[Source],
        starts: Mapping[Source, int] | None,
        oldest: Mapping[Source, int],
        ends: Mapping[Source, int],
    ) -> tuple[dict[Source, int], tuple[Source, ...]]:
        if starts is None:
            live = [s for s in sources if s.topic == topics.normalized(self._settings.world, wanted.dataset)]
            by_time = self._offsets(live, max(0, wanted.start // 1_000_000 - _EARLIER_MS))
            starts = {**oldest, **{s: ends[s] if offset < 0 else offset for s, offset in by_time.items()}}
        lost = tuple(s for s in sources if starts.get(s, 0) < oldest[s])
        return {s: max(oldest[s], min(starts.get(s, 0), ends[s])) for s in sources}, lost

    def _offsets(self, sources: Sequence[Source], moment: int) -> dict[Source, int]:
        """Return where each partition is at a moment (milliseconds, or one of the protocol's own), in one request."""
        asked = [TopicPartition(s.topic, s.partition, moment) for s in sources]
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=_ANSWER_S) if asked else []
        except KafkaException as error:
            raise self._silent(error.args[0]) from None
        for answer in answers:
            if answer.error is not None:
                raise hopeless(answer.topic, answer.error, answer.partition) or self._silent(answer.error)
        return {Source(a.topic, a.partition): int(a.offset) for a in answers}

    def _collect(
        self,
        wanted: Wanted,
        begin: dict[Source, int],
        ends: Mapping[Source, int] | None,
        fixed: tuple[Contract, int] | None,
        seconds: float = _SILENCE_S,
    ) -> Tail:
        """Read to the ends; without them, until something came or the seconds are over."""
        if fixed is None:
            fixed = self._registered(wanted.dataset, None)
        collected = _Collected(self._decoder(wanted.dataset, fixed), wanted)
        reached = dict(begin)
        todo = {s for s, offset in begin.items() if ends is None or offset < ends[s]}
        if todo:
            self._consumer.assign([TopicPartition(s.topic, s.partition, begin[s]) for s in sorted(todo)])
            silence = Deadline(seconds)
            while todo and not silence.passed():
                delivered = self._consumer.consume(_BATCH, min(_POLL_S, silence.left()))
                rows = [m for m in delivered if self._is_row(m, reached, ends, todo)]
                if delivered and ends is not None:
                    silence = Deadline(seconds)
                if rows:
                    collected.add(rows)
                    if ends is None:
                        break
            if todo and ends is not None:
                raise BrokerError(f"{self._place} delivered nothing for {seconds:g} s. Look whether it is well.")
            self._consumer.unassign()
        if collected.newest > fixed[1]:  # All rows get the columns of the newest version that any was written under.
            return self._collect(wanted, begin, ends, self._registered(wanted.dataset, collected.newest), seconds)
        return collected.tail(reached)

    def _is_row(
        self, message: Message, reached: dict[Source, int], ends: Mapping[Source, int] | None, todo: set[Source]
    ) -> bool:
        """Judge a delivery: a record to take, or news of how far a partition was read."""
        error, topic = message.error(), str(message.topic())
        source, offset = Source(topic, int(message.partition() or 0)), int(message.offset() or 0)
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if (refusal := hopeless(topic, error, message.partition())) is not None:
                raise refusal
            return False
        if source not in todo or offset < reached[source]:
            return False
        end = None if ends is None else ends[source]
        come_to = offset if error is not None else offset + 1
        reached[source] = come_to if end is None else min(come_to, end)
        if end is not None and come_to >= end:
            todo.discard(source)
        return error is None and (end is None or offset < end)

    def _registered(self, dataset: str, version: int | None) -> tuple[Contract, int]:
        found = registered_contract(self._registry, self._settings.world, dataset, version)
        return Contract.parse(found.schema), found.version

    def _decoder(self, dataset: str, fixed: tuple[Contract, int]) -> RowDecoder:
        found = self._decoders.get((dataset, fixed[1]))
        if found is None:
            found = RowDecoder(self._registry, self._settings.world, dataset, fixed=fixed)
            self._decoders[dataset, fixed[1]] = found
        return found

    @property
    def _place(self) -> str:
        return f"Kafka at {self._settings.kafka.bootstrap_servers}"

    def _silent(self, error: KafkaError) -> BrokerError:
        return BrokerError(
            f"{self._place} does not answer: {error.str()}. Check that it runs and that seamless.kafka is right; "
            "`seamless up` starts one."
        )


class _Collected:
    """Rows that are kept so far."""

    def __init__(self, decoder: RowDecoder, wanted: Wanted) -> None:
        self._decoder, self._wanted = decoder, wanted
        self._parts: list[pl.DataFrame] = []
        self._watermarks: dict[int, int] = {}
        self.newest = 0

    def add(self, messages: Sequence[Message]) -> None:
        """Take records of both topics."""
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(str(message.topic()), []).append(message)
        for topic, several in by_topic.items():
            self._add(topic, several)

    def _add(self, topic: str, messages: list[Message]) -> None:
        partitions = np.array([m.partition() for m in messages], np.int32)
        offsets = np.array([m.offset() for m in messages], np.int64)
        try:
            table = self._decoder.decode(topic, RawBatch(messages, partitions, offsets, {}, []))
        except Undecodable as error:
            raise UnreadableRow(topic, int(partitions[0]), int(offsets[0]), str(error)) from None
        contract, wanted = self._decoder.contract, self._wanted
        rows = users_rows(table, contract)
        time = nanoseconds_of(contract)
        self.newest = max(self.newest, int(rows[VERSION].max() or 0))  # type: ignore[arg-type]
        for partition, at in rows.filter(pl.col(TOPIC) == NORMALIZED).group_by(PARTITION).agg(time.max()).rows():
            self._watermarks[partition] = max(at, self._watermarks.get(partition, at))
        conditions: list[Any] = [time >= wanted.start, time < wanted.end]
        if wanted.symbols is not None:
            conditions.append(pl.col(contract.key).is_in(list(wanted.symbols)))
        if wanted.as_of is not None:
            conditions.append(pl.col(AS_OF) <= wanted.as_of)
        kept = rows.filter(*conditions)
        if kept.height:
            self._parts.append(kept)

    def tail(self, reached: Mapping[Source, int]) -> Tail:
        """Return all of them."""
        contract = self._decoder.contract
        fields = [*contract.columns, *(pa.field(name, kind) for name, kind in SYSTEM.items())]
        empty = users_rows(pa.schema(fields).empty_table(), contract)
        return Tail(pl.concat([empty, *self._parts]), contract, self._decoder.version, reached, self._watermarks)
