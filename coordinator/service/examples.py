"""An example of every question and answer, for the description of the service."""

from __future__ import annotations

from typing import Any

__all__ = ["ANSWERS", "QUESTIONS"]

_JOB_ID, _SHARD_ID = "job-5f1c9e0a7b3d2c4e6f80", "shard-0b7e4d1c2a9f8e6d5c3b"
_START, _END = "2022-01-01T00:00:00Z", "2024-01-01T00:00:00Z"
_NOW = "2026-03-02T09:30:00Z"
_MEMBER = "Zk0dYx3sQ5uV1n8bTg2wLA"

_JOB: dict[str, Any] = {
    "id": _JOB_ID,
    "epoch": 1,
    "state": "running",
    "dataset": "ohlcv.us.1d",
    "symbols": ["AAPL", "MSFT"],
    "start": _START,
    "end": _END,
    "source": "files:/data/bars/*.parquet",
    "as_of": "2026-03-02T09:00:00Z",
    "urgent": False,
    "created_at": "2026-03-02T09:00:00Z",
    "requested_by": "research",
    "shards": 4,
    "shards_by_state": {"done": 1, "running": 2, "pending": 1},
    "rows": 420,
    "estimated_rows": 1_004,
    "ratio": 0.25,
}
_SHARD: dict[str, Any] = {
    "id": _SHARD_ID,
    "job": _JOB_ID,
    "dataset": "ohlcv.us.1d",
    "symbols": ["AAPL"],
    "start": _START,
    "end": "2023-01-01T00:00:00Z",
    "state": "running",
    "urgent": False,
    "partition": 3,
    "offset": 17,
    "epoch": 1,
    "attempt": 1,
    "chunks": 2,
    "rows": 168,
    "rejected": 0,
    "outside": 0,
    "estimated_rows": 251,
    "digest": "6b5d1c40c3f2a7e9",
    "member": _MEMBER,
    "host": "worker-1",
    "lease_epoch": 12,
    "updated_at": _NOW,
    "error": None,
}
_LEASE: dict[str, Any] = {
    "queue": "live.backfill.shards",
    "partition": 3,
    "shard": _SHARD_ID,
    "job": _JOB_ID,
    "member": _MEMBER,
    "host": "worker-1",
    "epoch": 12,
    "attempt": 1,
    "cursor": "2022-09-01",
    "rows": 168,
    "seconds_since_progress": 0.8,
    "stalled": False,
}
_COVERED = {
    "dataset": "ohlcv.us.1d",
    "symbol": "AAPL",
    "complete": [{"start": "2023-01-01T00:00:00Z", "end": _END}],
    "running": [{"start": _START, "end": "2023-01-01T00:00:00Z"}],
}
_WHY = {"reason": "the vendor corrects its files"}

QUESTIONS: dict[str, dict[str, Any]] = {
    "request_backfill": {
        "dataset": "ohlcv.us.1d",
        "symbols": ["AAPL", "MSFT"],
        "start": _START,
        "end": _END,
        "urgent": False,
        "requested_by": "research",
    },
    "cancel_backfill": _WHY,
    "pause_backfill": _WHY,
    "skip_shard": _WHY,
    "release_lease": _WHY,
}
"""The body of each operation that takes one."""

ANSWERS: dict[str, Any] = {
    "request_backfill": {"job": _JOB, "created": True, "queued": 4},
    "list_backfills": {"items": [_JOB], "next": f"998227558000000:{_JOB_ID}"},
    "show_backfill": _JOB,
    "cancel_backfill": {**_JOB, "state": "cancelling"},
    "pause_backfill": {**_JOB, "state": "paused"},
    "resume_backfill": _JOB,
    "list_shards": {"items": [_SHARD], "next": _SHARD_ID},
    "show_shard": _SHARD,
    "skip_shard": {**_SHARD, "state": "skipped"},
    "retry_shard": {**_SHARD, "state": "pending", "epoch": 2, "member": "", "host": ""},
    "list_leases": {"items": [_LEASE], "next": None},
    "release_lease": _LEASE,
    "show_coverage": {"items": [_COVERED], "next": None},
    "watch_events": (
        ": listening\n\nevent: shard\n"
        f'data: {{"kind":"shard","id":"{_SHARD_ID}","job":"{_JOB_ID}","state":"running","rows":168,"partition":3,'
        f'"host":"worker-1","at":"{_NOW}"}}\n\n'
    ),
    "healthz": {"status": "ok", "reasons": []},
    "readyz": {"status": "ok", "reasons": []},
    "show_metrics": '# TYPE backfill_jobs_in_progress gauge\nbackfill_jobs_in_progress{world_id="live"} 1.0\n',
}
"""What each operation answers when all is well."""
