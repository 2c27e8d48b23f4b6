"""`verify`: what it prints, how it ends, and that it goes on where it was cut off."""

import json
import random
import signal
from datetime import UTC, datetime, timedelta

import pytest
from drafting import change
from processes import end, no_further, wait_until

from semysync.model import Box


def spoil(program, sandbox):
    """Let one message be lacking, one differ and one vanish; return their ids in this order."""
    lacking, differing, vanished = sandbox.account.ids("inbox")[-30:-27]
    change(program, "delete from inbox where id = ?", lacking)
    sandbox.account.change("inbox", differing, msg="edited")
    sandbox.account.remove("inbox", [vanished])
    return lacking, differing, vanished


def test_where_nothing_differs_it_says_so_and_ends_with_0(synced):
    ended = synced.run("verify")

    assert ended.returncode == 0
    assert ended.stdout.splitlines()[0].split() == ["day", "box", "account", "mirror"]
    assert ended.stdout.splitlines()[-1] == "nothing differs"


def test_what_differs_is_shown_and_changes_nothing_until_it_is_to_be_repaired(synced, sandbox):
    lacking, differing, vanished = spoil(synced, sandbox)

    shown = synced.run("verify", "--all")
    repaired = synced.run("verify", "--all", "--repair")
    again = synced.run("verify", "--all")

    assert [run.returncode for run in (shown, repaired, again)] == [1, 0, 0]
    heading = ["day", "box", "account", "mirror", "lacking", "differing", "vanished", "left"]
    assert shown.stdout.splitlines()[0].split() == heading
    for number, what in ((lacking, "lacking"), (differing, "differing"), (vanished, "vanished")):
        assert f"  inbox {number}  " in shown.stdout
        assert any(
            f"inbox {number} " in line and line.endswith(f"{what}  repaired")
            for line in repaired.stdout.splitlines()
        )
    assert "`semysync verify --repair`" in shown.stdout
    assert "`semysync verify --repair`" not in repaired.stdout
    assert again.stdout.splitlines()[-1] == "nothing differs"
    assert synced.ask(f"select text from inbox where id = {differing}") == [("edited",)]
    assert synced.ask("select id from inbox where missing_since is not null") == [(vanished,)]
    assert synced.ask("select kind, data from events where kind = 'verify.found'") == [
        ("verify.found", '{"differing": 1, "lacking": 1, "vanished": 1, "left": 3}'),
        ("verify.found", '{"differing": 1, "lacking": 1, "vanished": 1, "left": 0}'),
    ]


def test_what_is_older_than_asked_for_is_one_line_and_many_days_are_months(synced, sandbox):
    for days in range(0, 80, 2):
        at = datetime.now(UTC) - timedelta(days=days)
        sandbox.account.receive("+79201234567", "late", at=at)
    for _ in range(2):  # from now on the account is asked as a whole, which has a mark of its own
        synced.mirror_here()

    few = synced.run("verify", "--days", "2").stdout.splitlines()
    many = synced.run("verify", "--days", "3000").stdout.splitlines()

    assert [line.split()[:2] for line in few if "earlier" in line] == [
        ["earlier", "inbox"],
        ["earlier", "sent"],
    ]
    assert {len(line.split()[0]) for line in many[1:-1]} == {len("2026-11")}


def test_of_many_differences_the_first_are_shown_and_the_rest_counted(synced, sandbox):
    sandbox.account.remove("inbox", sandbox.account.ids("inbox")[:60])

    shown = synced.run("verify", "--all").stdout.splitlines()

    assert len([line for line in shown if line.startswith("  inbox ")]) == 40
    assert "  … and 20 more: --json shows all, and so does the table verify_found" in shown


def test_an_empty_account_and_an_empty_mirror_agree(program, sandbox):
    for box in Box:
        sandbox.account.remove(box, sandbox.account.ids(box))
    program.configure(sandbox.base_url)
    program.mirror_here()

    assert program.run("verify", "--all").stdout == "nothing differs\n"


def test_no_text_and_no_number_is_printed(synced, sandbox):
    spoil(synced, sandbox)

    ended = synced.run("verify", "--all")

    assert "edited" not in ended.stdout
    assert "+7" not in ended.stdout


def test_as_json_everything_is_there(synced, sandbox):
    lacking, *_ = spoil(synced, sandbox)

    facts = json.loads(synced.run("verify", "--since", "2000-01-01", "--json").stdout)

    assert facts["since"] == "2000-01-01"
    assert (facts["left"], facts["unproven"]) == (3, [])
    assert {"lacking", "differing", "vanished"} == {one["what"] for one in facts["differences"]}
    assert lacking in [one["message_id"] for one in facts["differences"]]
    for box in Box:
        account = sum(day["account"] for day in facts["days"] if day["box"] == box)
        assert account == len(sandbox.account.ids(box))


@pytest.mark.parametrize(
    "options",
    [
        ("--days", "3", "--all"),
        ("--since", "2026-11-01", "--days", "1"),
        ("--days", "0"),
        ("--since", "soon"),
    ],
)
def test_what_makes_no_sense_is_a_mistake_in_usage(program, options):
    assert program.run("verify", *options).returncode == 2


def test_a_day_to_come_is_none_to_begin_with(program):
    ended = program.run("verify", "--since", "2999-12-31")

    assert ended.returncode == 2
    assert "--since: 2999-12-31 has not come yet" in ended.stderr


def test_a_day_that_has_come_here_and_not_yet_in_utc_is_today(synced):
    here = datetime.now(UTC) + timedelta(hours=23, minutes=59)

    ended = synced.run("verify", "--since", f"{here:%Y-%m-%d}", "--json", TZ="HERE-23:59")

    assert ended.returncode == 0
    assert json.loads(ended.stdout)["since"] == f"{datetime.now(UTC):%Y-%m-%d}"


def test_what_was_never_loaded_cannot_be_compared(program, sandbox):
    program.configure(sandbox.base_url)
    program.mirror_here()
    change(program, "delete from marks where box = 'sent'")

    ended = program.run("verify")

    assert ended.returncode == 1
    assert "not compared: sent of device" in ended.stderr
    assert "`semysync sync`" in ended.stderr


@pytest.mark.parametrize(
    ("switches", "code"),
    [({"token_refused": "yes"}, 69), ({"fault": "http_500"}, 75)],
    ids=["refused", "sick"],
)
def test_a_service_that_does_not_answer_is_told(synced, sandbox, switches, code):
    sandbox.set(**switches)

    ended = synced.run("verify")

    assert ended.returncode == code
    assert "inbox_sms" in ended.stderr


def test_ctrl_c_says_how_to_go_on(synced, sandbox):
    sandbox.set(cap=20)
    sandbox.order_fault("hang", nth=6)
    sandbox.requests.clear()
    with synced.running("verify", "--all") as process:
        wait_until(lambda: len(sandbox.requests) == 6, process)
        code, said = end(process, signal.SIGINT)

    assert code == 1
    assert "goes on where it was" in said
    facts = json.loads(synced.run("verify", "--all", "--json").stdout)
    assert facts["resumed"] is True
    assert facts["left"] == 0


@pytest.mark.parametrize("repair", [(), ("--repair",)], ids=["", "repair"])
def test_a_run_that_is_killed_again_and_again_says_the_same_in_the_end(synced, sandbox, repair):
    chance = random.Random(5)
    sandbox.set(cap=6, delay_s=0.005)
    expected = set(spoil(synced, sandbox))
    for _ in range(6):
        with (
            no_further(sandbox, chance.randint(2, 8)) as is_there,
            synced.running("verify", "--all", *repair) as process,
        ):
            wait_until(is_there, process)
            process.kill()
            assert process.wait() == -signal.SIGKILL

    facts = json.loads(synced.run("verify", "--all", "--json", *repair).stdout)

    assert facts["resumed"] is True
    assert {one["message_id"] for one in facts["differences"]} == expected
    assert facts["left"] == (0 if repair else 3)
    for box in Box:
        account = sum(day["account"] for day in facts["days"] if day["box"] == box)
        assert account == len(sandbox.account.ids(box))
