"""`seamless schema export` and `import`: subjects in a file, for checks without a registry and for moves to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.schema_trail import record, who
from streams.errors import SettingsError

__all__ = ["add_to", "export", "import_"]


def export(
    file: Annotated[Path, typer.Argument(help="The file to write, JSON.", metavar="FILE")],
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only what this dataset needs.")] = None,
    subject: Annotated[list[str] | None, typer.Option("--subject", "-s", help="This subject; repeat for more.")] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write subjects with all versions, ids and levels to a file: those of the settings, or those named."""
    from streams.registry import Registry
    from streams.schema_admin import wanted_subjects
    from streams.schema_moving import export_subjects

    if dataset is not None and subject:
        raise SettingsError("--dataset and --subject both choose subjects: give one of them")
    settings = settings_from(config, world)
    with Registry(settings.registry) as registry:
        names = subject or [w.subject for w in wanted_subjects(settings, dataset) if registry.versions(w.subject)]
        bundle = export_subjects(registry, names)
    bundle.write(file)
    versions = sum(len(s.versions) for s in bundle.subjects)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "subjects": len(bundle.subjects), "versions": versions}))
    else:
        typer.echo(f"{file}: {len(bundle.subjects)} subjects, {versions} versions")


def import_(
    file: Annotated[Path, typer.Argument(help="A file that `seamless schema export` made.", metavar="FILE")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; the audit trail keeps it.")] = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register what the registry lacks under the same ids and versions; nothing if anything else stands there."""
    from streams.clock import now_ms
    from streams.registry import Registry
    from streams.schema_audit import AuditEntry
    from streams.schema_bundle import Bundle
    from streams.schema_moving import import_subjects

    settings = settings_from(config, world)
    bundle = Bundle.read(file)
    with Registry(settings.registry) as registry:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("importing ...", total=sum(len(s.versions) for s in bundle.subjects))
            done = import_subjects(registry, settings.registry, bundle, lambda n: progress.update(task, completed=n))
        at, by = now_ms(), who()
        entries = [
            AuditEntry(at, by, "imported", None, v.subject, v.id, v.version, after=f"from {file.name}", reason=reason)
            for v in done
        ]
        record(settings, registry, entries)
    if as_json:
        told = [{"subject": v.subject, "version": v.version, "id": v.id} for v in done]
        typer.echo(json.dumps({"file": str(file), "imported": told}, indent=2))
    else:
        typer.echo(f"{len(done)} versions imported" if done else "all of it is there already")


def add_to(app: typer.Typer) -> None:
    """Put these commands under `seamless schema`."""
    app.command()(export)
    app.command("import")(import_)
