"""
The commands: read the configuration, put the parts together, print what came of it.

Each file holds a family of them, and is imported when one of them is asked for; what is slow to
import is imported where it is used. So a command waits for nothing that it does not need.
"""

import os
import sys
from collections import UserDict
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from semysync import __version__
from semysync.cli.options import examples
from semysync.cli.printing import complain
from semysync.errors import SemysyncError

#: the commands in the order in which the help shows them
FAMILIES = {
    "Begin": ("demo", "init", "sync", "run"),
    "Send": ("send", "outbox", "cancel", "hold", "release", "retry"),
    "Read": ("messages", "conversations", "search", "web", "stats", "export"),
    "See how it is": ("status", "doctor", "devices", "verify"),
    "Look after it": ("backup", "drill", "takeover", "purge", "forget", "hooks"),
    "Learn and try": ("help", "sandbox"),
}

#: where a command is, if not in a file of its name
FILES = {
    **dict.fromkeys(("sync", "run"), "pulling"),
    **dict.fromkeys(("cancel", "hold", "release", "retry"), "drafts"),
    **dict.fromkeys(("conversations", "search"), "messages"),
    "send": "sending",
    "export": "exporting",
    "verify": "verifying",
    "purge": "purging",
    "forget": "forgetting",
    "help": "helping",
}


class Commands(UserDict[str, Any]):
    """The commands by their names, each imported when it is looked up."""

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"semysync.cli.{self.data[name]}")
        command: click.Command = getattr(module, "help_" if name == "help" else name)
        return command


class Program(click.Group):
    """A group of commands that ends with our errors' exit codes, shown by families."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(self.commands)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        for family, names in FAMILIES.items():
            with formatter.section(family):
                formatter.write_dl(
                    [(f"{name:<13}", summary(self.commands[name])) for name in names]
                )

    def invoke(self, ctx: click.Context) -> Any:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by who started us: nobody wants to read it
                setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  it stays
            # A letter that the terminal lacks is no error.
            getattr(sys, name).reconfigure(errors="backslashreplace")
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
    commands=Commands(
        {name: FILES.get(name, name) for names in FAMILIES.values() for name in names}
    ),
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
