"""`sandbox`: the stand-in service, to try programs on without an account."""

import signal
import sys

import click


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8025, show_default=True)
@click.option("--messages", type=click.IntRange(min=0), default=3000, show_default=True)
@click.option("--devices", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other texts.")
@click.option("--token", help="The token it takes; else one that follows from the seed.")
@click.option("--switch", "switches", multiple=True, metavar="NAME=VALUE", help="How it behaves.")
@click.option("--list-switches", is_flag=True, help="Print every switch with its values, and end.")
def sandbox(
    port: int,
    messages: int,
    devices: int,
    seed: int,
    token: str | None,
    switches: tuple[str, ...],
    list_switches: bool,
) -> None:
    r"""
    Run a stand-in for the service on this machine.

    It takes every call of the API, with phones that fetch, send, deliver and answer. What nobody
    knows about the real service is a switch of it, and so is every fault. Its admin page says how
    tests can change it while it runs.

    \b
    Example:
      semysync sandbox --messages 100000 --switch cap=500 --switch order=desc
    """
    from semysync.sandbox import Sandbox, described, parse

    if list_switches:
        for switch in described():
            click.echo(f"{switch.name} = {switch.default}")
            click.echo(f"    {switch.sentence} [{switch.values}]")
        return
    try:
        chosen = parse(switches)
        stand_in = Sandbox(
            messages=messages, devices=devices, seed=seed, token=token, port=port, switches=chosen
        )
        stand_in.start()
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    except OSError as exc:
        raise click.UsageError(f"cannot listen on port {port}: {exc.strerror}") from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stand_in.stopping.set())
    click.echo(f"base_url  {stand_in.base_url}")
    click.echo(f"token     {stand_in.token}")
    click.echo(f"admin     {stand_in.admin_url}")
    click.echo("Ctrl-C ends it.")
    sys.stdout.flush()
    stand_in.wait()
    stand_in.stop()
