"""Streams of market data: what a program that writes or reads them needs, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.errors import SeamlessError
    from streams.producer import GovernedProducer, ProduceRefused
    from streams.provider.provider import Provider
    from streams.provider.result import FetchResult
    from streams.provider.stream import Stream
    from streams.provider.stream_merge import MergedStream
    from streams.provider.stream_position import StreamPosition
    from streams.settings import Settings, load_settings
    from streams.sla_exceeded import SeamlessSLAExceeded
    from streams.sla_policy import SLAPolicy
    from streams.subscription import Subscription, subscribe

__all__ = [
    "FetchResult",
    "GovernedProducer",
    "MergedStream",
    "ProduceRefused",
    "Provider",
    "SLAPolicy",
    "SeamlessError",
    "SeamlessSLAExceeded",
    "Settings",
    "Stream",
    "StreamPosition",
    "Subscription",
    "load_settings",
    "subscribe",
]

_HOMES = {
    "FetchResult": "streams.provider.result",
    "GovernedProducer": "streams.producer",
    "MergedStream": "streams.provider.stream_merge",
    "ProduceRefused": "streams.producer",
    "Provider": "streams.provider.provider",
    "SLAPolicy": "streams.sla_policy",
    "SeamlessError": "streams.errors",
    "SeamlessSLAExceeded": "streams.sla_exceeded",
    "Settings": "streams.settings",
    "Stream": "streams.provider.stream",
    "StreamPosition": "streams.provider.stream_position",
    "Subscription": "streams.subscription",
    "load_settings": "streams.settings",
    "subscribe": "streams.subscription",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562): Kafka and polars take a second that not every program should pay."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
