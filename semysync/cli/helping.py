"""`help`: a command explained, and a cookbook of SQL for the mirror."""

import difflib

import click

from semysync.cli.options import examples, json_option
from semysync.cli.printing import page, print_json, print_table
from semysync.mirror.reading.queries import QUERIES, Query


@click.command(
    "help",
    epilog=examples(
        "semysync help send",
        "semysync help sql",
        "semysync help sql unanswered",
        "semysync help sql unanswered | sqlite3 -box semysync.db",
    ),
)
@click.argument("topic", required=False)
@click.argument("name", required=False)
@json_option
@click.pass_context
def help_(ctx: click.Context, topic: str | None, name: str | None, as_json: bool) -> None:
    """
    Explain a command, or show queries that people put to the mirror.

    TOPIC is a command, or sql: with a NAME it prints that query alone, for pasting and piping, and
    without one it lists them all. `semysync web` shows the same ones.
    """
    group = ctx.parent
    if topic == "sql":
        cookbook(name, as_json=as_json)
    elif group is None or topic is None:
        click.echo((group or ctx).get_help())
    else:
        explain(group, [topic, *([name] if name else [])])


def explain(ctx: click.Context, path: list[str]) -> None:
    """Print the help of a command, which may be one of another's."""
    for word in path:
        command = ctx.command
        found = command.get_command(ctx, word) if isinstance(command, click.Group) else None
        if found is None:
            known = list(command.commands) if isinstance(command, click.Group) else []
            near = difflib.get_close_matches(word, [*known, "sql"], 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {word!r}{meant}")
        ctx = click.Context(found, info_name=word, parent=ctx)
    click.echo(ctx.get_help())


def cookbook(name: str | None, *, as_json: bool) -> None:
    """Print the queries, or one of them."""
    if name is None:
        if as_json:
            print_json([query._asdict() for query in QUERIES])
            return
        print_table(["name", "what it shows"], [(query.name, query.title) for query in QUERIES])
        click.echo("\n`semysync help sql NAME` prints one.", err=True)
        return
    found = {query.name: query for query in QUERIES}.get(name)
    if found is None:
        near = difflib.get_close_matches(name, [query.name for query in QUERIES], 1)
        meant = f"; did you mean {near[0]}?" if near else ": `semysync help sql` lists them"
        raise click.UsageError(f"there is no query {name!r}{meant}")
    if as_json:
        print_json(found._asdict())
    else:
        page(as_text(found))


def as_text(query: Query) -> str:
    """Return a query as SQL that says what it is."""
    return f"-- {query.title}. {query.description}\n{query.sql.strip()};\n"
