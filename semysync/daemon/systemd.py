"""
What systemd is told, where it has started us: its protocol `sd_notify`, and what its variables say.

Without it nothing is told and nothing fails.
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"


class Systemd:
    """
    The service manager that waits for us, as the environment names it.

    The variables are taken out of it: what the daemon starts must not speak for it.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = _address(environ)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)  # a manager that does not read must not hold us up
        self.watchdog_s = _watchdog_s(environ)  #: how often it wants to hear of us; None: never
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            environ.pop(name, None)

    @property
    def listens(self) -> bool:
        """Whether there is anybody to be told."""
        return self._address is not None

    def tell(self, *lines: str) -> None:
        """Tell it, in lines such as `READY=1`; a manager that does not listen is no failure."""
        if self._address:
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)

    def reloading(self) -> None:
        """Tell that the configuration is read again, which `READY=1` ends."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, sentence: str) -> None:
        """Let `systemctl status` show a sentence."""
        self.tell(f"STATUS={' '.join(sentence.split())}")

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _address(environ: Mapping[str, str]) -> str | None:
    named = environ.get("NOTIFY_SOCKET", "")
    if named.startswith("@"):  # in the abstract name space, where names begin with a NUL
        return f"\0{named[1:]}"
    return named if named.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    try:
        meant = int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
        usec = int(environ.get("WATCHDOG_USEC", 0))
    except ValueError:
        return None
    return usec / 1e6 if meant and usec > 0 else None
