"""Posts broken promises to a webhook as Slack takes it, with Confluent's client alone, as any program could.

    KAFKA=localhost:9092 REGISTRY=http://localhost:8080/apis/ccompat/v7 \
    WEBHOOK=https://hooks.slack.com/services/... python examples/slack_webhook.py live
"""

import json
import os
import sys
import urllib.request

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

SIGNS = {"opened": ":fire:", "escalated": ":rotating_light:", "resolved": ":white_check_mark:"}


def text(breach: dict) -> str:
    drill = "DRILL: " if breach["synthetic"] else ""
    observed = "nothing" if breach["observed"] is None else f"{breach['observed']:.4g} {breach['unit']}"
    lines = [
        f"{SIGNS[breach['state']]} {drill}*{breach['objective']}* {breach['state']} ({breach['severity']})",
        f"{breach['dataset']}, {breach['phase']}, for {breach['consumer'] or 'everyone'}: {breach['promise']}",
        f"There was {observed} up to {breach['window_end']:%Y-%m-%d %H:%M:%S} UTC. {breach['runbook_url'] or ''}",
    ]
    return "\n".join(lines)


topic = f"{sys.argv[1]}.sla.breaches"
decode = AvroDeserializer(SchemaRegistryClient({"url": os.environ["REGISTRY"]}))
group = {"group.id": f"{topic}.slack", "auto.offset.reset": "latest", "enable.auto.commit": False}
consumer = Consumer({"bootstrap.servers": os.environ["KAFKA"], "isolation.level": "read_committed", **group})
consumer.subscribe([topic], on_assign=lambda _, partitions: print("reading", len(partitions), "partitions", flush=True))
try:
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            breach = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
            body = json.dumps({"text": text(breach)}).encode()
            urllib.request.urlopen(urllib.request.Request(os.environ["WEBHOOK"], body), timeout=10).close()
            consumer.commit(message, asynchronous=False)  # only now: a breach may be told twice, and none is lost
finally:
    consumer.close()
