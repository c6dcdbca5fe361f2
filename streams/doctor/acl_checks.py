"""What the credentials in the settings may do with the topics and groups that there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.doctor.finding import Finding, fine, problem, warning

__all__ = ["acl_findings", "comparable", "readable", "unseen_settings"]

_TOPIC = ("DESCRIBE", "READ", "WRITE")
_GROUP = ("DESCRIBE", "READ")
_SHOWN = 3

Rights = Mapping[str, frozenset[str]]


def readable(topic: str, rights: Rights) -> bool:
    """Return whether a topic may be read, as far as it is known."""
    return {"DESCRIBE", "READ"} <= rights.get(topic, frozenset(_TOPIC))


def comparable(topic: str, rights: Rights) -> bool:
    """Return whether the settings of a topic may be asked for, or it is not there."""
    return topic not in rights or {"DESCRIBE", "DESCRIBE_CONFIGS"} <= rights[topic]


def unseen_settings() -> Finding:
    """Return that the broker's own settings may not be seen, as is usual for all but administrators."""
    return warning(
        "acls",
        "these credentials may not see the broker's settings, which are not compared",
        "Grant DescribeConfigs on the cluster, or run `seamless doctor` with an administrator's.",
    )


def acl_findings(topics: Rights, groups: Rights) -> Iterator[Finding]:
    """Judge rights. Some process of ours reads and some writes each topic, and all have the same settings.

    Args:
        topics: what may be done with each topic that exists.
        groups: the same of each group, whether it exists or not.
    """
    wrong = [*_missing("topic", topics, _TOPIC), *_missing("group", groups, _GROUP)]
    yield from wrong
    unseen = [name for name, rights in topics.items() if "DESCRIBE" in rights and "DESCRIBE_CONFIGS" not in rights]
    if unseen:
        yield warning(
            "acls",
            f"these credentials may not see the settings of {_named(unseen)}, which are not compared",
            "Grant DescribeConfigs, or run `seamless doctor` with an administrator's.",
        )
    if not wrong:
        yield fine(
            "acls",
            f"these credentials may read and write {len(topics)} topics, and read as {len(groups)} groups; about "
            "transactional ids Kafka cannot be asked",
        )


def _missing(kind: str, found: Rights, wanted: tuple[str, ...]) -> Iterator[Finding]:
    """Yield a finding for each set of rights that is missing of some."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name, rights in sorted(found.items()):
        missing = tuple(operation for operation in wanted if operation not in rights)
        if missing:
            lacking.setdefault(missing, []).append(name)
    for operations, names in lacking.items():
        options = " ".join(f"--operation {operation.capitalize()}" for operation in operations)
        yield problem(
            "acls",
            f"these credentials may not {', '.join(operations).lower()} the {kind}{'s' if len(names) > 1 else ''} "
            f"{_named(names)}",
            f"Grant it: `kafka-acls --add --allow-principal User:... {options} --{kind} {names[0]}`. If processes have "
            "credentials of their own, ask with those.",
        )


def _named(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
