"""One shard on one thread: claim it, fetch it, write it chunk by chunk, end it; each step one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from coordinator.cursor import Cursor, CursorError
from coordinator.lease_event import LeaseChange
from coordinator.lease_writer import LeaseWriter
from coordinator.ownership import Lease, Place
from coordinator.shard_fetch import fetch_shard
from coordinator.shards import Shard, ShardState
from coordinator.slot_kit import SlotKit
from coordinator.source import SourceError
from streams.clock import monotonic, now_ms
from streams.errors import BrokerError, SeamlessError
from streams.log import get_logger
from streams.registry import RegistryUnavailable
from streams.transactions import TransactionAborted

__all__ = ["Outcome", "SlotRun", "SlotStalled", "StopReason"]

log = get_logger(__name__)

StopReason = Literal["revoked", "lost", "released", "drained", "yielded"]
_LEFT: dict[StopReason, LeaseChange] = {
    "revoked": LeaseChange.REVOKED,
    "lost": LeaseChange.LOST,
    "released": LeaseChange.RELEASED,
    "drained": LeaseChange.CHECKPOINTED,
    "yielded": LeaseChange.YIELDED,
}
_LONGEST_WAIT = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a slot left its shard: ended (the offset after it is committed), or interrupted before that.

    Attributes:
        refused: the broker refused the lease's token or its producer.
        crashed: what is not understood; the process must end.
    """

    place: Place
    grant: int
    ended: bool = False
    refused: bool = False
    crashed: BaseException | None = None


class SlotStalled(SeamlessError):  # noqa: N818 - an outcome; its message says what to do
    """A slot got nowhere for too long, and a thread cannot be ended from outside: the process has to be."""

    def __init__(self, shard: Shard | None, silence_s: float, limit_s: float) -> None:
        super().__init__(
            f"{shard.id if shard else 'a shard'} got nowhere for {silence_s:.0f} s, more than "
            f"seamless.backfill.stall_timeout_s ({limit_s:g} s), so this worker ends; whoever starts it again goes on "
            f"at the cursor. Look at its source, {shard.source if shard else 'which is unknown'}, or raise the limit"
        )


class _Stopped(Exception):  # noqa: N818 - an order
    """The slot was told to stop."""


class _Ended(Exception):  # noqa: N818 - an outcome
    """The shard is to end in a state, as an order or a failure wants it."""

    def __init__(self, state: ShardState, error: str | None = None) -> None:
        self.state, self.error = state, error
        super().__init__(state)


class SlotRun:
    """Works on one lease until the shard ends or the lease does.

    Args:
        report: is given the outcome, on the slot's thread, when nothing more will be written.
    """

    def __init__(self, kit: SlotKit, lease: Lease, report: Callable[[Outcome], None]) -> None:
        self._kit, self.lease, self._report = kit, lease, report
        self._writer = LeaseWriter(kit, lease)
        self.stopping: StopReason | None = None
        self._stop = threading.Event()
        self._suspected: TransactionAborted | None = None
        self._settling = threading.Lock()
        self._beat = monotonic()
        shard = lease.head.shard
        self._thread = threading.Thread(target=self._run, name=shard.id if shard else "poison", daemon=True)

    @property
    def attempt(self) -> int:
        """How often the shard was claimed in this epoch, this time included."""
        return self._writer.cursor.attempt

    @property
    def chunks(self) -> int:
        """How many chunks this claim has committed."""
        return self._writer.chunks

    @property
    def suspected(self) -> bool:
        """Whether a transaction was refused that either had taken too long or was that of a lost lease."""
        return self._suspected is not None

    def start(self) -> None:
        """Begin to work, on a thread of its own."""
        self._thread.start()

    def stop(self, why: StopReason) -> None:
        """Stop before the next transaction; returns at once."""
        self.stopping = self.stopping or why
        self._stop.set()
        if why == "lost":
            self._settle()

    def join(self, seconds: float) -> bool:
        """Wait until it has stopped; return whether it has."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def silence(self) -> float:
        """Return how many seconds ago it last got anywhere."""
        return monotonic() - self._beat

    def tell(self, event: LeaseChange, detail: str | None = None) -> None:
        """Record something that happened to the lease beside its transactions."""
        if self.lease.head.shard is not None:
            self._kit.lease_events.tell(self._writer.event(self.lease.head.shard, event, detail))

    def check(self) -> None:
        """Stop where the lease ends or an operator wants it; called before each transaction."""
        self._beat = monotonic()
        if self._stop.is_set():
            raise _Stopped
        shard = self.lease.head.shard
        state = self._kit.orders.state_for(shard) if shard is not None else None
        if state is not None:
            raise _Ended(state)

    def wait(self, seconds: float) -> None:
        """Wait, unless there is a reason to stop."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self._stop.wait(min(_LONGEST_WAIT, left))
            self.check()

    # The thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        lease = self.lease
        outcome = Outcome(lease.place, lease.grant)
        try:
            self._writer.ready()
            outcome = replace(outcome, ended=self._work())
        except _Stopped:
            outcome = replace(outcome, refused=self._left())
        except TransactionAborted as aborted:
            outcome = replace(outcome, refused=self._aborted(aborted))
        except BrokerError as error:
            log.warning("seamless.backfill.interrupted", **self._writer.named(), error=str(error))
        except BaseException as error:  # a panic of a native library is no Exception
            outcome = replace(outcome, crashed=error)
        finally:
            self._writer.close(keep=outcome.ended)
            self._report(outcome)

    def _work(self) -> bool:
        """Do the shard; return whether the offset after it is committed."""
        shard, writer = self.lease.head.shard, self._writer
        self._beat = monotonic()
        if shard is None:
            return self._bury()
        try:
            # Known before anything can end the shard: whoever goes on with it goes on from what is said at its end.
            try:
                writer.cursor = self._start_of(shard)
            except CursorError:
                writer.unread = self.lease.cursor or shard.cursor
                raise
            self.check()
            self._claim(shard, writer.cursor)
            fetch_shard(self._kit, shard, writer, self)
        except (SourceError, CursorError) as error:
            self._end(shard, ShardState.FAILED, str(error))
        except _Ended as ended:
            self._end(shard, ended.state, ended.error)
        return True

    def _bury(self) -> bool:
        """Bury the record, unless it is a shard after all (of a newer release), or nobody can tell now."""
        try:
            self._kit.plane.decode_shard(self.lease.head.payload)
        except RegistryUnavailable as error:
            log.warning("seamless.backfill.waiting", **self._writer.named(), error=str(error))
        except Exception as error:  # whatever the codec finds wrong with it
            self._writer.bury(str(error))
            return True
        return False

    def _end(self, shard: Shard, state: ShardState, error: str | None) -> None:
        if self._stop.is_set():  # whoever told it to stop may have given the lease away
            raise _Stopped
        self._writer.end(shard, state, error)

    def _start_of(self, shard: Shard) -> Cursor:
        """Return where the shard goes on: what the committed offset says, or what it was queued with.

        Raises:
            CursorError: if that cannot be read, or is another shard's.
        """
        if self.lease.cursor:
            cursor = Cursor.decode(self.lease.cursor)
            if (cursor.shard, cursor.epoch) != (shard.id, shard.epoch):
                raise CursorError(
                    f"the committed cursor is that of {cursor.shard} in epoch {cursor.epoch}, and the record at its "
                    f"offset is {shard.id} in epoch {shard.epoch}: nobody can tell how far that is. `seamless backfill "
                    "verify` says what is there; a request with another as_of fetches it anew"
                )
            return cursor
        if shard.cursor is None:
            return self._writer.cursor
        before = Cursor.decode(shard.cursor)
        if before.shard != shard.id:
            raise CursorError(f"{shard.id} was queued with the cursor of {before.shard}")
        return replace(before, epoch=shard.epoch, attempt=0, fruitless=0, sequence=0, started_at=0)

    def _claim(self, shard: Shard, cursor: Cursor) -> None:
        """Count the attempt before anything risky is done, so that a shard that kills its workers ends."""
        if cursor.fruitless >= self._kit.limits.max_attempts:
            raise _Ended(
                ShardState.FAILED,
                f"{cursor.fruitless} claims in a row ended before a chunk was written, the last by {cursor.holder}",
            )
        moved = cursor.attempt > 0 and cursor.holder != self._kit.host
        claimed = replace(
            cursor,
            attempt=cursor.attempt + 1,
            fruitless=cursor.fruitless + 1,
            holder=self._kit.host,
            started_at=cursor.started_at or now_ms(),
        )
        begun = cursor.attempt > 0 or cursor.at is not None or cursor.skip > 0
        event = LeaseChange.RESUMED if begun else LeaseChange.CLAIMED
        self._writer.claim(shard, claimed, event, f"from {cursor.holder}" if moved else None)
        if moved:
            self._kit.metrics.backfill_lease_moves.add()
        log.info(f"seamless.backfill.{event.value}", **self._writer.named(), attempt=claimed.attempt, rows=claimed.rows)

    def _left(self) -> bool:
        """Give the shard back as long as it is ours; return whether the broker refused that."""
        why, shard = self.stopping or "revoked", self.lease.head.shard
        change = _LEFT[why]
        log.info(f"seamless.backfill.{change.value}", **self._writer.named(), rows=self._writer.cursor.rows)
        if shard is None or why == "lost" or not self._writer.claimed:
            self.tell(change)
            return False
        try:
            self._writer.leave(shard, change)
        except TransactionAborted as aborted:
            return self._aborted(aborted)
        except BrokerError as error:
            log.warning("seamless.backfill.interrupted", **self._writer.named(), error=str(error))
        return False

    def _aborted(self, aborted: TransactionAborted) -> bool:
        """Count what was refused; return whether the lease was."""
        kit = self._kit
        kit.metrics.transaction_aborted(aborted.reason)
        refused = aborted.reason in ("fenced", "rebalance")
        # A broker that wants the newest epoch refuses holders that have lost nothing.
        if refused and not (aborted.reason == "rebalance" and kit.captured_epochs is False):
            self._fenced(aborted)
            return True
        log.warning("seamless.backfill.aborted", **self._writer.named(), reason=aborted.reason, detail=str(aborted))
        if aborted.superseded:
            # A process that was suspended, or one that is slow: the group will tell which. It may have told already.
            self._suspected = aborted
            if self.stopping == "lost":
                self._settle()
        return refused

    def _settle(self) -> None:
        """Count what was refused for an unknown reason, now that the lease is known to be lost."""
        with self._settling:
            aborted, self._suspected = self._suspected, None
        if aborted is not None:
            self._fenced(aborted)

    def _fenced(self, aborted: TransactionAborted) -> None:
        self._kit.metrics.backfill_fenced.add()
        self.tell(LeaseChange.FENCED, str(aborted))
        log.warning("seamless.backfill.fenced", **self._writer.named(), reason=aborted.reason, detail=str(aborted))
