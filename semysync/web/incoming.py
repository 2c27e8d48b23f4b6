"""
Forms as they come in: looked at before Datasette reads them, which fails at what it cannot read.

What a browser sends from one of our pages passes unchanged; anything else is refused with a sentence.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from datasette.utils import tilde_decode
from datasette.utils.asgi import Response

from semysync.web.mirrors import known

if TYPE_CHECKING:
    from datasette.app import Datasette

FORM = "application/x-www-form-urlencoded"
LARGEST = 1_000_000  #: bytes; a text that is only too long comes back in its form, to be cut

WRITING = re.compile(
    r"/(?P<database>[^/]+)/-/"
    r"(send|drafts/[^/]+/(cancel|hold|release)|conversations/[^/]+/(read|name))$"
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def only_forms(app: App, datasette: "Datasette") -> App:
    """Let nothing reach the pages that write but what is a form."""

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _writes(datasette, scope):
            await app(scope, receive, send)
            return
        said, body = await _read(receive)
        if said is None:
            return  # whoever sends it has gone
        if why := refusal(_header(scope, b"content-type"), _header(scope, b"x-csrftoken"), body):
            refused = Response.text(f"{why}\n", status=400, headers={"Cache-Control": "no-store"})
            await refused.asgi_send(send)
            return
        again = iter([said])

        async def replayed() -> Message:
            return next(again, None) or await receive()

        await app(scope, replayed, send)

    return wrapped


def refusal(kind: str, token: str, body: bytes) -> str | None:
    """Say why a request is no form of ours, by its type, the token beside it, and what is in it."""
    if (named := kind.partition(";")[0].strip().lower()) != FORM:
        return f"A form is sent here as {FORM}, not as {named[:80] or 'nothing'!a}"
    if len(body) > LARGEST:
        return f"This form is too large: at most {LARGEST:,} bytes are read"
    try:
        # What is not UTF-8 would become a message with signs that nobody has typed.
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        return "This form is not written in UTF-8"
    if not (token + fields.get("csrftoken", "")).isascii():
        return "This form is not of this page: open the page again"
    return None


def _writes(datasette: "Datasette", scope: Message) -> bool:
    """Tell whether a request goes to a page that writes to a mirror."""
    path = scope.get("raw_path") or scope["path"].encode()
    found = WRITING.search(path.decode("latin-1").partition("?")[0])
    if found is None:
        return False
    routes = {datasette.databases[name].route for name in known(datasette)}
    return tilde_decode(found["database"]) in routes


def _header(scope: Message, name: bytes) -> str:
    return next((v.decode("latin-1") for n, v in scope["headers"] if n.lower() == name), "")


async def _read(receive: Receive) -> tuple[Message | None, bytes]:
    """Return a request in one piece, and its body; of one that is too large only what tells so."""
    body, more = b"", True
    while more and len(body) <= LARGEST:
        message = await receive()
        if message["type"] != "http.request":
            return None, body
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return {"type": "http.request", "body": body, "more_body": False}, body
