"""The archive's storage and the coordinator service."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx

from streams import topics
from streams.archive.layout import Source
from streams.archive.table import DatasetTable
from streams.doctor.broker import Place
from streams.doctor.finding import Finding, fine, problem, warning
from streams.errors import ArchiveError
from streams.settings import Settings

__all__ = ["archive_findings", "coordinator_findings", "local_archive"]


def local_archive(settings: Settings) -> Path | None:
    """Return the folder of the archive; None if it is an object store."""
    url = str(settings.archive.url)
    return None if "://" in url and not url.startswith("file://") else Path(url.removeprefix("file://"))


def archive_findings(settings: Settings, dataset: str, live: tuple[Place, ...]) -> Iterator[Finding]:
    """Judge the table of a dataset against the partitions of its normalized topic; of an unknown topic, none."""
    folder = local_archive(settings)
    if folder is not None and (reason := _not_writable(folder)) is not None:
        yield problem(
            "archive", f"{folder} cannot be written: {reason}", "Set seamless.archive.url to a folder of ours."
        )
        return
    topic = topics.normalized(settings.world, dataset)
    try:
        table = DatasetTable(settings, dataset).load()
        positions = {} if table is None else {p: table.position(Source(topic, p.partition)) for p in live}
    except ArchiveError as error:
        yield problem("archive", str(error), "Check seamless.archive.url and seamless.archive.storage.")
        return
    waiting = sum(place.end - (positions.get(place) or place.oldest) for place in live)
    if table is None:
        says = f"{dataset}: there is no table, and {waiting} rows wait"
        yield (problem if waiting else warning)("archive", says, "Start an archiver: `seamless archive run`")
        return
    for place, position in positions.items():
        if position is not None and position > place.end:
            yield problem(
                "archive",
                f"{dataset}: the table is at {position} of partition {place.partition}, which ends at {place.end}",
                "The topic was made anew, or the table is another cluster's: set another archive.url or world.",
            )
        elif position is not None and position < place.oldest:
            yield problem(
                "archive",
                f"{dataset}: rows {position} to {place.oldest - 1} of partition {place.partition} were deleted before "
                "they were archived",
                "`seamless archive run --accept-loss` goes on behind them; raise the dataset's retention.",
            )
    yield fine("archive", f"{dataset}: the table answers, and {max(waiting, 0)} rows wait")


def coordinator_findings(settings: Settings, timeout: float = 5.0) -> Iterator[Finding]:
    """Judge whether the coordinator answers, and takes our token."""
    url = settings.coordinator_url
    if url is None:
        yield fine("coordinator", "none is set: each process plans backfill itself")
        return
    start = "Start one: `seamless coordinator`, or correct seamless.coordinator_url."
    token = settings.coordinator.token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        with httpx.Client(base_url=str(url), timeout=timeout, headers=headers) as client:
            ready = client.get("readyz")
            # Refused before anything is done without the right token; with it, for the body, which is none.
            asked = client.post("v1/backfills", content=b"")
    except httpx.HTTPError as error:
        yield problem("coordinator", f"{url} does not answer: {error or type(error).__name__}", start)
        return
    if ready.status_code == HTTPStatus.NOT_FOUND:
        yield problem("coordinator", f"{url} is no coordinator", start)
    elif asked.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        yield problem("coordinator", f"{url} refuses our token", "Set SEAMLESS_COORDINATOR__TOKEN to the service's.")
    elif not ready.is_success:
        yield problem("coordinator", f"{url} is not ready: {ready.text[:200]}", "Look at its log; it needs the broker.")
    else:
        yield fine("coordinator", f"{url} is ready")


def _not_writable(folder: Path) -> str | None:
    """Return why a folder cannot be written; None if it can. What is not there is made in its parent by an archiver."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    trial = there / f".seamless-doctor-{uuid.uuid4().hex[:8]}"
    try:
        os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        trial.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None
