"""
`cancel`, `hold`, `release` and `retry`: act on drafts.

Like `send` they go through the table alone, and say in its own words what it refuses. Only
`cancel --device` asks the service.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any, NoReturn

import click

from semysync.cli import completing
from semysync.cli.options import (
    Id,
    agreed,
    config_option,
    configured,
    database_option,
    examples,
    json_option,
    reader_path,
    yes_option,
)
from semysync.cli.printing import complain, counted, one_line, print_json
from semysync.mirror.file import explained, open_reader, writing
from semysync.mirror.lock import Right, is_held
from semysync.mirror.outbox import drafts
from semysync.mirror.outbox.drafts import ENDED, WAITING, Outcome

if TYPE_CHECKING:
    from semysync.passes.cancel import Cancelled

AT_ONCE = 200  #: drafts in one transaction
NAMED = 10  #: so many messages are named in a sentence


def ids_argument(*statuses: str, required: bool = True) -> Callable[[Any], Any]:
    """Return the argument that names drafts; a shell offers those of some statuses."""
    return click.argument(
        "ids",
        metavar="ID..." if required else "[ID]...",
        nargs=-1,
        type=Id(),
        required=required,
        shell_complete=completing.drafts(*statuses),
    )


@contextmanager
def writing_drafts(path: Path) -> Iterator[Connection]:
    """Open the outbox, and put into words what goes wrong with the file."""
    with explained(path), closing(drafts.open_outbox(path)) as conn:
        yield conn


def warn_without_daemon(path: Path) -> None:
    """Say that nobody sends."""
    if is_held(path, Right.SENDER) is False:
        complain("no daemon runs: nothing goes out until `semysync run` is started")


@click.command(
    epilog=examples(
        "semysync cancel 17 18",
        "semysync cancel --device 351",
    )
)
@ids_argument(*WAITING, required=False)
@click.option(
    "--device",
    type=Id(),
    help="All that this device has not fetched.",
    shell_complete=completing.devices,
)
@yes_option
@config_option
@database_option
@json_option
def cancel(
    ids: tuple[int, ...],
    device: int | None,
    yes: bool,
    config: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """
    Cancel drafts.

    One that waits here is cancelled at once. For one that is on its way the wish is noted, and the
    daemon cancels it at the service, if it is not too late: `semysync outbox` shows what came of
    it.

    --device cancels, at the service, everything that a device has not fetched yet, whoever sent it.
    Drafts that still wait here are left. It asks before, and needs the token.

    Ends with 0 when all is done or noted, 1 where something was refused or too late.
    """
    if device is not None and ids:
        raise click.UsageError("ID and --device do not go together")
    if device is not None:
        cancel_device(device, config, database, yes=yes, as_json=as_json)
    if not ids:
        raise click.UsageError("Missing argument 'ID...'.")
    act(reader_path(config, database), ids, drafts.cancel, as_json=as_json)


@click.command(epilog=examples("semysync hold 17 18"))
@ids_argument("queued")
@config_option
@database_option
@json_option
def hold(ids: tuple[int, ...], config: Path | None, database: Path | None, as_json: bool) -> None:
    """
    Hold drafts that are queued, until `semysync release`.

    Ends with 0 when all are held, 1 where one could not be.
    """
    act(reader_path(config, database), ids, drafts.hold, as_json=as_json)


@click.command(epilog=examples("semysync release 17 18", "semysync release --all --yes"))
@ids_argument("held", required=False)
@click.option("--all", "everything", is_flag=True, help="Every draft that is held; it asks before.")
@yes_option
@config_option
@database_option
@json_option
def release(
    ids: tuple[int, ...],
    everything: bool,
    yes: bool,
    config: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """
    Put drafts that are held into the queue. Their life time counts from now on.

    Ends with 0 when all are queued, 1 where one could not be.
    """
    if everything == bool(ids):
        raise click.UsageError("give ids, or --all" + (", not both" if ids else ""))
    path = reader_path(config, database)
    if everything:
        release_all(path, yes=yes, as_json=as_json)
    else:
        act(path, ids, drafts.release, as_json=as_json)


@click.command(epilog=examples("semysync retry 17", "semysync retry 18 --yes"))
@ids_argument(*ENDED, "unknown")
@click.option("--yes", is_flag=True, help="Also where the message may then go out twice.")
@config_option
@database_option
@json_option
def retry(
    ids: tuple[int, ...],
    yes: bool,
    config: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """
    Send finished drafts once more: as copies, which have ids of their own and no key.

    A held draft is copied too, and stays held. One whose answer was lost (`unknown`) is no copy but
    is queued again itself; since the service may have taken it, that needs --yes.

    Ends with 0 when all go out again, 1 where one does not.
    """

    def wish(conn: Connection, draft_id: int) -> Outcome:
        return drafts.retry(conn, draft_id, twice=yes)

    act(reader_path(config, database), ids, wish, as_json=as_json)


def act(
    path: Path,
    ids: Sequence[int],
    wish: Callable[[Connection, int], Outcome],
    *,
    as_json: bool,
) -> None:
    """Do something to each draft, say what came of it, and end with the code that says so."""
    wanted = list(dict.fromkeys(ids))
    outcomes: list[Outcome] = []
    with writing_drafts(path) as conn:
        for first in range(0, len(wanted), AT_ONCE):
            with writing(conn):
                done = [wish(conn, draft_id) for draft_id in wanted[first : first + AT_ONCE]]
            outcomes += done
    if as_json:
        print_json([outcome._asdict() for outcome in outcomes])
    for outcome in outcomes:
        said = about(outcome)
        if not outcome.done:
            complain(said)
        elif not as_json:
            click.echo(f"{said[0].upper()}{said[1:]}.")
    if any(o.done and (o.new_id or o.status in WAITING) and o.status != "held" for o in outcomes):
        warn_without_daemon(path)
    sys.exit(0 if all(outcome.done for outcome in outcomes) else 1)


def about(outcome: Outcome) -> str:
    """Say what came of a wish; the table's own sentences stand behind a colon."""
    colon = ":" if outcome.sentence.startswith("outbox") else ""
    return f"draft {outcome.id}{colon} {outcome.sentence}"


def release_all(path: Path, *, yes: bool, as_json: bool) -> None:
    """Release every draft that is held now, once a person agrees."""
    with writing_drafts(path) as conn:
        count, highest = drafts.held(conn)
        question = f"Release {counted(count, 'held draft')}? They go out at once"
        if count and not agreed(question, yes=yes):
            sys.exit(1)
        released = drafts.release_all(conn, highest) if count else 0
    if as_json:
        print_json({"released": released})
    else:
        click.echo(f"Released {counted(released, 'held draft')}.")
    if released:
        warn_without_daemon(path)


# All that waits at a device.


def cancel_device(
    number: int, config: Path | None, database: Path | None, *, yes: bool, as_json: bool
) -> NoReturn:
    """Cancel what a device has not fetched yet, and say what really was cancelled."""
    from semysync import log
    from semysync.mirror.store import Store
    from semysync.passes.cancel import cancel_all
    from semysync.service.connecting import client_for

    settings, path = configured(config, database)
    token = settings.token()
    log.silence()
    with explained(path), closing(open_reader(path)) as conn:
        device = drafts.device(conn, number)
        if device is None:
            raise click.UsageError(
                f"the mirror knows no device {number}: `semysync devices` lists them"
            )
        name = f"device {number} ({one_line(device['name'] or 'no name')}, {device['channel']})"
        known = len(drafts.open_messages(conn, number))
        here = drafts.still_here(conn, number)
        question = (
            f"Cancel all that {name} has not fetched yet? The mirror knows {counted(known, 'message')} of it "
            "that may wait"
        )
        if not agreed(question, yes=yes):
            sys.exit(1)
        with (
            client_for(settings, token) as client,
            Store.open(path, settings.locale()) as store,
        ):
            found = cancel_all(client, store, conn, number)
    if as_json:
        print_json(
            {
                "device": number,
                "cancelled": found.cancelled,
                "too_late": [{"id": i, "status": s} for i, s in found.too_late],
                "still_waiting": found.waiting,
                "error": str(found.failure) if found.failure else None,
            }
        )
    else:
        print_cancelled(found, name)
        if here:
            wait = (
                "1 draft for it still waits" if here == 1 else f"{here:,} drafts for it still wait"
            )
            click.echo(f"{wait} in the outbox: see `semysync outbox`")
    finish_cancel(found)


def print_cancelled(found: "Cancelled", name: str) -> None:
    """Say how many messages are really cancelled, and which are not."""
    click.echo(f"Cancelled {counted(len(found.cancelled), 'message')} of {name}.")
    for number, status in found.too_late[:NAMED]:
        click.echo(f"too late  message {number} is {status}")
    if len(found.too_late) > NAMED:
        click.echo(f"too late  {len(found.too_late) - NAMED:,} more")
    if found.waiting:
        some = ", ".join(map(str, found.waiting[:NAMED]))
        more = " …" if len(found.waiting) > NAMED else ""
        click.echo(
            f"waiting   {counted(len(found.waiting), 'message')} not cancelled: {some}{more}"
        )


def finish_cancel(found: "Cancelled") -> NoReturn:
    """End with the code that says what came of it."""
    if found.failure:
        complain(f"the service did not confirm it: {found.failure}")
        sys.exit(1 if found.cancelled else found.failure.exit_code)
    sys.exit(1 if found.too_late or found.waiting else 0)
