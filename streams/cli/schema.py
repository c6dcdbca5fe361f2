"""`seamless schema`: register what a world needs, check it without writing, and show what differs between two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.cli.schema_file import check_file
from streams.cli.schema_govern import add_to as add_governing
from streams.cli.schema_moving import add_to as add_moving
from streams.cli.schema_promote import add_to as add_promoting
from streams.errors import ContractError, SettingsError

if TYPE_CHECKING:
    from schemas.avro import AvroSchema
    from streams.schema_admin import SubjectVerdict

__all__ = ["app"]

app = typer.Typer(name="schema", help="The schemas that the settings call for.", no_args_is_help=True)
add_governing(app)
add_promoting(app)
add_moving(app)

REFUSED = 1

_SAYS = {
    "registered": ("unchanged", "green"),
    "new": ("new", "cyan"),
    "compatible": ("compatible", "cyan"),
    "refused": ("refused", "red"),
    "broken": ("broken", "red"),
}

DatasetOption = Annotated[
    str | None, typer.Option("--dataset", "-d", help="Only what this dataset needs.", show_default=False)
]
FileArgument = Annotated[
    Path | None,
    typer.Argument(
        help="A schema file; without it, all that the settings call for.", metavar="FILE", show_default=False
    ),
]


@app.command()
def register(
    file: FileArgument = None,
    subject: Annotated[
        str | None, typer.Option("--subject", "-s", help="The subject of FILE.", show_default=False)
    ] = None,
    dataset: DatasetOption = None,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every schema, then register what is missing; if anything is wrong, nothing is registered."""
    # Imported when needed, here and below: no other command should wait for it.
    from streams.cli.schema_trail import record_refusal, record_registrations
    from streams.registry import Registry, SchemaRefused
    from streams.schema_admin import register_subjects, wanted_file, wanted_subjects

    if (file is None) != (subject is None):
        raise SettingsError("FILE and --subject belong together: give both, or neither to register all that is wanted")
    if file is not None and dataset is not None:
        raise SettingsError("--dataset chooses among the schemas of the settings: leave it out with FILE")
    settings = settings_from(config, world)
    if file is not None and subject is not None:
        wanted = [wanted_file(settings, file, subject)]
    else:
        wanted = wanted_subjects(settings, dataset)
    with Registry(settings.registry) as registry:
        try:
            verdicts = register_subjects(registry, wanted)
        except (ContractError, SchemaRefused) as error:
            record_refusal(settings, registry, wanted, str(error))
            raise
        record_registrations(settings, registry, verdicts)
    _show(verdicts, as_json)


@app.command()
def check(
    file: FileArgument = None,
    dataset: DatasetOption = None,
    contract: Annotated[
        str | None,
        typer.Option("--contract", help="With FILE: the contract that this raw schema must fit.", show_default=False),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", "-s", help="With FILE: the subject whose next version it would be."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A file that `seamless schema export` made, instead of a registry."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a comment on a change.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what `register` would do and write nothing; exit with 1 if anything is refused, broken or expired.

    With FILE and --subject it is checked as the subject's next version. With FILE alone no registry is asked: a
    contract is checked for itself; any other schema against the contract of --dataset or --contract.
    """
    if file is not None and subject is None:
        if against is not None or markdown:
            raise SettingsError("--against and --markdown are for versions of a subject: name it with --subject")
        check_file(file, dataset, contract, config, world, as_json)
        return
    if contract is not None or (file is None and subject is not None):
        raise SettingsError("--contract and --subject are for FILE: give the schema's file, or leave them out")
    from streams.clock import now
    from streams.promotion_evidence import contracts_of
    from streams.registry import Registry
    from streams.schema_admin import check_subjects, wanted_file, wanted_subjects
    from streams.schema_bundle import Bundle
    from streams.schema_checks import exceptions_of
    from streams.schema_markdown import as_markdown

    settings = settings_from(config, world)
    expired: list[str] = []
    if file is not None and subject is not None:
        wanted = [wanted_file(settings, file, subject)]
    else:
        wanted = wanted_subjects(settings, dataset)
        expired = exceptions_of(settings).problems(contracts_of(settings), now().date())
    if against is not None:
        verdicts = check_subjects(Bundle.read(against), wanted)
    else:
        with Registry(settings.registry) as registry:
            verdicts = check_subjects(registry, wanted)
    if markdown:
        typer.echo(as_markdown(verdicts, expired), nl=False)
    else:
        _show(verdicts, as_json, expired)
    if expired or any(verdict.state in {"refused", "broken"} for verdict in verdicts):
        raise typer.Exit(REFUSED)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="FILE.avsc, a contract's name, SUBJECT or SUBJECT@VERSION.", metavar="A")],
    b: Annotated[str, typer.Argument(help="The same; what is said leads from A to B.", metavar="B")],
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in words what differs between two schemas; exit with 0 if they are equal, 1 if not."""
    from rich.text import Text

    from schemas.diff import schema_diff

    changes = schema_diff(*(_schema(which, config, world) for which in (a, b)))
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(change) | {"text": str(change)} for change in changes], indent=2))
    else:
        styles = {"added": "green", "removed": "red", "changed": "yellow"}
        for change in changes:
            console().print(Text(str(change), styles[change.kind]), soft_wrap=True)
        if not changes:
            typer.echo("The schemas are equal.")
    if changes:
        raise typer.Exit(1)


def _schema(which: str, config: Path | None, world: str | None) -> AvroSchema:
    """Read a schema from a file, the shipped contracts or the registry, whichever the text speaks of."""
    from schemas.contract import contract_names, load_contract, read_avsc

    if which.endswith(".avsc"):
        return read_avsc(Path(which))
    if which in contract_names():
        return load_contract(which).schema
    from streams.registry import Registry

    name, at, version = which.rpartition("@")
    if at and not version.isdigit():
        raise SettingsError(f"{which}: after @ stands a version, which is a number: write {name}@1")
    with Registry(settings_from(config, world).registry) as registry:
        found = registry.version(name, int(version)) if at else registry.latest(which)
    if found is None:
        raise ContractError(
            f"the registry has no {which}; give a file that ends in .avsc, a subject, a subject@version or one of the "
            f"contracts {', '.join(contract_names())}"
        )
    return found.schema


def _show(verdicts: list[SubjectVerdict], as_json: bool, expired: Sequence[str] = ()) -> None:
    if as_json:
        problems = [{"state": "broken", "role": "exception", "reasons": [problem]} for problem in expired]
        typer.echo(json.dumps([*map(_record, verdicts), *problems], indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("subject", "schema", "version", "id", "state", box=None, pad_edge=False)
    for verdict in verdicts:
        says, colour = _SAYS[verdict.state]
        if verdict.written:
            says = "new" if verdict.version == 1 else "new version"
        notes = list(verdict.reasons)
        if verdict.level is not None:
            notes.append(f"its compatibility is {verdict.level}, wanted is {verdict.wanted.compatibility}")
        if verdict.newest is not None:
            notes.append(f"version {verdict.newest} is newer and in force; to go back, delete it in the registry")
        table.add_row(
            Text(verdict.wanted.subject, overflow="fold"),
            Text(verdict.wanted.source, overflow="fold"),
            "" if verdict.version is None else str(verdict.version),
            "" if verdict.id is None else str(verdict.id),
            Text("\n".join([says, *notes]), colour, overflow="fold"),
        )
    console().print(table)
    for problem in expired:
        console().print(Text(problem, "red"), soft_wrap=True)


def _record(verdict: SubjectVerdict) -> dict[str, object]:
    return {
        "subject": verdict.wanted.subject,
        "role": verdict.wanted.role,
        "dataset": verdict.wanted.dataset,
        "schema": verdict.wanted.source,
        "state": verdict.state,
        "written": verdict.written,
        "version": verdict.version,
        "id": verdict.id,
        "newest": verdict.newest,
        "breaks": [
            {
                "field": b.what.field,
                "why": b.what.why,
                "direction": b.direction,
                "version": b.version,
                "old": b.old,
                "new": b.new,
                "remedy": b.what.remedy,
            }
            for b in verdict.breaks
        ],
        "compatibility": verdict.level or verdict.wanted.compatibility,
        "reasons": list(verdict.reasons),
    }
