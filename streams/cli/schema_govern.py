"""`seamless schema mode` and `audit`: who may write what, since when, and why."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.cli.schema_trail import who
from streams.errors import SettingsError
from streams.settings_sections import SchemaMode

if TYPE_CHECKING:
    from streams.registry import Registry
    from streams.schema_policy import SchemaPolicy
    from streams.settings import Settings

__all__ = ["add_to", "audit", "in_force", "mode", "show_policy"]

DatasetArgument = Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; the audit trail keeps it.")]

MODES: dict[str, SchemaMode] = {"optional": "optional", "canary": "canary", "strict": "strict"}


def mode(
    dataset: DatasetArgument,
    wanted: Annotated[
        str | None,
        typer.Argument(help="optional, canary or strict; without it, what is in force.", metavar="MODE"),
    ] = None,
    reason: ReasonOption = None,
    share: Annotated[
        float | None, typer.Option("--share", min=0, max=1, help="Of canary: share of the keys judged strictly.")
    ] = None,
    producer: Annotated[
        list[str] | None, typer.Option("--producer", help="Of canary: a producer judged strictly; repeat for more.")
    ] = None,
    compatibility: Annotated[
        str | None, typer.Option("--compatibility", help="What strict asks of versions, such as FULL_TRANSITIVE.")
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set how a dataset's schemas are judged; every running process follows within seconds.

    `seamless schema promote` does the same after it has looked at the evidence.
    """
    from dataclasses import replace

    from schemas.compatibility import LEVELS
    from streams.audit_trail import set_policy
    from streams.clock import now_ms
    from streams.registry import Registry
    from streams.schema_audit import AuditEntry

    settings = settings_from(config, world)
    settings.dataset(dataset)
    with Registry(settings.registry) as registry:
        before = in_force(settings, registry, dataset)
        if wanted is None:
            show_policy(before, as_json)
            return
        if wanted not in MODES:
            raise SettingsError(f"the mode {wanted!r} is unknown: use one of {', '.join(MODES)}")
        if not reason:
            raise SettingsError("a change of mode needs a reason, which the audit trail keeps: give --reason")
        if compatibility is not None and compatibility not in LEVELS:
            raise SettingsError(f"--compatibility {compatibility!r} is unknown: use one of {', '.join(LEVELS)}")
        policy = replace(
            before,
            mode=MODES[wanted],
            share=before.share if share is None else share,
            producers=before.producers if producer is None else frozenset(producer),
            compatibility=compatibility or before.compatibility,
            by=who(),
            reason=reason,
            at=now_ms(),
        )
        entry = AuditEntry(
            policy.at, policy.by, "mode", dataset, before=before.words(), after=policy.words(), reason=reason
        )
        set_policy(settings, registry, policy, entry)
    show_policy(policy, as_json)


def audit(
    since: Annotated[
        str | None, typer.Option("--since", help="A span such as 12h or 30d, or a time with its zone.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only this dataset's.")] = None,
    acknowledge: Annotated[
        str | None,
        typer.Option("--acknowledge", help="Write down registrations that the trail does not know, with this reason."),
    ] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what was done about schemas and by whom, and which registrations the trail knows nothing of."""
    from rich.table import Table
    from rich.text import Text

    from streams.audit_trail import AuditTrail
    from streams.clock import now_ms
    from streams.registry import Registry
    from streams.schema_audit import AuditEntry
    from streams.unrecorded import unrecorded

    settings = settings_from(config, world)
    if dataset is not None:
        settings.dataset(dataset)
    moment = _moment(since)
    with Registry(settings.registry) as registry:
        trail = AuditTrail(settings, registry)
        everything = list(trail.read(None, dataset))
        strangers = unrecorded(settings, registry, everything, dataset)
        if acknowledge and strangers:
            found = [
                AuditEntry(now_ms(), who(), "registered", s.dataset, s.subject, version=s.version, reason=acknowledge)
                for s in strangers
            ]
            trail.append(found)
            everything, strangers = everything + found, []
    entries = [entry for entry in everything if moment is None or entry.when >= moment]
    if as_json:
        told = [{**entry.to_avro(), "at": entry.when.isoformat()} for entry in entries]
        typer.echo(json.dumps({"entries": told, "unrecorded": [s.to_json() for s in strangers]}, indent=2))
        return
    table = Table("when", "who", "what", "about", "before", "after", "why", box=None, pad_edge=False)
    for entry in entries:
        about = entry.dataset or entry.subject or ""
        cells = (entry.by, entry.what + (" (forced)" if entry.forced else ""), about, entry.before, entry.after)
        why = "\n".join(filter(None, (entry.reason, *entry.evidence)))
        table.add_row(
            entry.when.strftime("%Y-%m-%d %H:%M:%S"), *(Text(c or "", overflow="fold") for c in (*cells, why))
        )
    console().print(table)
    for stranger in strangers:
        console().print(Text(str(stranger), "red"), soft_wrap=True)


def _moment(since: str | None) -> datetime | None:
    from datetime import timedelta

    from streams.clock import now
    from streams.durations import duration_ns

    if since is None:
        return None
    try:
        return now() - timedelta(microseconds=duration_ns(since) // 1_000)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise SettingsError(
            f"--since {since!r}: give a span such as 12h or 30d, or a time as 2026-01-31T09:00Z"
        ) from None
    if moment.tzinfo is None:
        raise SettingsError(f"--since {since}: give the time a zone, such as {since}Z")
    return moment


def in_force(settings: Settings, registry: Registry, dataset: str) -> SchemaPolicy:
    """Return the policy that is in force; raises BrokerError if the governance topic cannot be read."""
    from streams.policy_feed import PolicyFeed

    feed = PolicyFeed(settings, registry)
    try:
        feed.open()
        return feed.policy(dataset)
    finally:
        feed.close()


def show_policy(policy: SchemaPolicy, as_json: bool) -> None:
    """Print a policy, and who set it."""
    if as_json:
        typer.echo(json.dumps(policy.to_avro(), indent=2))
        return
    typer.echo(f"{policy.dataset}: {policy.words()}")
    if policy.at:
        when = datetime.fromtimestamp(policy.at / 1_000).astimezone()
        typer.echo(f"set by {policy.by} at {when:%Y-%m-%d %H:%M:%S %z}: {policy.reason}")
    else:
        typer.echo("as the settings say; nothing else was ever set")


def add_to(app: typer.Typer) -> None:
    """Put these commands under `seamless schema`."""
    for command in (mode, audit):
        app.command()(command)
