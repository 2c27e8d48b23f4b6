"""`doctor` through the real process: in order, and each thing broken in earnest."""

import json
import os
import sqlite3
from contextlib import closing

import pytest
from processes import TOKEN, Program, wait_until

from semysync.config import SYSTEM_CONFIG
from semysync.doctor import gather
from semysync.sandbox import Sandbox

KNOWN = ["config", "token", "service", "clock", "sqlite", "disk", "permissions", "database"]
LATER = ["time zone", "lag", "backup", "daemon"]


# The program on a machine where it is set up under systemd, in a folder of ours.
IN_ETC = """
from pathlib import Path
from semysync.config import reading, sections
reading.SYSTEM_CONFIG = sections.SYSTEM_CONFIG = Path("etc/config.toml").absolute()
from semysync.cli import main
main()
"""


@pytest.fixture
def sandbox():
    with Sandbox(messages=50, devices=2, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def synced(tmp_path, sandbox):
    program = Program(tmp_path)
    program.configure(sandbox.base_url)
    program.config.chmod(0o600)
    program.mirror_here()
    return program


def examine(program, *args, **env):
    """Run it; return its exit code, and what was found by the check."""
    ended = program.run("doctor", "--json", *args, PATH=no_systemd(program), **env)
    found = json.loads(ended.stdout)
    assert TOKEN not in ended.stdout + ended.stderr
    return ended.returncode, {check["check"]: check for check in found["checks"]}


def no_systemd(program):
    (program.home / "bin").mkdir(exist_ok=True)
    return str(program.home / "bin")


def change(program, statement):
    with closing(sqlite3.connect(program.mirror)) as conn, conn:
        conn.execute(statement)


def test_where_all_is_well_it_says_so(synced):
    code, found = examine(synced)
    shown = synced.run("doctor", PATH=no_systemd(synced)).stdout

    assert code == 0
    assert list(found) == [*KNOWN, *LATER]
    assert {check["state"] for check in found.values()} == {"ok", "note"}
    assert shown.endswith("\nNothing is wrong.\n")


def test_it_works_while_the_daemon_runs(synced):
    with synced.running("run") as process:
        wait_until(lambda: examine(synced)[1]["daemon"]["says"] == "running", process)
        assert examine(synced)[0] == 0


def test_without_anything_it_says_what_to_begin_with(tmp_path):
    program = Program(tmp_path)

    code, found = examine(program)

    assert code == 1
    assert found["config"]["says"] == "no file: everything is at its default"
    assert found["token"]["fix"] == "semysync init asks for it and keeps it safe"
    assert "there is no mirror at" in found["database"]["says"]
    assert "service" not in found


@pytest.mark.parametrize("named", ["token", "~/token"])
def test_the_file_of_the_token_is_found_as_every_command_finds_it(synced, sandbox, named):
    synced.config.write_text(f'[api]\ntoken_file = "{named}"\nbase_url = "{sandbox.base_url}"\n')
    (synced.config.parent / "token").write_text(TOKEN)
    (synced.config.parent / "token").chmod(0o644)

    ended = synced.run("doctor", PATH=no_systemd(synced), HOME=str(synced.config.parent))

    assert ended.returncode == 1
    assert f"chmod o= {synced.config.parent}/token" in ended.stdout


def test_a_token_that_is_refused_ends_it_with_69(synced, sandbox):
    synced.configure(sandbox.base_url, token="wrong-one")
    synced.config.chmod(0o600)

    code, found = examine(synced)

    assert code == 69
    assert found["token"]["state"] == "wrong"
    assert "database" in found


def test_without_a_network_the_rest_is_examined(synced, sandbox):
    sandbox.stop()

    code, found = examine(synced)

    assert code == 1
    assert found["service"]["state"] == "wrong"
    assert found["token"]["state"] == "note"
    assert found["database"]["state"] == "ok"


def test_a_service_that_is_sick_is_no_refusal(synced, sandbox):
    sandbox.set(fault="http_500")

    code, found = examine(synced)

    assert code == 1
    assert found["service"]["state"] == "wrong"


def test_a_configuration_with_mistakes_is_shown_with_all_of_them(synced):
    synced.config.write_text("[pull]\ninbox = 3\n[send]\nbatch = 900\n")

    code, found = examine(synced)

    assert code == 1
    assert "did you mean `inbox_s`" in found["config"]["says"]
    assert "batch = 900" in found["config"]["says"]
    assert found["database"]["state"] == "ok"
    lines = synced.run("doctor").stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if "batch = 900" in line)
    assert lines[at].startswith(" " * 20)  # below what it belongs to


def test_with_mistakes_the_mirror_is_looked_for_where_that_configuration_has_it(tmp_path):
    program = Program(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.toml").write_text("[pull]\ninbox = 3\n")

    code, found = examine(program, code=IN_ETC)

    assert code == 1
    assert found["config"]["state"] == "wrong"
    assert found["database"]["state"] == "note"
    assert "there is no mirror at /var/lib/semysync/semysync.db; " in found["database"]["says"]


@pytest.mark.parametrize(
    ("done", "says"),
    [
        ("drop trigger outbox_new", "lacks the trigger outbox_new"),
        ("drop view health", "lacks the view health"),
        ("drop table conflicts", "lost the table conflicts"),
    ],
)
def test_what_others_dropped_is_found(synced, done, says):
    change(synced, done)

    ended = synced.run("doctor", PATH=no_systemd(synced))

    assert ended.returncode == 1
    assert says in ended.stdout


def test_a_mirror_that_is_yet_to_be_made_is_found(tmp_path, sandbox):
    program = Program(tmp_path)
    program.configure(sandbox.base_url)
    program.mirror.parent.mkdir(parents=True)

    code, found = examine(program)

    assert code == 1
    assert found["database"]["says"] == f"there is no mirror at {program.mirror} yet"
    assert "lag" not in found


def test_a_proxy_that_is_no_good_is_told_where_the_token_is_tried(synced):
    synced.configure("https://service.example/api/3/")
    synced.env["ALL_PROXY"] = "nonsense://x"

    found = examine(synced)[1]

    assert "cannot prepare a connection" in found["service"]["says"]
    assert found["token"]["state"] == "note"


def test_damage_is_found(synced):
    with closing(sqlite3.connect(synced.mirror)) as conn:
        conn.execute("pragma wal_checkpoint(truncate)")
        page = conn.execute("select rootpage from sqlite_master where name = 'inbox'").fetchone()[0]
    with synced.mirror.open("r+b") as raw:
        raw.seek((page - 1) * 4096)
        raw.write(b"\xff" * 4096)

    code, found = examine(synced)

    assert code == 1
    assert "damaged" in found["database"]["says"]


def test_a_mirror_that_all_may_read_is_found(synced):
    synced.mirror.chmod(0o644)

    code, found = examine(synced)

    assert code == 1
    assert found["permissions"]["fix"] == f"chmod 600 {synced.mirror}"


def test_a_mirror_that_we_may_not_open_is_explained(synced):
    synced.mirror.chmod(0o000)

    code, found = examine(synced)

    assert code == 1
    assert "you may not" in found["access"]["says"]
    assert "chmod u+rwX" in found["access"]["fix"]


@pytest.mark.parametrize("above", [0, 1], ids=["the mirror's", "one above"])
def test_a_folder_that_we_may_not_enter_is_explained(synced, above):
    folder = synced.mirror.parents[above]
    folder.chmod(0o000)

    code, found = examine(synced)

    assert code == 1
    assert found["access"]["says"].startswith(f"you may not enter {folder}, which belongs to ")
    assert found["access"]["fix"] == f"its mode is 0000, so run `chmod u+rwX {folder}`"


def test_a_wrong_zone_is_found(synced, sandbox):
    change(synced, "insert or replace into settings values ('utc_offset', '180')")
    synced.configure(sandbox.base_url, api='timezone = "+06:00"')
    synced.config.chmod(0o600)

    code, found = examine(synced)

    assert code == 1
    assert found["time zone"]["says"] == (
        "+06:00 is at UTC+06:00, the service's clock at UTC+03:00"
    )


def test_a_clock_that_is_wrong_is_found(tmp_path):
    from datetime import UTC, datetime, timedelta

    ahead = Sandbox(
        messages=5, devices=1, token=TOKEN, clock=lambda: datetime.now(UTC) - timedelta(hours=2)
    )
    with ahead:
        program = Program(tmp_path)
        program.configure(ahead.base_url)
        _, found = examine(program)

    assert found["clock"]["state"] == "wrong"
    assert "s ahead of the service's" in found["clock"]["says"]


SYSTEMCTL = """#!/bin/sh
[ "$1" = show ] || exit 3
echo "LoadState=loaded
UnitFileState={enabled}
ActiveState={active}
Result=success"
"""


@pytest.mark.parametrize(
    ("enabled", "active", "state"),
    [("enabled", "active", "ok"), ("disabled", "active", "wrong"), ("enabled", "failed", "wrong")],
)
def test_the_unit_is_what_systemctl_says(synced, enabled, active, state):
    fake = synced.home / "bin" / "systemctl"
    fake.parent.mkdir()
    fake.write_text(SYSTEMCTL.format(enabled=enabled, active=active))
    fake.chmod(0o755)

    assert examine(synced)[1]["unit"]["state"] == state


def test_an_account_of_several_has_a_unit_of_its_own(tmp_path, monkeypatch):
    fake = tmp_path / "systemctl"
    fake.write_text(SYSTEMCTL.format(enabled="enabled", active="active"))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert gather._unit(SYSTEM_CONFIG).name == "semysync.service"
    assert gather._unit(SYSTEM_CONFIG.with_name("shop.toml")).name == "semysync@shop.service"
    assert gather._unit(tmp_path / "shop.toml").name == "semysync.service"


def test_a_group_that_the_system_does_not_know_has_no_members():
    assert gather._members("4294967") == []


def test_a_systemctl_without_systemd_is_no_finding(synced):
    fake = synced.home / "bin" / "systemctl"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n")
    fake.chmod(0o755)

    code, found = examine(synced)

    assert code == 0
    assert "unit" not in found


def test_the_file_of_the_webhooks_secrets_is_looked_at(synced, sandbox):
    secrets = synced.config.with_name("webhooks")
    secrets.write_text("7d1f0c0d8a5b4c5e9f6a2b3c4d5e6f70\n")
    secrets.chmod(0o644)
    synced.configure(sandbox.base_url, rest="[http]\nwebhook_secrets_file = 'webhooks'\n")

    open_to_all = examine(synced)
    secrets.chmod(0o600)
    private = examine(synced)
    secrets.write_text("short\n")
    of_no_use = examine(synced)

    assert [code for code, _ in (open_to_all, private, of_no_use)] == [1, 0, 1]
    assert open_to_all[1]["webhooks"]["fix"] == f"chmod o= {secrets}"
    assert private[1]["webhooks"]["says"] == f"their secrets are in {secrets}"
    assert f"{secrets}, `webhook_secrets_file` in [http]: " in of_no_use[1]["webhooks"]["says"]
    assert "short" not in of_no_use[1]["webhooks"]["says"]


def test_it_changes_nothing(synced):
    def state():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
            for path in (synced.mirror, synced.config)
        }

    before = state()
    examine(synced)

    assert state() == before


@pytest.mark.parametrize(
    ("rest", "state"),
    [
        ("", "ok"),
        ("[http]\nwebhook_secrets = ['abcdefghijklmnop']\n", "wrong"),
        (
            "[[hook]]\nname = 'a'\non = ['draft.*']\nurl = 'https://x.example'\nsecret = 's'\n",
            "wrong",
        ),
    ],
)
def test_secrets_of_any_kind_are_to_be_kept(synced, rest, state):
    synced.config.write_text(f"[api]\nbase_url = 'http://127.0.0.1:1/'\n{rest}", encoding="utf-8")
    synced.config.chmod(0o644)

    assert examine(synced)[1]["config"]["state"] == state
