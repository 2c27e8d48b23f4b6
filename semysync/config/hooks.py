"""
What the configuration says of hooks, and what can be wrong with it.

Mistakes are sentences that begin with the key; no value that may hold a secret is shown.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import msgspec

from semysync.config.listening import SHORTEST_SECRET
from semysync.event_kinds import KINDS, named_by

MATCHED = ("contact", "device", "channel", "text")  #: the keys of `match`
WILD = re.compile(r"[*?\[]")  #: what makes a text a shell pattern
WORD = re.compile(r"\w+")
NAME = re.compile(r"[\w.-]{1,64}")
SIGNING_KEY = "whsec_"  #: before a secret in base64, as Standard Webhooks has them


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """What follows on events: one of `run`, `url` and `notify`."""

    name: str | None = None
    on: list[str] = []
    match: dict[str, str | int] = {}
    run: list[str] = []
    url: str | None = None
    secret: str | None = None
    notify: list[str] = []

    def __repr__(self) -> str:
        return f"<Hook {self.name}>"

    @property
    def action(self) -> str:
        """What it does, with nothing that may be a secret."""
        if self.run:
            return f"run {self.run[0]}"
        if self.url:
            return f"url {urlsplit(self.url).hostname}"
        schemes = (address.partition(":")[0] for address in self.notify)
        return f"notify {', '.join(schemes)}"


def hook_mistakes(hook: Hook, others: Sequence[Hook]) -> Iterator[str]:
    """Name what is wrong with a hook, of which the `others` stand before it."""
    if not hook.name or not NAME.fullmatch(hook.name):
        yield " name: expected a name of letters, digits and -._"
    elif hook.name in [other.name for other in others]:
        yield " name: expected a name of its own"
    if not hook.on:
        yield f" on: expected a list of kinds of events, such as {KINDS[0]}"
    for kind in hook.on:
        if not named_by(kind):
            yield (
                f" on = {kind!r}: there is no such event; expected a kind such as {KINDS[0]}, or "
                "a pattern such as draft.*"
            )
    for key, pattern in hook.match.items():
        if key not in MATCHED:
            yield f" match: expected {', '.join(MATCHED)}, got {key!r}"
        elif not str(pattern).strip() or (key == "text" and not _says_something(str(pattern))):
            yield f" match {key}: expected words, or a shell pattern"
    if sum(map(bool, (hook.run, hook.url, hook.notify))) != 1:
        yield ": expected one of `run`, `url` and `notify`"
    yield from _action_mistakes(hook)


def _action_mistakes(hook: Hook) -> Iterator[str]:
    if hook.run and (not hook.run[0].strip() or any("\0" in word for word in hook.run)):
        yield " run: expected a program and what it is given, each a text of its own"
    if hook.url and not _is_url(hook.url):
        yield " url: expected an address such as https://example.org/sms"
    if hook.secret is not None:
        if not hook.url:
            yield " secret: it signs what goes to a `url`"
        elif len(hook.secret) < SHORTEST_SECRET or _is_bad_key(hook.secret):
            yield (
                f" secret: expected at least {SHORTEST_SECRET} characters; behind {SIGNING_KEY} "
                "they are base64"
            )
    if any("://" not in address or "\0" in address for address in hook.notify):
        yield " notify: expected Apprise addresses, such as tgram://TOKEN/CHAT"


def _says_something(pattern: str) -> bool:
    return bool(WORD.search(pattern) or WILD.search(pattern))


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return good and not re.search(r"[\x00-\x20\x7f]", text)


def _is_bad_key(secret: str) -> bool:
    try:
        signing_key(secret)
    except ValueError:
        return True
    return False


def signing_key(secret: str) -> bytes:
    """Return the key that a secret stands for. Raises `ValueError`."""
    if not secret.startswith(SIGNING_KEY):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SIGNING_KEY), validate=True)
    except binascii.Error as exc:
        raise ValueError from exc
