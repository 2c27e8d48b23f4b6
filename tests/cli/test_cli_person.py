"""`export --person` and `forget`: one person's data, all of it and nothing else."""

import json
import re
import sqlite3
from contextlib import closing

import pytest
from drafting import change

from semysync.mirror.outbox.drafts import open_outbox
from semysync.mirror.reading import person

ANNA = "+79201234567"
WORDS = ("Привет", "заказ", "Anna", "8 920 1234567")


@pytest.fixture
def known(talk):
    """A mirror that knows Anna from every table, and others beside her."""
    change(
        talk, "insert into outbox (phone, text) values (?, 'Still to go, Anna')", "8 920 1234567"
    )
    change(talk, "insert into outbox (phone, text, client_key) values (?, 'For Anna', 'k1')", ANNA)
    change(talk, "insert into outbox (phone, text) values ('+447700900123', 'For Bob')")
    change(talk, "update outbox set status = 'cancelling'")
    change(talk, "insert into settings values ('region', 'RU')")
    change(
        talk,
        "insert into unconfirmed (box, message_id, contact, text, called_at, fields)"
        " values ('inbox', 98, ?, 'Anna calls', '2026', '{}'), ('inbox', 99, 'Bob', 'Bob', '2026', '{}')",
        ANNA,
    )
    for kind, number in (("message.received", 1), ("webhook.unconfirmed", 98)):
        for message_id in (number, number + 1):
            change(
                talk,
                "insert into events (kind, box, message_id) values (?, 'inbox', ?)",
                kind,
                message_id,
            )
    change(talk, "insert into events (kind, data) values ('draft.queued', 'no json')")
    change(
        talk,
        "insert into deliveries (follower, seq, kind, status, attempts, first_at, last_at, output)"
        " select 'h', seq, kind, 'done', 1, '2026', '2026',"
        "        iif(message_id in (1, 98) or data glob '{\"draft_id\":[12][,}]*',"
        "            'printed Anna', 'printed Bob')"
        " from events",
    )
    change(
        talk,
        "insert into conflicts (box, message_id, reason, row, first_seen_at, last_seen_at)"
        " values ('inbox', 1, 'why', ?, '2026', '2026'), ('inbox', null, 'why', 'no json', '2026', '2026')",
        json.dumps({"id": 1, "phone": "+7 920 123 45 67", "msg": "Anna too"}),
    )
    return talk


def kept(program):
    """How many rows each table has."""
    names = [name for (name,) in program.ask("select name from sqlite_master where type = 'table'")]
    return {name: program.ask(f"select count(*) from {name}")[0][0] for name in names}


def test_a_person_gets_everything_from_every_table_and_nothing_of_others(known):
    ended = known.run("export", "--person", "8 (920) 123-45-67", "--out", "anna.jsonl")

    lines = [json.loads(line) for line in (known.home / "anna.jsonl").read_text().splitlines()]
    found = {}
    for line in lines:
        found[line["table"]] = found.get(line["table"], 0) + 1
    assert ended.returncode == 0
    assert found == {
        "contacts": 1,
        "inbox": 1,
        "sent": 1,
        "outbox": 2,
        "events": 6,  # of each draft, that it was queued and cancelled
        "conflicts": 1,
        "unconfirmed": 1,
        "deliveries": 6,
    }
    assert not any(
        "Bob" in json.dumps(line) or "447700900123" in json.dumps(line) for line in lines
    )


@pytest.mark.parametrize(
    "others",
    [("sent",), ("--format", "csv"), ("--by-month",), ("--since", "7d"), ("--contact", "+1")],
    ids=lambda others: others[0],
)
def test_a_person_gets_no_part_of_it(known, others):
    ended = known.run("export", "--person", ANNA, *others)

    assert ended.returncode == 2
    assert "and --person do not go together" in ended.stderr


def test_who_is_not_known_gets_a_sentence(known):
    for command in (("export", "--person", "+15550001111"), ("forget", "+15550001111")):
        ended = known.run(*command)

        assert ended.returncode == 1
        assert ended.stderr == "semysync: nothing is known of +15550001111\n"


def test_forget_leaves_no_trace_of_one_and_all_of_the_others(known):
    before = kept(known)

    ended = known.run("forget", ANNA, "--yes")

    assert (ended.returncode, ended.stdout) == (0, "Removed 2 messages and 2 drafts.\n")
    gone = {name: before[name] - count for name, count in kept(known).items()}
    assert {name: count for name, count in gone.items() if count and "_fts" not in name} == {
        "contacts": 1,
        "inbox": 1,
        "sent": 1,
        "outbox": 2,
        "conflicts": 1,
        "unconfirmed": 1,
        "deliveries": 6,
        "events": -1,
        "forgotten": -2,
    }
    stored = b"".join(p.read_bytes() for p in known.mirror.parent.glob("semysync.db*"))
    assert not [word for word in WORDS if word.encode() in stored]
    assert stored.count(ANNA.encode()) == stored.count(
        b"a number such as " + ANNA.encode()
    )  # a rule
    assert b"447700900123" in stored
    assert known.ask("select data from events order by seq desc limit 1") == [
        ('{"messages":2,"drafts":2}',)
    ]
    with closing(sqlite3.connect(known.mirror)) as conn:
        conn.execute("insert into inbox_fts (inbox_fts) values ('integrity-check')")
        conn.execute("insert into sent_fts (sent_fts) values ('integrity-check')")


def test_who_is_not_known_cannot_be_forgotten(known):
    ended = known.run("forget", "+999", "--yes", "--json")

    assert (ended.returncode, json.loads(ended.stdout)) == (1, {"messages": 0, "drafts": 0})
    assert "nothing is known of +999" in ended.stderr


def test_it_is_told_that_a_reader_keeps_an_old_state(known):
    with closing(sqlite3.connect(known.mirror, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from inbox").fetchone()

        ended = known.run("forget", ANNA, "--yes")

    assert ended.returncode == 0
    assert "a program that reads the mirror keeps an old state of it" in ended.stderr


def test_a_draft_that_is_on_its_way_must_be_cancelled_first(known):
    change(known, "insert into outbox (phone, text) values (?, 'Not yet')", ANNA)

    ended = known.run("forget", ANNA, "--yes")

    assert ended.returncode == 1
    assert "first `semysync cancel 4`\n" in ended.stderr
    assert known.ask("select count(*) from inbox where contact = '+79201234567'") == [(1,)]


def test_a_draft_that_comes_while_a_person_is_asked_is_told_and_nothing_is_removed(known):
    before = kept(known)
    with closing(open_outbox(known.mirror)) as conn:
        person.must_be_finished(conn, ANNA)
        change(known, "insert into outbox (phone, text) values (?, 'Not yet')", ANNA)

        with pytest.raises(person.OnTheirWay) as raised:
            person.forget(conn, ANNA)

    assert raised.value.drafts == [4]
    assert kept(known) == before | {
        "outbox": before["outbox"] + 1,
        "outbox_keys": before["outbox_keys"] + 1,
        "events": before["events"] + 1,
    }


def test_what_is_to_be_cancelled_first_can_be_typed_as_it_is_said(known):
    for _ in range(12):
        change(known, "insert into outbox (phone, text) values (?, 'Not yet')", ANNA)

    said = known.run("forget", ANNA, "--yes").stderr
    words = re.search(r"first `semysync (.*)`, and 2 more\n", said)[1].split()

    assert known.run(*words).returncode == 0
    assert known.ask("select count(*) from outbox where status = 'queued'") == [(2,)]


def test_nobody_is_forgotten_without_being_asked(known):
    ended = known.run("forget", ANNA)

    assert ended.returncode == 2
    assert "nobody can be asked here, so say --yes" in ended.stderr
    assert known.ask("select count(*) from forgotten") == [(0,)]


def test_what_was_forgotten_is_not_mirrored_again_but_what_comes_later_is(synced, sandbox):
    contact, count = synced.ask(
        "select contact, received + sent from contacts order by received + sent desc limit 1"
    )[0]
    synced.run("forget", contact, "--yes")
    change(synced, "delete from marks")  # all is asked for anew
    sandbox.account.receive(contact, "It is me again")

    synced.mirror_here()

    assert synced.ask(f"select text from messages where contact = '{contact}'") == [
        ("It is me again",)
    ]
    assert synced.ask("select count(*) from forgotten") == [(count,)]
    assert synced.ask(f"select received, sent from contacts where contact = '{contact}'") == [
        (1, 0)
    ]
