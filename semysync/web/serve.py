"""
`semysync web`: Datasette over one mirror, on this machine alone, for who has the login link.

All users of a server can reach its loopback addresses, so nothing is shown, and nothing taken,
without the cookie that the link brings.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

# The app comes first: where one of its parts is asked for before it, that part is not registered.
import datasette.app
import datasette.handle_exception
import uvicorn
from datasette.app import Datasette
from datasette.utils.asgi import Response

from semysync.errors import ConfigError
from semysync.mirror.file import open_reader
from semysync.web.incoming import App, Message, Receive, Send
from semysync.web.links import Links
from semysync.web.mirrors import known

HOST = "127.0.0.1"
OWNER = {"id": "root"}  #: Datasette's name for who comes by the login link
LOGIN = "/-/auth-token"
STOPS_WITHIN_S = 2  #: open connections do not hold up the end

# Datasette's own pages and the charts need scripts in the page; nothing comes from elsewhere.
POLICY = (
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; "
    b"base-uri 'self'; frame-ancestors 'none'"
)


def datasette_over(path: Path) -> Datasette:
    """Return Datasette over a mirror that its owner alone may read, and write to."""
    open_reader(path).close()
    return Datasette(
        [str(path)],
        metadata={
            "title": "semysync",
            "allow": OWNER,
            "plugins": {"semysync": {"allow_send": OWNER, "login_link": True}},
        },
        # To suggest facets takes longer than the rest of the page where a table is large.
        settings={"suggest_facets": False},
    )


def serve(path: Path, port: int, say: Callable[[str], None]) -> None:
    """
    Serve a mirror until SIGINT or SIGTERM; `say` is given the login link once it works.

    Raises `ConfigError` where the port is taken, `MirrorUnusable` where the file cannot be read.
    """
    served = datasette_over(path)
    # It would print the values of all variables: texts and numbers.
    datasette.handle_exception.rich = None
    with closing(_listening(port)) as listener:
        asyncio.run(served.invoke_startup())
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(
                only_from_here(served.app(), home_of(served)),
                log_level="warning",
                access_log=False,  # the link is secret until it is used
                lifespan="on",
                timeout_graceful_shutdown=STOPS_WITHIN_S,
            )
        )
        say(f"{address}{LOGIN}?token={served._root_token}")  # noqa: SLF001  as its own command does
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    for database in served.databases.values():
        database.close()


def _listening(port: int) -> socket.socket:
    # Where the protocol is not named, asyncio lets small packets wait for each other: 40 ms a page.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as exc:
        listener.close()
        raise ConfigError(
            f"cannot listen on {HOST}:{port}: {exc.strerror}; choose another by --port"
        ) from None
    return listener


def home_of(served: Datasette) -> str:
    """Return where a person begins: at the conversations of the only mirror."""
    return Links(served, known(served)[0]).conversations()


def only_from_here(app: App, home: str) -> App:
    """
    Begin at `home`, and let pages without a policy of their own load nothing from elsewhere.

    Scripts do not get to see the cookie that the link brings, and only who opens the link uses it
    up: not a program that looks ahead at where it leads.
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [_unseen_by_scripts(*header) for header in message.get("headers", [])]
                if not any(name.lower() == b"content-security-policy" for name, _ in headers):
                    headers.append((b"content-security-policy", POLICY))
                message = {**message, "headers": headers}
            await send(message)

        if scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "GET":
            await Response.redirect(home).asgi_send(sent)
        elif scope["type"] == "http" and scope["path"] == LOGIN and scope["method"] != "GET":
            await Response.text("open this link in a browser\n", status=405).asgi_send(sent)
        else:
            await app(scope, receive, sent)

    return wrapped


def _unseen_by_scripts(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    is_login = name.lower() == b"set-cookie" and value.startswith(b"ds_actor=")
    return name, value + b"; HttpOnly" if is_login else value
