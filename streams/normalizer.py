"""The normalizer: raw rows in, normalized rows, quarantine, states and reports out, in one transaction with offsets.

One thread owns the consumer, the producer and the states of one dataset. It gathers rows for at most the commit
interval, conforms them chunk by chunk, and commits. What was read, what was written and what is remembered move
together or not at all:

- A transaction that fails is aborted, and everything is taken up again from the committed offsets and states.
- Partitions that are revoked are committed first; partitions that were lost are dropped, and nothing is committed.
- A commit carries the lease token of the assignment under which its rows were read (`streams.lease`), and only rows
  that follow the last one are read at all (`streams.positions`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import Decoded
from schemas.conformance import Origin
from schemas.report import ConformanceReport, SchemaCount
from schemas.wire import schema_id
from streams.clients import consumer_config, producer_config
from streams.clock import Deadline, monotonic
from streams.errors import BrokerError, DatasetStopped
from streams.health import Health, Status
from streams.lease import LeaseToken, NotAMember, read_token
from streams.log import get_logger
from streams.metrics import AbortReason, Metrics
from streams.normalizer_job import NormalizerJob
from streams.normalizer_output import NormalizerOutput, OpenTransaction
from streams.offsets import end_offsets, is_hopeless
from streams.operating.followed import Followed
from streams.positions import PositionGuard
from streams.quarantine_limit import QuarantineLimit
from streams.raw_batch import RawBatch, gather
from streams.registry import Registry
from streams.schema_gate import SchemaGate
from streams.seeking import read_from
from streams.settings import Settings
from streams.start_offsets import choose_start, find_places
from streams.state_store import StateStore
from streams.transactions import TransactionAborted, TransactionalProducer

__all__ = ["DatasetStopped", "Normalizer"]

Ints = npt.NDArray[np.int64]

log = get_logger(__name__)

_CHUNK_ROWS = 10_000
_SHORTEST_WAIT = 0.005
_LONGEST_WAIT = 0.5
_OTHERS_SECONDS = 1.0
_FAILED_LIMIT = 10
_LONGEST_PAUSE = 2.0
_FOLLOW_SECONDS = 0.5
_FENCED_LIMIT = 3
_FENCED_WINDOW_SECONDS = 300.0


class Normalizer:
    """Normalizes one dataset until told to stop.

    Args:
        settings: the settings.
        dataset: name of the dataset.
        registry: where contract and events are registered.
        metrics, health: what the process tells the outside.
        accept_loss: begin at the oldest raw row there is where committed offsets point at rows that retention
            deleted, instead of stopping.

    Raises:
        SeamlessError: if the dataset cannot be prepared; see `NormalizerJob.prepare`.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: str,
        registry: Registry,
        metrics: Metrics,
        health: Health,
        *,
        accept_loss: bool = False,
    ) -> None:
        self._settings, self._metrics, self._health = settings, metrics, health
        self._accept_loss = accept_loss
        self.job = NormalizerJob.prepare(settings, dataset, registry)
        self._gate = SchemaGate(settings, self.job, registry, metrics)
        self._operations, self._pipeline = Followed(settings, registry, metrics), self.job.pipeline
        self._store = StateStore(settings, self.job.state, self.job.state_codec, self.job.contract.time_units)
        self._limit = QuarantineLimit(settings.quarantine.max_share, settings.quarantine.window_rows)
        instance = settings.normalizer.instance or f"{socket.gethostname()}-{os.getpid()}"
        self._producer = TransactionalProducer(
            producer_config(
                settings,
                transactional_id=f"{self.job.group}.{instance}",
                compression=settings.normalizer.compression,
            ),
            deadline_s=settings.normalizer.restore_deadline_s,
        )
        self._output = NormalizerOutput(self.job, settings.world, instance, self._producer, self._store)
        self._consumer: Consumer | None = None
        self._states = self.job.pipeline.new_states()
        self._guard = PositionGuard()
        self._token: LeaseToken | None = None
        self._token_is_old = True
        self._failed: Exception | None = None
        self._stop = Event()
        self._leaving = False
        self._kept: list[Message] = []
        self._saved: dict[int, int] = {}
        self._failures = 0
        self._restart: set[int] = set()
        self._waiting: dict[int, int] = {}
        self._fenced_at: list[float] = []
        self._open = OpenTransaction()
        self._followed = float("-inf")
        self._ending_took = 0.0

    def run(self, stop: Event, *, until_end: bool = False) -> None:
        """Work until `stop` is set, or (until_end) until all rows that exist now are normalized.

        On return everything that was conformed is committed and the group was left, so another process goes on at once.

        Raises:
            DatasetStopped: if too much was quarantined, or offsets and states contradict each other.
            BrokerError: if Kafka cannot be reached for longer than the deadlines, or refuses.
        """
        self._stop = stop
        self._consumer = Consumer({**consumer_config(self._settings, self.job.group), "enable.partition.eof": True})
        self._metrics.dataset_stopped.set(0, dataset=self.job.dataset)
        try:
            # Aborts at once what a predecessor of the same name left open, before anybody has to wait for its timeout.
            self._producer.ready()
            self._gate.open()
            self._operations.open()
            self._pipeline = self.job.pipeline.in_mode(self._operations.settings.mode_of(self.job.dataset))
            goal = self._goal() if until_end else None
            self._consumer.subscribe(
                [self.job.raw], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not stop.is_set() and not (goal is not None and self._reached(goal)):
                self._step()
            self._commit_or_restart()
        except BaseException as error:
            # What is open may hold half a batch, and closing would commit it.
            self._drop_transaction("error")
            if isinstance(error, DatasetStopped):
                self._metrics.dataset_stopped.set(1, dataset=self.job.dataset)
                self._health.set(self.job.dataset, Status.DEGRADED, str(error))  # others may go on
                log.error("dataset_stopped", dataset=self.job.dataset, reason=str(error))
            if isinstance(error, KafkaException):
                raise BrokerError(f"Kafka refuses to go on with {self.job.raw}: {error.args[0].str()}") from error
            raise
        finally:
            # Closing the consumer revokes its partitions, which commits what is open; so the producer goes last.
            self._leaving = True
            try:
                self._consumer.close()
            finally:
                self._producer.close()
                self._gate.close()
                self._operations.close()

    # One turn of the loop -----------------------------------------------------------------------------------------

    def _step(self) -> None:
        consumer = self._live()
        self._health.beat(self.job.dataset)
        if self._restart:
            self._take_up_again()
        if not self._open.rows:
            self._follow()
        if self._waiting:
            self._ask_again()
        began = monotonic()
        delivered = consumer.consume(self._chunk_rows(), self._patience())
        gathered, more_waits = monotonic(), len(delivered) == self._chunk_rows()
        if self._failed is not None:
            raise self._failed
        if self._token_is_old and len(self._owned()):
            self._take_token()
        if self._kept:
            delivered, self._kept = self._kept + delivered, []
        if self._restart:
            self._keep(delivered)
            return
        try:
            batch = gather(delivered, self._guard)
            for partition, offset in batch.seeks.items():
                log.info("position_repaired", dataset=self.job.dataset, partition=partition, offset=offset)
                self._seek(TopicPartition(self.job.raw, partition, offset))
            self._check(batch.errors)
            if batch.messages:
                self._conform(batch, began)
            if self._open.rows and self._is_due(more_waits=more_waits):
                self._commit()
                self._ending_took = monotonic() - gathered
        except TransactionAborted as aborted:
            self._aborted(aborted)

    def _follow(self) -> None:
        """Adopt what was set meanwhile; no transaction is open, so none is judged in two ways."""
        if monotonic() - self._followed < _FOLLOW_SECONDS:
            return
        self._followed = monotonic()
        self._gate.follow()
        if self._operations.poll():
            before, mode = self._pipeline.mode, self._operations.settings.mode_of(self.job.dataset)
            self._pipeline = self._pipeline.in_mode(mode)
            if mode != before:
                log.info("conformance_mode_changed", dataset=self.job.dataset, before=before, after=mode)

    def _keep(self, delivered: Sequence[Message]) -> None:
        """Keep what was delivered for partitions that are not taken up again; the others deliver theirs anew."""
        self._kept += [m for m in delivered if m.partition() not in self._restart]

    def _take_token(self) -> None:
        try:
            self._token = read_token(self._live().consumer_group_metadata())
        except NotAMember:
            self._token = None  # The group says more at one of the next polls; nothing is committed until then.
        else:
            self._token_is_old = False

    def _chunk_rows(self) -> int:
        return min(_CHUNK_ROWS, self._settings.normalizer.max_batch_rows)

    def _interval(self) -> float:
        return self._settings.normalizer.commit_interval_ms / 1_000

    def _is_due(self, *, more_waits: bool) -> bool:
        """Return whether to commit: it is to be done when the interval ends, or where rows wait, to begin then."""
        ending = 0.0 if more_waits else self._ending_took
        full = self._open.rows >= self._settings.normalizer.max_batch_rows
        return full or self._open.age() + ending >= self._interval()

    def _patience(self) -> float:
        """Return how long to gather rows: what conforming and commit will leave of the interval."""
        spent = self._open.age() if self._open.rows else 0.0
        return min(_LONGEST_WAIT, max(_SHORTEST_WAIT, self._interval() - spent - self._ending_took))

    def _conform(self, batch: RawBatch, began: float) -> None:
        batch, decoded, schemas = self._decode(batch)
        if not batch.messages:
            return
        origin = Origin(batch.partitions, batch.offsets, batch.timestamps_ms, batch.replayed)
        result = self._pipeline.run(
            decoded.parts, self._states, origin=origin, failures=decoded.failures, excepted=self._gate.excepted
        )
        self._stop_if_draining(result.report)
        if not self._producer.open:
            self._producer.begin()
        if not self._open.rows:
            # From when they were waited for: a row that came at once would else wait for a second interval.
            self._open.started = began
        self._output.write(batch, result)
        self._states.apply(result.delta)
        self._open.add(batch, result, decoded.fallbacks, schemas)

    def _decode(self, batch: RawBatch) -> tuple[RawBatch, Decoded, tuple[SchemaCount, ...]]:
        """Decode; where a schema is not known yet, cut the batch off there and let that partition wait."""
        decoded, schemas = self._gate.decode(batch)
        while decoded.waiting:
            rows = self._cut(batch, decoded)
            batch = batch.only(rows)
            decoded, schemas = self._gate.decode(batch)
        return batch, decoded, schemas

    def _cut(self, batch: RawBatch, decoded: Decoded) -> Ints:
        there = np.zeros(len(batch.messages), np.bool_)
        for part in decoded.parts:
            there[slice(None) if part.rows is None else part.rows] = True
        there[[f.row for f in decoded.failures]] = True
        keep = np.ones(len(there), np.bool_)
        for partition in np.unique(batch.partitions[~there]).tolist():
            mine = batch.partitions == partition
            row = int(np.flatnonzero(mine & ~there)[0])
            first = int(batch.offsets[row])
            keep &= ~(mine & (batch.offsets >= first))
            where = TopicPartition(self.job.raw, partition, first)
            self._live().pause([where])
            self._seek(where)
            self._guard.expect(partition, first)
            self._waiting[partition] = schema_id(batch.messages[row].value()) or 0
        self._tell_waiting()
        log.warning("waiting_for_schemas", dataset=self.job.dataset, partitions_and_ids=dict(self._waiting))
        return np.flatnonzero(keep)

    def _ask_again(self) -> None:
        """Let partitions go on whose schemas are known by now."""
        known = [p for p, i in self._waiting.items() if self._gate.knows(i)]
        for partition in known:
            del self._waiting[partition]
            self._live().resume([TopicPartition(self.job.raw, partition)])
        if known:
            self._tell_waiting()
            log.info("schemas_known", dataset=self.job.dataset, partitions=known)

    def _tell_waiting(self) -> None:
        ids = sorted(set(self._waiting.values()))
        self._metrics.registry_wait.set(len(ids), dataset=self.job.dataset)
        part, reason = f"{self.job.dataset} registry", f"schema ids {ids} are not known yet"
        self._health.set(part, Status.DEGRADED if ids else Status.OK, reason if ids else "")

    def _stop_if_draining(self, report: ConformanceReport) -> None:
        share = self._limit.exceeded_by(report.rows_in, report.rows_quarantined, self._open.shares())
        if share is not None:
            worst = max(report.findings, key=lambda f: f.count if f.severity == "violation" else 0)
            raise DatasetStopped(
                f"{share:.0%} of the latest rows of {self.job.dataset} would be quarantined, more than "
                f"seamless.quarantine.max_share ({self._limit.max_share:.0%}); the most frequent reason is {worst.flag}"
                f"{f' in {worst.column}' if worst.column else ''}, first at {' '.join(worst.examples)} "
                "(partition:offset). Nothing of it was committed. Mend the producer or the contract and start again, "
                "or raise the limit."
            )

    # Commit and abort ---------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        if not self._open.rows:
            return
        began = monotonic()
        report = self._output.write_states_and_report(self._open, self._states, self._gate.policy.mode)
        self._send_offsets(self._open.offsets)
        self._output.committed()
        done, self._open = self._open, OpenTransaction()
        self._committed(done, report, monotonic() - began)

    def _send_offsets(self, offsets: dict[int, int]) -> None:
        if self._token is None:
            raise TransactionAborted("rebalance", "the assignment is not known yet")
        self._producer.commit([TopicPartition(self.job.raw, p, offset) for p, offset in offsets.items()], self._token)
        self._saved |= offsets
        self._failures = 0

    def _committed(self, done: OpenTransaction, report: ConformanceReport, seconds: float) -> None:
        dataset, metrics = self.job.dataset, self._metrics
        for rows, quarantined in done.shares():
            self._limit.count(rows, quarantined)
        metrics.transactions.add()
        metrics.commit_seconds.observe(seconds)
        metrics.rows_in.add(report.rows_in, dataset=dataset)
        metrics.rows_out.add(report.rows_out, dataset=dataset)
        metrics.rows_quarantined.add(report.rows_quarantined, dataset=dataset)
        metrics.rows_dropped.add(report.rows_dropped, dataset=dataset)
        metrics.schema_decode_fallback.add(done.fallbacks, dataset=dataset)
        interval = self._settings.dataset(dataset).interval
        counts = [(f.flag, f.count, f.severity == "warning") for f in report.findings]
        metrics.conformance(dataset, interval, counts)
        metrics.schemas(self._gate.subject, report)
        self._report_lag()
        if report.rows_quarantined:
            log.info("rows_quarantined", dataset=dataset, rows=report.rows_quarantined)

    def _report_lag(self) -> None:
        """Report how far each partition is behind its last stable offset, as the last fetch told it."""
        for partition in self._owned():
            where = TopicPartition(self.job.raw, partition)
            _, stable = self._live().get_watermark_offsets(where, cached=True)
            behind = max(0, stable - self._guard.next(partition))
            self._metrics.lag_records.set(behind, topic=self.job.raw, partition=str(partition))

    def _commit_or_restart(self) -> None:
        try:
            self._commit()
        except TransactionAborted as aborted:
            self._aborted(aborted)

    def _aborted(self, aborted: TransactionAborted) -> None:
        """The transaction is gone: take up everything again from what is committed."""
        log.warning("transaction_aborted", dataset=self.job.dataset, reason=aborted.reason, detail=str(aborted))
        self._drop_transaction(aborted.reason)
        self._failures += 1
        if aborted.reason == "fenced":
            self._count_fenced()
        if aborted.reason == "error" and self._failures > _FAILED_LIMIT:
            raise BrokerError(
                f"{self._failures} transactions of {self.job.dataset} in a row failed, the last with {aborted}"
            )

    def _drop_transaction(self, reason: AbortReason) -> None:
        if self._producer.open or self._open.rows:
            self._metrics.transaction_aborted(reason)
        self._producer.abort()
        self._open = OpenTransaction()
        self._restart = set(self._owned())

    def _count_fenced(self) -> None:
        at = monotonic()
        self._fenced_at = [t for t in self._fenced_at if at - t < _FENCED_WINDOW_SECONDS] + [at]
        if len(self._fenced_at) > _FENCED_LIMIT:
            raise DatasetStopped(
                "this process was fenced again and again: another one runs with the same name; give each its own "
                "seamless.normalizer.instance"
            )

    def _take_up_again(self) -> None:
        """Go back to the committed offsets and states, after serving what the group has to say first."""
        consumer = self._live()
        if self._failures > 1:
            self._stop.wait(min(_LONGEST_PAUSE, 0.05 * 2**self._failures))
        held = [TopicPartition(self.job.raw, p) for p in self._restart]
        if held:
            consumer.pause(held)
        self._keep(consumer.consume(1, 0.1))  # Serves callbacks, which may take partitions out of the restart.
        if self._failed is not None:
            raise self._failed
        partitions = sorted(self._restart)
        self._restart = set()
        for partition in partitions:
            self._states.forget(partition)
            self._waiting.pop(partition, None)
        for where in self._prepare(partitions):
            read_from(self._live(), where)
        self._tell_waiting()
        self._token_is_old = True

    def _seek(self, where: TopicPartition) -> None:
        try:
            self._live().seek(where)
        except KafkaException as error:
            raise TransactionAborted("retriable", f"no seek is possible now: {error.args[0].str()}") from error

    # The group's callbacks: all on the thread that polls -----------------------------------------------------------

    @contextmanager
    def _failing_later(self) -> Iterator[None]:
        """An exception inside a callback would leave the assignment half changed: the loop raises it after the poll."""
        try:
            yield
        except Exception as error:
            self._failed = self._failed or error

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._token_is_old = True
        if self._leaving:
            return  # Too late: a consumer that is being closed answers no questions about offsets.
        with self._failing_later():
            self._commit_or_restart()  # Reading states may take longer than a transaction may stay open.
            starts = self._prepare([p.partition for p in partitions])
            if starts:
                consumer.incremental_assign(starts)
                # librdkafka remembers a pause across revocation: the partition would come back and deliver nothing.
                consumer.resume(starts)
                log.info("partitions_assigned", dataset=self.job.dataset, partitions=[p.partition for p in starts])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._failing_later():
            if self._failed is None:
                self._commit_or_restart()
        with self._failing_later():
            self._let_go([p.partition for p in partitions])
            consumer.incremental_unassign(partitions)
        log.info("partitions_revoked", dataset=self.job.dataset, partitions=[p.partition for p in partitions])

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._failing_later():
            self._drop_transaction("rebalance")
            self._let_go([p.partition for p in partitions])
            consumer.incremental_unassign(partitions)
        log.warning("partitions_lost", dataset=self.job.dataset, partitions=[p.partition for p in partitions])

    def _let_go(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._guard.forget(partition)
            self._states.forget(partition)
            self._waiting.pop(partition, None)
            self._restart.discard(partition)
            self._saved.pop(partition, None)
            self._metrics.lag_records.remove(topic=self.job.raw, partition=str(partition))
        owned = set(self._owned())
        self._kept = [m for m in self._kept if m.partition() in owned]
        self._tell_waiting()
        self._token_is_old = True

    def _prepare(self, partitions: Sequence[int]) -> list[TopicPartition]:
        """Find where partitions go on and restore their states; return the places to read from."""
        if not partitions:
            return []
        began = monotonic()
        self._producer.ready()  # It was dropped if it was fenced.
        deadline = Deadline(self._settings.normalizer.restore_deadline_s)
        places = find_places(self._settings, self._live(), self.job.raw, self.job.group, partitions, deadline)
        restored = self._store.restore(partitions, deadline)
        remembered = {record.partition for record in restored}
        starts = []
        for partition, place in places.items():
            start = choose_start(
                place,
                has_states=partition in remembered,
                accept_loss=self._accept_loss,
                topic=self.job.raw,
                partition=partition,
                dataset=self.job.dataset,
                group=self.job.group,
            )
            self._guard.expect(partition, start)
            self._saved[partition] = place.committed
            starts.append(TopicPartition(self.job.raw, partition, start))
        self._states.restore(restored)
        self._metrics.restore_seconds.set(monotonic() - began, dataset=self.job.dataset)
        return starts

    # Small things -------------------------------------------------------------------------------------------------

    def _live(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the normalizer does not run")
        return self._consumer

    def _owned(self) -> list[int]:
        return self._guard.partitions()

    def _check(self, errors: Sequence[KafkaError]) -> None:
        for error in errors:
            if error.code() == KafkaError._AUTO_OFFSET_RESET:
                # The place to read from is gone; going back to the committed offset finds out why.
                raise TransactionAborted("error", f"{self.job.raw} cannot be read on: {error.str()}")
            if is_hopeless(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise BrokerError(f"{self.job.raw} cannot be read: {error.str()}")
            log.warning("consumer_error", dataset=self.job.dataset, error=error.str())

    def _goal(self) -> dict[int, int]:
        count = self._settings.dataset(self.job.dataset).partitions
        return end_offsets(self._settings, [TopicPartition(self.job.raw, p) for p in range(count)], stable=True)

    def _reached(self, goal: dict[int, int]) -> bool:
        """Whether this process has read its partitions to the goal, and others have committed up to it."""
        if self._open.rows or self._restart:
            return False
        mine = set(self._owned())
        if any(self._guard.next(p) < goal[p] for p in mine):
            return False
        if not self._save({p: self._guard.next(p) for p in mine}):
            return False
        others = [TopicPartition(self.job.raw, p) for p in goal if p not in mine]
        if not others:
            return True
        try:
            found = self._live().committed(others, timeout=_OTHERS_SECONDS)
        except KafkaException:
            return False  # One of their transactions is open.
        return all(p.offset >= goal[p.partition] for p in found)

    def _save(self, positions: dict[int, int]) -> bool:
        """Commit positions behind control records, which no row moves; return whether all are committed."""
        moved = {p: offset for p, offset in positions.items() if self._saved.get(p) != offset}
        if moved and self._token_is_old:
            return False
        try:
            if moved:
                self._producer.begin()
                self._send_offsets(moved)
        except TransactionAborted as aborted:
            self._aborted(aborted)
        return not self._restart
