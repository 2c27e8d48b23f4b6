"""
Find the file, read it, and make it a `Config`.

Every mistake is reported at once, each with its key, the value and what was expected; an unknown
key is a mistake, and the nearest known one is named.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from semysync.config.hooks import Hook, hook_mistakes
from semysync.config.mistakes import mistakes_in, shown
from semysync.config.sections import (
    SYSTEM_CONFIG,
    Config,
    DeviceChoice,
    History,
    Seconds,
    usual_place,
)
from semysync.errors import ConfigError

HISTORIES = date(1970, 1, 1), date(2099, 12, 31)  # what dates a history may begin with


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Read the configuration: the file named, else the first of the usual ones, else the defaults.

    Raises `ConfigError` with all mistakes, one a line.
    """
    source = find(path, environ)
    if source is None:
        return Config()
    raw = _toml(source)
    mistakes: list[str] = []
    sections = {
        field.name: _section(field.name, field.type, raw.pop(field.name, {}), mistakes)
        for field in msgspec.structs.fields(Config)
        if field.name not in {"source", "hook"}
    }
    sections["hook"] = _hooks(raw.pop("hook", []), mistakes)
    mistakes += [
        f"[{_named(name)}]: there is no such section{_nearest(name, sections)}"
        if isinstance(value, dict)
        else f"{_named(name)}: a key belongs into a section, such as [pull]"
        for name, value in raw.items()
    ]
    mistakes += mistakes_in(sections)
    if mistakes:
        raise ConfigError("\n".join([f"{source} has mistakes:", *(f"  {m}" for m in mistakes)]))
    # This section is handed on as a whole, to what does not know of the file.
    sections["replica"] = sections["replica"].seen_from(source.absolute().parent)
    return Config(**sections, source=source.absolute())


def find(path: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file named, else the first of the usual ones; None where there is none."""
    return path or next(_usual(environ), None)


def _hooks(raw: Any, mistakes: list[str]) -> tuple[Hook, ...]:
    """Read the hooks, each a section of its own: it has a name, events, and one thing to do."""
    if not isinstance(raw, list):
        mistakes.append("hook: expected sections in double brackets, [[hook]]")
        return ()
    hooks: list[Hook] = []
    for number, section in enumerate(raw, 1):
        found = len(mistakes)
        hook = _section("hook", Hook, section, mistakes, titled=f"[[hook]] {number}")
        hooks.append(hook)
        if len(mistakes) > found:
            continue
        mistakes += (f"[[hook]] {number}{said}" for said in hook_mistakes(hook, hooks[:-1]))
    return tuple(hooks)


def _usual(environ: Mapping[str, str]) -> Iterator[Path]:
    if named := environ.get("SEMYSYNC_CONFIG"):
        yield Path(named)
        return
    ours = usual_place(environ)
    # A folder that may not be entered is somebody else's.
    yield from (
        path
        for path in (ours, SYSTEM_CONFIG)
        if os.path.exists(path)  # noqa: PTH110  `Path.exists` would raise for it
    )


def _toml(source: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read the configuration {source}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source} is no TOML: its text is not UTF-8") from None
    except (ValueError, RecursionError) as exc:  # also numbers and lists beyond all measure
        where = re.search(r"\(at [^()]*\)$", str(exc))  # the rest may show what stands there
        raise ConfigError(
            f"{source} is no TOML: there is a mistake {where[0] if where else 'in it'}; "
            'texts need quotes, as in key = "text"'
        ) from None


def _section(name: str, kind: Any, raw: Any, mistakes: list[str], titled: str = "") -> Any:
    """Convert a section key by key, so that each mistake is seen; it is `titled` as it stands."""
    title = titled or f"[{name}]"
    if not isinstance(raw, dict):
        mistakes.append(f"{name}: expected a section {title}")
        return kind()
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    values = {}
    for key, value in raw.items():
        if key not in known:
            mistakes.append(f"{title} {_named(key)}: there is no such key{_nearest(key, known)}")
            continue
        try:
            values[key] = _converted(value, known[key].type)
        except ValueError:
            expected = _expected(known[key].type)
            mistakes.append(f"{title} {key} = {shown(key, value)}: expected {expected}")
    return kind(**values)


def _converted(value: Any, kind: Any) -> Any:
    """Check a value. Raises `ValueError`, of which msgspec's errors are a kind."""
    if kind != History:
        return msgspec.convert(value, kind)
    if value in ("all", "none"):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        earliest, latest = HISTORIES
        if earliest <= value <= latest:
            return value
    raise ValueError


def _expected(kind: Any) -> str:
    if kind == History:
        return '"all", "none" or a date such as 2026-01-31'
    if kind == Seconds:
        return "a whole number of seconds, at least 1 and at most a year"
    if kind == DeviceChoice:
        return "`auto`, `active`, a device's id, or a list of ids"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(kind))
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.IntType(ge=lowest, le=highest):
            most = "" if highest is None else f" and at most {highest}"
            return f"a whole number, at least {lowest}{most}"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.ListType():
            return "a list of texts in quotes"
        case msgspec.inspect.UnionType(includes_none=False):
            return 'true, false or "auto"'
        case msgspec.inspect.DictType():
            return 'texts by name, such as { contact = "+79201234567" }'
    return "a text in quotes"


def _named(name: str) -> str:
    """Show a name that is none of ours, unless it may be a secret without its `key =`."""
    return name if re.fullmatch(r"[A-Za-z_.-]{1,24}", name) else "***"


def _nearest(word: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{nearest[0]}`?" if nearest else f"; known are {', '.join(known)}"
