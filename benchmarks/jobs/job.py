"""What a measured job is to the benchmark: a command that turns one topic into another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from benchmarks.backlog import Backlog, fill_topic
from benchmarks.broker import Broker
from benchmarks.contract import Contract
from benchmarks.programs.assignment import Assignment

__all__ = ["Command", "Job", "RunError", "UnavailableError", "Workbench", "in_variant"]


class UnavailableError(Exception):
    """A job cannot run on this machine; the message says what is missing."""


class RunError(Exception):
    """A job failed or its output is wrong; the message says how and where its log lies."""


@dataclass(frozen=True)
class Command:
    """How to start a process: arguments and the variables it needs beyond those of this process."""

    arguments: list[str]
    environ: dict[str, str] = field(default_factory=dict)


class Workbench:
    """What all runs share: the cluster, the contract, and one backlog per size."""

    def __init__(self, broker: Broker, contract: Contract, rows: pa.RecordBatch, token: str) -> None:
        self.broker = broker
        self.contract = contract
        self.token = token
        self._rows = rows
        self._backlogs: dict[int, Backlog] = {}

    def backlog(self, records: int) -> Backlog:
        """Return the backlog of the first `records` bars, written at the first call."""
        if records not in self._backlogs:
            topic = f"bench.{self.token}.input.{records}"
            self.broker.create_topic(topic)
            self._backlogs[records] = self.fill(topic, records)
        return self._backlogs[records]

    def fill(self, topic: str, records: int) -> Backlog:
        """Write the first `records` bars into an empty topic, for a job that names its input itself."""
        return fill_topic(self.broker, topic, self._rows.slice(0, records), self.contract)


class Job(ABC):
    """One line of the table."""

    #: What `--only` calls it.
    name: str
    #: What the table calls it.
    title: str
    #: What happens to a record when the process is killed.
    guarantee: str
    #: The part of the backlog it works off; below 1 for jobs that would take minutes.
    share: float = 1.0

    def prepare(self) -> None:
        """Install or build what the job needs; raises UnavailableError. Called once, before the first run."""
        return  # most jobs need nothing

    def assign(self, bench: Workbench, run: str, records: int, folder: Path) -> tuple[Assignment, Backlog]:
        """Create the topics of one run and say where it reads and writes."""
        backlog = bench.backlog(records)
        name = f"bench.{bench.token}.{self.name}.{run}"
        bench.broker.create_topic(name)
        task = Assignment(
            bootstrap=bench.broker.bootstrap,
            registry_url=bench.broker.registry_url,
            input_topic=backlog.topic,
            output_topic=name,
            group=name,
            schema_path=str(bench.contract.path),
            schema_id=backlog.schema_id,
            work_folder=str(folder),
        )
        return task, backlog

    def clean(self, bench: Workbench, task: Assignment) -> None:
        """Remove the topics that `assign` created."""
        bench.broker.delete_topics([task.output_topic])

    @abstractmethod
    def command(self, task: Assignment) -> Command:
        """Return how to start the job for this assignment."""


def in_variant(task: Assignment, variant: str) -> dict[str, str]:
    """Return the assignment as environment variables, with the variant named."""
    return replace(task, variant=variant).environ()
