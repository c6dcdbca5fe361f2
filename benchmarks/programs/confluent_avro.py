"""confluent-kafka's own AvroDeserializer and AvroSerializer around the transactional loop."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from benchmarks.programs.assignment import Assignment
from benchmarks.programs.bars_codec import holds
from benchmarks.programs.clients import BATCH, consumer_settings
from benchmarks.programs.transactions import TransactionalProducer

__all__ = ["main"]


def main(task: Assignment) -> None:
    """Normalize for ever."""
    registry = SchemaRegistryClient({"url": task.registry_url})
    schema = Path(task.schema_path).read_text()
    decode = AvroDeserializer(registry, schema)
    encode = AvroSerializer(
        registry,
        schema,
        # The backlog's own subject: the same schema, so the same id, and nothing to register.
        conf={
            "auto.register.schemas": False,
            "subject.name.strategy": lambda _context, _record: f"{task.input_topic}-value",
        },
    )
    read = SerializationContext(task.input_topic, MessageField.VALUE)
    write = SerializationContext(task.output_topic, MessageField.VALUE)
    consumer = Consumer(consumer_settings(task))
    consumer.subscribe([task.input_topic])
    producer = TransactionalProducer(task, consumer)
    produce, topic = producer.produce, task.output_topic
    while True:
        batch = consumer.consume(BATCH, 0.1)
        producer.begin_if_needed(batch)
        for message in batch:
            bar = decode(message.value(), read)
            if holds(bar):
                produce(topic, encode(bar, write), message.key())
        producer.commit_if_due()


if __name__ == "__main__":
    main(Assignment.from_environ())
