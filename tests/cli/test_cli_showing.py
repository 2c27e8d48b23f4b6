"""`demo`, `sandbox` and the help texts through the real process."""

import json
import re
import shlex
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest
from processes import end

from semysync.cli import main
from semysync.cli.demo import followed


def printed_commands(output):
    """The commands of the demo, as they would be pasted."""
    after = output.split("What to type next:")[1]
    return re.findall(r"^  (\S.* --database .*)$", after, re.MULTILINE)


def test_demo_needs_no_account_and_every_command_it_prints_works(program):
    ended = program.run("demo")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Mirrored 4,000 messages" in ended.stdout
    assert re.search(r"^  \d\d:\d\d:\d\d  < ", ended.stdout, re.MULTILINE)
    assert re.search(r"^  \d\d:\d\d:\d\d    drafts? .*: delivered$", ended.stdout, re.MULTILINE)
    path = re.search(r"one SQLite file: (.*)", ended.stdout)[1]
    assert path.startswith(str(program.home))
    assert re.search(r"^contact +messages +last$", ended.stdout, re.MULTILINE)
    assert "Webhooks tell of them at 127.0.0.1:" in ended.stdout
    heard = Path(re.search(r"A hook writes down what comes in: (.*)", ended.stdout)[1])
    told = [json.loads(line) for line in heard.read_text("utf-8").splitlines()]
    assert {event["kind"] for event in told} == {"message.received"}
    commands = printed_commands(ended.stdout)
    assert len(commands) == 3
    for command in commands:
        pasted = subprocess.run(
            ["bash", "-c", command], env=program.env, cwd="/", capture_output=True, check=True
        )
        assert pasted.stdout
        assert pasted.stderr == b""


def test_without_the_extra_a_demo_does_without_webhooks(talk, sandbox, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "semysync.follow.listener", None)

    with followed(sandbox, talk.mirror):
        assert not sandbox.webhooks.urls

    said = capsys.readouterr().out
    assert "A hook writes down what comes in" in said
    assert "Webhooks tell of them" not in said


def test_a_demo_that_is_kept_goes_on_until_ctrl_c_and_explains_then(program):
    with program.running("demo", "--keep", "--messages", "100") as process:
        lines = iter(process.stdout.readline, "")
        arrived = next(line for line in lines if re.match(r"  \d\d:\d\d:\d\d  [<>] ", line))
        process.send_signal(signal.SIGINT)
        rest = "".join(lines)
        code = process.wait()

    assert arrived
    assert code == 0
    assert len(printed_commands(rest)) == 3


def test_the_sandbox_prints_a_configuration_with_which_sync_works(program):
    with program.running("sandbox", "--port", "0", "--messages", "50") as process:
        printed = ""
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
        (program.home / "sandbox.toml").write_text(printed)

        synced = program.run("sync", "--config", "sandbox.toml", "--database", "play.db")
        code, said = end(process)

    assert synced.returncode == 0
    assert (code, said) == (0, "")


def test_the_sandbox_calls_a_webhook(program):
    called = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            called.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        hook = f"http://127.0.0.1:{server.server_port}/here"
        with program.running("sandbox", "--port=0", "--messages=9", f"--webhook={hook}") as process:
            printed = "".join(iter(process.stdout.readline, "# Ctrl-C ends it.\n"))
            (program.home / "sandbox.toml").write_text(printed)
            program.run("sync", "--config", "sandbox.toml", "--database", "play.db")
            program.run("send", "+79201234567", "Hello", "--database", "play.db")
            program.run("sync", "--config", "sandbox.toml", "--database", "play.db")
            server.handle_request()

    assert called == ["/here/status"]


def test_the_sandbox_prints_json(program):
    with program.running("sandbox", "--port", "0", "--token", "mine", "--json") as process:
        printed = ""
        while "}" not in printed:
            printed += process.stdout.readline()
        end(process, signal.SIGINT)

    facts = json.loads(printed)
    assert facts["token"] == "mine"
    assert facts["base_url"].startswith("http://127.0.0.1:")
    assert facts["admin_url"].startswith("http://127.0.0.1:")


def test_the_sandbox_lists_its_switches(program):
    plain = program.run("sandbox", "--list-switches").stdout
    listed = json.loads(program.run("sandbox", "--list-switches", "--json").stdout)

    assert "fault = none\n" in plain
    assert {"name", "values", "default", "sentence"} == listed[0].keys()


def test_a_switch_that_is_none_is_wrong_usage(program):
    ended = program.run("sandbox", "--switch", "fualt=hang")

    assert ended.returncode == 2
    assert "did you mean fault?" in ended.stderr


def test_a_port_that_is_taken_is_told(program, sandbox):
    port = sandbox.base_url.split(":")[2].split("/")[0]

    ended = program.run("sandbox", "--port", port)

    assert ended.returncode == 2
    assert f"cannot listen on port {port} (Address already in use)" in ended.stderr


@pytest.mark.parametrize("name", [None, *main.commands])
def test_every_help_text_has_examples_of_commands_that_exist(program, name):
    shown = program.run(*([name] if name else []), "--help").stdout

    examples = re.split(r"Examples?:\n", shown)[1].strip().splitlines()
    assert examples
    for line in examples:
        words = shlex.split(line, comments=True)
        place = words.index("semysync") + 1
        command = main.commands[words[place]]
        if isinstance(command, click.Group):
            command = command.commands.get("".join(words[place + 1 : place + 2]), command)
        options = {option for p in command.params for option in p.opts}
        assert {word for word in words if word.startswith("--")} <= options
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_version_is_told(program):
    from semysync import __version__

    assert program.run("--version").stdout == f"semysync {__version__}\n"


def test_the_command_is_installed_under_its_name(program):
    script = sys.executable.rsplit("/", 1)[0] + "/semysync"

    ended = subprocess.run([script, "--version"], env=program.env, capture_output=True, check=True)

    assert ended.stdout.startswith(b"semysync ")
