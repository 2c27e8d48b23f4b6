"""
Who may use the files of a mirror: how open they are made, and what keeps us from one.

`new_file` makes a file as open as its folder, `correct_modes` puts right what is there; `obstacle`
and `harm` look at files and say in a sentence what stands against using them. Nothing here opens a
mirror: a file that is opened and closed beside SQLite takes away the locks that SQLite has on it.
"""

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from semysync.errors import MirrorBusy, MirrorUnusable, SemysyncError


def obstacle(path: Path, *, writing: bool) -> str | None:
    """Say what keeps us from using a mirror, and what to do; None where nothing is found."""
    mirror = real(path)
    with suppress(FileNotFoundError):  # what SQLite keeps beside it comes and goes
        return _on_the_way(mirror) or _in_files(mirror, writing=writing)
    return None


def is_read_only(mirror: Path) -> bool:
    """Tell whether a mirror is on a file system that nobody may write to, which may pass."""
    return bool(os.statvfs(real(mirror).parent).f_flag & os.ST_RDONLY)


def not_opened(exc: OSError) -> type[SemysyncError]:
    """Return what it means that a file could not be opened: a disk in trouble may recover."""
    of_disk = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
    return MirrorBusy if exc.errno in of_disk else MirrorUnusable


def _on_the_way(mirror: Path) -> str | None:
    for folder in reversed(mirror.parents):
        number = folder.stat().st_uid
        owner = _user(number)
        if os.access(folder, os.X_OK):
            continue
        if folder == mirror.parent or number == os.geteuid():
            return f"you may not enter {folder}, which belongs to {owner}: {_remedy(folder)}"
        return (
            f"you may not enter {folder}, which belongs to {owner}: run this as {owner}, or keep "
            "the mirror in a folder that both of you can reach"
        )
    return None


def _in_files(mirror: Path, *, writing: bool) -> str | None:
    mirror.stat()
    folder = mirror.parent
    if writing and is_read_only(mirror):
        return (
            f"{folder} is on a file system that is mounted read-only: mount it for writing, "
            "or name a mirror elsewhere by `path` in [database]"
        )
    needed, verb = (os.R_OK | os.W_OK, "write to") if writing else (os.R_OK, "read")
    there = [file for file in files_of(mirror) if os.path.lexists(file)]
    for file in there:
        if not os.access(file, needed):
            owner = _user(file.stat().st_uid)
            return f"you may not {verb} {file}, which belongs to {owner}: {_remedy(file)}"
    if os.access(folder, os.W_OK) or there == files_of(mirror):
        return None
    if writing:
        return (
            f"you may not make files in {folder}, where SQLite needs two beside the mirror: "
            f"{_remedy(folder)}"
        )
    return (
        f"cannot read {mirror} while no daemon runs: SQLite needs two files beside it, and you may "
        f"not make them in {folder}; start the daemon, or copy {mirror.name} to a folder of yours "
        "and read that"
    )


def harm(path: Path) -> str | None:
    """
    Say why a reader would do harm: its `-wal` and `-shm` would be of no use to who may write.

    SQLite gives them the mode of the mirror; where that does not let us write, it would not let
    the mirror's owner write to ours.
    """
    mirror = real(path)
    if os.access(mirror, os.W_OK) or not os.access(mirror, os.R_OK):
        return None
    if mirror.stat().st_uid == os.geteuid() or not os.access(mirror.parent, os.W_OK):
        return None
    if all(map(os.path.lexists, files_of(mirror))):
        return None
    return (
        f"you may read {mirror} but not write to it, and to read it now would leave files beside "
        f"it that lock its owner out: {_remedy(mirror)}"
    )


def _remedy(path: Path) -> str:
    """Return what opens a file, or a folder, to the user that we are."""
    found = _looked_at(path)
    folder = path if found and stat.S_ISDIR(found.st_mode) else path.parent
    place = folder.stat()
    owner = _user((found or place).st_uid)
    if found and found.st_uid == os.geteuid():
        return f"its mode is {stat.S_IMODE(found.st_mode):04o}, so run `chmod u+rwX {path}`"
    if place.st_uid == os.geteuid():
        return f"let root give it to you by `chown {_name(place.st_uid)} {path}`"
    if not _shared(place.st_mode):
        return (
            f"run this as {owner}, or let a group use the mirror: `chmod 2770 {folder}`, "
            "then restart the daemon"
        )
    if place.st_gid in {os.getegid(), *os.getgroups()}:
        return f"let {owner} or root run `chgrp {_group(place.st_gid)} {path}; chmod 660 {path}`"
    return f"run this as {owner}, or as a member of the group {_group(place.st_gid)}"


def _looked_at(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _user(number: int) -> str:
    return f"user {_name(number)}"


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def real(path: Path) -> Path:
    """Return where a mirror really is: SQLite keeps its files there, not beside a link."""
    return Path(os.path.realpath(path))


def files_of(mirror: Path) -> list[Path]:
    """Return the mirror and the two files that SQLite keeps beside it while it is open."""
    return [mirror, *(mirror.with_name(mirror.name + end) for end in ("-wal", "-shm"))]


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file it is that has a name; None where there is none, or it is not to be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def new_file(path: Path) -> int:
    """
    Make a file as open as its folder, whatever the umask; return its number, open for writing.

    What root makes in a user's folder is that user's: it would lock out a daemon of theirs. Raises
    `FileExistsError` where there is a file, and whatever else the system says.
    """
    folder = path.parent.stat()
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0 and folder.st_uid != 0:
        with suppress(PermissionError):  # a root that may not give files away
            os.fchown(number, folder.st_uid, folder.st_gid)
    os.fchmod(number, mode_in(folder.st_mode))
    return number


def opened(path: Path) -> int:
    """Open a file beside the mirror for reading and writing; make it first where there is none."""
    with suppress(FileExistsError):
        return new_file(path)
    # Not by O_CREAT: Linux refuses that for a file of another user in a sticky folder.
    number = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    if os.fstat(number).st_uid == os.geteuid():
        os.fchmod(number, mode_in(path.parent.stat().st_mode))
    return number


def mode_in(folder: int) -> int:
    """Return the mode of a mirror's files in a folder of this mode."""
    return 0o660 if _shared(folder) else 0o600


def _shared(folder: int) -> bool:
    # Without setgid a reader's -shm would belong to the reader's own group, and lock us out.
    return folder & 0o2030 == 0o2030


class Corrected(NamedTuple):
    """A file whose mode was not as open as its folder."""

    path: Path
    was: str
    now: str


def correct_modes(path: Path) -> list[Corrected]:
    """
    Make what is ours of a mirror's files as open as their folder; return what was changed.

    What the owner may is left alone: a right to write that is missing was taken away on purpose.
    """
    mirror = real(path)
    folder = mirror.parent.stat()
    found = [(file, file.lstat()) for file in files_of(mirror) if os.path.lexists(file)]
    return [
        corrected
        for file, status in found
        if status.st_uid == os.geteuid() and stat.S_ISREG(status.st_mode)
        if (corrected := _correct(file, status, folder))
    ]


def _correct(file: Path, status: os.stat_result, folder: os.stat_result) -> Corrected | None:
    was = stat.S_IMODE(status.st_mode)
    wanted = was & 0o700 | mode_in(folder.st_mode) & 0o077
    moved = False
    if wanted & 0o070 and status.st_gid != folder.st_gid:
        moved = _give_to_group(file, folder.st_gid)
        if not moved:  # then it must not be open to the group that it has
            wanted &= 0o700
    if was == wanted and not moved:
        return None
    file.chmod(wanted)
    return Corrected(file, f"{was:04o}", f"{wanted:04o}")


def _give_to_group(file: Path, group: int) -> bool:
    try:
        os.chown(file, -1, group)
    except PermissionError:
        return False
    return True


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, whatever the umask, and those above that are missing."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o700)


def sync_folder(folder: Path) -> None:
    """See that a name that was given or taken in a folder is on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
