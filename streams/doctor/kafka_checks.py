"""The broker and its topics: whether it answers, how it is set, and whether every topic is as it must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from streams.doctor.finding import Finding, fine, problem, warning
from streams.settings import Settings
from streams.topic_admin import TopicChange

__all__ = ["broker_findings", "topic_findings"]

_QUICK_SESSION_MS = 45_000
_LEAST_MESSAGE_BYTES = 2 * 1024 * 1024
_MANY = 3


def broker_findings(settings: Settings, config: Mapping[str, str]) -> Iterator[Finding]:
    """Judge a broker's settings, by name; those that it does not tell are not judged."""
    session = int(config.get("group.consumer.session.timeout.ms", 0))
    if session:
        if session >= _QUICK_SESSION_MS:
            yield warning(
                "broker settings",
                f"a worker that is killed keeps its shards for {session / 1_000:g} s",
                "Lower group.consumer.session.timeout.ms and group.consumer.min.session.timeout.ms of the broker, "
                "such as to 6000.",
            )
        else:
            yield fine("broker settings", f"what a killed member holds moves on after {session / 1_000:g} s")
    if config.get("auto.create.topics.enable") == "true":
        yield warning(
            "broker settings",
            "the broker creates topics that somebody only asks for, with settings that are not those of Seamless",
            "Set auto.create.topics.enable = false; `seamless topics apply` creates what is needed.",
        )
    longest = int(config.get("transaction.max.timeout.ms", 0))
    for section in ("normalizer", "backfill"):
        wanted = getattr(settings, section).transaction_timeout_ms
        if longest and wanted > longest:
            yield problem(
                "broker settings",
                f"it allows transactions of {longest} ms, and seamless.{section} wants {wanted}",
                f"Lower seamless.{section}.transaction_timeout_ms, or raise transaction.max.timeout.ms of the broker.",
            )
    copies, least = int(config.get("default.replication.factor", 1)), int(config.get("min.insync.replicas", 1))
    if settings.topics.replication_factor == -1 and copies < least:
        yield problem(
            "broker settings",
            f"new topics get {copies} copies of each record, of which {least} must be written: nothing can be",
            "Raise default.replication.factor of the broker, or set seamless.topics.replication_factor.",
        )


def topic_findings(changes: Iterable[TopicChange]) -> Iterator[Finding]:
    """Judge what `seamless topics plan` finds."""
    changes = list(changes)
    missing = [change.spec.name for change in changes if change.action == "create"]
    if missing:
        yield problem("topics", f"{_named(missing)} missing", "Create them: `seamless topics apply`")
    for change in changes:
        for drift in change.drift:
            says = f"{change.spec.name}: {drift.what} is {drift.actual or 'unset'}, wanted {drift.wanted}"
            if drift.what == "partitions":
                yield problem(
                    "topics",
                    says,
                    "Set the number of the topic in the settings: symbols would be parted from their state otherwise.",
                )
            elif drift.what == "cleanup.policy":
                yield problem(
                    "topics",
                    says,
                    f"Alter the topic's {drift.what} with Kafka's own tools before its records are gone.",
                )
            else:
                yield warning(
                    "topics", says, f"Alter the topic's {drift.what} with Kafka's own tools, or the settings."
                )
    if not missing and not any(change.drift for change in changes):
        yield fine("topics", f"all {len(changes)} are there and as wanted")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f"{', '.join(names[:_MANY])}{more} {'is' if len(names) == 1 else 'are'}"
