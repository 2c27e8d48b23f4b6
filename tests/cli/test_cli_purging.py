"""`semysync purge` as a person runs it, and a kill between a deletion and its record."""

import json
import signal
from datetime import UTC, datetime, timedelta

import pytest
from drafting import change
from processes import PATIENCE_S, end, wait_until

from semysync.mirror.lock import Lock, Right

QUICK = "requests_per_minute = 100000"
BOXES = ("inbox", "sent")


@pytest.fixture
def old(sandbox):
    """What is some forty days old in the account: ids of each box, of one day in any zone."""
    made = {box: [] for box in BOXES}
    account = sandbox.account
    device = min(account.devices)
    at = (datetime.now(UTC) - timedelta(days=40)).replace(hour=9, minute=0)
    account.remove("inbox", account.ids("inbox"))
    account.remove("sent", account.ids("sent"))
    for minute in range(12):
        when = at + timedelta(minutes=minute)
        made["inbox"].append(account.receive(f"+792000000{minute:02}", "Old", device, at=when))
        number = account.sent_elsewhere(f"+792000000{minute:02}", "Old", device, at=when)
        account.change("sent", number, is_send_to_phone=1, is_send=1, is_delivered=1)
        made["sent"].append(number)
    for hours in (30, 20, 1):
        account.receive(
            "+79209999999", "New", device, at=datetime.now(UTC) - timedelta(hours=hours)
        )
    return made


@pytest.fixture
def ready(program, sandbox, old):
    program.configure(sandbox.base_url, api=QUICK)
    program.mirror_here()
    return program


def purged(program, box):
    return [row[0] for row in program.ask(f"select id from {box} where purged_at is not null")]


def test_without_yes_it_shows_what_would_go_and_asks_nothing(ready, sandbox, old):
    asked = len(sandbox.requests)

    shown = ready.run("purge")

    assert shown.returncode == 0
    assert shown.stdout.splitlines()[2].split() == ["all", "12", "12"]
    assert "it is not 30 days old" in shown.stdout
    assert f'list_id="{old["sent"][0]}"' in shown.stdout
    assert "`semysync purge --yes` deletes 500 messages at most" in shown.stdout
    assert len(sandbox.requests) == asked


def test_json_tells_the_same(ready):
    facts = json.loads(ready.run("purge", "--json").stdout)

    assert [(day["inbox"], day["sent"]) for day in facts["goes"]] == [(12, 12)]
    assert [(one["box"], one["reason"], one["messages"]) for one in facts["stays"]] == [
        ("inbox", "young", 3)
    ]
    assert {one["box"]: sorted(one)[1:] for one in facts["asked"]} == {
        "inbox": ["date_end", "date_start", "device", "end_id", "start_id"],
        "sent": ["date_end", "date_start", "device", "list_id"],
    }
    assert facts["stopped"] is None


def test_yes_does_it_and_again_there_is_nothing_to_do(ready, sandbox, old):
    first = ready.run("purge", "--yes")
    second = json.loads(ready.run("purge", "--yes", "--json").stdout)

    assert first.returncode == 0
    assert first.stdout.split()[:2] == ["inbox", "12"]
    assert sandbox.account.ids("sent") == []
    assert len(sandbox.account.ids("inbox")) == 3
    assert {box: purged(ready, box) for box in BOXES} == old
    assert second["gone"] == {"inbox": 0, "sent": 0}
    assert "Nothing would go." in ready.run("purge").stdout


def test_no_more_goes_at_a_time_than_is_allowed(ready, sandbox):
    ready.configure(sandbox.base_url, api=QUICK, rest="[purge]\nmax_per_pass = 5")

    said = ready.run("purge", "--yes").stdout.splitlines()

    assert said[-1] == "as many as may go at a time: there may be more"
    assert sum(int(line.split()[1]) for line in said[:-1]) == 5


def test_of_many_days_the_first_are_shown_and_the_others_where_that_is_wished(ready):
    for number, (box, column) in enumerate((("inbox", "received_at"), ("sent", "created_at"))):
        change(
            ready,
            f"update {box} set {column} = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-' ||"
            f" ({90 - 20 * number} - (select count(*) from {box} b where b.id < {box}.id)) ||"
            " ' days') where text = 'Old'",
        )
    days = len(json.loads(ready.run("purge", "--json").stdout)["goes"])

    shown = ready.run("purge").stdout
    everything = ready.run("purge", "--all").stdout

    assert days > 20
    assert f"{days - 20} more days" in shown
    assert "more days" not in everything


def test_ctrl_c_says_what_becomes_of_it(ready, sandbox):
    sandbox.set(fault="hang", fault_methods="del_inbox_sms")

    with ready.running("purge", "--yes") as process:
        wait_until(lambda: any(call.method == "del_inbox_sms" for call in sandbox.requests))
        code, said = end(process, signal.SIGINT)

    assert code == 1
    assert said.endswith("stopped; what was asked for last is looked into by the next purge\n")


def test_what_was_kept_by_contact_is_told(ready, sandbox):
    ready.configure(sandbox.base_url, api=QUICK, rest='[purge]\nkeep = ["+7 920 000-00-03"]')

    shown = ready.run("purge").stdout

    assert "its contact is kept" in shown
    assert ready.run("purge", "--yes").stdout.split()[:2] == ["inbox", "11"]


def test_a_surprise_stops_it_until_a_person_begins_anew(ready, sandbox):
    sandbox.set(delete_says="nothing")

    stopped = ready.run("purge", "--yes")

    assert stopped.returncode == 1
    assert "the service says that 0 messages went, and 1 are gone" in stopped.stderr
    assert "Purging was stopped: the service says" in ready.run("purge").stdout
    sandbox.set(delete_says="gone")
    assert ready.run("purge", "--yes").returncode == 0
    assert "Purging was stopped" not in ready.run("purge").stdout


def test_a_lost_answer_is_looked_into_at_once(ready, sandbox, old):
    sandbox.order_fault("drop", when="after", method="del_outbox_sms")

    lost = ready.run("purge", "--yes")

    assert lost.returncode == 1  # the inbox was done before
    assert purged(ready, "sent") == old["sent"][:1]
    assert ready.ask("select state, gone from purges where box = 'sent'") == [("lost", 1)]
    assert ready.run("purge", "--yes").returncode == 0
    assert purged(ready, "sent") == old["sent"]


def test_a_backup_that_is_configured_and_never_made_holds_everything_back(ready, sandbox, tmp_path):
    rest = f'[backup]\npath = "{tmp_path / "copies"}"'
    ready.configure(sandbox.base_url, api=QUICK, rest=rest)

    shown, refused = ready.run("purge"), ready.run("purge", "--yes")
    made, done = ready.run("backup"), ready.run("purge", "--yes")

    assert "Nothing goes as things are: copies of the mirror belong into" in shown.stdout
    assert refused.returncode == 75
    assert "`semysync backup` makes one" in refused.stderr
    assert made.returncode == 0, made.stderr
    assert done.stdout.split()[:2] == ["inbox", "12"], done


def test_one_purge_at_a_time(ready):
    with Lock(ready.mirror, Right.PURGE):
        refused = ready.run("purge", "--yes")

    assert refused.returncode == 75
    assert "already at work" in refused.stderr


def test_it_works_beside_the_daemon(ready, sandbox, old):
    with Lock(ready.mirror, Right.SENDER):
        ended = ready.run("purge", "--yes")

    assert ended.returncode == 0
    assert purged(ready, "sent") == old["sent"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_between_deletion_and_record_is_settled_at_the_next_start(
    ready, sandbox, old, moment, nth
):
    deletes = []

    def kill(call):
        if call.method.startswith("del_"):
            deletes.append(call)
            if len(deletes) == nth:
                running.kill()
                running.wait()

    if moment == "before":
        sandbox.before_call = kill
    else:
        sandbox.after_call = kill
    with ready.running("purge", "--yes") as running:
        running.communicate(timeout=PATIENCE_S)

    assert running.returncode == -signal.SIGKILL
    (open_one,) = ready.ask("select ids from purges where ended_at is null")
    assert set(json.loads(open_one[0])) <= set(old["inbox"])
    assert not set(json.loads(open_one[0])) & set(purged(ready, "inbox"))

    sandbox.before_call = sandbox.after_call = None
    assert ready.run("purge", "--yes").returncode == 0
    assert {box: purged(ready, box) for box in BOXES} == old
    assert ready.ask("select count(*) from purges where ended_at is null") == [(0,)]
    states = [row[0] for row in ready.ask("select state from purges order by id")]
    assert states.count("lost") == 1
