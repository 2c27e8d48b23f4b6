"""
What can be wrong with values that are well-formed, each by itself: a sentence for each.

A sentence begins with the key. The token may have been typed into any place: nothing shows what
stands where a token might.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from semysync.config.listening import http_mistakes, is_loopback
from semysync.config.sections import Api, Contacts, Replica, Send
from semysync.contact import is_region
from semysync.times import zone_named

HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"


def mistakes_in(sections: Mapping[str, Any]) -> Iterator[str]:
    """Name what is wrong with the sections, each of the kind that `Config` has under its name."""
    yield from _paths(sections)
    yield from _address(sections["api"])
    yield from _places(sections["api"], sections["contacts"])
    yield from _sending(sections["send"])
    yield from _replica(sections["replica"])
    yield from http_mistakes(sections["http"])


def _paths(sections: Mapping[str, Any]) -> Iterator[str]:
    """Name the paths that no file can have."""
    for name, key in (
        ("api", "token_file"),
        ("database", "path"),
        ("backup", "path"),
        ("replica", "socket"),
        ("replica", "program"),
        ("http", "webhook_secrets_file"),
    ):
        path = getattr(sections[name], key)
        if path and ("\0" in path or (path[0] == "~" and os.path.expanduser(path) == path)):  # noqa: PTH111  never raises
            yield f"[{name}] {key} = {shown(key, path)}: expected a path; no file can have this one"


def _address(api: Api) -> Iterator[str]:
    """Name what is wrong with the place of the service, and with two tokens."""
    if api.token and api.token_file:
        yield "[api] token and token_file: keep one of them"
    try:
        url = urlsplit(api.base_url)
        complete = url.scheme in {"http", "https"} and _is_host(url.hostname) and url.port != 0
        if re.search(r"[\x00-\x20\x7f]", api.base_url):
            raise ValueError  # noqa: TRY301  as `urlsplit` does
    except ValueError:  # a port that is none, half an IPv6 address
        yield f"[api] base_url: expected an address such as {Api().base_url}"
        return
    shown = "[api] base_url"
    if url.hostname:  # else it may be the token
        shown += f" = '{url.scheme}://{url.hostname}{url.path}'"
    if url.username or url.password or url.query or url.fragment:
        yield f"{shown}: expected an address alone, without a name, `?` or `#`"
    elif not complete:
        yield f"{shown}: expected an address such as {Api().base_url}"
    elif url.scheme == "http" and not is_loopback(url.hostname or ""):
        yield f"{shown}: expected https, since the token goes there"


def _is_host(name: str | None) -> bool:
    if not name or re.search(r"[\s%/\\]|\.\.|^[-.]", name):
        return False
    return all(len(label) < 64 for label in name.split(".")) and len(name) < 254


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


def shown(key: str, value: object) -> str:
    """Show a value as it was written, unless it may be a secret."""
    if "token" in key or "secret" in key or key in {"url", "options", "notify", "run"}:
        return "***"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float | list | dict) else str(value)
