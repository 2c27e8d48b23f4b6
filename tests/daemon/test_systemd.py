"""What systemd is told, and what its units say: as far as it can be tried without it."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

import pytest
from needing import tool
from processes import PATIENCE_S, TOKEN, end, truth, wait_until

from semysync.cli import main
from semysync.cli.systemd_setup import commands
from semysync.daemon import loop as loop_module
from semysync.daemon.standing import sentence, standing
from semysync.daemon.systemd import Systemd
from semysync.errors import ConfigError

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"


class Manager:
    """
    The socket of a service manager, and what it was told so far.

    A thread hears it all the time: the system keeps ten words that nobody has heard, and no more.
    """

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._lock = Lock()
        self.told = []
        self._thread = Thread(target=self._listen)
        self._thread.start()

    def hear(self):
        """Return all that it was told up to now."""
        with self._lock, suppress(BlockingIOError):
            while word := self._socket.recv(4096, socket.MSG_DONTWAIT):
                self.told += word.decode().splitlines()
        return self.told

    def _listen(self):
        while self._socket.recv(1, socket.MSG_PEEK):  # nothing, once it is shut down
            self.hear()

    def close(self):
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def notified(tmp_path):
    """The variables that let a process speak to the manager."""
    return {"NOTIFY_SOCKET": str(tmp_path / "notify")}


# The protocol


@pytest.mark.parametrize("abstract", [False, True])
def test_it_speaks_to_a_socket_in_either_name_space(tmp_path, abstract):
    name = f"semysync-test-{os.getpid()}" if abstract else str(tmp_path / "socket")
    manager = Manager(f"\0{name}" if abstract else name)
    environ = {"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "3000000"}

    systemd = Systemd(environ)
    systemd.tell("READY=1", "STATUS=well")
    systemd.status("two\nlines are one")

    assert manager.hear() == ["READY=1", "STATUS=well", "STATUS=two lines are one"]
    assert systemd.watchdog_s == 3
    assert environ == {}  # what a hook starts must not speak for us
    systemd.close()
    manager.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/at/all"])
def test_a_manager_that_does_not_listen_is_no_failure(address):
    systemd = Systemd({"NOTIFY_SOCKET": address})

    systemd.tell("READY=1")

    systemd.close()


def test_a_manager_that_reads_nothing_does_not_hold_it_up(notified):
    systemd = Systemd(dict(notified))

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(notified["NOTIFY_SOCKET"])
        for _ in range(10_000):
            systemd.tell("WATCHDOG=1")

    systemd.close()


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "5000000"}, 5),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_it_feeds_a_watchdog_that_is_meant_for_it(variables, watchdog_s):
    systemd = Systemd(dict(variables))

    assert systemd.watchdog_s == watchdog_s

    systemd.close()


# The real process


def test_it_is_ready_when_the_service_has_answered(program, sandbox, manager, notified):
    asked, answer = Event(), Event()
    sandbox.before_call = lambda _: asked.set() or answer.wait(PATIENCE_S)
    with program.running("run", **notified) as process:
        wait_until(asked.is_set, process)
        assert "READY=1" not in manager.hear()

        answer.set()
        wait_until(lambda: "READY=1" in manager.hear(), process)

        assert end(process)[0] == 0
    assert manager.hear().count("READY=1") == 1
    assert manager.told[-1] == "STOPPING=1"
    assert manager.told[0] == "STATUS=opening the mirror"


@pytest.mark.parametrize("fault", ["hang", "html", "wrong_token"])
def test_it_is_ready_when_the_service_has_failed_to_answer(
    program, sandbox, manager, notified, fault
):
    program.configure(sandbox.base_url, api="timeout_s = 1")
    if fault == "wrong_token":
        program.configure(sandbox.base_url, token="0" * 32)
    else:
        sandbox.set(fault=fault)
    with program.running("run", **notified) as process:
        wait_until(lambda: sandbox.requests, process)

        wait_until(lambda: "READY=1" in manager.hear(), process)

        assert end(process)[0] == 0


def test_it_is_ready_long_before_a_first_load_has_ended(program, sandbox, manager, notified):
    sandbox.set(cap=5, delay_s=0.2)  # it takes six seconds at least
    with program.running("run", **notified) as process:
        wait_until(lambda: "READY=1" in manager.hear(), process)

        assert end(process)[0] == 0
    assert program.ask("select count(*) from inbox")[0][0] < len(truth(sandbox, "inbox"))


def test_it_is_never_ready_with_a_wrong_configuration(program, manager, notified):
    program.config.write_text("[pull]\ninbox_s = 0\n", encoding="utf-8")

    ended = program.run("run", **notified)

    assert ended.returncode == 78
    assert manager.hear() == []


def test_it_feeds_the_watchdog_and_says_how_it_is(program, manager, notified):
    with program.running("run", **notified, WATCHDOG_USEC="300000") as process:
        wait_until(lambda: manager.hear().count("WATCHDOG=1") >= 3, process)
        wait_until(lambda: any("inbox" in line for line in manager.hear()), process)

        assert end(process)[0] == 0
    assert not any(TOKEN in line for line in manager.hear())


def test_what_it_says_is_soon_renewed_until_all_is_well(program, sandbox, manager, notified):
    sandbox.set(cap=5, delay_s=0.05)
    with program.running("run", **notified, WATCHDOG_USEC="300000") as process:
        wait_until(lambda: any("loading" in line for line in manager.hear()), process)
        sandbox.set(cap=1000, delay_s=0)

        wait_until(lambda: any("STATUS=ok: inbox" in line for line in manager.hear()), process)

        assert end(process)[0] == 0


def test_it_feeds_the_watchdog_while_the_service_hangs(program, sandbox, manager, notified):
    sandbox.set(fault="hang")
    with program.running("run", **notified, WATCHDOG_USEC="300000") as process:
        wait_until(lambda: sandbox.requests, process)

        wait_until(lambda: manager.hear().count("WATCHDOG=1") >= 3, process)

        assert end(process)[0] == 0


def test_a_reload_is_told_and_ended_by_readiness(program, manager, notified):
    with program.running("run", **notified) as process:
        wait_until(lambda: "READY=1" in manager.hear(), process)

        process.send_signal(signal.SIGHUP)

        wait_until(lambda: manager.hear().count("READY=1") == 2, process)
        assert end(process)[0] == 0
    first, reloading = manager.told.index("READY=1"), manager.told.index("RELOADING=1")
    assert first < reloading < manager.told.index("READY=1", first + 1)
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", manager.told[reloading + 1])


def test_the_token_comes_from_the_credentials_and_is_seen_nowhere(program, sandbox, tmp_path):
    text = program.config.read_text(encoding="utf-8")
    program.config.write_text(text.replace(f'token = "{TOKEN}"\n', ""), encoding="utf-8")
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o500)
    (credentials / "token").write_text(f"{TOKEN}\n", encoding="utf-8")

    with program.running("run", CREDENTIALS_DIRECTORY=str(credentials)) as process:
        wait_until(lambda: sandbox.requests, process)
        seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
        code, logged = end(process)

    assert code == 0
    assert not any(TOKEN.encode() in text for text in seen)
    assert TOKEN not in logged


# How it stands, in a line


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (("ok", 3, 8, 0, {}), "ok: inbox read 3 s ago, sent read 8 s ago"),
        (("ok", 3, 8, 1, {}), "ok: inbox read 3 s ago, sent read 8 s ago; 1 draft waits"),
        (
            ("late", 900, None, 1200, {}),
            "late: inbox read 900 s ago, sent never read; see `semysync status`; 1,200 drafts wait",
        ),
        (
            ("late", None, None, 0, {"inbox": 12_000, "sent": 7}),
            "loading the history: 12,000 messages of inbox, 7 messages of sent so far",
        ),
    ],
)
def test_the_status_is_a_sentence(facts, said):
    assert sentence(*facts) == said


def test_a_mirror_that_is_not_there_is_said(tmp_path):
    said, is_well = standing(tmp_path / "none.db", {})

    assert "there is no mirror" in said
    assert not is_well


def test_a_view_that_somebody_has_dropped_is_said_and_ends_nothing(store):
    with store.transaction() as conn:
        conn.execute("drop view health")

    said, is_well = standing(store.path, {})

    assert said == "failing: no such table: health"
    assert not is_well


# The units


def units(pattern="*.service"):
    return sorted(path.name for path in UNITS.glob(pattern))


def analyze(*arguments):
    return subprocess.run(
        [tool("systemd-analyze"), *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def as_installed(tmp_path):
    """The units, with a program that is there."""
    there = tmp_path / "units"
    there.mkdir()
    for name in units("*.*"):
        text = (UNITS / name).read_text(encoding="utf-8")
        text = re.sub("/opt/semysync/bin/[a-z]+", sys.executable, text)
        (there / name).write_text(text, encoding="utf-8")
    return there


@pytest.mark.parametrize("name", [*units(), *units("*.timer")])
def test_systemd_finds_no_fault_with_a_unit(as_installed, name):
    found = analyze("verify", as_installed / name.replace("@.", "@shop."))

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_systemd_would_find_a_fault(as_installed):
    unit = as_installed / "semysync.service"
    unit.write_text(unit.read_text(encoding="utf-8") + "\n[Service]\nProtectHome=perhaps\n")

    found = analyze("verify", unit)

    assert "Failed to parse protect home value" in found.stderr


@pytest.mark.parametrize("name", units())
def test_the_sandbox_is_strict(name):
    found = analyze("security", "--offline=true", "--threshold=13", UNITS / name)

    assert found.returncode == 0, found.stdout[-500:]


@pytest.mark.parametrize(
    "kind", ["service", "backup.service", "backup.timer", "drill.service", "drill.timer"]
)
def test_the_units_for_several_accounts_differ_in_names_only(kind):
    stem, _, ending = kind.rpartition(".")
    name = f"semysync-{stem}" if stem else "semysync"

    def lines(unit):
        text = (UNITS / unit).read_text(encoding="utf-8")
        return [line for line in text.splitlines() if not line.startswith(("#", "Description="))]

    several = [
        line.replace("/%i.token", "/token").replace("/%i.toml", "/config.toml").removesuffix("/%i")
        for line in lines(f"{name}@.{ending}")
    ]
    assert several == lines(f"{name}.{ending}")


def test_a_stop_takes_less_time_than_systemd_gives():
    text = (UNITS / "semysync.service").read_text(encoding="utf-8")
    given = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])

    assert given > loop_module.ANSWER_S + 2 * loop_module.END_S + 10


# How they are installed


def test_the_page_has_the_commands_that_init_prints():
    page = (UNITS / "README.md").read_text(encoding="utf-8")

    assert commands(files=Path("/usr/local/src/semysync")) in page


def test_each_command_on_the_page_is_one():
    page = (UNITS / "README.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE))
    named = re.findall(r"^semysync (.*?) *(?:#.*)?$", lines, flags=re.MULTILINE)

    assert named
    for line in named:
        name, *arguments = line.split()
        main.commands[name].make_context(name, arguments)  # raises where it takes no such thing


@pytest.mark.parametrize("account", [None, "shop"])
def test_every_file_that_the_commands_name_is_there(account):
    lines = commands(account)
    named = re.findall(rf"{re.escape(str(ROOT))}\S*", lines)

    assert len(named) == 5
    for name in named:
        assert list(Path("/").glob(name.lstrip("/"))), name
    assert lines.count("shop") == (6 if account else 0)


@pytest.mark.parametrize("account", ["", "a b", "../x", "config", "-x", "a@b", "$(id)"])
def test_an_account_needs_a_name_that_a_unit_can_have(account):
    with pytest.raises(ConfigError, match="an account is named by letters"):
        commands(account)
