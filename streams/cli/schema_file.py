"""`seamless schema check FILE`: what can be said of a schema without a registry."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from streams.cli.context import settings_from
from streams.errors import ContractError, SettingsError

__all__ = ["check_file"]

REFUSED = 1


def check_file(
    file: Path, dataset: str | None, contract: str | None, config: Path | None, world: str | None, as_json: bool
) -> None:
    """Check a file and print what is wrong with it; exit with 1 if anything is."""
    from schemas.contract import load_contract, read_avsc
    from schemas.naming import problems_of_names
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
        else:
            named = problems_of_names(schema, contract=True)
            problems = [f"field {field}: {problem}" if field else problem for field, problem in named]
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
