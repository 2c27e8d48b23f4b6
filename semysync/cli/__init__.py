"""
The commands: read the configuration, put the parts together, print what came of it.

Each file holds a family of them. What is slow to import is imported where it is used, so that
`--help` and the commands that only read are quick.
"""

import sys
from typing import Any

import click

from semysync import __version__
from semysync.cli.backup import backup
from semysync.cli.common import complain, examples
from semysync.cli.demo import demo
from semysync.cli.doctor import doctor
from semysync.cli.drafts import cancel, hold, outbox, release, retry
from semysync.cli.exporting import export
from semysync.cli.forgetting import forget
from semysync.cli.helping import help_
from semysync.cli.hooks import hooks
from semysync.cli.init import init
from semysync.cli.messages import conversations, messages, search
from semysync.cli.pulling import run, sync
from semysync.cli.purging import purge
from semysync.cli.reading import devices
from semysync.cli.sandbox import sandbox
from semysync.cli.sending import send
from semysync.cli.stats import stats
from semysync.cli.status import status
from semysync.cli.verifying import verify
from semysync.cli.web import web
from semysync.errors import SemysyncError


class Program(click.Group):
    """A group of commands that ends with our errors' exit codes, in the order they are added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a letter that the terminal lacks is no error
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except SemysyncError as exc:
            complain(str(exc))
            sys.exit(exc.exit_code)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "semysync demo                         # try it without an account",
        "SEMYSYNC_TOKEN=... semysync sync      # mirror your account",
        "semysync messages -n 50               # read it",
        "semysync send +79201234567 Hello      # write",
    ),
)
@click.version_option(__version__, message="%(prog)s %(version)s", prog_name="semysync")
def main() -> None:
    """Keep a SQLite mirror of a SemySMS account."""


for command in (
    demo,
    init,
    run,
    sync,
    send,
    outbox,
    cancel,
    hold,
    release,
    retry,
    purge,
    messages,
    conversations,
    search,
    devices,
    status,
    verify,
    stats,
    doctor,
    export,
    forget,
    backup,
    hooks,
    web,
    sandbox,
    help_,
):
    main.add_command(command)
