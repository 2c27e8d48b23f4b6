"""
Judge facts: whether each thing is as it should be, and what to do where it is not.

Nothing here does any I/O. A check that cannot be made, since a fact is missing, is not made.
"""

import stat
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from semysync.mirror.access import mode_in
from semysync.mirror.reading.health import Condition
from semysync.times import AGREE, from_utc_text

LEAST_FREE = 100_000_000  #: bytes on the disk of the mirror
CLOCK_S = 60  #: by so much our clock may differ; beyond `AGREE` drafts with a time wait
COPY_IS_OLD_S = 2 * 86_400
REPLICA_IS_LATE_S = 120
DRILL_IS_OLD_DAYS = 14

REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.s3fs", "ceph", "afs"}


class State(StrEnum):
    """How a thing is: a `note` is worth knowing, and no reason to worry."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


class Check(NamedTuple):
    """What was found of one thing, and what to do about it."""

    check: str
    state: State
    says: str
    fix: str = ""


class Asked(NamedTuple):
    """What came of asking the service; nothing was asked where there is no token."""

    accepted: bool | None = None
    error: str = ""
    refused: bool = False
    ahead_s: float | None = None  #: by which our clock is ahead of the service's


class File(NamedTuple):
    """A file or a folder as `stat` shows it, with names."""

    path: Path
    mode: int
    owner: str
    group: str


class Disk(NamedTuple):
    """The disk under the mirror, and what the mirror takes of it, in bytes."""

    free: int
    free_files: int | None
    kind: str
    size: int


class Unit(NamedTuple):
    """What systemd says of the daemon's unit; `found` is false where it knows none."""

    name: str
    found: bool
    enabled: str = ""
    active: str = ""
    result: str = ""


class Sqlite(NamedTuple):
    """The library that this program works with."""

    version: tuple[int, ...]
    oldest: tuple[int, ...]
    has_fts5: bool


def config(source: Path | None, mistakes: str, secrets_in: File | None) -> Iterator[Check]:
    """Judge the configuration; `secrets_in` is the file where it holds secrets itself."""
    if mistakes:
        yield Check("config", State.WRONG, mistakes, "correct it; config.example.toml explains all")
    elif secrets_in and secrets_in.mode & 0o007:
        says = f"{secrets_in.path} holds secrets, and everybody on this machine can read it"
        yield Check("config", State.WRONG, says, f"chmod o= {secrets_in.path}")
    elif secrets_in and secrets_in.mode & 0o070:
        says = f"{secrets_in.path} holds secrets, and the group {secrets_in.group} can read it"
        fix = "chmod 600, or keep them in files of their own (token_file, webhook_secrets_file)"
        yield Check("config", State.NOTE, says, fix)
    else:
        yield Check("config", State.OK, str(source or "no file: everything is at its default"))


def token(missing: str, file: File | None, asked: Asked) -> Iterator[Check]:
    """Judge the token: whether there is one, who can read it, and whether the service takes it."""
    if missing:
        yield Check("token", State.WRONG, missing, "semysync init asks for it and keeps it safe")
        return
    if file and file.mode & 0o007:
        says = f"everybody on this machine can read {file.path}"
        yield Check("token", State.WRONG, says, f"chmod o= {file.path}")
    if asked.refused:
        fix = "take the one that the control panel shows under /myprofile/usertoken"
        yield Check("token", State.WRONG, asked.error, fix)
    elif asked.accepted:
        yield Check("token", State.OK, "the service takes it")
    elif not file or not file.mode & 0o007:
        yield Check("token", State.NOTE, "there is one; whether the service takes it is not known")


def webhooks(mistake: str, file: File | None) -> Iterator[Check]:
    """Judge the file of the webhooks' secrets: whether it can be used, and who can read it."""
    if mistake:
        fix = "see that whoever runs the daemon can read it, and that it has one secret a line"
        yield Check("webhooks", State.WRONG, mistake, fix)
    elif file and file.mode & 0o007:
        says = f"everybody on this machine can read {file.path}"
        yield Check("webhooks", State.WRONG, says, f"chmod o= {file.path}")
    elif file:
        yield Check("webhooks", State.OK, f"their secrets are in {file.path}")


def service(address: str, asked: Asked) -> Iterator[Check]:
    """Judge whether the service answers."""
    if asked.accepted or asked.refused:
        yield Check("service", State.OK, f"{address} answers")
    elif asked.error:
        fix = "check the network of this machine, its name server and proxy; else wait"
        yield Check("service", State.WRONG, asked.error, fix)


def clock(asked: Asked) -> Iterator[Check]:
    """Judge the clock of this machine by the service's."""
    if asked.ahead_s is None:
        return
    off_s = abs(asked.ahead_s)
    said = f"{off_s:,.0f} s {'ahead of' if asked.ahead_s > 0 else 'behind'} the service's"
    if off_s <= CLOCK_S:
        yield Check("clock", State.OK, "agrees with the service's")
        return
    state = State.WRONG if off_s > AGREE.total_seconds() else State.NOTE
    yield Check("clock", state, said, "timedatectl set-ntp true, or set it by hand")


def zone(configured: str, says_offset: int | None, learnt: int | None) -> Iterator[Check]:
    """Judge the zone of the service's clock: what is configured, and what was learnt of it."""
    if configured == "auto":
        if learnt is None:
            yield Check(
                "time zone",
                State.NOTE,
                "the service's is not learnt yet, so times are as it prints them",
                "wait until a phone was in touch between two passes, or set `timezone` in [api]",
            )
        else:
            yield Check("time zone", State.OK, f"the service's clock is at UTC{_east(learnt)}")
    elif learnt is not None and says_offset is not None and learnt != says_offset:
        yield Check(
            "time zone",
            State.WRONG,
            f"{configured} is at UTC{_east(says_offset)}, the service's clock at UTC{_east(learnt)}",
            'set `timezone` in [api] to its zone, or to "auto"',
        )
    else:
        yield Check("time zone", State.OK, configured)


def disk(found: Disk) -> Iterator[Check]:
    """Judge the disk under the mirror."""
    free = f"{found.free / 1e6:,.0f} MB are free"
    if found.kind in REMOTE:
        says = f"the mirror is on {found.kind}, whose locks SQLite cannot trust"
        fix = "move it to a disk of this machine, and set `path` in [database]"
        yield Check("disk", State.WRONG, says, fix)
    elif found.free < LEAST_FREE or (found.free_files is not None and found.free_files < 100):
        what = free if found.free < LEAST_FREE else f"{found.free_files} more files may be made"
        yield Check("disk", State.WRONG, f"only {what}", "free some; until then nothing is stored")
    elif found.free < 2 * found.size:
        says = (
            f"{free}, and the mirror has {found.size / 1e6:,.0f} MB: an update may want twice that"
        )
        yield Check("disk", State.NOTE, says, "free some before the next update")
    else:
        yield Check("disk", State.OK, free)


def sqlite(found: Sqlite) -> Iterator[Check]:
    """Judge the library."""
    version = ".".join(map(str, found.version))
    if found.version < found.oldest:
        fix = "use a newer Python, or a newer system"
        yield Check("sqlite", State.WRONG, f"SQLite {version} is older than 3.37", fix)
    elif not found.has_fts5:
        says = f"SQLite {version} is built without FTS5, which the search needs"
        yield Check("sqlite", State.WRONG, says, "use a Python whose SQLite has it")
    else:
        yield Check("sqlite", State.OK, f"SQLite {version}")


def database(
    faults: Sequence[str], missing: Sequence[str], lost: Sequence[str], changed: Sequence[str]
) -> Iterator[Check]:
    """Judge what the mirror consists of: its pages, and its tables, views and triggers."""
    if faults:
        fix = "stop the daemon and restore a copy (README, Backups); check the disk"
        yield Check("database", State.WRONG, f"it is damaged: {'; '.join(faults[:3])}", fix)
    if lost:
        fix = "restore a copy, or move it aside and start a new mirror"
        yield Check("database", State.WRONG, f"it has lost {', '.join(lost)}", fix)
    if missing:
        fix = "restart the daemon, or type `semysync sync`: they are made again"
        yield Check("database", State.WRONG, f"it lacks {', '.join(missing)}", fix)
    if changed:
        says = f"{', '.join(changed)} was changed by somebody"
        yield Check(
            "database", State.NOTE, says, "drop it and restart the daemon, which makes it anew"
        )
    if not (faults or lost or missing or changed):
        yield Check("database", State.OK, "whole, with all that belongs in it")


def permissions(folder: File, files: Sequence[File]) -> Iterator[Check]:
    """Judge who owns the mirror and the files beside it, and who may open them."""
    wanted = mode_in(folder.mode)
    wrong = [*_owners(folder, files), *_modes(folder, files, wanted)]
    yield from wrong
    if not wrong:
        who = f"the group {folder.group}" if wanted & 0o070 else "nobody else"
        yield Check("permissions", State.OK, f"belongs to {folder.owner}; open to {who}")


def _owners(folder: File, files: Sequence[File]) -> Iterator[Check]:
    # A member of the group may have made -wal and -shm.
    shared = bool(mode_in(folder.mode) & 0o070)
    for file in files[:1] if shared else files:
        if file.owner != folder.owner:
            says = f"{file.path} belongs to {file.owner}, its folder to {folder.owner}"
            fix = f"chown {folder.owner}:{folder.group} {file.path}"
            yield Check("permissions", State.WRONG, says, fix)
    for file in files if shared else []:
        if file.group != folder.group:
            says = f"{file.path} belongs to the group {file.group}, its folder to {folder.group}"
            yield Check("permissions", State.WRONG, says, f"chgrp {folder.group} {file.path}")


def _modes(folder: File, files: Sequence[File], wanted: int) -> Iterator[Check]:
    for file in files:
        mode = stat.S_IMODE(file.mode)
        if mode & 0o007:
            says = f"everybody on this machine may open {file.path} (mode {mode:04o})"
        elif mode & 0o077 != wanted & 0o077:
            says = f"{file.path} has the mode {mode:04o}, in this folder it should be {wanted:04o}"
        else:
            continue
        yield Check("permissions", State.WRONG, says, f"chmod {wanted:o} {file.path}")
    mode = stat.S_IMODE(folder.mode)
    if mode & 0o070 and not wanted & 0o070 and mode & 0o020:
        says = f"the group {folder.group} may write to {folder.path}, and not to the mirror in it"
        fix = f"chmod 2770 {folder.path} to let it read and send, or chmod g-w {folder.path}"
        yield Check("permissions", State.NOTE, says, fix)


def group(folder: File, members: Sequence[str]) -> Iterator[Check]:
    """Tell who may read and send, where the folder is open to its group."""
    if not mode_in(folder.mode) & 0o070:
        return
    if members:
        says = f"{folder.group} may read and send: {', '.join(members)}"
        yield Check("group", State.OK, says)
    else:
        says = f"{folder.group} may read and send, and has no members"
        fix = f"usermod -aG {folder.group} NAME, for each program that should"
        yield Check("group", State.NOTE, says, fix)


def access(obstacle: str) -> Iterator[Check]:
    """Tell what keeps us from using the mirror."""
    if obstacle:
        what, _, fix = obstacle.partition(": ")
        yield Check("access", State.WRONG, what, fix)


def lag(found: Condition, *, running: bool | None) -> Iterator[Check]:
    """Judge how old the mirror is, and what the passes came to."""
    lags = ", ".join(
        f"{box} {'never read' if facts['lag_s'] is None else '{:,} s'.format(facts['lag_s'])}"
        for box, facts in found.boxes.items()
    )
    match found.verdict:
        case "ok":
            yield Check("lag", State.OK, lags)
        case "failing":
            says = f"{lags}; {found.last_error or 'a pass failed'}"
            yield Check("lag", State.WRONG, says, "the checks above may say why; the log does")
        case _ if running:
            fix = "look into the log: the daemon runs, and does not come to the end"
            loading = any(facts["loading"] for facts in found.boxes.values())
            yield Check("lag", State.WRONG, lags, "wait for the first load" if loading else fix)
        case _:
            yield Check("lag", State.WRONG, lags, "start the daemon, or type `semysync sync`")


def daemon(unit: Unit | None, *, running: bool | None) -> Iterator[Check]:
    """Judge whether a daemon runs, and whether systemd will start it at the next boot."""
    if running is not None:
        says = "running" if running else "not running"
        fix = "" if running or (unit and unit.found) else "semysync run"
        yield Check("daemon", State.OK if running else State.NOTE, says, fix)
    if unit is None:
        return
    name = unit.name
    if not unit.found:
        says = f"systemd has no {name}"
        yield Check("unit", State.NOTE, says, "`semysync init --systemd` shows how to install it")
    elif unit.active in {"failed", "inactive"}:
        why = f" ({unit.result})" if unit.result not in {"", "success"} else ""
        fix = f"journalctl -u {name} -n 50 says why; then systemctl restart {name}"
        yield Check("unit", State.WRONG, f"{name} is {unit.active}{why}", fix)
    elif unit.enabled not in {"enabled", "enabled-runtime", "static", "generated", "linked"}:
        says = f"{name} is {unit.active}, and does not start when the machine does"
        yield Check("unit", State.WRONG, says, f"systemctl enable {name}")
    else:
        yield Check("unit", State.OK, f"{name} is {unit.active} and {unit.enabled}")


def copies(found: Condition, folder: Path | None, now: datetime) -> Iterator[Check]:
    """Judge when the last good copy was made."""
    if found.backup_at is None:
        if folder is None:
            says, fix = (
                "there is none",
                "set `path` in [backup], and let `semysync backup` run daily",
            )
            yield Check("backup", State.NOTE, says, fix)
        else:
            says = f"none was made yet, or it is no longer in {folder}"
            yield Check("backup", State.WRONG, says, "semysync backup")
        return
    age_s = (now - from_utc_text(found.backup_at)).total_seconds()
    says = f"{found.backup_path}, of {found.backup_at[:16].replace('T', ' ')}"
    if age_s > COPY_IS_OLD_S:
        fix = "see why none was made since: systemctl list-timers, or `semysync backup` by hand"
        yield Check("backup", State.WRONG if folder else State.NOTE, f"old: {says}", fix)
    else:
        yield Check("backup", State.OK, says)


def replica(error: str, last_sync_at: datetime | None, now: datetime) -> Iterator[Check]:
    """Judge whether Litestream replicates the mirror, and how far it is behind."""
    if error:
        what, _, fix = error.partition(": ")
        yield Check("replica", State.WRONG, what, fix)
    elif last_sync_at is None:
        fix = "look into Litestream's log: it has never reached its place"
        yield Check("replica", State.WRONG, "nothing was replicated yet", fix)
    else:
        behind_s = max(0, (now - last_sync_at).total_seconds())
        says = f"holds all of {behind_s:,.0f} s ago"
        if behind_s > REPLICA_IS_LATE_S:
            fix = "look into Litestream's log: journalctl -u semysync-litestream"
            yield Check("replica", State.WRONG, f"{says}, and nothing since", fix)
        else:
            yield Check("replica", State.OK, says)


def drill(drilled_at: str | None, error: str | None, now: datetime) -> Iterator[Check]:
    """Judge the last drill, where there is a replica."""
    if drilled_at is None:
        fix = "semysync drill, or systemctl enable --now semysync-drill.timer"
        yield Check("drill", State.NOTE, "whether the replica can be restored was never tried", fix)
        return
    days = (now - from_utc_text(drilled_at)).days
    when = drilled_at[:16].replace("T", " ")
    if error:
        yield Check("drill", State.WRONG, f"{when}: {error}", "see to the replica; semysync drill")
    elif days > DRILL_IS_OLD_DAYS:
        yield Check("drill", State.NOTE, f"the last one was {days} days ago", "semysync drill")
    else:
        yield Check("drill", State.OK, f"{when}: the replica was restored, and is good")


def _east(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
