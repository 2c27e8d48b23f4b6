"""
Look at everything that `doctor` judges. Nothing is changed, and the service is asked one question.

What cannot be looked at is left out, or is itself what is found; nothing here raises for it.
"""

import grp
import os
import pwd
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from semysync.config import SYSTEM_CONFIG, Config
from semysync.doctor import checks
from semysync.doctor.checks import Asked, Check, Disk, File, Sqlite, State, Unit
from semysync.errors import (
    ConfigError,
    MirrorBusy,
    MirrorUnusable,
    Refused,
    ReplicaUnseen,
    SemysyncError,
    Throttled,
)
from semysync.mirror.access import files_of, obstacle, real
from semysync.mirror.copies.replica import litestream_of, must_be_whole, place_of
from semysync.mirror.copies.takeover import UNSEEN, taken_by
from semysync.mirror.file import OLDEST_SQLITE, explained, open_reader
from semysync.mirror.lock import Right, is_held
from semysync.mirror.reading.health import condition
from semysync.mirror.schema.comparing import differences, named
from semysync.mirror.tables.settings import find as setting
from semysync.service.client import Client
from semysync.times import zone_named

SYSTEMCTL_S = 10

Connect = Callable[[Config, str], Client]


def examined(
    settings: Config, mistakes: str, mirror: Path, connect: Connect
) -> Iterator[tuple[Check, bool]]:
    """
    Make every check; with each comes whether the service has refused the token.

    `mistakes` is what was wrong with the configuration; then `settings` are the defaults, and the
    mirror may be elsewhere.
    """
    secrets = (settings.api.token, settings.http.webhook_secrets)
    hooks = (hook.secret or hook.notify for hook in settings.hook)
    keys = settings.replica.options or "@" in (settings.replica.url or "")
    holds_secrets = any(secrets) or any(hooks) or keys
    file = _file(settings.source) if settings.source and holds_secrets else None
    yield from _of(checks.config(settings.source, mistakes, file))
    missing, token = _token(settings, mistakes)
    if not mistakes:
        asked = _asked(settings, token, connect)
        path = settings.token_path()
        file = _file(path) if path else None
        for check in checks.token(missing, file, asked):
            yield check, asked.refused
        yield from _of(checks.webhooks(*_webhook_secrets(settings)))
        yield from _of(checks.service(settings.api.base_url, asked))
        yield from _of(checks.clock(asked))
    yield from _of(checks.sqlite(_sqlite()))
    yield from _of(_mirror(settings, mirror, sure=not mistakes))


def _of(found: Iterator[Check]) -> Iterator[tuple[Check, bool]]:
    yield from ((check, False) for check in found)


def _mirror(settings: Config, mirror: Path, *, sure: bool) -> Iterator[Check]:
    place = real(mirror)
    unit = _unit(settings.source)
    folder = _file(place.parent)
    if folder:
        yield from checks.disk(_disk(place))
    if _is_absent(place):
        if sure:
            says = f"there is no mirror at {mirror} yet"
            fix = "`semysync sync`, or `semysync run`, makes it"
            yield Check("database", State.WRONG, says, fix)
        else:
            says = f"there is no mirror at {mirror}; the configuration may name another place"
            yield Check("database", State.NOTE, says, "correct the configuration first")
        yield from checks.daemon(unit, running=None)
        return
    yield from checks.access(obstacle(mirror, writing=True) or "")
    files = [file for path in files_of(place) if (file := _file(path))]
    if folder and files:
        yield from checks.permissions(folder, files)
        yield from checks.group(folder, _members(folder.group))
    running = is_held(mirror, Right.SENDER)
    try:
        with explained(mirror, reading=True), closing(open_reader(mirror)) as conn:
            whole = list(checks.database(*_whole(conn)))
            yield from whole
            with suppress(*[MirrorUnusable] if whole[0].state is State.WRONG else []):
                yield from _knowing(conn, settings, place, running=running)
    except SemysyncError as exc:
        what, _, fix = str(exc).partition(": ")
        yield Check(
            "database", State.NOTE if isinstance(exc, MirrorBusy) else State.WRONG, what, fix
        )
    yield from checks.daemon(unit, running=running)


def _is_absent(place: Path) -> bool:
    """Tell whether there surely is no such file; where we may not look there may be one."""
    try:
        place.stat()
    except OSError as exc:
        return isinstance(exc, FileNotFoundError | NotADirectoryError)
    return False


def _knowing(
    conn: sqlite3.Connection, settings: Config, mirror: Path, *, running: bool | None
) -> Iterator[Check]:
    now = datetime.now(UTC)
    found = condition(conn, now)
    learnt = setting(conn, "utc_offset")
    zone = settings.api.timezone
    says = None
    if zone != "auto" and (east := now.astimezone(zone_named(zone)).utcoffset()) is not None:
        says = int(east.total_seconds()) // 60
    yield from checks.zone(zone, says, int(learnt) if learnt else None)
    yield from checks.lag(found, running=running)
    yield from checks.copies(found, settings.copies(), now)
    yield from _replica(conn, settings, mirror, now)


def _replica(
    conn: sqlite3.Connection, settings: Config, mirror: Path, now: datetime
) -> Iterator[Check]:
    if litestream := litestream_of(settings.replica):
        error, last_sync_at = "", None
        try:
            last_sync_at = litestream.last_sync_at(mirror)
            if last_sync_at and (place := place_of(settings.replica)):
                must_be_whole(place, place.files())
        except ReplicaUnseen as exc:
            error = str(exc)
        yield from checks.replica(error, last_sync_at, now)
    if replica := place_of(settings.replica):
        drilled = conn.execute("select drilled_at, drill_error from health").fetchone()
        yield from checks.drill(drilled[0], drilled[1], now)
        try:
            if (mark := taken_by(conn, replica)) is not None:
                says = f"{mark.name} has taken over at {mark.at[:16].replace('T', ' ')}, and sends"
                fix = "stop this daemon for good, or let this machine take over from it"
                yield Check("takeover", State.WRONG, says, fix)
        except ReplicaUnseen as exc:
            yield Check("takeover", State.WRONG, UNSEEN, str(exc))


def _whole(conn: sqlite3.Connection) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return what is damaged, missing, lost and changed."""
    faults = [row[0] for row in conn.execute("pragma quick_check(5)") if row[0] != "ok"]
    found = differences(conn)
    return faults, [*map(named, found.missing)], [*found.lost], [*found.changed]


def _token(settings: Config, mistakes: str) -> tuple[str, str]:
    """Return what is wrong with the token, and the token."""
    if mistakes:
        return "", ""
    try:
        return "", settings.token()
    except ConfigError as exc:
        return str(exc), ""


def _webhook_secrets(settings: Config) -> tuple[str, File | None]:
    """Return what is wrong with the file of the webhooks' secrets, and the file."""
    path = settings.webhook_secrets_path()
    if path is None:
        return "", None
    try:
        settings.webhook_secrets()
    except ConfigError as exc:
        return str(exc), None
    return "", _file(path)


def _asked(settings: Config, token: str, connect: Connect) -> Asked:
    """Ask the service for the account: what needs a good token, and changes nothing."""
    if not token:
        return Asked()
    try:
        with connect(settings, token) as client:
            try:
                client.user()
            except SemysyncError as exc:
                # A pause that it asks for is an answer to us, and not about the token.
                refused = isinstance(exc, Refused) and not isinstance(exc, Throttled)
                return Asked(None, str(exc), refused, client.ahead_s())
            return Asked(accepted=True, ahead_s=client.ahead_s())
    except ConfigError as exc:
        return Asked(error=str(exc))


def _file(path: Path) -> File | None:
    try:
        found = path.stat()
    except OSError:
        return None
    owner, group = str(found.st_uid), str(found.st_gid)
    with suppress(KeyError):
        owner = pwd.getpwuid(found.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    return File(path, found.st_mode, owner, group)


def _members(group: str) -> list[str]:
    with suppress(KeyError):
        entry = grp.getgrnam(group)
        own = [user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid]
        return sorted({*entry.gr_mem, *own})
    return []


def _disk(mirror: Path) -> Disk:
    folder = mirror.parent
    found = os.statvfs(folder)
    size = 0
    for file in files_of(mirror):
        with suppress(OSError):  # it may not be there, and we may not look
            size += file.stat().st_size
    free_files = found.f_favail if found.f_files else None  # some kinds have no such limit
    return Disk(shutil.disk_usage(folder).free, free_files, _kind(folder), size)


def _kind(folder: Path) -> str:
    """Return of what kind the file system of a folder is, as Linux calls it."""
    kind, longest = "", -1
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, place, this, *_ = line.split(" ")
            place = place.replace("\\040", " ")
            if folder.is_relative_to(place) and len(place) >= longest:
                kind, longest = this, len(place)
    return kind


def _sqlite() -> Sqlite:
    with closing(sqlite3.connect(":memory:")) as conn:
        options = {row[0] for row in conn.execute("pragma compile_options")}
    return Sqlite(sqlite3.sqlite_version_info, OLDEST_SQLITE, "ENABLE_FTS5" in options)


def _unit(source: Path | None) -> Unit | None:
    """Ask systemd for the unit of a configuration; None where no systemd runs."""
    name = "semysync.service"
    if source and source.parent == SYSTEM_CONFIG.parent and source != SYSTEM_CONFIG:
        name = f"semysync@{source.stem}.service"
    command = shutil.which("systemctl")
    if command is None:
        return None
    wanted = "LoadState,UnitFileState,ActiveState,Result"
    try:
        ended = subprocess.run(  # noqa: S603  a name that systemd takes for a unit, nothing else
            [command, "show", name, f"--property={wanted}"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SYSTEMCTL_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    facts = dict(line.partition("=")[::2] for line in ended.stdout.splitlines())
    return Unit(
        name,
        found=facts.get("LoadState") == "loaded",
        enabled=facts.get("UnitFileState", ""),
        active=facts.get("ActiveState", ""),
        result=facts.get("Result", ""),
    )
