"""`seamless schema`: register what a world needs, check it without writing, and show what differs between two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.cli.schema_govern import add_to as add_governing
from streams.cli.schema_promote import add_to as add_promoting
from streams.errors import ContractError, SettingsError

if TYPE_CHECKING:
    from schemas.avro import AvroSchema
    from streams.schema_admin import SubjectVerdict

__all__ = ["app"]

app = typer.Typer(name="schema", help="The schemas that the settings call for.", no_args_is_help=True)
add_governing(app)
add_promoting(app)

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
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what `register` would do and write nothing; exit with 1 if anything is refused or broken.

    With FILE the registry is not asked: a contract is checked for itself; any other schema against the contract of
    --dataset or --contract.
    """
    if file is not None:
        _check_file(file, dataset, contract, config, world, as_json)
        return
    if contract is not None:
        raise SettingsError("--contract is for FILE: give the raw schema's file, or leave it out")
    from streams.registry import Registry
    from streams.schema_admin import check_subjects, wanted_subjects

    settings = settings_from(config, world)
    with Registry(settings.registry) as registry:
        verdicts = check_subjects(registry, wanted_subjects(settings, dataset))
    _show(verdicts, as_json)
    if any(verdict.state in {"refused", "broken"} for verdict in verdicts):
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


def _check_file(
    file: Path, dataset: str | None, contract: str | None, config: Path | None, world: str | None, as_json: bool
) -> None:
    from schemas.contract import load_contract, read_avsc
    from streams.schema_checks import check_contract, is_contract, problems_of_raw

    if dataset is not None and contract is not None:
        raise SettingsError("--dataset and --contract both name a contract: give one of them")
    if dataset is not None:
        contract = settings_from(config, world).dataset(dataset).contract
    schema = read_avsc(file)
    problems: list[str] = []
    if is_contract(schema):
        try:
            check_contract(schema)
        except ContractError as error:
            problems = [str(error)]
    elif contract is None:
        raise SettingsError(
            f"{file}: no field has a role, so this is a raw schema: name what it must fit, with --contract or --dataset"
        )
    if contract is not None and not problems:
        problems = problems_of_raw(schema, load_contract(contract))
    if as_json:
        typer.echo(json.dumps({"file": str(file), "ok": not problems, "problems": problems}))
    elif problems:
        typer.echo("\n".join(f"{file}: {problem}" for problem in problems))
    else:
        typer.echo(f"{file}: " + (f"can be conformed to {contract}" if contract else "is a sound contract"))
    if problems:
        raise typer.Exit(REFUSED)


def _show(verdicts: list[SubjectVerdict], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_record(verdict) for verdict in verdicts], indent=2))
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
        "compatibility": verdict.level or verdict.wanted.compatibility,
        "reasons": list(verdict.reasons),
    }
