"""
Recognise a mirror that was restored from an older copy, or moved to another host.

A file beside the mirror holds the host and the number of the last claim, and is on the disk before
each request; the mirror holds the same number, and that of the claim before. Where the two
disagree, drafts that are open here may have gone out from where the copy was taken. Each number is
some way above the one before it, and nobody knows how far: two copies that went on from the same
claim never come to the same one, and a mirror that was recognised begins anew at a number from
anywhere.
"""

import os
import socket
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from semysync.errors import MirrorBusy
from semysync.mirror.access import not_opened, opened, real

MACHINE_ID = Path("/etc/machine-id")
WIDTH = 200  # bytes: one width, so that a number is overwritten in place


class Claims(AbstractContextManager["Claims"]):
    """The file beside a mirror, for whoever has the right to send."""

    def __init__(self, mirror: Path, *, host: str | None = None) -> None:
        place = real(mirror)
        self._path = place.with_name(f"{place.name}-claims")
        self._host = host or this_host()
        try:
            self._file = opened(self._path)
        except OSError as exc:
            raise not_opened(exc)(
                f"cannot open {self._path}: {exc.strerror}; "
                "check who owns it and its folder, and their modes"
            ) from None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def agree_with(self, last: int, before: int | None) -> bool:
        """
        Tell whether the mirror, with these numbers of its claims, is the one that sent last.

        The mirror is written first, so that a kill between the two leaves it one ahead.
        """
        noted = self._noted()
        if len(noted) != 2 or noted[0] != self._host or not noted[1].isdigit():
            return False
        return int(noted[1]) in {last, before}

    def is_new(self) -> bool:
        """Tell whether nothing was noted yet: nobody has ever sent from here."""
        return not self._noted()

    def distrust(self) -> None:
        """Let no mirror agree any more, until a number is noted."""
        self._write("taken-over")

    def note(self, number: int) -> None:
        """
        Write down the number of a claim; it is on the disk when this returns.

        Raises `MirrorBusy` where there is no room, and nothing may be sent then.
        """
        self._write(f"{self._host} {number}")

    def _noted(self) -> list[str]:
        return os.pread(self._file, WIDTH, 0).decode("utf-8", "replace").split()

    def _write(self, line: str) -> None:
        try:
            os.pwrite(self._file, f"{line.ljust(WIDTH - 1)}\n".encode(), 0)
            os.fdatasync(self._file)
        except OSError as exc:
            raise MirrorBusy(
                f"cannot write {self._path}: {exc.strerror}; nothing is sent before that works"
            ) from None


def this_host() -> str:
    """Return what names this machine, in one word."""
    with suppress(OSError):
        if name := MACHINE_ID.read_text(encoding="ascii", errors="replace").strip():
            return name.split()[0]
    return socket.gethostname().split()[0] or "unnamed"
