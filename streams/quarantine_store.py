"""The quarantine of a dataset: its rows, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.avro import parse_record
from schemas.codec_reference import ReferenceCodec
from streams import topics
from streams.clients import producer_config, reader_config
from streams.clock import Deadline
from streams.errors import BrokerError, SeamlessError
from streams.events import EventCodec
from streams.offsets import end_offsets
from streams.quarantined import REPLAY_HEADER, source_of
from streams.registry import Registry
from streams.settings import Settings

__all__ = ["NotReplayable", "QuarantineStore", "QuarantinedRow", "RowChoice"]

_DEADLINE_SECONDS = 60.0
_ROWS_PER_TRANSACTION = 500
_ABORT_SECONDS = 5.0


class NotReplayable(SeamlessError):  # noqa: N818 - a fact about the rows
    """The rows never were in the raw topic, so they cannot be sent there again."""


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One quarantined row.

    Attributes:
        partition, offset: where it stands in the quarantine topic; `partition:offset` names it for users.
        datum: the record, as in `events/quarantined_row.avsc`.
        status: `open`, `replayed` or `dismissed`.
    """

    partition: int
    offset: int
    datum: dict[str, Any]
    status: str

    @property
    def name(self) -> str:
        """The row's name for users: `partition:offset` in the quarantine topic."""
        return f"{self.partition}:{self.offset}"

    @property
    def fetched_from(self) -> str | None:
        """The source that backfill fetched the row from; None for a raw record."""
        return source_of(self.datum)

    @property
    def came_from(self) -> str:
        """Where the row was before: `partition:offset` of the raw topic, or the source and the row's number there."""
        source, offset = self.fetched_from, self.datum["offset"]
        return f"{self.datum['partition']}:{offset}" if source is None else f"{source}, row {offset}"

    @property
    def flags(self) -> list[str]:
        """The names of the violations found."""
        return list(dict.fromkeys(reason["flag"] for reason in self.datum["reasons"]))


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Which rows are meant; what is not given does not restrict.

    Attributes:
        status: `open`, `replayed`, `dismissed`, or None for all.
        flag, column: a violation that the row must have.
        names: rows by name (`partition:offset`).
    """

    status: str | None = "open"
    flag: str | None = None
    column: str | None = None
    names: frozenset[str] = frozenset()

    def has(self, row: QuarantinedRow) -> bool:
        """Whether a row is meant."""
        if self.status is not None and row.status != self.status:
            return False
        if self.names and row.name not in self.names:
            return False
        return any(
            (self.flag is None or r["flag"] == self.flag) and (self.column is None or r["column"] == self.column)
            for r in row.datum["reasons"]
        )


class QuarantineStore:
    """Reads the quarantine of one dataset and sends rows back to the raw topic, each at most once.

    Raises:
        SettingsError: if the dataset is not configured.
        RegistryError: if the quarantine's subjects are not registered.
    """

    def __init__(self, settings: Settings, dataset: str, registry: Registry) -> None:
        self._settings, self._dataset = settings, dataset
        self._registry = registry
        self._partitions = settings.dataset(dataset).partitions
        world = settings.world
        self._raw = topics.raw(world, dataset)
        self._topic = topics.quarantine(world, dataset)
        self._states = topics.quarantine_state(world, dataset)
        self._row_codec = EventCodec(registry, self._topic, "quarantined_row")
        self._state_codec = EventCodec(registry, self._states, "quarantine_state")

    def rows(self, choice: RowChoice) -> Iterator[QuarantinedRow]:
        """Yield the rows that are meant, partition by partition in the order of their arrival."""
        statuses = self._statuses()
        for message in self._read(self._topic):
            where = (int(message.partition() or 0), int(message.offset() or 0))
            row = QuarantinedRow(*where, self._row_codec.decode(message.value() or b""), statuses.get(where, "open"))
            if choice.has(row):
                yield row

    def decoded(self, row: QuarantinedRow) -> dict[str, Any] | None:
        """Return a row's fields as its producer wrote them; None if the bytes or their schema cannot be read."""
        schema_id, value = row.datum["schema_id"], row.datum["value"]
        if schema_id is None or value is None or row.fetched_from is not None:
            return None
        try:
            record = parse_record(self._registry.schema_by_id(schema_id))
            return ReferenceCodec(record, schema_id).decode_one(value)
        except Exception:  # the schema is not to be had, or whatever fastavro makes of damaged bytes
            return None

    def meant(self, choice: RowChoice, status: str) -> list[QuarantinedRow]:
        """Return the rows that `settle` would settle: for a replay, raw ones alone.

        Raises:
            NotReplayable: if a replay names rows that backfill fetched, or there are no others.
        """
        rows = list(self.rows(choice))
        fetched = [row for row in rows if row.fetched_from is not None] if status == "replayed" else []
        if fetched and (choice.names or len(fetched) == len(rows)):
            raise NotReplayable(
                f"{', '.join(row.name for row in fetched[:5])}{', ...' if len(fetched) > 5 else ''}: backfill fetched "
                f"{'this row' if len(fetched) == 1 else f'these {len(fetched)} rows'} from {fetched[0].fetched_from}, "
                "so there is no raw record to send again. Mend the source or the contract, request their range "
                "again (`seamless backfill request ... --as-of` now), and dismiss them here."
            )
        return [row for row in rows if row.fetched_from is None] if fetched else rows

    def settle(
        self,
        choice: RowChoice,
        status: str,
        *,
        by: str,
        reason: str | None,
        now_ms: int,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Replay or dismiss the open rows that are meant; return how many.

        A replayed row goes to its raw partition, byte for byte, with a header that names it. The raw record and the
        note that it was sent are one transaction, and of two replays at once the later fences the earlier; so no row
        is ever sent twice, whoever is killed when.

        Args:
            status: `replayed` or `dismissed`.
            progress: told the number of rows after each transaction.

        Raises:
            BrokerError: if Kafka refuses, or another replay of the dataset took over.
            NotReplayable: as `meant`; nothing was sent then.
        """
        # Taking the transactional id ends any other replay before the states are read.
        producer = Producer(
            producer_config(
                self._settings,
                transactional_id=f"{self._settings.world}.quarantine.{self._dataset}",
                transaction_timeout_ms=10_000,
            )
        )
        done = 0
        try:
            producer.init_transactions(30)
            rows = self.meant(choice, status)
            for start in range(0, len(rows), _ROWS_PER_TRANSACTION):
                batch = rows[start : start + _ROWS_PER_TRANSACTION]
                producer.begin_transaction()
                for row in batch:
                    if status == "replayed":
                        self._send_raw(producer, row)
                    self._note(producer, row, status, by, reason, now_ms)
                producer.commit_transaction(30)
                done += len(batch)
                progress(done)
        except BaseException as error:
            with suppress(KafkaException):  # A transaction left open would hold up every reader of the raw topic.
                producer.abort_transaction(_ABORT_SECONDS)
            raise self._stopped(error, done, status) from error
        return done

    def _stopped(self, error: BaseException, done: int, status: str) -> BaseException:
        cause = error.args[0] if error.args else None
        if not isinstance(cause, KafkaError):
            return error
        if cause.code() in {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}:
            why = "another replay of this dataset took over"
        else:
            why = f"Kafka refused: {cause.str()}"
        return BrokerError(
            f"{done} rows were {status}, then {why}. The rest is as it was; run the command again to go on."
        )

    def _send_raw(self, producer: Producer, row: QuarantinedRow) -> None:
        datum = row.datum
        headers = [(h["name"], h["value"]) for h in datum["headers"] if h["name"] != REPLAY_HEADER]
        headers.append((REPLAY_HEADER, f"{self._topic}:{row.name}".encode()))
        producer.produce(self._raw, datum["value"], datum["key"], datum["partition"], headers=headers)

    def _note(
        self, producer: Producer, row: QuarantinedRow, status: str, by: str, reason: str | None, now_ms: int
    ) -> None:
        state = {
            "status": status,
            "partition": row.partition,
            "offset": row.offset,
            "at": now_ms,
            "by": by,
            "reason": reason,
        }
        producer.produce(self._states, self._state_codec.encode(state), row.name.encode(), row.partition)

    def _statuses(self) -> dict[tuple[int, int], str]:
        """Return what became of rows; read to the high watermark, past any transaction that is still open."""
        found = {}
        for message in self._read(self._states, stable=False):
            value = message.value()
            if value is not None:
                state = self._state_codec.decode(value)
                found[state["partition"], state["offset"]] = state["status"]
        return found

    def _read(self, topic: str, *, stable: bool = True) -> Iterable[Message]:
        starts = [TopicPartition(topic, p, 0) for p in range(self._partitions)]
        ends = end_offsets(self._settings, starts, stable=stable)
        pending = {p for p, end in ends.items() if end > 0}
        # Retention may have deleted the beginning, so offset 0 need not exist.
        reader = Consumer({**reader_config(self._settings), "auto.offset.reset": "earliest"})
        deadline = Deadline(_DEADLINE_SECONDS)
        try:
            if pending:
                reader.assign([s for s in starts if s.partition in pending])
            while pending:
                messages = reader.consume(1_000, 0.5)
                if messages:
                    deadline = Deadline(_DEADLINE_SECONDS)
                if deadline.passed():
                    raise BrokerError(f"{topic} could not be read to its end: is the broker up?")
                for message in messages:
                    error, partition = message.error(), int(message.partition() or 0)
                    if error is None:
                        if (message.offset() or 0) < ends[partition]:
                            yield message
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise BrokerError(f"{topic} cannot be read: {error.str()}")
                    elif (message.offset() or 0) >= ends[partition]:
                        pending.discard(partition)
        finally:
            reader.close()
