"""
Logging, set up once: lines for a person on a terminal and in the journal, JSON elsewhere.

They go to standard error. Events are `noun.past`, facts are keys. Texts and numbers of messages are
never handed to a logger, tracebacks come without the values of variables, and a token that got into
a line all the same, inside an error of a library for example, is masked.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from semysync.config import Log
from semysync.errors import SemysyncError

#: with a plus, 8 digits or more and what people write between them; without one, more digits than
#: an id of the service has
NUMBER = re.compile(r"\+\d(?:[ ().-]{0,2}\d){7,}|(?<![\d.:+-])\d{11,15}(?!\d|[.:]\d)")
QUIET = ("httpx", "httpcore", "apscheduler")  # their warnings tell nothing that ours do not
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  #: the journal's


def set_up(config: Log, *, token: str = "", stream: TextIO | None = None) -> None:
    """Send our lines, and the warnings of libraries, to `stream`, which is standard error."""
    stream = stream or sys.stderr
    on_terminal = stream.isatty()
    journal = is_journal(stream, os.environ.get("JOURNAL_STREAM", ""))
    console = config.format == "console" or (config.format == "auto" and (on_terminal or journal))
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=on_terminal and not os.environ.get("NO_COLOR"),
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # the pretty one shows variables
        )
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *([] if journal and console else [structlog.processors.TimeStamper("iso", utc=True)]),
            structlog.processors.format_exc_info,
            masking(token, numbers=config.numbers == "masked"),
            with_priority(renderer) if journal else renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", Enduring(stream))),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[Forwarding()], level=logging.WARNING, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def is_journal(stream: TextIO, named: str) -> bool:
    """Tell whether a stream leads to systemd's journal: `named` are its numbers, `device:inode`."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is closed, or no file
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def with_priority(renderer: structlog.typing.Processor) -> structlog.typing.Processor:
    """Begin each line with its level as the journal reads it; it takes every line for an entry."""

    def render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        mark = f"<{PRIORITIES.get(event['level'], 6)}>"
        return "\n".join(mark + line for line in str(renderer(logger, method, event)).splitlines())

    return render


class Enduring:
    """A stream that may break: the disk is full for a while, or whoever read the log has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # For good: else Python would fail at the end, when it flushes what is left.
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except (OSError, ValueError):  # ValueError: it is closed
            pass

    def flush(self) -> None:
        """Nothing is left to do after a write."""


class Forwarding(logging.Handler):
    """Gives what libraries log the form of our own lines, and hides the token in it."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.spoke",
            library=record.name,
            said=_said(record),
            exc_info=record.exc_info,
        )


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  a mistake in a library's line must not end what it does
        return str(record.msg)


def masking(token: str, *, numbers: bool = True) -> structlog.typing.Processor:
    """
    Return a processor that hides the token wherever it stands in a line, and numbers in part.

    No line of ours has a number in it, but the errors of others may.
    """

    def hide(text: str) -> str:
        hidden = text.replace(token, "***") if token else text
        return NUMBER.sub(_masked_number, hidden) if numbers else hidden

    def mask(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for key, value in event.items():
            event[key] = masked(value, hide)
        return event

    return mask


def _masked_number(match: re.Match[str]) -> str:
    """Show the country, and enough of the end to tell one number from another."""
    number = match[0]
    return f"{number[:5]}***{number[-4:]}" if len(number) > 11 else f"{number[:3]}***{number[-2:]}"


def masked(value: Any, hide: Callable[[str], str]) -> Any:
    """Return `value` with its texts hidden, at any depth; what else has one becomes its text."""
    match value:
        case str():
            return hide(value)
        case dict():
            return {key: masked(inner, hide) for key, inner in value.items()}
        case list() | tuple():
            return [masked(inner, hide) for inner in value]
        case bool() | int() | float() | None:
            return value
    shown = repr(value)
    return value if hide(shown) == shown else hide(shown)


class Trouble:
    """
    What goes wrong again and again in a thread that must not end for it: logged once.

    So a full disk is one line, not one every ten seconds. What is no error of ours is a mistake in
    the program, and comes with its traceback.
    """

    def __init__(self, event: str, **facts: object) -> None:
        self._event = event
        self._facts = facts
        self._said: str | None = None

    def met(self, exc: Exception) -> None:
        """Log it, unless it was the last that was logged and is not over."""
        if str(exc) != self._said:
            self._said = str(exc)
            ours = isinstance(exc, SemysyncError)
            structlog.get_logger("semysync").error(
                self._event, **self._facts, error=self._said, exc_info=None if ours else exc
            )

    def over(self) -> bool:
        """Note that it went well; return whether there was any trouble before."""
        was, self._said = self._said is not None, None
        return was


def silence() -> None:
    """Log nothing: for a command that says itself what it did."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[_drop])
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def _drop(_logger: Any, _method: str, _event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raise structlog.DropEvent
