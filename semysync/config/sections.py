"""
What each section of the configuration holds, with its defaults, and `Config`, which is all of them.

What a key means is said once, in `config.example.toml`, which a test holds to the fields below.
"""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from semysync.config.hooks import Hook
from semysync.config.listening import Http, wrong_secrets
from semysync.errors import ConfigError
from semysync.times import Locale

Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 24 * 3600)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Limit = Annotated[int, msgspec.Meta(ge=0)]  # 0 is none
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]  # farther back there may be no date
PurgeDays = Annotated[int, msgspec.Meta(ge=3, le=36_500)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=50)]
DeviceChoice = Annotated[int, msgspec.Meta(ge=1)] | str | list[int]
History = Literal["all", "none"] | date
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
    events_days: Days = 90


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """How often to ask, how far back, and for what at a time."""

    inbox_s: Seconds = 10
    sent_s: Seconds = 20
    devices_s: Seconds = 60
    account_s: Seconds = 3600
    verify_days: Days = 3
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

    def seen_from(self, folder: Path) -> "Replica":
        """Return it with paths that need no folder; a program's name alone is looked for in PATH."""
        socket = str(_resolved(folder, self.socket)) if self.socket else None
        program = str(_resolved(folder, self.program)) if "/" in self.program else self.program
        return msgspec.structs.replace(self, socket=socket, program=program)


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
            return checked_token(self.api.token, "`token` in [api]")
        if path := self.token_path():
            # Who takes `token_file` for `token` has put the token itself here.
            named = str(self.api.token_file)
            shown = named if "/" in named else "***"
            return _token_in(path, f"{shown}, `token_file` in [api]")
        if token := environ.get("SEMYSYNC_TOKEN"):
            return checked_token(token, "$SEMYSYNC_TOKEN")
        credential = Path(environ.get("CREDENTIALS_DIRECTORY", "/"), "token")
        if "CREDENTIALS_DIRECTORY" in environ and os.path.exists(credential):  # noqa: PTH110  never raises
            return _token_in(credential, f"the credential {credential}")
        raise ConfigError(
            "no token: `semysync init` asks for it; or set `token_file` in [api], or "
            "$SEMYSYNC_TOKEN; the service shows it in its control panel under /myprofile/usertoken"
        )

    def token_path(self) -> Path | None:
        """Return the file that the configuration names for the token; None where it names none."""
        return self._path(self.api.token_file) if self.api.token_file else None

    def mirror(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return the path of the mirror: as configured, else where such files belong."""
        if self.database.path:
            return self._path(self.database.path)
        if self.source and self.source.parent == SYSTEM_CONFIG.parent:
            name = "" if self.source == SYSTEM_CONFIG else self.source.stem
            return Path("/var/lib/semysync", name, "semysync.db")
        return home(environ, "XDG_DATA_HOME", ".local/share") / "semysync" / "semysync.db"

    def copies(self) -> Path | None:
        """Return the folder for copies of the mirror; None where none is configured."""
        return self._path(self.backup.path) if self.backup.path else None

    def webhook_secrets(self) -> list[str]:
        """
        Return the secrets that stand in the addresses of webhooks; none where there are none.

        Raises `ConfigError` where their file can't be read, or holds what can be none.
        """
        path = self.webhook_secrets_path()
        if path is None:
            return self.http.webhook_secrets
        try:
            secrets = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            raise ConfigError(f"cannot read the secrets of webhooks from {path}: {why}") from None
        if why := wrong_secrets(secrets) or (None if secrets else "one secret a line"):
            raise ConfigError(f"{path}, `webhook_secrets_file` in [http]: expected {why}")
        return secrets

    def webhook_secrets_path(self) -> Path | None:
        """Return the file that the configuration names for them; None where it names none."""
        file = self.http.webhook_secrets_file
        return self._path(file) if file else None

    def locale(self) -> Locale:
        """Return what there is to know of zones and numbers for writing the mirror."""
        return Locale(
            region=self.contacts.region,
            timezone=self.api.timezone,
            phone_timezone=self.api.phone_timezone,
        )

    def _path(self, text: str) -> Path:
        return _resolved(self.source.parent if self.source else Path(), text)


def _resolved(folder: Path, text: str) -> Path:
    """Resolve a path in the file: what is not absolute begins in the folder of the file."""
    return folder / os.path.expanduser(text)  # noqa: PTH111  never raises


def usual_place(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a user's configuration belongs."""
    if named := environ.get("SEMYSYNC_CONFIG"):
        return Path(named)
    return home(environ, "XDG_CONFIG_HOME", ".config") / "semysync" / "config.toml"


def home(environ: Mapping[str, str], variable: str, below: str) -> Path:
    """Return the folder that a variable of XDG names, or where it usually is."""
    if named := environ.get(variable):
        return Path(named)
    return Path(environ.get("HOME") or os.path.expanduser("~"), below)  # noqa: PTH111  never raises


def _token_in(path: Path, shown: str) -> str:
    try:
        token = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot read the token from {shown}: {exc.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    return checked_token(token, shown)


def checked_token(text: str, where: str) -> str:
    """Return the token without the blanks around it. Raises `ConfigError` where that is none."""
    token = text.strip()
    if not token or not token.isascii() or len(token.split()) > 1:
        raise ConfigError(
            f"{where} holds no token: expected one word, as the service shows it in its control "
            "panel under /myprofile/usertoken"
        )
    return token
