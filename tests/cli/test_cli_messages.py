"""`messages`, `search` and `conversations` through the real process."""

import json
import shutil
import signal
import sys

import pytest
from drafting import change
from processes import PATIENCE_S, end
from typist import on_terminal

import semysync.cli.messages  # noqa: F401  of which the command has the same name
from semysync.errors import MirrorUnusable

following = sys.modules["semysync.cli.messages"]


def ids(program, *command):
    return [row["id"] for row in json.loads(program.run(*command, "--json").stdout)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--contact", "+7 920 123-45-67"), [1, 10]),
        (("--device", "351"), [1, 2, 3]),
        (("--direction", "out"), [10, 11]),
        (("--channel", "whatsapp"), [10, 11]),
        (("--status", "failed"), [11]),
        (("--status", "received"), [1, 2, 3]),
        (("--since", "2026-11-21"), [2, 11, 3]),
        (("--until", "2026-11-20T08:30Z"), [1]),
        (("--since", "2026-11-20T08:30Z", "--until", "2026-11-21"), [10]),
        (("--text", "ORDER"), [2, 11, 3]),
        (("--text", "ЗАКАЗ", "--direction", "in"), [1]),
        (("--text", "😀"), [2]),
        (("--contact", "nobody"), []),
    ],
)
def test_messages_can_be_narrowed_in_every_way(talk, options, expected):
    assert ids(talk, "messages", *options) == expected


@pytest.mark.parametrize("command", [("messages", "--text", "ORDER"), ("search", "😀")])
def test_a_draft_that_holds_no_text_hides_no_message(talk, command):
    change(
        talk,
        "insert into outbox (phone, text) values (?, cast(x'6f72646572f09f9880cf' as text))",
        "+79201234567",
    )

    assert {2, 11} & set(ids(talk, *command))


@pytest.mark.parametrize("command", [("messages",), ("search", "order"), ("export",)])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--device", "99999999999999999999"),  # more than SQLite can have
        ("--contact", " "),  # as of a variable that is not set: never all messages
        ("--since", ""),
        ("--until", ""),
    ],
)
def test_what_can_narrow_nothing_is_a_mistake_in_usage(talk, command, option, value):
    ended = talk.run(*command, option, value)

    assert ended.returncode == 2
    assert option in ended.stderr
    assert ended.stdout == ""


def test_a_national_number_means_the_contact_that_the_region_makes_of_it(talk):
    change(talk, "insert into settings values ('region', 'RU')")

    assert ids(talk, "messages", "--contact", "8 920 123-45-67") == [1, 10]
    assert set(ids(talk, "search", "заказ", "--contact", "89201234567")) == {1, 10}
    lines = talk.run("export", "--contact", "89201234567", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(line)["id"] for line in lines} == {1, 10}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["order"], {2, 3, 11}),
        (["order", "ready"], {2, 11}),
        (["ЗАКАЗ"], {1, 10}),
        (["зак*"], {1, 10}),
        (["ord*"], {2, 3, 11}),
        (['"order is"'], {11}),
        (["order", "-ready"], {3}),
        (["-hello", "-number", "order", "more"], {3}),
        (["😀"], {2}),
        (["order", "😀"], {2}),
        (["order", "--direction", "out"], {11}),
        (["order", "--contact", "Beeline"], {3}),
        (["order", "--since", "2026-11-22"], {3}),
    ],
)
def test_a_search_finds_words_phrases_beginnings_and_emoji(talk, typed, expected):
    assert set(ids(talk, "search", *typed)) == expected


def test_the_better_hit_comes_first_unless_the_newest_is_wanted(talk):
    change(talk, "update inbox set text = 'order order' where id = 2")

    assert ids(talk, "search", "order")[0] == 2
    assert ids(talk, "search", "order", "--newest") == [3, 11, 2]


def test_a_search_without_a_hit_ends_with_1(talk):
    ended = talk.run("search", "xyzzy")

    assert (ended.returncode, ended.stdout) == (1, "Nothing found.\n")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("search", ""), "name what to look for"),
        (("search", "-order"), "beside what is excluded"),
        (("messages", "--since", "soon"), "--since: 'soon' is no time such as 2026-11-24"),
        (("messages", "--until", "2026-02-30"), "--until: '2026-02-30' is no time"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(talk, command, says):
    ended = talk.run(*command)

    assert ended.returncode == 2
    assert says in ended.stderr


def test_what_was_found_is_highlighted_on_a_terminal_only(talk):
    shown = on_terminal(talk, "search", "order", "--contact", "Beeline", TERM="xterm-256color")

    assert "\x1b[1;7morder\x1b[0m more" in shown
    assert "\x1b" not in talk.run("search", "order").stdout
    assert "\x1b[1;7m" not in on_terminal(talk, "search", "order", NO_COLOR="1", TERM="dumb")


def test_times_are_local_and_one_of_an_unknown_zone_is_marked(talk):
    lines = talk.run("messages", TZ="Europe/Moscow").stdout.splitlines()

    assert lines[0].lstrip().startswith("when (MSK)")
    assert lines[1].startswith(" 2026-11-20 11:00")
    assert lines[-1].startswith("~2026-11-22 08:00")
    assert "Anna" in lines[1]


def test_conversations_come_by_their_last_message(talk):
    change(talk, "update contacts set read_until = '2026-11-23T' where contact <> '+79201234567'")

    lines = talk.run("conversations", TZ="Europe/Moscow").stdout.splitlines()

    assert [line.split()[2] for line in lines[1:]] == ["Beeline", "+447700900123", "Anna"]
    assert lines[2].lstrip().startswith("2026-11-21 12:00")
    everyone = json.loads(talk.run("conversations", "--json").stdout)
    assert [(row["contact"], row["unread"]) for row in everyone] == [
        ("Beeline", 0),
        ("+447700900123", 0),
        ("+79201234567", 1),
    ]
    assert len(json.loads(talk.run("conversations", "--unread", "--json").stdout)) == 1
    assert [
        row["contact"] for row in json.loads(talk.run("conversations", "--unanswered", "--json").stdout)
    ] == ["Beeline"]  # fmt: skip


def test_long_output_goes_to_the_pager_which_starts_with_the_latest(synced):
    shown = on_terminal(synced, "messages", "-n", "200", PAGER="sed s/^/paged:/", LINES="10")

    assert shown.count("paged:") >= 200


def test_what_fits_the_terminal_is_not_paged(synced):
    assert "paged:" not in on_terminal(
        synced, "messages", "-n", "3", PAGER="sed s/^/paged:/", LINES="50"
    )


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_follow_shows_new_messages_as_they_come(synced, sandbox, form):
    with synced.running("messages", "--follow", "-n", "1", "--direction", "in", *form) as process:
        process.stdout.readline()  # the newest that was there
        sandbox.account.receive("+79201234567", "What came now")
        synced.mirror_here()
        shown = process.stdout.readline()
        code, logged = end(process, signal.SIGINT)

    if form:
        assert json.loads(shown)["text"] == "What came now"
    else:
        assert shown.endswith("< +79201234567  What came now\n")
    assert (code, logged) == (0, "")


def test_follow_shows_each_message_once_and_no_change_of_a_status(synced, sandbox):
    with synced.running("messages", "--follow", "-n", "1", "--json") as process:
        process.stdout.readline()
        number = sandbox.account.sent_elsewhere("+79201234567", "Mine")
        synced.mirror_here()
        sandbox.account.change("sent", number, is_delivered=1)
        sandbox.account.receive("+79201234567", "Yours")
        synced.mirror_here()
        shown = [json.loads(process.stdout.readline())["text"] for _ in range(2)]

    assert shown == ["Mine", "Yours"]


def test_a_file_that_is_just_being_put_in_place_is_waited_for_but_not_for_ever(talk, monkeypatch):
    aside = talk.mirror.rename(talk.home / "aside.db")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            aside.rename(talk.mirror)

    monkeypatch.setattr(following.time, "sleep", sleep)
    assert following.identity(talk.mirror) is None
    with following.reopened(None, talk.mirror) as conn:
        assert conn.execute("select count(*) from inbox").fetchone()[0] == 3
    assert len(waits) == 3

    talk.mirror.unlink()
    monkeypatch.setattr(following, "REPLACED_S", -1)
    with pytest.raises(MirrorUnusable), following.reopened(None, talk.mirror):
        pass


def test_follow_ends_when_nobody_reads_it_any_more(synced):
    with synced.running("messages", "--follow", "-n", "1") as process:
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(PATIENCE_S) == 0  # though nothing new comes
        assert process.stderr.read() == ""


def test_follow_goes_on_in_a_file_that_was_put_in_place(synced, sandbox):
    copy = synced.home / "copy.db"
    change(synced, f"vacuum into '{copy}'")

    with synced.running("messages", "--follow", "-n", "1", "--json") as process:
        process.stdout.readline()
        for part in synced.mirror.parent.glob("semysync.db*"):
            part.rename(synced.home / f"aside-{part.name}")
        shutil.move(copy, synced.mirror)
        sandbox.account.receive("+79201234567", "After the restore")
        synced.mirror_here()
        shown = json.loads(process.stdout.readline())["text"]

    assert shown == "After the restore"
