"""`forget`: remove everything about one person from the mirror."""

import sys
from contextlib import closing
from pathlib import Path

import click

from semysync.cli import completing
from semysync.cli.options import (
    agreed,
    config_option,
    database_option,
    examples,
    json_option,
    reader_path,
    yes_option,
)
from semysync.cli.printing import complain, counted, print_json
from semysync.mirror.file import explained
from semysync.mirror.outbox.drafts import open_outbox
from semysync.mirror.reading import person

NAMED = 10  #: so many drafts are named in a sentence


@click.command(
    epilog=examples("semysync forget +79201234567", "semysync forget +79201234567 --yes --json")
)
@click.argument("contact", shell_complete=completing.contacts)
@yes_option
@config_option
@database_option
@json_option
def forget(
    contact: str, yes: bool, config: Path | None, database: Path | None, as_json: bool
) -> None:
    """
    Remove everything about a number or name from the mirror, for good.

    Messages, drafts that are finished, the name, and what hooks and webhooks left; also from the
    search index and from the free pages of the file. It shows what would go, and asks. What the
    account still holds of it is not deleted there, and is not mirrored again; what comes later is.

    The client keys of drafts stay, so that none is sent twice, and so do the numbers of messages.
    Copies of the mirror keep what they have: backups, replicas, exports and copies before an
    update. `semysync export --person` writes down before what goes. Ends with 1 where nothing is
    known, or a draft is still on its way.
    """
    path = reader_path(config, database)
    try:
        with explained(path), closing(open_outbox(path)) as conn:
            theirs = person.contact_here(conn, contact) or contact
            person.must_be_finished(conn, theirs)
            found = person.counts(conn, theirs)
            if not found:
                if as_json:
                    print_json({"messages": 0, "drafts": 0})
                complain(f"nothing is known of {contact}")
                sys.exit(1)
            if not yes:
                for table, count in found.items():
                    click.echo(f"{table:<12} {count:>9,}", err=True)
            if not agreed(f"Remove all of this about {contact} for good?", yes=yes):
                complain("nothing was removed")
                sys.exit(1)
            gone = person.forget(conn, theirs)
    except person.OnTheirWay as exc:  # it may have come while somebody was asked
        ids = " ".join(map(str, exc.drafts[:NAMED]))
        more = f", and {len(exc.drafts) - NAMED:,} more" if len(exc.drafts) > NAMED else ""
        complain(f"drafts to {contact} are not finished: first `semysync cancel {ids}`{more}")
        sys.exit(1)
    if as_json:
        print_json({"messages": gone.messages, "drafts": gone.drafts})
    else:
        messages, drafts = counted(gone.messages, "message"), counted(gone.drafts, "draft")
        click.echo(f"Removed {messages} and {drafts}.")
    if gone.in_replica:
        complain(
            "Litestream keeps old states of the mirror: the last traces go when it has emptied the log, "
            "and in the replica with its snapshots (`retention` in its configuration)"
        )
    elif gone.in_log:
        complain(
            "a program that reads the mirror keeps an old state of it; the last traces go when it "
            "has ended and the daemon has written for a while"
        )
