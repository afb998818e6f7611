"""Logs: JSON lines, or coloured text on a terminal. Nothing secret is ever handed to them."""

import logging
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

import structlog

from runtime import clock as clocks

REPEAT_SECONDS = 30.0
"""A dependency does not say the same thing again within this time."""
REMEMBERED = 500
"""How many different things that were said are remembered."""


class LogFormat(StrEnum):
    """How a line is written; `auto` takes text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


@dataclass(slots=True)
class _Said:
    at: float
    held: int = 0


@dataclass(slots=True)
class Repeats:
    """Has a dependency say the same thing once in a while, with how often it was held back.

    While its server is away, Kafka's client says ten lines a second. The same thing is what has the
    same logger, level and words before anything is filled in.
    """

    clock: clocks.Clock = clocks.SYSTEM
    _said: dict[tuple[str, int, str], _Said] = field(default_factory=dict)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written; it then tells of those that were not."""
        words = (record.name, record.levelno, str(record.msg))
        now = self.clock.monotonic()
        said = self._said.get(words)
        if said is not None and now - said.at < REPEAT_SECONDS:
            said.held += 1
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[words] = _Said(now)
        if said is not None and said.held:
            record.msg, record.args = f"{record.getMessage()} ({said.held} more like it)", ()
        return True


def configure(level: LogLevel, style: LogFormat, *, stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's loggers of our dependencies, once a process."""
    out = stream or sys.stderr
    text = style is LogFormat.TEXT or (style is LogFormat.AUTO and out.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    errors: list[structlog.types.Processor] = [] if text else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*shared, *errors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *errors,
                renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    handler.addFilter(Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Clients narrate every reconnection at INFO; what matters of it we log ourselves.
    root.setLevel(max(_LEVELS[level], logging.WARNING))
