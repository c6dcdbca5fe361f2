"""Whether the broker accepts the epoch of an older assignment for partitions that have stayed with a member.

Kafka 4.3 does (KIP-1251), so a token that is captured with a lease holds for the lease's whole life. An older broker
refuses every commit that does not carry the newest epoch; there a refusal says only that the group has changed.
It is tried out, as no broker tells: a member of a group of its own captures its token, a second member joins, and once
the first has heard of the new epoch it sends an offset under the old one, in a transaction that is then aborted.
"""

from __future__ import annotations

from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.clients import consumer_config, producer_config
from streams.clock import Deadline
from streams.errors import BrokerError
from streams.lease import LeaseToken, NotAMember, read_token
from streams.settings import Settings

__all__ = ["accepts_captured_epochs"]

_POLL_SECONDS = 0.1
_CALL_SECONDS = 5.0


def accepts_captured_epochs(settings: Settings, topic: str, name: str, *, deadline_s: float = 30.0) -> bool:
    """Try it out in a group of its own; takes about one heartbeat interval of the group (the broker's, 5 s by default).

    Args:
        topic: any with one partition; nothing of it is read.
        name: of the group and of the transactional id; two probes at once need two names.

    Raises:
        BrokerError: if the broker does not answer in time, so that nothing is known.
    """
    deadline = Deadline(deadline_s)
    config = {**consumer_config(settings, name), "auto.offset.reset": "latest"}
    first, second = Consumer(config), Consumer(config)
    try:
        first.subscribe([topic])
        old = _token(first, deadline, holding=1)
        second.subscribe([topic])
        while _token(first, deadline, holding=1).epoch == old.epoch:
            second.poll(_POLL_SECONDS)
        return _accepted(settings, name, TopicPartition(topic, 0, 0), old)
    except KafkaException as error:
        raise BrokerError(f"the broker could not be tried out: {error.args[0].str()}") from error
    finally:
        for consumer in (second, first):
            consumer.close()


def _token(consumer: Consumer, deadline: Deadline, *, holding: int) -> LeaseToken:
    while not deadline.passed():
        consumer.poll(_POLL_SECONDS)
        if len(consumer.assignment()) == holding:
            with suppress(NotAMember):
                return read_token(consumer.consumer_group_metadata())
    raise BrokerError(f"the broker assigned nothing within {deadline.seconds:g} s")


def _accepted(settings: Settings, name: str, offset: TopicPartition, token: LeaseToken) -> bool:
    producer = Producer(producer_config(settings, transactional_id=name))
    producer.init_transactions(_CALL_SECONDS)
    producer.begin_transaction()
    try:
        producer.send_offsets_to_transaction([offset], token.metadata, _CALL_SECONDS)
    except KafkaException as error:
        if not error.args[0].txn_requires_abort():
            raise
        return False
    finally:
        with suppress(KafkaException):
            producer.abort_transaction(_CALL_SECONDS)
    return True
