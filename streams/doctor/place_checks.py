"""The machine: versions, disk, ports and the clock."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from streams.doctor.finding import Finding, fine, problem, warning

__all__ = ["clock_finding", "disk_finding", "port_findings", "stamp_finding", "told_time", "version_finding"]

_LEAST_CLIENT = (2, 15)
_LEAST_BYTES = 1_000_000_000
_LEAST_SHARE = 0.05
_MOST_SKEW_S = 5.0


def version_finding(seamless: str, python: str, client: tuple[int, ...]) -> Finding:
    """Judge versions; `client` is that of librdkafka."""
    shown = ".".join(map(str, client))
    if client < _LEAST_CLIENT:
        return problem(
            "versions",
            f"librdkafka {shown} is too old: leases need 2.15 or newer",
            "Install Seamless with the versions that it asks for: `pip install --force-reinstall seamless-data`",
        )
    return fine("versions", f"seamless {seamless}, Python {python}, librdkafka {shown}")


def disk_finding(what: str, where: Path, free: int, total: int) -> Finding:
    """Judge the space that is left where something is kept, in bytes."""
    left = f"{what}: {free / 1e9:.1f} of {total / 1e9:.1f} GB are free at {where}"
    remedy = "Delete what is not needed, or move it to a larger disk."
    if free < _LEAST_BYTES:
        return problem("disk", left, remedy)
    if free < _LEAST_SHARE * total:
        return warning("disk", left, remedy)
    return fine("disk", left)


def clock_finding(whose: str, there: datetime, here: datetime) -> Finding:
    """Judge by how much two clocks differ; aware datetimes."""
    skew = (here - there).total_seconds()
    if abs(skew) <= _MOST_SKEW_S:
        return fine("clock", f"that of the {whose} and ours agree within {_MOST_SKEW_S:g} s")
    return problem(
        "clock",
        f"ours is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of the {whose}",
        "Set both by NTP: lateness, staleness and windows are judged by them.",
    )


def stamp_finding(newest: datetime | None, here: datetime) -> Finding:
    """Judge the broker's clock by the newest row that it stamped, None if there is none: it may not be in our future.

    Such a row may be old, so that the broker is behind us cannot be seen by it.
    """
    if newest is None:
        return fine("clock", "the broker has stamped no row that tells its time; `seamless doctor --probe` asks for it")
    if (newest - here).total_seconds() > _MOST_SKEW_S:
        return clock_finding("broker", newest, here)
    return fine(
        "clock", "the newest row that the broker stamped is not ahead of us; `seamless doctor --probe` tells more"
    )


def told_time(url: str, timeout: float = 5.0) -> datetime | None:
    """Return the time that a server tells in its answer; None if it does not."""
    try:
        told = httpx.get(url, timeout=timeout).headers.get("date")
        return parsedate_to_datetime(told) if told else None
    except (httpx.HTTPError, ValueError):
        return None


def port_findings(setting: str, host: str, port: int, path: str) -> Iterator[Finding]:
    """Judge an address at which a process of ours listens; nothing is said of port 0, which is any free one.

    Args:
        setting: the table that has the port, such as `seamless.metrics`.
        path: what only a process of ours answers.
    """
    if port == 0:
        return
    if _is_free(host, port):
        yield fine("ports", f"{host} port {port} ({setting}.port) is free")
    elif _is_ours(host, port, path):
        yield fine("ports", f"{host} port {port} ({setting}.port) is that of a process of Seamless")
    else:
        yield problem(
            "ports",
            f"{host} port {port} ({setting}.port) cannot be had: another process has it, or it is not of this machine",
            f"Choose another {setting}.port or host.",
        )


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _is_ours(host: str, port: int, path: str) -> bool:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - what to connect to for it
    try:
        answer = httpx.get(f"http://{shown}:{port}{path}", timeout=2.0)
        return "status" in answer.json()
    except (httpx.HTTPError, ValueError):
        return False
