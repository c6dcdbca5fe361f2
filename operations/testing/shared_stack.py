"""One stack for all processes of a test run: the first user starts it, the last one stops it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from operations.stack import EmbeddedStack
from operations.stack.filelock import exclusive

__all__ = ["delete_topics", "running_while_used"]

_TURN_S = 180.0
_BROKER_S = 30.0


@contextmanager
def running_while_used(stack: EmbeddedStack) -> Iterator[None]:
    """Start the stack for the first user, and stop it after the last; users are processes of one test run.

    Each holds a shared lock, which the kernel takes back from one that crashes: who can make it exclusive is
    the last.
    """

    def turn() -> TimeoutError:
        return TimeoutError(f"another worker has been starting or stopping {stack.dir} for too long")

    turns = stack.dir.with_suffix(".turns")
    stack.dir.parent.mkdir(parents=True, exist_ok=True)
    with stack.dir.with_suffix(".users").open("a") as users:
        with exclusive(turns, wait_s=_TURN_S, refusal=turn):
            fcntl.flock(users, fcntl.LOCK_SH)
            stack.start()
        try:
            yield
        finally:
            with exclusive(turns, wait_s=_TURN_S, refusal=turn):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # others still use it
                else:
                    stack.stop()


def delete_topics(bootstrap_servers: str, world: str, known: Iterable[str] = ()) -> None:
    """Delete a world's topics: with those of three hundred tests the broker's heap is full, and it answers nobody.

    Args:
        known: topics that there are; a broker that has just come back may list none for a moment.
    """
    admin = _admin(bootstrap_servers)
    listed = {name for name in admin.list_topics(timeout=_BROKER_S).topics if name.startswith(f"{world}.")}
    names = sorted(listed.union(known))
    if names:
        # Without time for it, the broker says yes and deletes nothing.
        for done in admin.delete_topics(names, operation_timeout=_BROKER_S, request_timeout=_BROKER_S).values():
            try:
                done.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise


@cache
def _admin(bootstrap_servers: str) -> AdminClient:
    # It outlives the stack, and would complain until the run is over.
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
