"""From a shard's source to its chunks: fetch, conform, hand over; a source's failure is its own and no one else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import ParamSpec, Protocol, TypeVar

from coordinator.chunks import make_chunk
from coordinator.lease_writer import LeaseWriter
from coordinator.retries import Backoff
from coordinator.shards import Shard, ShardState
from coordinator.slot_kit import SlotKit
from coordinator.source import SourceBatch, SourceError, open_source
from streams.clock import now_ms
from streams.errors import BrokerError, SeamlessError
from streams.log import get_logger
from streams.registry import RegistryUnavailable

__all__ = ["Gate", "fetch_shard"]

log = get_logger(__name__)

_SMALLEST_ESTIMATE = 1_000
_EMPTY_BATCHES = 100  # in a row; times seamless.backfill.max_overrun
Asked = ParamSpec("Asked")
Made = TypeVar("Made")


class Gate(Protocol):
    """Whoever lets a shard go on, or stops it by an exception of its own."""

    def check(self) -> None:
        """Say that the shard gets on; raise if it must not."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait, checking meanwhile."""
        ...


def fetch_shard(kit: SlotKit, shard: Shard, writer: LeaseWriter, gate: Gate) -> None:
    """Write a shard from the writer's cursor to its end; retry what its source may do better later.

    A registry that is away is waited for: that is no fault of the source.

    Raises:
        SourceError: if the source failed for good, or too often since it last gave a chunk.
        TransactionAborted, BrokerError: if Kafka refused a chunk.
    """
    backoff = Backoff(kit.limits.retry_base_s, kit.limits.retry_max_s)
    written = writer.chunks
    while True:
        try:
            _stream(kit, shard, writer, gate)
        except RegistryUnavailable as error:
            pause = kit.limits.retry_base_s
            log.warning("seamless.backfill.waiting", **writer.named(), error=str(error), seconds=pause)
        except SourceError as error:
            if writer.chunks != written:
                written = writer.chunks
                backoff.reset()
            if not error.retryable or backoff.failures >= kit.limits.retries:
                raise
            kit.metrics.backfill_retry.add(dataset=shard.dataset)
            pause = backoff.next(error.retry_after_s)
            log.warning("seamless.backfill.retry", **writer.named(), error=str(error), seconds=round(pause, 2))
        else:
            return
        gate.wait(pause)


def _stream(kit: SlotKit, shard: Shard, writer: LeaseWriter, gate: Gate) -> None:
    prepared = _made(kit.job_of, shard)
    source = _made(open_source, shard.source, prepared.context)
    try:
        most_empty = int(_EMPTY_BATCHES * kit.limits.max_overrun)
        batches = _batches(
            lambda: source.fetch(shard.symbols, shard.start, shard.end, writer.cursor.at), gate, most_empty
        )
        batch = next(batches, None)
        if batch is None:
            writer.end(shard, ShardState.DONE)
        while batch is not None:
            chunk = _made(make_chunk, prepared.job, shard, writer.cursor, batch, kit.limits.chunk_rows, now_ms=now_ms())
            trouble: SourceError | None = None
            if chunk.exhausted:
                # One batch ahead, so that the last chunk and the end of the shard are one transaction.
                try:
                    batch = next(batches, None)
                except SourceError as error:
                    trouble = error
            gate.check()
            writer.chunk(shard, prepared, chunk, last=batch is None)
            if batch is not None:
                _check_size(kit, shard, writer)
            if trouble is not None:
                raise trouble
    finally:
        with suppress(BaseException):  # what was fetched is there, whatever its source makes of the goodbye
            source.close()


def _batches(fetch: Callable[[], Iterator[SourceBatch]], gate: Gate, most_empty: int) -> Iterator[SourceBatch]:
    batches: Iterator[SourceBatch] | None = None
    empty = 0
    while True:
        try:
            batches = batches or fetch()
            batch = next(batches, None)
        except (SourceError, RegistryUnavailable):
            raise
        except BaseException as error:  # a panic of a native library is no Exception, nor is a call of sys.exit()
            raise SourceError(f"the source failed: {error!r}") from error
        gate.check()
        if batch is None:
            return
        if not isinstance(batch, SourceBatch):
            raise SourceError(f"the source gave a {type(batch).__name__} where a batch was due", retryable=False)
        empty = 0 if batch.rows.num_rows else empty + 1
        if empty > most_empty:
            raise SourceError(
                f"the source gave {empty} batches without a row, one after the other; if that is right, raise "
                "seamless.backfill.max_overrun",
                retryable=False,
            )
        yield batch


def _made(make: Callable[Asked, Made], *arguments: Asked.args, **named: Asked.kwargs) -> Made:
    """Call what a shard's own data may make fail; a registry or a broker that is away is not among that."""
    try:
        return make(*arguments, **named)
    except (SourceError, BrokerError, RegistryUnavailable):
        raise
    except SeamlessError as error:
        raise SourceError(str(error), retryable=False) from error
    except BaseException as error:  # a panic of a native library is no Exception, nor is a call of sys.exit()
        raise SourceError(f"the source cannot be read or conformed: {error!r}", retryable=False) from error


def _check_size(kit: SlotKit, shard: Shard, writer: LeaseWriter) -> None:
    cursor, most = writer.cursor, kit.limits.max_overrun * max(shard.estimated_rows, _SMALLEST_ESTIMATE)
    given = cursor.rows + cursor.rejected + cursor.outside + cursor.dropped
    if given > most:
        raise SourceError(
            f"the source gave more than {most:.0f} rows where about {shard.estimated_rows} were expected; if that "
            "is right, raise seamless.backfill.max_overrun",
            retryable=False,
        )
