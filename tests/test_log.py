"""Log lines: their form, and what never stands in them."""

import io
import json
import logging
import os
import subprocess
import sys

import pytest
import structlog

from semysync import log
from semysync.config import Log
from semysync.errors import MirrorBusy

SECRET = "0123456789abcdef-secret"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _as_before():
    """Logging is the whole process's: put it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log.QUIET}
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


@pytest.fixture
def logged():
    """Set logging up, let something log, and return what was written."""

    def logged(write, config=None, stream=None):
        stream = stream or io.StringIO()
        log.set_up(config or Log(), token=SECRET, stream=stream)
        write(structlog.get_logger("semysync"))
        return stream.getvalue()

    return logged


def fail():
    text = "a text of a message"  # noqa: F841  a variable that a traceback could show
    raise ValueError(f"it went wrong with {SECRET}")


def log_failure(logger):
    try:
        fail()
    except ValueError:
        logger.exception("pass.broke", kind="inbox")


def test_elsewhere_than_on_a_terminal_each_line_is_json(logged):
    line = logged(lambda logger: logger.info("pass.finished", kind="inbox", added=3))

    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "pass.finished", "level": "info", "kind": "inbox", "added": 3}


def test_on_a_terminal_a_line_is_for_a_person(logged, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    line = logged(lambda logger: logger.info("pass.finished", kind="inbox"), stream=Terminal())

    assert line.split(maxsplit=1)[1] == "[info     ] pass.finished kind=inbox\n"


def test_colours_are_for_terminals_that_want_them(logged, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)

    def write(logger):
        logger.info("pass.finished")

    assert "\x1b[" in logged(write, stream=Terminal())
    assert "\x1b[" not in logged(write, Log(format="console"))


@pytest.mark.parametrize(("form", "stream"), [("json", Terminal), ("console", io.StringIO)])
def test_the_form_can_be_chosen(logged, form, stream):
    line = logged(lambda logger: logger.info("x.done"), Log(format=form), stream())

    assert line.startswith("{") == (form == "json")


def test_lines_below_the_level_are_left_out(logged):
    def write(logger):
        logger.info("pass.finished")
        logger.warning("pass.odd")

    assert "finished" not in logged(write, Log(level="warning"))


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_neither_the_token_nor_the_values_of_variables(logged, form):
    shown = logged(log_failure, Log(format=form))

    assert "Traceback" in shown
    assert "ValueError: it went wrong with ***" in shown
    assert SECRET not in shown
    assert "a text of a message" not in shown.replace('text = "a text of a message"', "").replace(
        'text = \\"a text of a message\\"', ""
    )


@pytest.mark.parametrize(
    "value",
    [SECRET, f"x{SECRET}y", [SECRET], {"a": (SECRET,)}, ValueError(SECRET), SECRET.encode()],
)
@pytest.mark.parametrize("form", ["console", "json"])
def test_the_token_is_masked_wherever_it_stands(logged, form, value):
    shown = logged(lambda logger: logger.info("x.done", fact=value), Log(format=form))

    assert "***" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("form", ["console", "json"])
def test_warnings_of_libraries_come_in_our_form_without_the_token(logged, form):
    def write(_logger):
        logging.getLogger("some.library").warning("about %s", SECRET)
        logging.getLogger("some.library").info("nothing to tell")

    shown = logged(write, Log(format=form))

    assert shown.count("\n") == 1
    assert "library.spoke" in shown
    assert "about ***" in shown


def test_libraries_that_repeat_what_we_know_are_quiet(logged):
    def write(_logger):
        for name in ("httpx", "httpcore.connection", "apscheduler.scheduler"):
            logging.getLogger(name).warning("nothing new")

    assert logged(write) == ""


def test_a_full_disk_stops_nothing(logged):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    logged(lambda logger: logger.info("x.done"), stream=Full())


def test_trouble_is_logged_once_until_it_is_over_or_another_comes(logged):
    def act(_):
        trouble = log.Trouble("hook.stands_still", hook="tell")
        for exc in (
            MirrorBusy("full"),
            MirrorBusy("full"),
            MirrorBusy("locked"),
            None,
            ValueError(),
        ):
            if exc:
                trouble.met(exc)
            else:
                assert trouble.over()
        trouble.met(ValueError())
        assert trouble.over()
        assert not trouble.over()

    lines = [json.loads(line) for line in logged(act).splitlines()]

    assert [line["error"] for line in lines] == ["full", "locked", ""]
    assert {line["hook"] for line in lines} == {"tell"}
    assert [("exception" in line) for line in lines] == [False, False, True]


def test_silence_is_silent():
    code = (
        "import logging, structlog; from semysync import log; log.silence();"
        "structlog.get_logger('semysync').error('x.failed');"
        "logging.getLogger('library').error('it failed')"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert ended.stdout + ended.stderr == b""


@pytest.mark.parametrize(
    ("numbers", "shown"), [("masked", "to +7920***4567, 900"), ("full", "to +79201234567, 900")]
)
def test_numbers_in_the_words_of_others_are_masked_unless_told(numbers, shown):
    stream = io.StringIO()
    log.set_up(Log(format="json", numbers=numbers), stream=stream)

    structlog.get_logger().error(
        "x", error="to +79201234567, 900", deep=[{"a": ValueError("+79201234567")}]
    )

    line = json.loads(stream.getvalue())
    assert line["error"] == shown
    assert ("+79201234567" in stream.getvalue()) == (numbers == "full")


@pytest.mark.parametrize(
    "number",
    ["+12345678", "79201234567", "89201234567", "+7 920 123-45-67", "+7 (920) 1234567"],
)
def test_a_number_is_masked_however_it_is_written(logged, number):
    shown = logged(lambda logger: logger.error("x", error=f"no {number}."))

    assert "***" in shown
    assert number not in shown


@pytest.mark.parametrize("other", ["1337654321", "2026-11-23T09:41:13.657724Z", "127.0.0.1:54321"])
def test_what_is_no_number_of_a_person_is_shown(logged, other):
    assert other in logged(lambda logger: logger.error("x", error=f"no {other} there"))


def test_a_library_that_fails_to_write_its_line_goes_on(logged):
    shown = logged(lambda _: logging.getLogger("some.library").warning("%d", "a"))

    assert "%d" in shown


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """A stream that is named as the journal is for a unit of systemd."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        yield stream


def in_journal(journal, write, config=None):
    log.set_up(config or Log(), token=SECRET, stream=journal)
    write(structlog.get_logger("semysync"))
    journal.seek(0)
    return journal.read()


def test_in_the_journal_a_line_has_its_level_and_no_time_of_its_own(journal):
    def write(logger):
        logger.info("pass.finished", added=3)
        logger.warning("pass.odd")
        logger.error("pass.failed", error="no answer came")

    assert in_journal(journal, write).splitlines() == [
        "<6>[info     ] pass.finished added=3",
        "<4>[warning  ] pass.odd",
        "<3>[error    ] pass.failed error='no answer came'",
    ]


def test_in_the_journal_each_line_of_a_traceback_has_its_level(journal):
    lines = in_journal(journal, log_failure).splitlines()

    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)
    assert lines[-1].endswith("ValueError: it went wrong with ***")


def test_json_in_the_journal_has_its_level_and_its_time(journal):
    written = in_journal(journal, lambda logger: logger.warning("pass.odd"), Log(format="json"))

    assert written.startswith("<4>{")
    assert "timestamp" in json.loads(written[3:])


@pytest.mark.parametrize("named", ["", "1:2", "nonsense"])
def test_a_journal_that_standard_error_does_not_lead_to_is_not_meant(journal, monkeypatch, named):
    """The variable is inherited by programs whose output goes elsewhere."""
    monkeypatch.setenv("JOURNAL_STREAM", named)

    assert in_journal(journal, lambda logger: logger.info("x.done")).startswith("{")


def test_a_child_that_writes_into_the_journal_speaks_its_language(tmp_path):
    """The whole program, with standard error connected as systemd does it."""
    code = (
        "import os, sys; found = os.fstat(2);"
        "os.environ['JOURNAL_STREAM'] = f'{found.st_dev}:{found.st_ino}';"
        "from semysync import log; from semysync.config import Log; import structlog;"
        "log.set_up(Log()); structlog.get_logger('semysync').error('x.failed', cause='y')"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert ended.stderr == b"<3>[error    ] x.failed cause=y\n"
