"""The routes about shards, leases and coverage."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from coordinator.protocol import LeaseStatus, Page, ShardStatus
from coordinator.service.calls import Calls
from coordinator.service.job_routes import OptionalOrder
from coordinator.service.queries import CoverageQuery, LeasesQuery, NoQuery, ReleaseQuery, ShardsQuery
from coordinator.wire import CoveragePage, LeasePage, coverage_key, lease_key, page_of

__all__ = ["shard_routes"]

ShardId = Annotated[str, Field(description="the shard's id", examples=["shard-0b7e4d1c2a9f8e6d5c3b"])]
Partition = Annotated[int, Path(ge=0, le=1_000_000, description="the partition of the queue", examples=[3])]


def shard_routes(calls: Calls) -> APIRouter:
    """Return the routes that show and steer the pieces that jobs consist of."""
    routes, pieces = APIRouter(), calls.coordinator

    @routes.get("/v1/shards", tags=["shards"], summary="List shards")
    async def list_shards(query: Annotated[ShardsQuery, Query()]) -> Page:
        """Shards in the order of their ids, in pages."""
        return await calls.read(pieces.shards, job=query.job, state=query.state, limit=query.limit, after=query.after)

    @routes.get("/v1/shards/{shard}", tags=["shards"], summary="Show a shard")
    async def show_shard(shard: ShardId, _: Annotated[NoQuery, Query()]) -> ShardStatus:
        """How far one shard is, and who works on it."""
        return await calls.read(pieces.shard, shard)

    @routes.post("/v1/shards/{shard}:skip", tags=["shards"], summary="Give a shard up")
    async def skip_shard(shard: ShardId, _: Annotated[NoQuery, Query()], order: OptionalOrder = None) -> ShardStatus:
        """Give a shard up; the job goes on without it. Refused if it has ended."""
        return await calls.write(pieces.skip, shard, reason=None if order is None else order.reason)

    @routes.post("/v1/shards/{shard}:retry", tags=["shards"], summary="Try a shard again")
    async def retry_shard(shard: ShardId, _: Annotated[NoQuery, Query()]) -> ShardStatus:
        """Queue a failed, skipped or cancelled shard again. Refused if it is none of these."""
        return await calls.write(pieces.retry, shard)

    @routes.get("/v1/leases", tags=["leases"], summary="List leases")
    async def list_leases(query: Annotated[LeasesQuery, Query()]) -> LeasePage:
        """Who holds which partition's shard, and whether it gets on; the urgent queue first."""
        found = await calls.read(pieces.leases, stalled=query.stalled)
        items, after = page_of(found, lease_key, query.limit, query.after)
        return LeasePage(items=items, next=after)

    @routes.post("/v1/leases/{partition}:release", tags=["leases"], summary="End a lease")
    async def release_lease(
        partition: Partition, query: Annotated[ReleaseQuery, Query()], order: OptionalOrder = None
    ) -> LeaseStatus:
        """End the lease of a partition's shard: its holder drops it, and the partition's owner claims it anew."""
        return await calls.write(
            pieces.release, partition, urgent=query.urgent, reason=None if order is None else order.reason
        )

    @routes.get("/v1/coverage", tags=["coverage"], summary="Show what was fetched")
    async def show_coverage(query: Annotated[CoverageQuery, Query()]) -> CoveragePage:
        """Ranges of each symbol that are fetched, and ranges that are being fetched."""
        found = await calls.read(pieces.coverage, query.dataset, symbols=query.symbol)
        items, after = page_of(found, coverage_key, query.limit, query.after)
        return CoveragePage(items=items, next=after)

    return routes
