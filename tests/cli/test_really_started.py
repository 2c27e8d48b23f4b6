"""
Each command in an interpreter that has loaded nothing yet.

Other tests fork a process that has loaded every command: what one of them forgets to import is seen
here alone, and in the types.
"""

from subprocess import Popen

import pytest
from processes import PATIENCE_S, TOKEN, Program, wait_until

from semysync.cli import FAMILIES
from semysync.sandbox import Sandbox

#: how each ends, and what it is given; what runs until it is ended is tried below
COMMANDS = {
    "sync": (0,),
    "send": (0, "+79201234567", "Hi", "--hold"),
    "outbox": (0,),
    "release": (0, "1"),
    "hold": (0, "1"),
    "cancel": (0, "1"),
    "retry": (0, "1"),
    "messages": (0,),
    "conversations": (0,),
    "search": (0, "hello"),
    "stats": (0,),
    "export": (0, "inbox"),
    "status": (0,),
    "doctor": (1,),  # no daemon runs
    "devices": (0,),
    "verify": (0,),
    "backup": (0, "--to", "copies"),
    "drill": (78,),  # there is no replica
    "takeover": (0,),
    "purge": (0,),
    "forget": (1, "+70000000000", "--yes"),
    "hooks": (0,),
    "help": (0, "sync"),
    "init": (0, "--replace", "--token-file", "token"),
}
LONG = {
    "demo": ("--keep", "--messages", "30"),
    "run": (),
    "sandbox": ("--port", "0"),
    "web": ("--port", "0"),
}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(messages=60, devices=2, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def program(tmp_path_factory, sandbox):
    program = Program(tmp_path_factory.mktemp("started"))
    program.configure(sandbox.base_url)
    program.mirror_here()
    (program.home / "token").write_text(TOKEN)
    (program.home / "token").chmod(0o600)
    return program


def test_every_command_is_tried():
    assert COMMANDS.keys() | LONG.keys() == {name for names in FAMILIES.values() for name in names}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_has_all_that_it_needs(program, sandbox, name):
    code, *args = COMMANDS[name]
    if name == "init":
        args += ["--base-url", sandbox.base_url]

    ended = program.run(name, *args, start=Popen)

    assert ended.returncode == code, ended.stderr


@pytest.mark.parametrize("name", LONG)
def test_what_runs_on_has_all_that_it_needs(program, name):
    with program.running(name, *LONG[name], start=Popen) as process:
        wait_until((process.stderr if name == "run" else process.stdout).readline, process)
        process.terminate()
        _, complained = process.communicate(timeout=PATIENCE_S)

    assert process.returncode in {0, -15}
    assert "Traceback" not in complained
