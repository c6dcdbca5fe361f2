"""The coordinator over HTTP: the same answers and the same errors as in process, or CoordinatorUnavailable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from coordinator.protocol import (
    BackfillRequest,
    CoverageStatus,
    JobState,
    JobStatus,
    LeaseStatus,
    NotFound,
    Page,
    Planned,
    ProgressEvent,
    ShardStatus,
)
from coordinator.remote import Remote, path_to
from coordinator.remote_events import EventStream
from coordinator.shards import ShardState
from coordinator.wire import MAX_PAGE, CoveragePage, JobPage, LeasePage

__all__ = ["DistributedBackfillCoordinator"]

_SYMBOLS_AT_ONCE = 200  # so that an address stays shorter than what servers and proxies take


class DistributedBackfillCoordinator:
    """The coordinator service at an address; threads may share one.

    A call whose answer was lost, timed out or was a failure of the service is sent again, with pauses that grow and
    vary: each does the same when it comes twice. When the service stays away, the call raises CoordinatorUnavailable.

    Args:
        url: the service's address, perhaps with a path.
        token: what it asks for before it changes anything.
        timeout_s: seconds to wait for one answer.
        retries: times that an unanswered call is sent again.
    """

    def __init__(
        self, url: str, token: SecretStr | str | None = None, timeout_s: float = 10.0, retries: int = 3
    ) -> None:
        self._remote = Remote(url, token, timeout_s=timeout_s, retries=retries)

    def plan(self, request: BackfillRequest) -> Planned:
        """Return what `request` would do, without doing it."""
        return self._request(request, {"dry_run": "true"})

    def request(self, request: BackfillRequest) -> Planned:
        """Plan a backfill and queue what nobody fetches yet; `created` is False also if an answer before was lost."""
        return self._request(request, {})

    def _request(self, request: BackfillRequest, query: Mapping[str, str]) -> Planned:
        # Without what is at its default, so that a service of an older release is not asked about fields it lacks.
        body = request.model_dump_json(exclude_defaults=True).encode()
        return self._remote.call(Planned, "POST", "/v1/backfills", query=query, body=body)

    def jobs(self, *, dataset: str | None = None, state: JobState | None = None) -> list[JobStatus]:
        """Return the jobs there are, newest first."""
        return self._all(JobPage, "/v1/backfills", {"dataset": dataset, "state": state})

    def job(self, job: str) -> JobStatus:
        """Return one job."""
        return self._remote.call(JobStatus, "GET", path_to("backfills", job))

    def cancel(self, job: str, *, reason: str | None = None) -> JobStatus:
        """Stop a job."""
        return self._remote.call(JobStatus, "POST", path_to("backfills", job, "cancel"), body=_why(reason))

    def pause(self, job: str, *, reason: str | None = None) -> JobStatus:
        """Take a job's shards out of the queue at their next chunk."""
        return self._remote.call(JobStatus, "POST", path_to("backfills", job, "pause"), body=_why(reason))

    def resume(self, job: str) -> JobStatus:
        """Queue a paused job's shards again."""
        return self._remote.call(JobStatus, "POST", path_to("backfills", job, "resume"))

    def shards(
        self, *, job: str | None = None, state: ShardState | None = None, limit: int = 100, after: str | None = None
    ) -> Page:
        """Return a page of shards in the order of their ids."""
        query = {"job": job, "state": state, "limit": limit, "after": after}
        return self._remote.call(Page, "GET", "/v1/shards", query=query)

    def shard(self, shard: str) -> ShardStatus:
        """Return one shard."""
        return self._remote.call(ShardStatus, "GET", path_to("shards", shard))

    def leases(self, *, stalled: bool | None = None) -> list[LeaseStatus]:
        """Return the leases of shards that run."""
        return self._all(LeasePage, "/v1/leases", {"stalled": stalled})

    def release(self, partition: int, *, urgent: bool = False, reason: str | None = None) -> LeaseStatus:
        """End the lease of a partition's shard.

        Sent again only while the same holder is there: the second order would else be for the next one.
        """
        before = self._lease(partition, urgent)

        def done() -> LeaseStatus | None:
            now = self._lease(partition, urgent)
            same = before is not None and now is not None and _holder(now) == _holder(before)
            return None if same else before

        path, query = path_to("leases", str(partition), "release"), {"urgent": urgent}
        return self._remote.call(LeaseStatus, "POST", path, query=query, body=_why(reason), done=done)

    def skip(self, shard: str, *, reason: str | None = None) -> ShardStatus:
        """Give a shard up."""
        return self._change(shard, "skip", _why(reason), lambda old, new: old.state != new.state == ShardState.SKIPPED)

    def retry(self, shard: str) -> ShardStatus:
        """Queue a failed, skipped or cancelled shard again."""
        return self._change(shard, "retry", None, lambda old, new: new.epoch > old.epoch)

    def coverage(self, dataset: str, *, symbols: tuple[str, ...] | None = None) -> list[CoverageStatus]:
        """Return what was fetched of a dataset, by symbol."""
        if symbols is None:
            return self._all(CoveragePage, "/v1/coverage", {"dataset": dataset})
        wanted = sorted(set(symbols))
        found: list[CoverageStatus] = []
        for at in range(0, len(wanted), _SYMBOLS_AT_ONCE):
            some = tuple(wanted[at : at + _SYMBOLS_AT_ONCE])
            found += self._all(CoveragePage, "/v1/coverage", {"dataset": dataset, "symbol": some})
        return found

    def watch(self, job: str | None = None) -> Iterator[ProgressEvent]:
        """Return the changes from this moment on, for ever; close the iterator to stop, from any thread.

        It connects anew by itself, and then tells first how each job is, as changes in between were not heard.
        """
        return EventStream(self._remote, job, self._look)

    def close(self) -> None:
        """Let go of connections; calls under way and streams end."""
        self._remote.close()

    def _look(self, job: str | None) -> list[JobStatus]:
        try:
            return self.jobs() if job is None else [self.job(job)]
        except NotFound:
            return []

    def _lease(self, partition: int, urgent: bool) -> LeaseStatus | None:
        found = (x for x in self.leases() if x.partition == partition and x.queue.endswith(".urgent") == urgent)
        return next(found, None)

    def _change(
        self, shard: str, verb: str, body: bytes | None, happened: Callable[[ShardStatus, ShardStatus], bool]
    ) -> ShardStatus:
        """Change a shard; when sent again and refused, the change that was sent first may be why."""
        before = self.shard(shard)

        def done() -> ShardStatus | None:
            now = self.shard(shard)
            return now if happened(before, now) else None

        return self._remote.call(ShardStatus, "POST", path_to("shards", shard, verb), body=body, done=done)

    def _all(self, page: type[Any], path: str, query: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        after: str | None = None
        while True:
            answer = self._remote.call(page, "GET", path, query={**query, "limit": MAX_PAGE, "after": after})
            found += answer.items
            after = answer.next
            if after is None:
                return found


def _holder(lease: LeaseStatus) -> tuple[str, str, int]:
    return lease.shard, lease.member, lease.attempt


def _why(reason: str | None) -> bytes | None:
    return None if reason is None else json.dumps({"reason": reason}).encode()
