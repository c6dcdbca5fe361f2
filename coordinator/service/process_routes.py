"""The routes about the service itself: changes as they happen, health and metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from coordinator.service.events import EventHub
from coordinator.service.probes import Probes
from coordinator.service.queries import EventsQuery
from streams.health import Health, Status
from streams.metrics import CONTENT_TYPE, Metrics

__all__ = ["HealthAnswer", "process_routes"]


class HealthAnswer(BaseModel):
    """How the process is."""

    model_config = ConfigDict(frozen=True)

    status: Literal["ok", "degraded", "stopped", "behind"]
    reasons: tuple[str, ...] = Field(description="a reason for each part that is not ok")


def process_routes(hub: EventHub, probes: Probes, metrics: Metrics, health: Health) -> APIRouter:
    """Return the routes that tell how the service is. They answer also while all else is stuck."""
    routes = APIRouter()

    @routes.get(
        "/v1/events",
        tags=["events"],
        summary="Watch changes",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "Changes, from now on."}},
    )
    async def watch_events(query: Annotated[EventsQuery, Query()]) -> Response:
        """Changes as server-sent events, from now on: `event` is shard, job or lease, `data` a JSON object. A comment
        comes every few seconds while nothing changes. The stream ends when the service does, or when its reader falls
        far behind: connect again, and look at what is of interest, as changes between two streams are not told."""
        return await hub.listen(query.job)

    @routes.get("/healthz", tags=["process"], summary="Is it alive", responses={503: {"model": HealthAnswer}})
    async def healthz(response: Response) -> HealthAnswer:
        """200 while the process works, 503 when it should be started again."""
        report = health.report()
        if report.status is Status.STOPPED:
            response.status_code = 503
        return HealthAnswer(status=report.status.value, reasons=report.reasons)

    @routes.get("/readyz", tags=["process"], summary="Can it answer", responses={503: {"model": HealthAnswer}})
    async def readyz(response: Response) -> HealthAnswer:
        """200 while its view of the topics is caught up, 503 while it is not: ask another replica."""
        report, late = health.report(), await probes.behind()
        if late is not None:
            response.status_code = 503
            return HealthAnswer(status="behind", reasons=(late, *report.reasons))
        if report.status is Status.STOPPED:
            response.status_code = 503
        return HealthAnswer(status=report.status.value, reasons=report.reasons)

    @routes.get("/metrics", tags=["process"], summary="Metrics", response_class=Response)
    async def show_metrics() -> Response:
        """Metrics in Prometheus's text format."""
        await probes.measure()
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return routes
