"""
Logging, set up once: lines for a person on a terminal, JSON elsewhere, on standard error.

Events are `noun.past`, facts are keys. Texts and numbers of messages are never handed to a logger,
and a token that got into a line all the same, inside an error of a library for example, is masked.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from semysync.config import Log

NOISY = ("httpx", "httpcore", "apscheduler")


def set_up(config: Log, *, token: str = "", stream: TextIO = sys.stderr) -> None:
    """Send structlog's lines to `stream`; of noisy libraries only their warnings."""
    console = config.format == "console" or (config.format == "auto" and stream.isatty())
    level = logging.getLevelNamesMapping()[config.level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if console else [structlog.processors.dict_tracebacks]),
            masking(token),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def masking(token: str) -> structlog.typing.Processor:
    """Return a processor that hides the token wherever it stands in a line."""

    def mask(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if token:
            for key, value in event.items():
                event[key] = masked(value, token)
        return event

    return mask


def masked(value: Any, token: str) -> Any:
    """Return `value` without the token, at any depth; an exception becomes its text."""
    match value:
        case str():
            return value.replace(token, "***")
        case dict():
            return {key: masked(inner, token) for key, inner in value.items()}
        case list() | tuple():
            return [masked(inner, token) for inner in value]
        case _ if token in repr(value):
            return repr(value).replace(token, "***")
    return value


def silence() -> None:
    """Log nothing: a command that shows its progress on the terminal has said it all."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[_drop])


def _drop(_logger: Any, _method: str, _event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raise structlog.DropEvent
