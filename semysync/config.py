"""
The configuration: a TOML file made into a frozen `Config`.

`load` finds and reads the file. Every mistake is reported at once, each with its key, the value
and what was expected; an unknown key is a mistake, and the nearest known one is named. What a key
means is said once, in `config.example.toml`, which a test holds to the fields below. The token may
have been typed into any place: no message shows what stands where a token might.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

import msgspec

from semysync.contact import is_region
from semysync.errors import ConfigError
from semysync.follow.settings import Hook, Http, hook_mistakes, http_mistakes, wrong_secrets
from semysync.mirror.alarms import Limits
from semysync.mirror.times import Locale, zone_named

if TYPE_CHECKING:
    from semysync.mirror.replica import Litestream
    from semysync.mirror.replica import Replica as Place

Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 24 * 3600)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Limit = Annotated[int, msgspec.Meta(ge=0)]  # 0 is none
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
PurgeDays = Annotated[int, msgspec.Meta(ge=3)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=50)]
DeviceChoice = Annotated[int, msgspec.Meta(ge=1)] | str | list[int]
History = Literal["all", "none"] | date
HISTORIES = date(1970, 1, 1), date(2099, 12, 31)  # what dates a history may begin with
HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"
SYSTEM_CONFIG = Path("/etc/semysync/config.toml")


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service is; the token itself is looked for by `Config.token`."""

    token: str | None = None
    token_file: str | None = None
    base_url: str = "https://semysms.net/api/3/"
    timeout_s: Seconds = 30
    requests_per_minute: Positive = 60
    timezone: str = "auto"
    phone_timezone: str = "auto"

    def __repr__(self) -> str:
        return f"<Api at {self.base_url}>"


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mirror is."""

    path: str | None = None
    events_days: Positive = 90


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """How often to ask, how far back, and for what at a time."""

    inbox_s: Seconds = 10
    sent_s: Seconds = 20
    devices_s: Seconds = 60
    account_s: Seconds = 3600
    verify_days: Positive = 3
    history: History = "all"
    lookback_s: Seconds = 600
    scope: Literal["auto", "account", "device"] = "auto"


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """How drafts are sent."""

    enabled: bool = True
    device: DeviceChoice = "auto"
    lifetime_s: Seconds = 86_400
    batch: Batch = 25
    per_minute: Limit = 0
    quiet_hours: str | None = None
    lost_answer: Literal["resend", "hold"] = "resend"
    settle_s: Seconds = 300
    max_attempts: Positive = 12


class Purge(msgspec.Struct, frozen=True, kw_only=True):
    """What may be deleted at the service."""

    enabled: bool = False
    every_s: Seconds = 3600
    inbox_days: PurgeDays = 30
    sent_days: PurgeDays = 30
    max_per_pass: Positive = 500
    keep: list[str] = []
    needs_copy: Literal["auto", "no"] = "auto"


class Devices(msgspec.Struct, frozen=True, kw_only=True):
    """When a phone is worth an event."""

    offline_s: Seconds = 3600
    battery_low: Percent = 15


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """Where copies go, and how many are kept."""

    path: str | None = None
    keep: Positive = 7


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """Where Litestream keeps a replica of the mirror, and how to ask it."""

    url: str | None = None
    options: dict[str, str | int | bool] = {}
    socket: str | None = None
    program: str = "litestream"

    def __repr__(self) -> str:
        return "<Replica>"  # its URL may hold a password

    def place(self) -> "Place | None":
        """Return the replica; None where none is configured."""
        from semysync.mirror.replica import Replica as Place  # noqa: PLC0415  slow to import

        return Place(self.url, self.options, self.program) if self.url else None

    def litestream(self) -> "Litestream | None":
        """Return the Litestream at work; None where its socket is not configured."""
        from semysync.mirror.replica import Litestream  # noqa: PLC0415  slow to import

        return Litestream(Path(self.socket)) if self.socket else None


class Contacts(msgspec.Struct, frozen=True, kw_only=True):
    """How numbers are read."""

    region: str | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """How to log."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    numbers: Literal["masked", "full"] = "masked"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `source` is the file it was read from, None for the defaults alone."""

    api: Api = Api()
    database: Database = Database()
    pull: Pull = Pull()
    send: Send = Send()
    contacts: Contacts = Contacts()
    purge: Purge = Purge()
    devices: Devices = Devices()
    backup: Backup = Backup()
    replica: Replica = Replica()
    http: Http = Http()
    hook: tuple[Hook, ...] = ()
    log: Log = Log()
    source: Path | None = None

    def token(self, environ: Mapping[str, str] = os.environ) -> str:
        """
        Find the token, for commands that call the service.

        Raises `ConfigError` where there is none, or it can't be read.
        """
        if self.api.token:
            return _checked_token(self.api.token, "`token` in [api]")
        if self.api.token_file:
            # Who takes `token_file` for `token` has put the token itself here.
            shown = self.api.token_file if "/" in self.api.token_file else "***"
            return _token_in(self._path(self.api.token_file), f"{shown}, `token_file` in [api]")
        if token := environ.get("SEMYSYNC_TOKEN"):
            return _checked_token(token, "$SEMYSYNC_TOKEN")
        credential = Path(environ.get("CREDENTIALS_DIRECTORY", "/"), "token")
        if "CREDENTIALS_DIRECTORY" in environ and os.path.exists(credential):  # noqa: PTH110
            return _token_in(credential, f"the credential {credential}")
        raise ConfigError(
            "no token: `semysync init` asks for it; or set `token_file` in [api], or "
            "$SEMYSYNC_TOKEN; the service shows it in its control panel under /myprofile/usertoken"
        )

    def mirror(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return the path of the mirror: as configured, else where such files belong."""
        if self.database.path:
            return self._path(self.database.path)
        if self.source and self.source.parent == SYSTEM_CONFIG.parent:
            name = "" if self.source == SYSTEM_CONFIG else self.source.stem
            return Path("/var/lib/semysync", name, "semysync.db")
        return _home(environ, "XDG_DATA_HOME", ".local/share") / "semysync" / "semysync.db"

    def copies(self) -> Path | None:
        """Return the folder for copies of the mirror; None where none is configured."""
        return self._path(self.backup.path) if self.backup.path else None

    def limits(self) -> Limits:
        """Return when a phone is worth an event."""
        return Limits(self.devices.offline_s, self.devices.battery_low)

    def webhook_secrets(self) -> list[str]:
        """
        Return the secrets that stand in the addresses of webhooks; none where there are none.

        Raises `ConfigError` where their file can't be read, or holds what can be none.
        """
        if not self.http.webhook_secrets_file:
            return self.http.webhook_secrets
        path = self._path(self.http.webhook_secrets_file)
        try:
            secrets = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            raise ConfigError(f"cannot read the secrets of webhooks from {path}: {why}") from None
        if why := wrong_secrets(secrets) or (None if secrets else "one secret a line"):
            raise ConfigError(f"{path}, `webhook_secrets_file` in [http]: expected {why}")
        return secrets

    def locale(self) -> Locale:
        """Return what there is to know of zones and numbers for writing the mirror."""
        return Locale(
            region=self.contacts.region,
            timezone=self.api.timezone,
            phone_timezone=self.api.phone_timezone,
        )

    def _path(self, text: str) -> Path:
        """Resolve a path in the file: what is not absolute begins where the file is."""
        return (self.source.parent if self.source else Path()) / os.path.expanduser(text)  # noqa: PTH111  never raises


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Read the configuration: the file named, else the first of the usual ones, else the defaults.

    Raises `ConfigError` with all mistakes, one a line.
    """
    source = path or next(_usual(environ), None)
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
    mistakes += _paths(sections)
    mistakes += _contradictions(sections["api"])
    mistakes += _places(sections["api"], sections["contacts"])
    mistakes += _sending(sections["send"])
    mistakes += _replica(sections["replica"])
    mistakes += http_mistakes(sections["http"])
    if mistakes:
        raise ConfigError("\n".join([f"{source} has mistakes:", *(f"  {m}" for m in mistakes)]))
    return Config(**sections, source=source.absolute())


def _paths(sections: Mapping[str, Any]) -> Iterator[str]:
    """Name the paths that no file can have."""
    for name, key in (
        ("api", "token_file"),
        ("database", "path"),
        ("backup", "path"),
        ("replica", "socket"),
        ("http", "webhook_secrets_file"),
    ):
        path = getattr(sections[name], key)
        if path and ("\0" in path or (path[0] == "~" and os.path.expanduser(path) == path)):  # noqa: PTH111
            yield f"[{name}] {key} = {_shown(key, path)}: expected a path; no file can have this one"


def _places(api: Api, contacts: Contacts) -> Iterator[str]:
    """Name the zones and the region that do not exist."""
    for key in ("timezone", "phone_timezone"):
        zone = getattr(api, key)
        try:
            if zone != "auto":
                zone_named(zone)
        except ValueError:
            yield (
                f"[api] {key} = {zone!r}: expected `auto`, a name such as Europe/Berlin, "
                "or an offset such as +03:00"
            )
    if contacts.region and not is_region(contacts.region):
        yield (
            f"[contacts] region = {contacts.region!r}: expected the two capital letters of a "
            "country, such as RU or GB"
        )


def _sending(send: Send) -> Iterator[str]:
    """Name what is wrong with quiet hours and devices."""
    if isinstance(send.device, str) and send.device not in {"auto", "active"}:
        yield (
            f"[send] device = {send.device!r}: expected `auto`, `active`, a device's id, "
            "or a list of ids"
        )
    if send.quiet_hours:
        hours, _, zone = send.quiet_hours.partition(" ")
        times = re.fullmatch(f"{HOUR}-{HOUR}", hours)
        try:
            zone_named(zone)
        except ValueError:
            times = None
        if not times:
            yield (
                f"[send] quiet_hours = {send.quiet_hours!r}: expected hours and a zone, such as "
                '"22:00-08:00 Europe/Moscow"'
            )


def _replica(replica: Replica) -> Iterator[str]:
    """Name what is wrong with the place of a replica."""
    if replica.url and not _is_place(replica.url):
        yield (
            "[replica] url: expected where Litestream keeps the replica, such as "
            "file:///mnt/replicas/one, sftp://user@host:22/replicas/one or s3://bucket/one"
        )
    if named := sorted({"url", "type", "path", "bucket", "host"} & set(replica.options)):
        yield f"[replica] options: `{named[0]}` belongs into `url`"


def _is_place(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return bool(url.scheme and (url.netloc or url.path.startswith("/"))) and text.isprintable()


def _hooks(raw: Any, mistakes: list[str]) -> tuple[Hook, ...]:
    """Read the hooks, each a section of its own: it has a name, events, and one thing to do."""
    if not isinstance(raw, list):
        mistakes.append("hook: expected sections in double brackets, [[hook]]")
        return ()
    hooks: list[Hook] = []
    for number, section in enumerate(raw, 1):
        found = len(mistakes)
        hook = _section("hook", Hook, section, mistakes, shown=f"[[hook]] {number}")
        hooks.append(hook)
        if len(mistakes) > found:
            continue
        mistakes += (f"[[hook]] {number}{said}" for said in hook_mistakes(hook, hooks[:-1]))
    return tuple(hooks)


def usual_place(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a user's configuration belongs."""
    if named := environ.get("SEMYSYNC_CONFIG"):
        return Path(named)
    return _home(environ, "XDG_CONFIG_HOME", ".config") / "semysync" / "config.toml"


def _usual(environ: Mapping[str, str]) -> Iterator[Path]:
    if named := environ.get("SEMYSYNC_CONFIG"):
        yield Path(named)
        return
    ours = usual_place(environ)
    # A folder that may not be entered is somebody else's: `Path.exists` would raise for it.
    yield from (path for path in (ours, SYSTEM_CONFIG) if os.path.exists(path))  # noqa: PTH110


def _home(environ: Mapping[str, str], variable: str, below: str) -> Path:
    if named := environ.get(variable):
        return Path(named)
    return Path(environ.get("HOME") or os.path.expanduser("~"), below)  # noqa: PTH111  never raises


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


def _section(name: str, kind: Any, raw: Any, mistakes: list[str], shown: str = "") -> Any:
    """Convert a section key by key, so that each mistake is seen; it is `shown` as it stands."""
    shown = shown or f"[{name}]"
    if not isinstance(raw, dict):
        mistakes.append(f"{name}: expected a section {shown}")
        return kind()
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    values = {}
    for key, value in raw.items():
        if key not in known:
            mistakes.append(f"{shown} {_named(key)}: there is no such key{_nearest(key, known)}")
            continue
        try:
            values[key] = _converted(value, known[key].type)
        except ValueError:
            expected = _expected(known[key].type)
            mistakes.append(f"{shown} {key} = {_shown(key, value)}: expected {expected}")
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
        case msgspec.inspect.UnionType():
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


def _shown(key: str, value: object) -> str:
    """Show a value as it was written, unless it may be a secret."""
    if "token" in key or "secret" in key or key in {"url", "options", "notify", "run"}:
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float | list | dict) else str(value)


def _contradictions(api: Api) -> list[str]:
    """Find what is wrong with values that are well-formed, each by itself."""
    mistakes = []
    if api.token and api.token_file:
        mistakes.append("[api] token and token_file: keep one of them")
    try:
        url = urlsplit(api.base_url)
        complete = url.scheme in {"http", "https"} and _is_host(url.hostname) and url.port != 0
        if re.search(r"[\x00-\x20\x7f]", api.base_url):
            raise ValueError  # noqa: TRY301
    except ValueError:  # a port that is none, half an IPv6 address
        mistakes.append(f"[api] base_url: expected an address such as {Api().base_url}")
        return mistakes
    shown = "[api] base_url"
    if url.hostname:  # else it may be the token
        shown += f" = '{url.scheme}://{url.hostname}{url.path}'"
    if url.username or url.password or url.query or url.fragment:
        mistakes.append(f"{shown}: expected an address alone, without a name, `?` or `#`")
    elif not complete:
        mistakes.append(f"{shown}: expected an address such as {Api().base_url}")
    elif url.scheme == "http" and not _is_loopback(url):
        mistakes.append(f"{shown}: expected https, since the token goes there")
    return mistakes


def _is_host(name: str | None) -> bool:
    if not name or re.search(r"[\s%/\\]|\.\.|^[-.]", name):
        return False
    return all(len(label) < 64 for label in name.split(".")) and len(name) < 254


def _is_loopback(url: SplitResult) -> bool:
    try:
        return ip_address(url.hostname or "").is_loopback
    except ValueError:
        return url.hostname == "localhost"


def _token_in(path: Path, shown: str) -> str:
    try:
        token = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot read the token from {shown}: {exc.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    return _checked_token(token, shown)


def _checked_token(text: str, where: str) -> str:
    """Return the token without the blanks around it. Raises `ConfigError` where it can be none."""
    token = text.strip()
    if not token or not token.isascii() or len(token.split()) > 1:
        raise ConfigError(
            f"{where} holds no token: expected one word, as the service shows it in its control "
            "panel under /myprofile/usertoken"
        )
    return token
