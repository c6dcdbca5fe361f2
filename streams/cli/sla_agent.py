"""`seamless sla-agent`: watch the promises of a world."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from streams.cli.context import ConfigOption, WorldOption, settings_from
from streams.errors import SeamlessError
from streams.leaving import leave

__all__ = ["sla_agent"]


def sla_agent(config: ConfigOption = None, world: WorldOption = None) -> None:
    """Fold observations into windows and write breaches of promises, until stopped; run as many as you like.

    Each promise that is broken is told once on the topic of breaches, whichever agent is killed.
    """
    from streams.sla.process import run_agent

    settings = settings_from(config, world)
    try:
        run_agent(settings)
    except SeamlessError as error:
        Console(stderr=True, highlight=False).print("[bold red]error:[/] " + escape(str(error)), soft_wrap=True)
        leave(2)
    leave(0)
