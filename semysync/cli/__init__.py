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

#: the commands in the order in which the help shows them
FAMILIES: dict[str, tuple[click.Command, ...]] = {
    "Begin": (demo, init, sync, run),
    "Send": (send, outbox, cancel, hold, release, retry),
    "Read": (messages, conversations, search, web, stats, export),
    "See how it is": (status, doctor, devices, verify),
    "Look after it": (backup, purge, forget, hooks),
    "Learn and try": (help_, sandbox),
}


class Program(click.Group):
    """A group of commands that ends with our errors' exit codes, shown by families."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for family, members in FAMILIES.items():
            with formatter.section(family):
                formatter.write_dl(
                    [(f"{command.name:<13}", summary(command)) for command in members]
                )

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a letter that the terminal lacks is no error
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except SemysyncError as exc:
            complain(str(exc))
            sys.exit(exc.exit_code)


def summary(command: click.Command) -> str:
    """Return what a command does, in one line: the first sentence of its help, or less."""
    sentence = " ".join((command.help or "").partition("\n\n")[0].split())
    return command.short_help or sentence.partition(". ")[0].partition(": ")[0].rstrip(".") + "."


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "semysync demo                         # try it without an account",
        "semysync init                         # set it up for your account",
        "semysync sync                         # mirror it",
        "semysync messages -n 50               # read it",
        "semysync send +79201234567 Hello      # write",
    ),
)
@click.version_option(__version__, message="%(prog)s %(version)s", prog_name="semysync")
def main() -> None:
    """Keep a SQLite mirror of a SemySMS account."""


for command in (command for members in FAMILIES.values() for command in members):
    main.add_command(command)
