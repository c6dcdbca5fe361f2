"""The routes about jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field

from coordinator.protocol import BackfillRequest, JobStatus, Planned
from coordinator.service.calls import Calls
from coordinator.service.queries import JobsQuery, NoQuery, Order, RequestQuery
from coordinator.wire import JobPage, job_key, page_of

__all__ = ["JobId", "OptionalOrder", "job_routes"]

JobId = Annotated[str, Field(description="the job's id", examples=["job-5f1c9e0a7b3d2c4e6f80"])]
OptionalOrder = Annotated[Order | None, Body(description="why, for whoever looks later")]


def job_routes(calls: Calls) -> APIRouter:
    """Return the routes that ask for backfills and steer jobs."""
    routes, jobs = APIRouter(tags=["backfills"]), calls.coordinator

    @routes.post("/v1/backfills", summary="Ask for history", responses={201: {"model": Planned}})
    async def request_backfill(
        asked: BackfillRequest, query: Annotated[RequestQuery, Query()], response: Response
    ) -> Planned:
        """Plan a backfill and queue what nobody fetches yet. The same request again is the same job and changes
        nothing: 201 says that the job is new, 200 that it was known. With `dry_run` nothing is written."""
        planned = await calls.write(jobs.plan if query.dry_run else jobs.request, asked)
        if planned.created and not query.dry_run:
            response.status_code = 201
            response.headers["Location"] = f"/v1/backfills/{planned.job.id}"
        return planned

    @routes.get("/v1/backfills", summary="List jobs")
    async def list_backfills(query: Annotated[JobsQuery, Query()]) -> JobPage:
        """Jobs, newest first, in pages."""
        found = await calls.read(jobs.jobs, dataset=query.dataset, state=query.state)
        items, after = page_of(found, job_key, query.limit, query.after)
        return JobPage(items=items, next=after)

    @routes.get("/v1/backfills/{job}", summary="Show a job")
    async def show_backfill(job: JobId, _: Annotated[NoQuery, Query()]) -> JobStatus:
        """How far one job is."""
        return await calls.read(jobs.job, job)

    @routes.post("/v1/backfills/{job}:cancel", summary="Cancel a job")
    async def cancel_backfill(job: JobId, _: Annotated[NoQuery, Query()], order: OptionalOrder = None) -> JobStatus:
        """Stop a job: its shards that run end at their next chunk; what is written stays."""
        return await calls.write(jobs.cancel, job, **_why(order))

    @routes.post("/v1/backfills/{job}:pause", summary="Pause a job")
    async def pause_backfill(job: JobId, _: Annotated[NoQuery, Query()], order: OptionalOrder = None) -> JobStatus:
        """Take a job's shards out of the queue at their next chunk, with their cursors."""
        return await calls.write(jobs.pause, job, **_why(order))

    @routes.post("/v1/backfills/{job}:resume", summary="Resume a job")
    async def resume_backfill(job: JobId, _: Annotated[NoQuery, Query()]) -> JobStatus:
        """Queue a paused job's shards again; they go on at their cursors."""
        return await calls.write(jobs.resume, job)

    return routes


def _why(order: Order | None) -> dict[str, Any]:
    return {"reason": None if order is None else order.reason}
