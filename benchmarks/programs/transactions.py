"""Transactions that stay open for the commit interval: what Kafka Streams and quixstreams do inside."""

from __future__ import annotations

import time
from collections.abc import Sized
from typing import Any

from confluent_kafka import Consumer, Producer

from benchmarks.programs.assignment import Assignment
from benchmarks.programs.clients import COMMIT_SECONDS, producer_settings

__all__ = ["TransactionalProducer"]


class TransactionalProducer:
    """A producer whose transactions carry the consumer's offsets; a failed one ends the program."""

    def __init__(self, task: Assignment, consumer: Consumer) -> None:
        self._consumer = consumer
        self._producer = Producer(producer_settings(task, transactional=True))
        self._producer.init_transactions()
        self._due: float | None = None
        #: The client's own method, free of a Python frame per record.
        self.produce: Any = self._producer.produce

    def begin_if_needed(self, batch: Sized) -> None:
        """Open a transaction for a batch that has records, unless one is open."""
        if batch and self._due is None:
            self._producer.begin_transaction()
            self._due = time.monotonic() + COMMIT_SECONDS

    def commit_if_due(self) -> None:
        """Commit records and offsets together once the interval has passed."""
        if self._due is None or time.monotonic() < self._due:
            self._producer.poll(0)
            return
        positions = self._consumer.position(self._consumer.assignment())
        consumed = [position for position in positions if position.offset >= 0]
        self._producer.send_offsets_to_transaction(consumed, self._consumer.consumer_group_metadata())
        self._producer.commit_transaction()
        self._due = None
