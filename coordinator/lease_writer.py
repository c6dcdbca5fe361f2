"""Transactions under one lease: rows, progress, lease event and the queue's committed offset, together or not at all.

Each is sent with the token of the lease, and by the producer of the lease's partition; a holder that lost the lease is
refused by the one or the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from confluent_kafka import TopicPartition

from coordinator.chunks import Chunk
from coordinator.cursor import Cursor
from coordinator.lease_event import LeaseChange, LeaseEvent
from coordinator.ownership import Lease
from coordinator.records import BY_KEY, send
from coordinator.shards import Progress, Shard, ShardState
from coordinator.slot_kit import PreparedJob, SlotKit
from coordinator.written import SHARD_HEADER, write_tag
from streams.clock import now_ms
from streams.log import get_logger

__all__ = ["LeaseWriter"]

log = get_logger(__name__)


class LeaseWriter:
    """Writes for one lease, on one thread.

    Attributes:
        cursor: what was committed last; where the shard goes on.
        unread: a cursor that cannot be read, told as it is at the shard's end, so that a retry does not take the shard
            for one of which nothing is written.
        chunks: transactions with rows that were committed under this lease.
        claimed: whether the claim was committed.
    """

    def __init__(self, kit: SlotKit, lease: Lease) -> None:
        self._kit, self._lease = kit, lease
        self._producer = kit.producers.take(lease.place)
        shard = lease.head.shard
        self.cursor = Cursor(shard.id if shard else "", shard.epoch if shard else 0, 0)
        self.unread: str | None = None
        self.chunks = 0
        self.claimed = False

    def ready(self) -> None:
        """Take over the partition's transactional id: what a holder before left open is aborted, and it is fenced.

        Raises:
            BrokerError: if Kafka does not let it.
        """
        self._producer.ready()

    def close(self, *, keep: bool = False) -> None:
        """Abort what is open and let go of Kafka; `keep`: all went well, so the partition's next shard may use it."""
        if keep:
            self._kit.producers.give_back(self._lease.place, self._producer)
        else:
            self._producer.close()

    def claim(self, shard: Shard, cursor: Cursor, event: LeaseChange, detail: str | None) -> None:
        """Commit that an attempt begins; TransactionAborted as all that follow."""
        self.cursor = cursor
        self._commit(shard, ShardState.RUNNING, cursor, event=self.event(shard, event, detail))
        self.claimed = True

    def leave(self, shard: Shard, event: LeaseChange) -> None:
        """Commit that the shard waits for its next holder; a claim that was ended from outside was not fruitless."""
        spent = 0 if self.chunks else 1
        self.cursor = replace(self.cursor, fruitless=max(0, self.cursor.fruitless - spent))
        self._commit(shard, ShardState.PENDING, self.cursor, event=self.event(shard, event))

    def chunk(self, shard: Shard, prepared: PreparedJob, chunk: Chunk, *, last: bool) -> None:
        """Commit a chunk of rows with the cursor behind it; the last one ends the shard."""
        job, cursor = prepared.job, replace(chunk.cursor, fruitless=0)
        headers = [
            (SHARD_HEADER, write_tag(shard.id, shard.epoch)),
            ("as_of", str(shard.as_of).encode()),
        ]

        def rows() -> None:
            self._producer.send(job.history, chunk.payloads, chunk.keys, chunk.partitions, headers=headers)
            if chunk.quarantined.payloads:
                bad = chunk.quarantined
                self._producer.send(job.quarantine, bad.payloads, bad.keys, [BY_KEY] * len(bad.payloads))
            report = job.report_codec.encode(chunk.report.to_avro())
            self._producer.send(job.reports, [report], [shard.dataset.encode()], [BY_KEY])

        if last:
            self.end(shard, ShardState.DONE, cursor=cursor, rows=rows)
        else:
            self._commit(shard, ShardState.RUNNING, cursor, rows=rows)
            self.cursor = cursor
        self.chunks += 1
        self._count(shard, prepared, chunk)

    def end(
        self,
        shard: Shard,
        state: ShardState,
        error: str | None = None,
        *,
        cursor: Cursor | None = None,
        rows: Callable[[], None] | None = None,
    ) -> None:
        """Commit the offset after the shard, with what became of it; a failed one goes to the dead letters too."""
        cursor = cursor or self.cursor
        change = LeaseChange.COMPLETED if state is ShardState.DONE else LeaseChange(state.value)
        event = replace(self.event(shard, change, error), rows=cursor.rows)

        def also() -> None:
            if rows is not None:
                rows()
            if state is ShardState.FAILED:
                dead = replace(shard, cursor=self.unread or cursor.encode(), error=error)
                send(self._producer, [self._kit.plane.dead_letter(dead)])

        self._commit(shard, state, cursor, event=event, rows=also, error=error)
        self.cursor = cursor
        metrics = self._kit.metrics
        if state is ShardState.DONE:
            metrics.backfill_shard_seconds.observe((now_ms() - cursor.started_at) / 1_000, dataset=shard.dataset)
        elif state is ShardState.FAILED:
            metrics.backfill_failure.add(dataset=shard.dataset)
        say = log.error if state is ShardState.FAILED else log.info
        say(f"seamless.backfill.{change.value}", **self.named(), rows=cursor.rows, error=error)

    def bury(self, why: str) -> None:
        """Send a record that is no shard to the dead letters as it is, and let its partition move on."""
        head, plane = self._lease.head, self._kit.plane
        log.error("seamless.backfill.poison", **self.named(), offset=head.offset, error=why)
        self._producer.begin()
        reason = [("error", f"the record is no BackfillShard: {why}".encode())]
        self._producer.send(plane.dlq, [head.payload], [None], [0], headers=reason)
        self._commit_offset("", ended=True)

    def event(self, shard: Shard, event: LeaseChange, detail: str | None = None) -> LeaseEvent:
        """Return the record of something that happened to the lease."""
        lease = self._lease
        return LeaseEvent(
            shard=shard.id,
            job=shard.job,
            event=event,
            queue=lease.place.queue,
            partition=lease.place.partition,
            offset=lease.head.offset,
            member=lease.token.member,
            host=self._kit.host,
            lease_epoch=lease.token.epoch,
            attempt=self.cursor.attempt,
            rows=self.cursor.rows,
            at=now_ms(),
            detail=detail,
        )

    def named(self) -> dict[str, object]:
        """Return what every log line about the lease says."""
        shard, token, place = self._lease.head.shard, self._lease.token, self._lease.place
        return {
            "job": shard.job if shard else None,
            "shard": shard.id if shard else None,
            "queue": place.queue,
            "partition": place.partition,
            "member": token.member,
            "epoch": token.epoch,
        }

    def _commit(
        self,
        shard: Shard,
        state: ShardState,
        cursor: Cursor,
        *,
        event: LeaseEvent | None = None,
        rows: Callable[[], None] | None = None,
        error: str | None = None,
    ) -> None:
        lease, plane, text = self._lease, self._kit.plane, self.unread or cursor.encode()
        progress = Progress(
            shard=shard,
            state=state,
            attempt=cursor.attempt,
            sequence=cursor.sequence,
            offset=lease.head.offset,
            member=lease.token.member,
            host=self._kit.host,
            lease_epoch=lease.token.epoch,
            cursor=text,
            rows=cursor.rows,
            rejected=cursor.rejected,
            outside=cursor.outside,
            digest=cursor.digest,
            newest=cursor.newest,
            started_at=cursor.started_at,
            at=now_ms(),
            error=error,
        )
        self._producer.begin()
        if rows is not None:
            rows()
        send(self._producer, [plane.encode(told) for told in (progress, event) if told is not None])
        self._commit_offset("" if state.ended else text, ended=state.ended)

    def _commit_offset(self, metadata: str, *, ended: bool) -> None:
        place, offset = self._lease.place, self._lease.head.offset
        where = TopicPartition(place.queue, place.partition, offset + 1 if ended else offset, metadata)
        self._producer.commit([where], self._kit.token_for(self._lease))
        self._kit.metrics.transactions.add()

    def _count(self, shard: Shard, prepared: PreparedJob, chunk: Chunk) -> None:
        metrics, interval = self._kit.metrics, prepared.interval
        metrics.backfill_rows.add(len(chunk.payloads), dataset=shard.dataset)
        flags = [(f.flag, f.count, f.severity == "warning") for f in chunk.report.findings]
        metrics.conformance(shard.dataset, interval, flags)
        if chunk.cursor.newest is not None:
            seconds = self._kit.newest_of(shard.dataset, chunk.cursor.newest) / 1e9
            metrics.backfill_last_timestamp.set(seconds, node_id=shard.dataset, interval=interval or "tick")
