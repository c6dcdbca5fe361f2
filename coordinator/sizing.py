"""How many rows of ticks there may be: asked of the source, where this process can open it."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.plan import Estimate
from coordinator.source import SourceContext, SourceError, open_source
from schemas.contract import Contract
from streams.log import get_logger
from streams.registry import RegisteredSchema, Registry
from streams.settings import Settings

__all__ = ["estimator"]

log = get_logger("coordinator")


def estimator(
    settings: Settings, registry: Registry, dataset: str, source: str, contract: RegisteredSchema
) -> Estimate | None:
    """Return what tells rows of ticks; None for bars, which the calendar counts.

    A source may be out of this process's reach though workers can read it (a folder on their machines, a package that
    only they have), so what it cannot tell is guessed at; the guess only makes shards larger or smaller.
    """
    wanted = settings.dataset(dataset)
    if wanted.interval is not None:
        return None

    def estimate(symbols: Sequence[str], start: int, end: int) -> int:
        context = SourceContext(settings, dataset, wanted, Contract.parse(contract.schema), registry)
        opened = open_source(source, context)
        try:
            return opened.estimate(symbols, start, end)
        finally:
            opened.close()

    try:
        estimate((), 0, 0)
    except SourceError as error:
        log.info("seamless.backfill.estimate_unknown", dataset=dataset, source=source, error=str(error))
        return None
    return estimate
