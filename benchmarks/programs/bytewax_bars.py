"""bytewax. It commits no offsets to Kafka; its own recovery store is left out here."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from confluent_kafka import OFFSET_BEGINNING

from benchmarks.programs.assignment import Assignment
from benchmarks.programs.bars_codec import BarsCodec, holds
from benchmarks.programs.clients import BATCH, FETCHING, PRODUCING

__all__ = ["build"]


def build(task: Assignment) -> Dataflow:
    """Return the dataflow."""
    codec = BarsCodec(task)

    def normalize(messages: list[KafkaSourceMessage]) -> list[KafkaSinkMessage]:
        bars = ((message.key, codec.decode(message.value)) for message in messages)
        return [KafkaSinkMessage(key, codec.encode(bar)) for key, bar in bars if holds(bar)]

    brokers = [task.bootstrap]
    flow = Dataflow("bars")
    source = KafkaSource(brokers, [task.input_topic], OFFSET_BEGINNING, add_config=dict(FETCHING), batch_size=BATCH)
    bars = op.flat_map_batch("normalize", op.input("consume", flow, source), normalize)
    op.output("produce", bars, KafkaSink(brokers, task.output_topic, add_config=dict(PRODUCING)))
    return flow


if __name__ == "__main__":
    cli_main(build(Assignment.from_environ()))
