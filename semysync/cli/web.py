"""`web`: the mirror in the browser."""

from importlib.util import find_spec
from pathlib import Path

import click

from semysync.cli.options import config_option, database_option, examples, reader_path
from semysync.errors import ConfigError


@click.command(
    epilog=examples(
        "semysync web",
        "semysync web --port 0 --database play.db",
        "ssh -L 8001:127.0.0.1:8001 server semysync web   # open the link here",
    )
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="The port on 127.0.0.1; 0 takes one that is free.",
)
@config_option
@database_option
def web(port: int, config: Path | None, database: Path | None) -> None:
    """
    Show the mirror in the browser: conversations, charts, every table, and a box to write in.

    Prints a login link. It works once and for one browser; without it nobody on this machine can
    read or send anything. Ends with Ctrl-C. Needs the extra `web`: pip install 'semysync[web]'.
    """
    if find_spec("datasette") is None:
        raise ConfigError("this needs Datasette: pip install 'semysync[web]'")
    from semysync.web.serve import serve

    def say(link: str) -> None:
        click.echo(f"Open this link, which works once:\n\n  {link}\n\nCtrl-C ends it.")

    serve(reader_path(config, database), port, say)
