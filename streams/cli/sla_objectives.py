"""`seamless sla objectives check`: what the agent watches, in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from streams.cli.context import ConfigOption, JsonOption, WorldOption, settings_from
from streams.cli.output import console
from streams.durations import as_written, spelled

if TYPE_CHECKING:
    from streams.sla.objectives import Watch

__all__ = ["app"]

app = typer.Typer(name="objectives", help="What the SLA agent watches.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What the SLA agent watches."""


@app.command()
def check(config: ConfigOption = None, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Check the objectives of the settings, and say in words what each promises and when it is broken.

    Readers that the settings do not name are watched as well, as soon as they are observed.
    """
    from streams.sla.objectives import Objectives

    found = list(Objectives(settings_from(config, world)).known())
    if as_json:
        typer.echo(json.dumps([_record(each) for each in found], indent=2))
        return
    out = console()
    for position, each in enumerate(found):
        who = f", {each.consumer}" if each.consumer else ""
        out.print(Text(("\n" if position else "") + f"{each.name}: {each.series.dataset}{who}", "bold"))
        out.print(Text(f"  {each.promise}."))
        for sentence in _says(each):
            out.print(Text(f"  {sentence}"))
    if not found:
        out.print("Nothing is watched: set an objective, or seamless.sla_agent.defaults = true.")


def _says(watch: Watch) -> list[str]:
    own = watch.settings
    said: list[str] = []
    match watch.kind:
        case "quantile":
            again = f", a new one every {as_written(own.hop)}," if own.hop else ""
            said.append(f"Each window of {as_written(own.window)}{again} is broken if p{own.quantile * 100:g} is more.")
        case "budget":
            bad = "ended late, partial or failed" if watch.limit is None else f"took more than {spelled(watch.limit)}"
            period, share = as_written(own.period), 100 - own.target * 100
            said.append(f"An observation is bad if it {bad}; {share:.4g} % may be, over {period}.")
            for pair in watch.pairs:
                long, short = as_written(pair.long / 1e9), as_written(pair.short / 1e9)
                used = pair.rate * pair.long / 1e9 / own.period
                said.append(
                    f"{pair.severity.capitalize()} if it burns more than {pair.rate:g} times too fast over {long}, "
                    f"which uses up {used:.1%} of the budget, and over {short} as well."
                )
        case "staleness":
            said.append("Broken when nothing newer came for so long while the market was open; looked at every second.")
        case "completeness":
            said.append("Broken at the deadline of a job, until enough of it is done; critical once it has failed.")
        case "conformance":
            said.append(f"Each window of {as_written(own.window)} is broken if more rows break a rule.")
    if own.min_count > 1:
        said.append(f"Fewer than {own.min_count} say nothing.")
    after = f", critical after {as_written(own.escalate_after)}" if own.escalate_after else ""
    if watch.kind != "budget":
        said.append(f"Severity: {own.severity}{after}.")
    return said


def _record(watch: Watch) -> dict[str, Any]:
    return {
        "objective": watch.name,
        "kind": watch.kind,
        "dataset": watch.series.dataset,
        "consumer": watch.consumer,
        "phase": watch.series.phase,
        "promise": watch.promise,
        "limit": watch.limit,
        "unit": watch.unit,
        "says": _says(watch),
    }
