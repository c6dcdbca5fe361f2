"""`seamless backfill verify` and `explain`: what the topics prove of a job, and tell of a shard."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.errors import SettingsError

__all__ = ["explain", "verify"]


def verify(
    job: Annotated[str | None, typer.Argument(help="The job's id.", metavar="[JOB]", show_default=False)] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Write the certificate to this file.", show_default=False)
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Check this certificate against the topics.", show_default=False)
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="With --check: only whether it was changed.")] = False,
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove from the topics that all of a job was written exactly once; exit with 1 if that cannot be proven."""
    if (job is None) == (check is None) or (check and certificate) or (offline and not check):
        raise SettingsError(
            "say what to verify: either a JOB (and perhaps --certificate FILE), or --check FILE (and perhaps --offline)"
        )
    verdict = _verdict_of_file(check, offline, config, world, as_json) if check else None
    if verdict is None and job is not None:
        from coordinator import open_coordinator
        from coordinator.verify import verify as prove

        settings = settings_from(config, world)
        with closing(open_coordinator(settings)) as coordinator, Console(stderr=True).status("reading history"):
            verdict = prove(settings, coordinator, job)
    if verdict is None:
        return
    if certificate is not None and verdict.certificate is not None:
        verdict.certificate.write(certificate)
    if as_json:
        _print(verdict.to_json() | ({"certificate": str(certificate)} if certificate and verdict.complete else {}))
    else:
        from streams.cli.backfill_show import show_verdict

        show_verdict(verdict, console())
        if certificate is not None and verdict.complete:
            typer.echo(f"Certificate: {certificate}. Check it: seamless backfill verify --check {certificate}")
    if not verdict.complete:
        raise typer.Exit(1)


def explain(
    shard: Annotated[str, typer.Argument(help="The shard's id.", metavar="SHARD")],
    config: ConfigOption = None,
    world: WorldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who held a shard, under which epoch, when and why it moved."""
    from coordinator.lease_log import explain_shard
    from streams.cli.backfill_show import show_explanation

    found = explain_shard(settings_from(config, world), shard)
    if as_json:
        _print(found.to_json())
    else:
        show_explanation(found, console())


def _verdict_of_file(path: Path, offline: bool, config: Path | None, world: str | None, as_json: bool) -> Any:
    """Return the verdict on a certificate; None if only its root was asked about, which is told here."""
    from coordinator.certificate import Certificate, CertificateError
    from coordinator.verify import check

    found = Certificate.read(path)
    try:
        found.require_whole()
    except CertificateError as error:
        if as_json:
            _print({"job": found.job, "complete": False, "root": found.root, "error": str(error)})
        else:
            typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(1) from None
    if not offline:
        settings = settings_from(config, world)
        with Console(stderr=True).status("reading history"):
            return check(settings, found)
    if as_json:
        _print({"job": found.job, "whole": True, "root": found.root, "shards": len(found.proofs), "rows": found.rows})
    else:
        typer.echo(
            f"Whole: {len(found.proofs):,} shards, {found.rows:,} rows of {found.job}, root {found.root}. Whether the "
            "rows are there, only the topics tell: leave out --offline"
        )
    return None


def _print(datum: Any) -> None:
    typer.echo(json.dumps(datum, indent=2))
