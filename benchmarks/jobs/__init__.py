"""The jobs that are measured, in the order of the table."""

from __future__ import annotations

from benchmarks.jobs.job import Job
from benchmarks.jobs.kafka_streams import KafkaStreams
from benchmarks.jobs.python_jobs import PYTHON_JOBS
from benchmarks.jobs.seamless_normalizer import SeamlessNormalizer

__all__ = ["JOBS", "PRODUCT", "REFERENCE"]

#: The job that every ratio is taken against.
REFERENCE = "passthrough"

#: The job that is compared with each of the others.
PRODUCT = SeamlessNormalizer.name

_REFERENCES = PYTHON_JOBS[:2]
_PEERS = PYTHON_JOBS[2:]

JOBS: dict[str, Job] = {
    job.name: job for job in (*_REFERENCES, SeamlessNormalizer(), KafkaStreams(1), KafkaStreams(2), *_PEERS)
}
