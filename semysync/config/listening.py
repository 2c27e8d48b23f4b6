"""What the daemon listens to: webhooks, and who asks how it is; and what can be wrong with it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Literal, NamedTuple

import msgspec

SHORTEST_SECRET = 16  #: characters
MOST_SECRETS = 2  #: the one in use, and the one that takes its place


class Http(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon listens for."""

    listen: str | None = None
    webhook_secrets: list[str] = []
    webhook_secrets_file: str | None = None
    metrics: bool | Literal["auto"] = "auto"
    health: bool | Literal["auto"] = "auto"

    def __repr__(self) -> str:
        return f"<Http at {self.listen}>"


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can come there."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether a host, a name or an address, is the machine that we are on."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def address(listen: str) -> Address:
    """Read `127.0.0.1:8026` or `[::1]:8026`. Raises `ValueError`."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if ":" in host else host
    if host != "localhost":
        ip_address(host)
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError
    return Address(host, int(port))


def http_mistakes(http: Http) -> Iterator[str]:
    """Name what is wrong with the listener."""
    if http.listen:
        try:
            address(http.listen)
        except ValueError:
            yield (
                f"[http] listen = {http.listen!r}: expected an address and a port, such as "
                '"127.0.0.1:8026", "[::1]:8026" or "0.0.0.0:8026"'
            )
    if http.webhook_secrets and http.webhook_secrets_file:
        yield "[http] webhook_secrets and webhook_secrets_file: keep one of them"
    if why := wrong_secrets(http.webhook_secrets):
        yield f"[http] webhook_secrets: expected {why}"


def wrong_secrets(secrets: Sequence[str]) -> str | None:
    """Say what is expected of the secrets in the webhooks' addresses; None where they are so."""
    if len(secrets) > MOST_SECRETS:
        return "one secret, or two while one takes the place of the other"
    if any(not re.fullmatch(rf"[\w~.-]{{{SHORTEST_SECRET},200}}", s, re.ASCII) for s in secrets):
        return (
            f"at least {SHORTEST_SECRET} letters, digits and -._~ each, as "
            "`openssl rand -hex 16` prints them"
        )
    return None
