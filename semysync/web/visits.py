"""
A visit to a page of a mirror: who may come, and what a page is made with.

`page` makes a view of it, `reads` one that does nothing else; `render` fills a template.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

from datasette.utils.asgi import NotFound, Request, Response

from semysync import __version__
from semysync.errors import SemysyncError
from semysync.web.links import has_charts
from semysync.web.mirrors import Mirror, mirror_of
from semysync.web.search import parted

if TYPE_CHECKING:
    from datasette.app import Datasette

LIVE = {"conversations", "conversation", "drafts", "draft"}  #: pages with a part that changes

# Nothing but what is ours, and no script in the page itself: a message is never more than text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}

STATUSES = {
    "received": ("", "received"),
    "queued": ("○", "waiting"),
    "held": ("‖", "held"),
    "sending": ("↑", "sending"),
    "unknown": ("?", "answer lost"),
    "accepted": ("✓", "at the service"),
    "on_phone": ("✓", "on the phone"),
    "sent": ("✓", "sent"),
    "delivered": ("✓✓", "delivered"),
    "cancelling": ("×", "cancelling"),
    "cancelled": ("×", "cancelled"),
    "failed": ("!", "failed"),
    "rejected": ("!", "rejected"),
    "expired": ("!", "expired"),
}

View = Callable[["Datasette", Request], Awaitable[Response]]


class Visit(NamedTuple):
    """A request for a page of a mirror, by someone who may read it."""

    datasette: "Datasette"
    request: Request
    mirror: Mirror


def page(view: Callable[[Visit], Awaitable[Response]]) -> View:
    """Make a view of a mirror: found, readable, and with a sentence where it cannot be used."""

    @wraps(view)
    async def viewed(datasette: "Datasette", request: Request) -> Response:
        visit = Visit(datasette, request, await mirror_of(datasette, request))
        try:
            return await view(visit)
        except NotFound as exc:
            status, said = 404, exc.args[0]
        except SemysyncError as exc:
            status, said = 503, sentence(exc)
        return await render(visit, "sorry", {"sentence": said, "status": status}, status=status)

    # Datasette goes by the names of the arguments.
    del viewed.__wrapped__
    return viewed


def reads(view: Callable[[Visit], Awaitable[Response]]) -> View:
    """Make a view that is only read."""

    @wraps(view)
    async def read(visit: Visit) -> Response:
        if visit.request.method not in {"GET", "HEAD"}:
            return Response.text("this page is read only\n", status=405)
        return await view(visit)

    return page(read)


def sentence(exc: Exception) -> str:
    """Return what an error says, as a sentence."""
    text = str(exc)
    return text[:1].upper() + text[1:]


async def render(
    visit: Visit,
    name: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> Response:
    """Return a page; or its live part alone, where that is asked for and has changed."""
    live = name in LIVE and visit.request.args.get("part") == "live" and status == 200
    everything = {
        "mirror": visit.mirror.name,
        "links": visit.mirror.links,
        "may_send": visit.mirror.may_send,
        "statuses": STATUSES,
        "version": __version__,
        "parted": parted,
        "page": name,
        "several": len([n for n in visit.datasette.databases if n != "_internal"]) > 1,
        "has_charts": has_charts(visit.mirror.name),
        **context,
    }
    template = f"_semysync_{name}.html" if live else f"semysync_{name}.html"
    body = await visit.datasette.render_template(template, everything, request=visit.request)
    if not live:
        return Response.html(body, status=status, headers=dict(HEADERS))
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:24]}"'
    headers = {**HEADERS, "ETag": tag}
    if visit.request.headers.get("if-none-match") == tag:
        return Response("", status=304, headers=headers)
    return Response.html(body, headers=headers)


def closed() -> Response:
    """Return what somebody sees who has not come by the login link."""
    return Response.text(
        "This mirror is open to those alone who come by the link that `semysync web` has printed.\n"
        "The link works once: start `semysync web` again for another one.\n",
        status=403,
        headers=dict(HEADERS),
    )
