"""
The configuration: a TOML file made into a frozen `Config`.

`load` finds and reads the file. Every mistake is reported at once, each with its key, the value
and what was expected; an unknown key is a mistake, and the nearest known one is named. What a key
means is said once, in `config.example.toml`, which a test holds to the fields below.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from semysync.errors import ConfigError

Seconds = Annotated[int, msgspec.Meta(ge=1)]
SYSTEM_CONFIG = Path("/etc/semysync/config.toml")


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service is; the token itself is looked for by `Config.token`."""

    token: str | None = None
    token_file: str | None = None
    base_url: str = "https://semysms.net/api/3/"
    timeout_s: Seconds = 30

    def __repr__(self) -> str:
        return f"<Api at {self.base_url}>"


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mirror is."""

    path: str | None = None


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """How often to ask, how far back, and for what at a time."""

    inbox_s: Seconds = 10
    sent_s: Seconds = 20
    devices_s: Seconds = 60
    history: Literal["all", "none"] | date = "all"
    lookback_s: Seconds = 600
    scope: Literal["auto", "account", "device"] = "auto"


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """How to log."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `source` is the file it was read from, None for the defaults alone."""

    api: Api = Api()
    database: Database = Database()
    pull: Pull = Pull()
    log: Log = Log()
    source: Path | None = None

    def token(self, environ: Mapping[str, str] = os.environ) -> str:
        """
        Find the token, for commands that call the service.

        Raises `ConfigError` where there is none, more than one in the file, or it can't be read.
        """
        if self.api.token and self.api.token_file:
            raise ConfigError("[api] has both `token` and `token_file`: keep one of them")
        if self.api.token:
            return self.api.token.strip()
        if self.api.token_file:
            return _read_token(Path(self.api.token_file).expanduser())
        if token := environ.get("SEMYSYNC_TOKEN", "").strip():
            return token
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        if credentials and (Path(credentials) / "token").exists():
            return _read_token(Path(credentials) / "token")
        raise ConfigError(
            "no token: set `token_file` in [api], or $SEMYSYNC_TOKEN; the service shows it in its "
            "control panel under /myprofile/usertoken"
        )

    def mirror(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return the path of the mirror: as configured, else where such files belong."""
        if self.database.path:
            return Path(self.database.path).expanduser()
        if self.source and self.source.parent == SYSTEM_CONFIG.parent:
            name = "" if self.source == SYSTEM_CONFIG else self.source.stem
            return Path("/var/lib/semysync", name, "semysync.db")
        home = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME", "~"), ".local/share")
        return Path(home, "semysync", "semysync.db").expanduser()


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Read the configuration: the file named, else the first of the usual ones, else the defaults.

    Raises `ConfigError` with all mistakes, one a line.
    """
    source = path or next(_usual(environ), None)
    if source is None:
        return Config()
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read the configuration {source}: {exc.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{source} is no TOML: {exc}") from None
    mistakes: list[str] = []
    sections = {
        field.name: _section(field.name, field.type, raw.pop(field.name, {}), mistakes)
        for field in msgspec.structs.fields(Config)
        if field.name != "source"
    }
    mistakes += [
        f"[{name}]: there is no such section{_nearest(name, sections)}"
        if isinstance(value, dict)
        else f"{name} = {_shown(name, value)}: a key belongs into a section, such as [pull]"
        for name, value in raw.items()
    ]
    if not mistakes:
        mistakes += _unsafe(sections["api"])
    if mistakes:
        raise ConfigError("\n".join([f"{source} has mistakes:", *(f"  {m}" for m in mistakes)]))
    return Config(**sections, source=source)


def _usual(environ: Mapping[str, str]) -> Iterator[Path]:
    if named := environ.get("SEMYSYNC_CONFIG"):
        yield Path(named)
        return
    home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~"), ".config")
    candidates = (Path(home, "semysync", "config.toml").expanduser(), SYSTEM_CONFIG)
    yield from (path for path in candidates if path.exists())


def _section(name: str, kind: Any, raw: Any, mistakes: list[str]) -> Any:
    """Convert a section key by key, so that each mistake is seen."""
    if not isinstance(raw, dict):
        mistakes.append(f"{name}: expected a section [{name}]")
        return kind()
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    values = {}
    for key, value in raw.items():
        if key not in known:
            mistakes.append(f"[{name}] {key}: there is no such key{_nearest(key, known)}")
            continue
        try:
            values[key] = msgspec.convert(value, known[key].type)
        except msgspec.ValidationError as exc:
            mistakes.append(f"[{name}] {key} = {_shown(key, value)}: {_expectation(key, exc)}")
    return kind(**values)


def _expectation(key: str, exc: msgspec.ValidationError) -> str:
    if key == "history":
        return 'expected "all", "none" or a date such as 2026-01-31, without quotes'
    said = str(exc)
    return said[:1].lower() + said[1:]


def _nearest(word: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{nearest[0]}`?" if nearest else f"; known are {', '.join(known)}"


def _shown(key: str, value: object) -> str:
    """Show a value as it was written, unless it may be a secret."""
    return "***" if "token" in key or "secret" in key else repr(value)


def _unsafe(api: Api) -> list[str]:
    """The token goes to this address: it must be a safe one."""
    url = urlsplit(api.base_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        return [f"[api] base_url = {api.base_url!r}: expected an address such as {Api().base_url}"]
    if url.scheme == "http" and not _is_loopback(url.hostname):
        return [f"[api] base_url = {api.base_url!r}: expected https, since the token goes there"]
    return []


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read the token from {path}: {exc}") from None
    if not token:
        raise ConfigError(f"{path} holds no token")
    return token
