"""`seamless schema promote`, `demote` and `compatibility`: the road to strict, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.cli.schema_trail import record, who
from streams.errors import SettingsError
from streams.settings_sections import SchemaMode

if TYPE_CHECKING:
    from streams.promotion import Condition

__all__ = ["add_to", "compatibility", "demote", "promote"]

REFUSED = 1

DatasetArgument = Annotated[str, typer.Argument(help="The dataset.", metavar="DATASET")]


def promote(
    dataset: DatasetArgument,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; needed with --force.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although conditions fail; the trail keeps it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what holds and what does not.")] = False,
    window: Annotated[str, typer.Option("--window", help="How far back conformance is looked at.")] = "24h",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows for which canary has to be clean, or ...")] = 100_000,
    hours: Annotated[float, typer.Option("--hours", min=0, help="... hours for which it has to be.")] = 24.0,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on to the next mode (optional, canary, strict) if the evidence allows it; exit with 1 if it does not."""
    from streams.audit_trail import set_policy
    from streams.cli.schema_govern import in_force
    from streams.clock import now, now_ms
    from streams.durations import duration_ns
    from streams.promotion import Thresholds, conditions, next_mode
    from streams.promotion_evidence import gather_evidence
    from streams.registry import Registry
    from streams.schema_audit import AuditEntry

    if force and not reason:
        raise SettingsError("--force needs a reason, which the audit trail keeps: give --reason")
    try:
        thresholds = Thresholds(timedelta(microseconds=duration_ns(window) / 1_000), rows, hours)
    except ValueError as error:
        raise SettingsError(f"--window: {error}") from None
    settings = settings_from(config, world)
    settings.dataset(dataset)
    with Registry(settings.registry) as registry:
        before = in_force(settings, registry, dataset)
        wanted = next_mode(before.mode)
        if wanted is None:
            raise SettingsError(f"{dataset} is strict already; `seamless schema demote {dataset}` goes back")
        found = conditions(gather_evidence(settings, registry, before, thresholds, now()), thresholds)
        allowed = all(condition.holds for condition in found)
        done = (allowed or force) and not dry_run
        policy = replace(before, mode=wanted, by=who(), reason=reason or "all conditions hold", at=now_ms())
        entry = AuditEntry(
            policy.at,
            policy.by,
            "promoted" if done else "refused",
            dataset,
            before=before.words(),
            after=policy.words() if done else before.words(),
            reason=policy.reason if done else f"conditions for {wanted} do not hold",
            evidence=tuple(map(str, found)),
            forced=done and not allowed,
        )
        if done:
            set_policy(settings, registry, policy, entry)
        elif not dry_run:
            record(settings, registry, [entry])
    _show(dataset, wanted, found, done, as_json)
    if not (allowed or done):
        raise typer.Exit(REFUSED)


def demote(
    dataset: DatasetArgument,
    to: Annotated[str, typer.Option("--to", help="optional or canary.")] = "optional",
    reason: Annotated[str, typer.Option("--reason", help="Why; the audit trail keeps it.")] = "none given",
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to a looser mode at once, whatever the evidence."""
    from streams.audit_trail import set_policy
    from streams.cli.schema_govern import in_force, show_policy
    from streams.clock import now_ms
    from streams.registry import Registry
    from streams.schema_audit import AuditEntry

    looser: dict[str, SchemaMode] = {"optional": "optional", "canary": "canary"}
    settings = settings_from(config, world)
    settings.dataset(dataset)
    with Registry(settings.registry) as registry:
        before = in_force(settings, registry, dataset)
        if to not in looser or to == before.mode or before.mode == "optional":
            raise SettingsError(
                f"--to {to}: {dataset} is {before.mode}, from which one goes back to optional, or from strict to canary"
            )
        policy = replace(before, mode=looser[to], by=who(), reason=reason, at=now_ms())
        entry = AuditEntry(
            policy.at, policy.by, "demoted", dataset, before=before.words(), after=policy.words(), reason=reason
        )
        set_policy(settings, registry, policy, entry)
    show_policy(policy, as_json)


def compatibility(
    dataset: DatasetArgument,
    level: Annotated[
        str | None, typer.Argument(help="Such as FULL_TRANSITIVE; without it, what is set.", metavar="LEVEL")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; the audit trail keeps it.")] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set what the registry asks of the next version of a dataset's raw subject."""
    from schemas.compatibility import LEVELS
    from streams import topics
    from streams.clock import now_ms
    from streams.registry import Registry
    from streams.schema_audit import AuditEntry

    settings = settings_from(config, world)
    settings.dataset(dataset)
    subject = topics.subject(topics.raw(settings.world, dataset))
    with Registry(settings.registry) as registry:
        before = registry.compatibility(subject)
        if level is not None:
            if level not in LEVELS:
                raise SettingsError(f"the level {level!r} is unknown: use one of {', '.join(LEVELS)}")
            if not reason:
                raise SettingsError("a change of compatibility needs a reason, which the trail keeps: give --reason")
            registry.set_compatibility(subject, level)
            entry = AuditEntry(
                now_ms(), who(), "compatibility", dataset, subject, before=before, after=level, reason=reason
            )
            record(settings, registry, [entry])
    if as_json:
        typer.echo(json.dumps({"subject": subject, "before": before, "level": level or before}))
    else:
        typer.echo(f"{subject}: {level or before}" + (f" (was {before})" if level not in (None, before) else ""))


def _show(dataset: str, wanted: str, found: list[Condition], done: bool, as_json: bool) -> None:
    if as_json:
        told = [{"name": c.name, "holds": c.holds, "says": c.says} for c in found]
        typer.echo(json.dumps({"dataset": dataset, "mode": wanted, "promoted": done, "conditions": told}, indent=2))
        return
    from rich.text import Text

    for condition in found:
        console().print(Text(str(condition), "green" if condition.holds else "red"), soft_wrap=True)
    typer.echo(f"{dataset} is {wanted} now" if done else f"{dataset} stays as it is")


def add_to(app: typer.Typer) -> None:
    """Put these commands under `seamless schema`."""
    for command in (promote, demote, compatibility):
        app.command()(command)
