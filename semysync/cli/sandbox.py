"""`sandbox`: the stand-in service, to try programs on without an account."""

import json
import signal

import click

from semysync.cli.options import examples, json_option
from semysync.cli.printing import print_json


@click.command(
    epilog=examples(
        "semysync sandbox --messages 100000 --switch cap=500 --switch order=desc",
        "semysync sandbox > sandbox.toml &",
        "semysync sync --config sandbox.toml --database play.db",
        "semysync sandbox --webhook http://127.0.0.1:8026/webhook/SECRET",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=8025, show_default=True)
@click.option("--messages", type=click.IntRange(min=0), default=3000, show_default=True)
@click.option("--devices", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other texts.")
@click.option("--token", help="The token it takes; else one that follows from the seed.")
@click.option(
    "--webhook", metavar="URL", help="Call URL/inbox for each new message, URL/status for statuses."
)
@click.option("--switch", "switches", multiple=True, metavar="NAME=VALUE", help="How it behaves.")
@click.option("--list-switches", is_flag=True, help="Print every switch with its values, and end.")
@json_option
def sandbox(
    port: int,
    messages: int,
    devices: int,
    seed: int,
    token: str | None,
    webhook: str | None,
    switches: tuple[str, ...],
    list_switches: bool,
    as_json: bool,
) -> None:
    """
    Run a stand-in for the service on this machine, until Ctrl-C.

    It takes every call of the API, with phones that fetch, send, deliver and answer. What nobody
    knows about the real service is a switch of it, and so is every fault. Its admin page says how
    tests can change it while it runs. What it prints is a configuration for it.
    """
    from semysync.sandbox import Sandbox, parse

    if list_switches:
        print_switches(as_json=as_json)
        return
    try:
        chosen = parse(switches)
        stand_in = Sandbox(
            messages=messages, devices=devices, seed=seed, token=token, port=port, switches=chosen
        )
        if webhook:
            stand_in.webhooks.set(inbox=f"{webhook}/inbox", status=f"{webhook}/status")
        stand_in.start()
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    except OSError as exc:
        raise click.UsageError(
            f"cannot listen on port {port} ({exc.strerror}): choose another with --port, or 0 for any"
        ) from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stand_in.stopping.set())
    base_url, token, admin = stand_in.base_url, stand_in.token, stand_in.admin_url
    if as_json:
        print_json({"base_url": base_url, "token": token, "admin_url": admin})
    else:
        click.echo("# A stand-in for the service. This is a configuration for it:")
        click.echo(f"[api]\nbase_url = {json.dumps(base_url)}\ntoken = {json.dumps(token)}")
        click.echo(f"# Play with it: {admin}\n# Ctrl-C ends it.")
    stand_in.wait()
    stand_in.stop()


def print_switches(*, as_json: bool) -> None:
    """Print every switch, its default, its meaning and its values."""
    from semysync.sandbox import described

    if as_json:
        print_json([switch._asdict() for switch in described()])
        return
    for switch in described():
        click.echo(f"{switch.name} = {switch.default}")
        click.echo(f"    {switch.sentence} [{switch.values}]")
