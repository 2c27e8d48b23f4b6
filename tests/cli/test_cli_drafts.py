"""`outbox`, `cancel`, `hold`, `release` and `retry` through the real process."""

import json
import re

import pytest
from drafting import (
    NOW,
    PHONE,
    accept,
    change,
    claim,
    draft,
    expire,
    lose,
    refuse,
    reject,
    report,
    status_of,
    step,
)
from rich.cells import cell_len
from test_cli_reading import NASTY
from typist import on_terminal

from semysync.cli.drafts import NAMED
from semysync.mirror.lock import Lock, Right
from semysync.mirror.outbox.drafts import WHY
from semysync.mirror.store import Store


@pytest.fixture
def here(program):
    """The program with an empty mirror, and no configuration at all."""
    Store.migrate(program.mirror).close()
    return program


def one_of_each(program):
    """A draft in every status; return their ids by status."""
    device(program)
    ids = {
        status: draft(program, text=f"is {status}")
        for status in (
            *("delivered", "failed", "sent", "cancelled", "rejected", "expired"),
            *("accepted", "on_phone", "unknown", "sending", "cancelling", "queued", "held"),
        )
    }
    for status, *flags in (
        ("delivered", "is_delivered"),
        ("failed", "is_error_send"),
        ("sent", "is_send"),
        ("on_phone", "is_send_to_phone"),
        ("accepted",),
        ("cancelling",),
    ):
        accept(program, ids[status], 900 + ids[status])
        for flag in flags:
            report(program, 900 + ids[status], flag)
    wish(program, ids["cancelled"], "cancelling")
    wish(program, ids["cancelling"], "cancelling")
    wish(program, ids["held"], "held")
    reject(program, ids["rejected"])
    expire(program, ids["expired"])
    lose(program, ids["unknown"])
    claim(program, ids["sending"])
    assert {status_of(program, id_): id_ for id_ in ids.values()} == ids
    return ids


def wish(program, id_, status):
    change(program, "update outbox set status = ? where id = ?", status, id_)


def device(program, id_=351):
    change(
        program,
        f"""insert into devices (id, name, channel, archived, service_on, first_seen_at,
                                 mirrored_at, last_active_at)
            values (?, 'A12', 'sms', 0, 1, {NOW}, {NOW}, {NOW})""",
        id_,
    )


# Looking.


def test_an_empty_outbox_says_so(here):
    assert here.run("outbox").stdout == "No drafts.\n"
    assert json.loads(here.run("outbox", "--json").stdout) == []


def test_outbox_shows_what_waits_and_then_what_was_finished(here):
    ids = one_of_each(here)

    lines = here.run("outbox").stdout.splitlines()
    shown = [line.split()[1] for line in lines[1:]]

    assert lines[0].split() == ["id", "status", "when", "(UTC)", "to", "note", "text"]
    assert sorted(shown) == sorted(ids)
    assert shown[:5] == ["accepted", "on_phone", "unknown", "sending", "cancelling"]
    assert shown[5:7] == ["queued", "held"]


def test_each_draft_says_what_it_waits_for_or_why_it_failed(here):
    one_of_each(here)

    notes = {row["status"]: row["note"] for row in json.loads(here.run("outbox", "--json").stdout)}

    assert notes == {
        "accepted": "waits for the phone to fetch it",
        "on_phone": "waits for the phone to send it",
        "unknown": "the answer was lost",
        "sending": "waits for the answer of the service",
        "cancelling": "waits for the service to cancel it",
        "queued": "waits for its turn",
        "held": "waits for `semysync release 13`",
        "sent": "",
        "delivered": "",
        "failed": "the phone or the network could not send it",
        "cancelled": "",
        "rejected": "the service does not know this device",
        "expired": "its time passed before it went out",
    }


def test_a_draft_of_which_the_account_shows_nothing_yet_waits_for_that(here):
    id_ = draft(here)
    claim(here, id_)
    step(here, id_, "status = 'accepted', sent_id = 77")

    assert "waits for the account to show it" in here.run("outbox").stdout


def test_a_queued_draft_says_why_it_does_not_go_yet(here):
    later = draft(here, send_at="2099-11-24T09:00Z")
    tried = draft(here)
    refuse(here, tried, "the service is busy")
    step(here, tried, "next_attempt_at = '2099-11-24T09:00:05.000000Z'")
    wished = draft(here)
    lose(here, wished)
    wish(here, wished, "cancelling")
    plain = draft(here)

    def notes():
        rows = json.loads(here.run("outbox", "--json", TZ="Asia/Tokyo").stdout)
        return {row["id"]: row["note"] for row in rows}

    assert notes() == {
        later: "not before 2099-11-24 18:00",
        tried: "again at 2099-11-24 18:00:05: the service is busy",
        wished: "to be cancelled; the answer was lost",
        plain: "waits for its turn",
    }
    change(here, "insert into settings values ('sending_blocked', 'the plan is over')")
    assert notes()[plain] == "nothing can be sent: the plan is over"


def test_in_quiet_hours_a_draft_without_a_priority_says_when_it_goes(here):
    change(here, "insert into settings values ('quiet_until', '2099-11-24T05:00:00.000000Z')")
    draft(here)
    draft(here, priority=1)

    def notes():
        rows = json.loads(here.run("outbox", "--json", TZ="Asia/Tokyo").stdout)
        assert not any("quiet_until" in row for row in rows)
        return {row["priority"]: row["note"] for row in rows}

    assert notes() == {
        1: "waits for its turn",
        0: "quiet hours, not before 2099-11-24 14:00",
    }
    change(here, "update settings set value = '2026-01-01T05:00:00.000000Z'")  # they have ended
    assert notes()[0] == "waits for its turn"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("archived", 1, "its device is archived"),
        ("service_on", 0, "the service is switched off in the app"),
        ("last_active_at", "2020-01-01T00:00:00.000000Z", "its device is out of reach"),
        ("missing_since", "2020-01-01T00:00:00.000000Z", "its device is gone from the account"),
    ],
)
def test_a_message_that_a_phone_does_not_fetch_says_why(here, column, value, reason):
    device(here)
    accept(here, draft(here), 901)
    change(here, f"update devices set {column} = ?", value)

    assert json.loads(here.run("outbox", "--json").stdout)[0]["note"] == reason


def test_by_an_unknown_clock_no_phone_is_called_out_of_reach_that_may_be_in_touch(here):
    device(here)
    accept(here, draft(here), 901)
    change(
        here,
        "update devices set utc_offset = null,"
        " last_active_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-14 hours')",
    )

    def note():
        return json.loads(here.run("outbox", "--json").stdout)[0]["note"]

    assert note() == WHY["accepted"]
    change(here, "update devices set utc_offset = 0")
    assert note() == "its device is out of reach"
    change(here, "update devices set last_active_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')")
    assert note() == WHY["accepted"]
    change(here, "insert into device_states (device_id, offline_since) values (351, '2026')")
    assert note() == "its device is out of reach"


def test_the_queue_is_shown_in_the_order_in_which_it_goes(here):
    for priority in (0, 5, 0, 9):
        draft(here, priority=priority)

    rows = json.loads(here.run("outbox", "--json").stdout)

    assert [row["id"] for row in rows] == [4, 2, 1, 3]


def test_of_the_finished_the_last_are_shown_and_the_others_when_wished(here):
    for _ in range(14):
        wish(here, draft(here), "cancelling")
    waits = draft(here)

    def ids(*args):
        return [row["id"] for row in json.loads(here.run("outbox", "--json", *args).stdout)]

    assert ids() == [waits, *range(14, 4, -1)]
    assert ids("-n", "2") == [waits, 14, 13]
    assert ids("--all") == [waits, *range(14, 0, -1)]
    assert ids("--status", "cancelled", "-n", "1") == [14]
    assert ids("--status", "queued", "--status", "held") == [waits]
    assert ids("--status", "unknown") == []


def test_a_finished_draft_moves_up_when_a_late_report_changes_it(here):
    for number in (1, 2):
        accept(here, draft(here), 900 + number)
    report(here, 902, "is_delivered")
    report(here, 901, "is_delivered")

    rows = json.loads(here.run("outbox", "--json").stdout)

    assert [row["id"] for row in rows] == [1, 2]


def test_times_are_local_and_the_zone_is_named(here):
    draft(here)

    lines = here.run("outbox", TZ="Asia/Tokyo").stdout.splitlines()

    assert "when (JST)" in lines[0]
    utc = here.ask("select strftime('%Y-%m-%d %H:%M', created_at, '+9 hours') from outbox")[0][0]
    assert utc in lines[1]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_terminal_and_cannot_command_it(here, columns):
    one_of_each(here)
    for text in (NASTY, "谢谢您的订单 " * 40, "Long " * 100):
        draft(here, text=text)
    reject(here, draft(here, phone="+380 50 123-45-67"), NASTY + "订单 " * 80)

    shown = on_terminal(here, "outbox", columns=columns, NO_COLOR="1")

    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    table = plain.split("semysync:")[0]
    assert max(map(cell_len, table.splitlines())) <= columns
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in plain.replace("\n", ""))
    assert "\u202e" not in plain
    assert "+380 50 123-45-67" in plain


def test_on_a_terminal_what_a_draft_waits_for_stands_below_it(here):
    draft(here, text="First", send_at="2099-11-24T09:00Z")
    draft(here, text="Second")
    wish(here, draft(here, text="Third"), "cancelling")

    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(here, "outbox")).splitlines()

    assert [line.strip() for line in shown[1:6]] == [
        shown[1].strip(),
        "not before 2099-11-24 09:00",
        shown[3].strip(),
        "",
        shown[5].strip(),
    ]
    assert [shown[i].split()[-1] for i in (1, 3, 5)] == ["First", "Second", "Third"]


def test_who_waits_is_told_that_no_daemon_runs(here):
    draft(here, status="held")
    assert here.run("outbox").stderr == ""

    draft(here)

    assert "no daemon runs" in here.run("outbox").stderr
    with Lock(here.mirror, Right.SENDER):
        assert here.run("outbox").stderr == ""


def test_an_old_lock_file_is_no_daemon(here):
    with Lock(here.mirror, Right.SENDER):
        pass
    draft(here)

    assert "no daemon runs" in here.run("outbox").stderr


def test_bytes_that_are_no_text_do_not_hide_the_others(here):
    change(here, f"insert into outbox (phone, text) values ('{PHONE}', cast(x'68ff69' as text))")

    assert "h\ufffdi" in here.run("outbox").stdout


# Acting.


def test_cancel_ends_what_waits_and_notes_the_wish_for_what_is_on_its_way(here):
    ids = one_of_each(here)

    ended = here.run(
        "cancel", *(ids[s] for s in ("queued", "held", "sending", "unknown", "accepted"))
    )

    assert ended.returncode == 0
    late = "it will be cancelled as soon as may be, if it is not too late."
    assert ended.stdout.splitlines() == [
        f"Draft {ids['queued']} is cancelled.",
        f"Draft {ids['held']} is cancelled.",
        f"Draft {ids['sending']} is sending: {late}",
        f"Draft {ids['unknown']} is unknown: {late}",
        f"Draft {ids['accepted']} is cancelling: {late}",
    ]
    assert "no daemon runs" in ended.stderr
    wished = here.ask("select id from outbox where cancel_wanted_at is not null order by id")
    assert {ids["sending"], ids["unknown"], ids["accepted"]} <= {id_ for (id_,) in wished}


def test_cancel_says_for_what_it_is_too_late(here):
    ids = one_of_each(here)

    ended = here.run("cancel", ids["on_phone"], ids["delivered"], ids["cancelled"], 77)

    assert ended.returncode == 1
    assert ended.stdout == f"Draft {ids['cancelled']} is cancelled already.\n"
    assert ended.stderr.splitlines() == [
        f"semysync: draft {ids['on_phone']} is on_phone: it is too late to cancel it",
        f"semysync: draft {ids['delivered']} is delivered: it is too late to cancel it",
        "semysync: draft 77 is not in the outbox",
    ]


def test_what_is_on_its_way_or_finished_is_neither_held_nor_released(here):
    ids = one_of_each(here)

    for status in ("sending", "on_phone", "delivered"):
        held, released = here.run("hold", ids[status]), here.run("release", ids[status])

        assert (held.returncode, released.returncode) == (1, 1)
        assert held.stderr == (
            f"semysync: draft {ids[status]} is {status}: only one that is queued can be held\n"
        )
        assert released.stderr == f"semysync: draft {ids[status]} is {status}, not held\n"


def test_drafts_are_held_and_released(here):
    first, second = draft(here), draft(here)

    held = here.run("hold", first, second, first)
    again = here.run("hold", first)
    released = here.run("release", first)

    assert (held.returncode, held.stderr) == (0, "")
    assert held.stdout == f"Draft {first} is held.\nDraft {second} is held.\n"
    assert (again.returncode, again.stdout) == (0, f"Draft {first} is held already.\n")
    assert (released.returncode, released.stdout) == (0, f"Draft {first} is queued.\n")
    assert (status_of(here, first), status_of(here, second)) == ("queued", "held")


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("hold", {"queued", "held"}),
        ("release", {"queued", "held"}),
        ("retry", {"held", "sent", "delivered", "failed", "cancelled", "rejected", "expired"}),
    ],
)
def test_what_is_allowed_in_each_status(here, command, allowed):
    """Above all nothing that was sent, or may have been, is queued again by a wrong word."""
    ids = one_of_each(here)

    outcomes = json.loads(here.run(command, *ids.values(), "--json").stdout)

    done = {o["id"] for o in outcomes if o["done"]}
    assert done == {ids[status] for status in allowed}
    moved = {"hold": {"queued": "held"}, "release": {"held": "queued"}, "retry": {}}[command]
    for status, id_ in ids.items():
        assert status_of(here, id_) == moved.get(status, status)
    assert all(o["sentence"] for o in outcomes)


def test_release_all_asks_before(here):
    change(
        here,
        """with recursive n (i) as (select 1 union all select i + 1 from n where i < 1200)
           insert into outbox (phone, text, status) select '900', 'Hello ' || i, 'held' from n""",
    )
    lost = draft(here)
    lose(here, lost)

    alone = here.run("release", "--all")
    ended = here.run("release", "--all", "--yes")

    assert alone.returncode == 2
    assert "Release 1,200 held drafts: nobody can be asked here, so say --yes" in alone.stderr
    assert (ended.returncode, ended.stdout) == (0, "Released 1,200 held drafts.\n")
    assert here.ask("select status, count(*) from outbox group by 1") == [
        ("queued", 1200),
        ("unknown", 1),
    ]
    assert json.loads(here.run("release", "--all", "--json").stdout) == {"released": 0}


def test_retry_inserts_a_copy_with_a_new_id_and_no_key(here):
    failed = draft(
        here, text="Again", device="351", priority=3, client_key="k", expires_at="2099-01-01T00:00Z"
    )
    reject(here, failed)

    ended = here.run("retry", failed)

    assert ended.returncode == 0
    assert ended.stdout == f"Draft {failed} goes out again as draft {failed + 1}.\n"
    columns = "text, device, priority, client_key, expires_at, status, attempts, sent_id, error"
    assert here.ask(f"select {columns} from outbox where id = {failed + 1}") == [
        ("Again", "351", 3, None, "2099-01-01T00:00:00.000000Z", "queued", 0, None, None)
    ]


def test_retry_leaves_out_times_that_have_passed(here):
    old = draft(here, send_at="2020-01-01T00:00Z", expires_at="2020-01-02T00:00Z")
    expire(here, old)

    here.run("retry", old)

    assert here.ask("select send_at, expires_at from outbox where id = 2") == [(None, None)]


def test_retry_of_a_held_draft_leaves_it_held(here):
    held = draft(here, status="held")

    ended = here.run("retry", held)

    assert ended.stdout == "Draft 1 goes out again as draft 2; draft 1 itself stays held.\n"
    assert (status_of(here, 1), status_of(here, 2)) == ("held", "queued")


def test_retry_of_what_may_have_gone_out_wants_a_yes(here):
    lost = draft(here)
    lose(here, lost)

    asked = here.run("retry", lost)

    assert asked.returncode == 1
    assert "draft 1 may go out twice, since its answer was lost" in asked.stderr
    assert status_of(here, lost) == "unknown"

    ended = here.run("retry", lost, "--yes")

    assert ended.returncode == 0
    assert ended.stdout == "Draft 1 is queued again: it may go out for the second time.\n"
    assert here.ask("select id, status from outbox") == [(1, "queued")]


@pytest.mark.parametrize("command", ["cancel", "hold", "release", "retry"])
def test_a_draft_that_is_not_there_is_told(here, command):
    ended = here.run(command, "999")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "semysync: draft 999 is not in the outbox\n"


@pytest.mark.parametrize(
    ("command", "status", "event"),
    [("hold", "queued", "update of status"), ("retry", "held", "insert")],
)
def test_what_a_rule_of_somebody_s_own_forbids_is_told_in_its_words(here, command, status, event):
    id_ = draft(here)
    wish(here, id_, status)
    change(
        here,
        f"create trigger theirs before {event} on outbox"
        " begin select raise(abort, 'not on a Sunday'); end",
    )

    ended = here.run(command, id_)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"semysync: draft {id_} not on a Sunday\n"
    assert status_of(here, id_) == status


@pytest.mark.parametrize(
    "args",
    [
        ("cancel",), ("hold",), ("release",), ("retry",), ("cancel", "seven"), ("hold", "0"),
        ("cancel", 2**63), ("release", "1", "--all"), ("cancel", "1", "--device", "351"),
        ("outbox", "--status", "lost"), ("outbox", "-n", "-1"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2(here, args):
    assert here.run(*args).returncode == 2


# All that waits at a device.


@pytest.fixture
def phones():
    return 3


@pytest.fixture
def account(program, sandbox):
    """A mirrored account whose phones do nothing, with messages that wait at two of them."""
    sandbox.set(phone_speed=0)
    program.configure(sandbox.base_url)
    first, second, _ = sandbox.account.devices
    account = sandbox.account
    program.first, program.second = first, second
    program.waiting = [account.sent_elsewhere(PHONE, f"m{i}", first) for i in range(120)]
    program.others = [account.sent_elsewhere(PHONE, "other", second) for _ in range(3)]
    program.mirror_here()
    return program


def cancelled(program):
    """How many of the messages that were waiting are cancelled in the mirror."""
    ids = ", ".join(map(str, program.waiting))
    return program.ask(f"select count(*) from sent where status = 'cancelled' and id in ({ids})")[
        0
    ][0]


def is_cancelled(sandbox, ids):
    return [bool(sandbox.account.row("sent", id_)["is_cancel"]) for id_ in ids]


def test_all_that_waits_at_a_device_is_cancelled_and_counted(account, sandbox):
    sandbox.requests.clear()

    ended = account.run("cancel", "--device", account.first, "--yes")

    name = account.ask(f"select coalesce(label, name) from devices where id = {account.first}")
    assert ended.returncode == 0
    assert ended.stdout.startswith(
        f"Cancelled 120 messages of device {account.first} ({name[0][0]}, "
    )
    assert all(is_cancelled(sandbox, account.waiting))
    assert not any(is_cancelled(sandbox, account.others))
    assert cancelled(account) == 120
    asked = [request.method for request in sandbox.requests]
    assert asked == ["cancel_sms", "outbox_sms", "outbox_sms", "outbox_sms"]


def test_what_was_too_late_is_told(account, sandbox):
    late = account.waiting[:2]
    for id_ in late:
        sandbox.account.change("sent", id_, is_send_to_phone=1, is_cancel=0)
    change(
        account,
        "insert into outbox (phone, text, device) values ('900', 'x', ?)",
        str(account.first),
    )

    ended = account.run("cancel", "--device", account.first, "--yes")
    facts = json.loads(account.run("cancel", "--device", account.first, "--yes", "--json").stdout)

    assert ended.returncode == 1
    assert "Cancelled 118 messages of device" in ended.stdout
    assert f"too late  message {late[0]} is on_phone\n" in ended.stdout
    assert "1 draft for it still waits in the outbox" in ended.stdout
    assert facts["cancelled"] == []
    assert [row["id"] for row in facts["too_late"]] == late


def test_of_many_that_were_too_late_or_still_wait_some_are_named(account, sandbox):
    for id_ in account.waiting[: NAMED + 2]:
        sandbox.account.change("sent", id_, is_send_to_phone=1, is_cancel=0)
    sandbox.order_fault("api_error", method="cancel_sms")

    ended = account.run("cancel", "--device", account.first, "--yes")

    assert ended.returncode == 69
    said = ended.stdout.splitlines()
    assert len([line for line in said if line.endswith("is on_phone")]) == NAMED
    assert "too late  2 more" in said
    assert f"waiting   {len(account.waiting) - NAMED - 2} messages not cancelled: " in said[-1]
    assert said[-1].endswith(" …")


def test_nobody_to_ask_and_no_yes_cancels_nothing(account, sandbox):
    ended = account.run("cancel", "--device", account.first)

    assert ended.returncode == 2
    assert f"Cancel all that device {account.first} (" in ended.stderr
    assert "say --yes" in ended.stderr
    assert not any(is_cancelled(sandbox, account.waiting))


def test_a_device_that_the_mirror_does_not_know_is_wrong_usage(account, sandbox):
    sandbox.requests.clear()

    ended = account.run("cancel", "--device", "999999", "--yes")

    assert ended.returncode == 2
    assert "the mirror knows no device 999999: `semysync devices` lists them" in ended.stderr
    assert not sandbox.requests


@pytest.mark.parametrize(
    ("fault", "code", "count"),
    [("http_500", 1, 120), ("http_429", 75, 0), ("http_403", 69, 0)],
)
def test_only_the_rows_tell_what_was_cancelled(account, sandbox, fault, code, count):
    if fault == "http_403":
        sandbox.set(wrong_token="http_403")
        account.configure(sandbox.base_url, token="another")
    else:
        sandbox.set(fault=fault, fault_methods="cancel_sms", fault_when="after")

    ended = account.run("cancel", "--device", account.first, "--yes")

    assert ended.returncode == code
    assert cancelled(account) == count
    if count:
        assert "the service did not confirm it" in ended.stderr


def test_a_token_is_needed_for_a_device_only(account):
    account.configure("http://127.0.0.1:1/", token="")

    ended = account.run("cancel", "--device", account.first, "--yes")

    assert ended.returncode == 78
    assert "token" in ended.stderr


def test_a_draft_follows_the_message_that_was_cancelled(account, sandbox):
    message_id = account.waiting[0]
    claim(account, draft(account))
    step(account, 1, "status = 'accepted', sent_id = ?", message_id)

    account.run("cancel", "--device", account.first, "--yes")

    assert status_of(account, 1) == "cancelled"
