"""`init` as a new user types it, and as a script does; with the service well, sick and refusing."""

import json
import re

import pytest
from born import run
from processes import TOKEN
from typist import at_own_terminal

from semysync.config import load


def typing(program, *args):
    """Run `init` at a terminal."""
    return at_own_terminal(program, "init", *args)  # the token is read from /dev/tty


def feed(program, text, *args):
    """Run `init` with something on its standard input."""
    return run(
        program._command(("init", *args), None),
        env=program.env,
        cwd=program.home,
        given=text,
        encoding="utf-8",
    )


def left(program):
    """The files in the folder of the configuration, and their modes."""
    folder = program.config.parent
    if not folder.exists():
        return {}
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_a_new_user_is_asked_and_shown_what_is_there(program, sandbox):
    with typing(program, "--base-url", sandbox.base_url) as process:
        process.typist.answers("Token (it is not shown)", "wrong-token")
        process.typist.answers("Token (it is not shown)", TOKEN)
        process.typist.answers("Country", "xx")
        process.typist.answers("Country", "ru")
        shown = process.typist.rest()
        code = process.wait()

    assert code == 0, shown
    assert TOKEN not in shown
    assert "Wrong token; try again" in shown
    assert "1,730 messages left" in shown
    assert all(str(number) in shown for number in sandbox.account.devices)
    assert "semysync sync\n" in shown
    assert left(program) == {"config.toml": 0o600, "token": 0o600}
    settings = load(program.config, {})
    assert settings.token({}) == TOKEN
    assert settings.contacts.region == "RU"


def test_what_it_wrote_works_at_once_and_nothing_was_sent(program, sandbox):
    made = feed(program, TOKEN, "--base-url", sandbox.base_url)
    asked = {call.method for call in sandbox.requests}

    assert made.returncode == 0
    assert asked == {"user", "devices"}
    assert not program.mirror.exists()
    assert program.run("sync").returncode == 0


def test_who_gives_up_at_the_question_has_changed_nothing(program, sandbox):
    with typing(program, "--base-url", sandbox.base_url) as process:
        process.typist.answers("Token (it is not shown)", "\x03")
        shown = process.typist.rest()
        code = process.wait()

    assert code == 1
    assert "Aborted" in shown
    assert left(program) == {}


def test_what_a_person_is_asked_is_no_part_of_the_json(program, sandbox, monkeypatch):
    command = program._command
    into_file = ["sh", "-c", 'exec "$0" "$@" > printed.json']
    monkeypatch.setattr(program, "_command", lambda *given: [*into_file, *command(*given)])

    with typing(program, "--base-url", sandbox.base_url, "--json") as process:
        process.typist.answers("Token (it is not shown)", TOKEN)
        process.typist.answers("Country", "xx")
        process.typist.answers("Country", "ru")
        shown = process.typist.rest()
        code = process.wait()

    assert code == 0, shown
    printed = (program.home / "printed.json").read_text(encoding="utf-8")
    assert json.loads(printed)["config"] == str(program.config)


@pytest.mark.parametrize("answer", ["n", "y"])
def test_a_configuration_is_put_aside_only_if_the_user_agrees(program, sandbox, answer):
    program.configure(sandbox.base_url, rest="[send]\nenabled = false\n")
    before = program.config.read_text(encoding="utf-8")
    with typing(program, "--base-url", sandbox.base_url) as process:
        process.typist.answers("Put it aside and write a new one?", answer)
        if answer == "y":
            process.typist.answers("Token (it is not shown)", TOKEN)
            process.typist.answers("Country", "")
        shown = process.typist.rest()
        code = process.wait()

    assert code == (0 if answer == "y" else 1), shown
    if answer == "n":
        assert program.config.read_text(encoding="utf-8") == before
        assert list(left(program)) == ["config.toml"]
    else:
        (kept,) = program.config.parent.glob("config.toml.before-*")
        assert kept.read_text(encoding="utf-8") == before
        assert f"Kept:    {kept}" in shown


def test_a_script_gives_the_token_in_a_file_or_on_standard_input(program, sandbox):
    secret = program.home / "secret"
    secret.write_text(TOKEN + "\n")

    by_file = program.run(
        "init", "--token-file", secret, "--base-url", sandbox.base_url, "--region", "GB", "--json"
    )
    again = feed(program, TOKEN, "--token-file", "-", "--base-url", sandbox.base_url)
    replaced = feed(program, TOKEN, "--base-url", sandbox.base_url, "--replace", "--json")

    facts = json.loads(by_file.stdout)
    assert facts["config"] == str(program.config)
    assert {device["id"] for device in facts["devices"]} == set(sandbox.account.devices)
    assert again.returncode == 78
    assert "say --replace" in again.stderr
    assert replaced.returncode == 0
    assert len(json.loads(replaced.stdout)["kept"]) == 2
    assert TOKEN not in by_file.stdout + replaced.stdout + again.stderr


def test_accounts_of_one_folder_have_a_token_each(program, sandbox):
    for name in ("shop", "home"):
        made = feed(program, TOKEN, "--base-url", sandbox.base_url, "--config", f"{name}.toml")
        assert made.returncode == 0, made.stderr
        assert f"semysync sync --config {name}.toml" in made.stdout

    assert {path.name for path in program.home.glob("*.to*")} == {
        "shop.toml",
        "shop.token",
        "home.toml",
        "home.token",
    }


@pytest.mark.parametrize(
    ("text", "args", "code", "says"),
    [
        ("2d9d148edeb50768", (), 69, "Wrong token"),
        ("", (), 78, "standard input holds no token"),
        ("two words", (), 78, "standard input holds no token"),
        (TOKEN, ("--region", "Russia"), 2, "expected two capital letters"),
        (TOKEN, ("--base-url", "http://example.org/api/3/"), 78, "expected https"),
        (TOKEN, ("--base-url", "http://127.0.0.1:1/api/3/"), 75, "127.0.0.1"),
        (TOKEN, ("--token-file", "nowhere"), 78, "cannot read the token from nowhere"),
        (TOKEN, ("--config", "/proc/nothing/config.toml"), 78, "cannot make the folder"),
        (TOKEN, ("--account", "shop"), 2, "--account goes with --systemd"),
        (TOKEN, ("--config", "/proc/config.toml"), 78, "cannot write /proc/"),
        (TOKEN, ("--config", "/proc"), 78, "/proc is a folder: name a file by --config"),
    ],
)
def test_where_something_is_wrong_nothing_is_written(  # noqa: PLR0917
    program, sandbox, text, args, code, says
):
    if "--base-url" not in args:
        args = ("--base-url", sandbox.base_url, *args)

    ended = feed(program, text, *args)

    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert TOKEN not in ended.stdout + ended.stderr
    assert left(program) == {}


def test_what_is_no_text_is_no_token(program):
    ended = run(
        program._command(("init",), None),
        env=program.env,
        cwd=program.home,
        given="\xff\xfe",
        encoding="latin-1",
    )

    assert ended.returncode == 78
    assert ended.stderr == "semysync: cannot read the token from standard input: it is no text\n"
    assert left(program) == {}


def test_when_the_plan_ends_and_that_there_is_no_phone_yet_is_shown(program, sandbox):
    for number in list(sandbox.account.devices):
        sandbox.account.remove_device(number)
    sandbox.set(plan="ended")

    shown = feed(program, TOKEN, "--base-url", sandbox.base_url).stdout

    assert re.search(r"The service takes the token: .*until 20\d\d-\d\d-\d\d", shown)
    assert "The account has no device yet: install the app on a phone and log in there." in shown


def test_the_token_is_in_no_list_of_processes(program):
    """There is no option for it: who tries is told."""
    ended = program.run("init", "--token", TOKEN)

    assert ended.returncode == 2
    assert "No such option" in ended.stderr


def test_it_prints_the_commands_for_systemd_and_does_nothing_else(program):
    one, several = (
        program.run("init", "--systemd", *args).stdout for args in ((), ("--account", "shop"))
    )

    assert "systemctl enable --now semysync.service" in one
    assert "systemctl enable --now semysync@shop.service" in several
    assert left(program) == {}


def test_a_file_called_token_that_was_there_is_kept(program, sandbox):
    program.config.parent.mkdir(parents=True)
    (program.config.parent / "token").write_text("of something else")

    made = feed(program, TOKEN, "--base-url", sandbox.base_url)

    (kept,) = program.config.parent.glob("token.before-*")
    assert made.returncode == 0
    assert kept.read_text() == "of something else"
