"""The settings every librdkafka client of the benchmark shares, so that none wins by its configuration."""

from __future__ import annotations

from benchmarks.programs.assignment import Assignment

__all__ = ["BATCH", "COMMIT_SECONDS", "FETCHING", "PRODUCING", "consumer_settings", "producer_settings"]

#: Records taken from the client at once.
BATCH = 10_000

#: How long a transaction stays open; Kafka Streams commits as often.
COMMIT_SECONDS = 0.1

#: By default librdkafka fetches 100,000 records per partition ahead, a large part of any benchmark's
#: backlog, and then waits a second when the queue is full. Both would be measured instead of the job.
FETCHING: dict[str, object] = {"queued.min.messages": 20_000, "fetch.queue.backoff.ms": 5}

#: Kafka's own partitioner, so that every output partition mirrors its input partition.
PRODUCING: dict[str, object] = {
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "queue.buffering.max.messages": 1_000_000,
}


def consumer_settings(task: Assignment) -> dict[str, object]:
    """Return the settings of a consumer that starts at the beginning and commits by hand."""
    return {
        "bootstrap.servers": task.bootstrap,
        "group.id": task.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **FETCHING,
    }


def producer_settings(task: Assignment, *, transactional: bool) -> dict[str, object]:
    """Return the settings of a producer, transactional on request."""
    identity = {"transactional.id": task.group} if transactional else {}
    return {"bootstrap.servers": task.bootstrap, **PRODUCING, **identity}
