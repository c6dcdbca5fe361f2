"""Logging: readable lines on a terminal, one JSON object a line elsewhere, always on standard error.

An event is a stable snake_case name (`dataset_stopped`), never a sentence; what varies goes into its fields,
so that logs can be searched and alerted on.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

__all__ = ["Level", "Logger", "configure_logging", "get_logger"]

Level = Literal["debug", "info", "warning", "error"]
Logger = FilteringBoundLogger


def configure_logging(level: Level = "info", json: bool | None = None) -> None:
    """Set up logging for this process; a later call replaces an earlier one.

    `json` None means JSON unless standard error is a terminal. Records of libraries take the same form;
    theirs below `warning` are shown at level `debug` only.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    least = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendered: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(sort_keys=True, default=str),
    ]
    if not as_json:
        # The traces that it shows by default tell the locals of every frame, and with them tokens and passwords.
        plain = structlog.dev.plain_traceback
        rendered = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(least if level == "debug" else max(least, logging.WARNING))
    logging.getLogger("seamless").setLevel(least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(component: str, **fields: object) -> Logger:
    """Return a logger whose every record carries `component` (such as `normalizer`) and the fields given."""
    logger = structlog.stdlib.get_logger(f"seamless.{component}", component=component, **fields)
    return cast("Logger", logger)
