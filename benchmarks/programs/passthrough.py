"""Bare confluent-kafka: consume bytes, produce them unchanged. The reference of every ratio.

Variant `plain` is as fast as it gets: the next batch is read while the last one is being sent, and once a
second, after a flush, the offsets are committed (at least once). Variant `transactional` sends records and
offsets in transactions (exactly once).
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Producer

from benchmarks.programs.assignment import Assignment
from benchmarks.programs.clients import BATCH, consumer_settings, producer_settings
from benchmarks.programs.transactions import TransactionalProducer

__all__ = ["plain", "transactional"]

_COMMIT_SECONDS = 1.0


def plain(task: Assignment) -> None:
    """Copy for ever without transactions."""
    consumer = Consumer(consumer_settings(task))
    consumer.subscribe([task.input_topic])
    producer = Producer(producer_settings(task, transactional=False))
    produce, topic = producer.produce, task.output_topic
    due = time.monotonic() + _COMMIT_SECONDS
    while True:
        batch = consumer.consume(BATCH, 0.1)
        for message in batch:
            produce(topic, message.value(), message.key())
        producer.poll(0)
        if batch and time.monotonic() > due:
            producer.flush()
            consumer.commit(asynchronous=True)
            due = time.monotonic() + _COMMIT_SECONDS


def transactional(task: Assignment) -> None:
    """Copy for ever in transactions."""
    consumer = Consumer(consumer_settings(task))
    consumer.subscribe([task.input_topic])
    producer = TransactionalProducer(task, consumer)
    produce, topic = producer.produce, task.output_topic
    while True:
        batch = consumer.consume(BATCH, 0.1)
        producer.begin_if_needed(batch)
        for message in batch:
            produce(topic, message.value(), message.key())
        producer.commit_if_due()


if __name__ == "__main__":
    assignment = Assignment.from_environ()
    {"plain": plain, "transactional": transactional}[assignment.variant](assignment)
