"""The program in a home of its own, and a stand-in that takes the token of the tests."""

import sqlite3
from contextlib import closing

import pytest
from processes import TOKEN, Program

from semysync.sandbox import Sandbox


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
def phones():
    """How many an account has: to load the messages of each takes a dozen questions."""
    return 2


@pytest.fixture
def sandbox(phones):
    with Sandbox(messages=300, devices=phones, token=TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def synced(program, sandbox):
    """The program, configured for the sandbox, after a first load."""
    program.configure(sandbox.base_url)
    program.mirror_here()
    return program


@pytest.fixture
def talk(program):
    """A mirror with a few messages of known times, and one of an unknown zone."""
    from semysync.mirror.store import Store

    Store.migrate(program.mirror).close()
    rows_in = [
        (1, "+79201234567", "Привет, заказ готов?", "2026-11-20T08:00:00.000000Z", 180),
        (2, "+447700900123", "Is my order ready? 😀", "2026-11-21T08:00:00.000000Z", 0),
        (3, "Beeline", "Balance: order more", "2026-11-22T08:00:00.000000Z", None),
    ]
    rows_out = [
        (10, "+79201234567", "Да, заказ 4711 готов", "2026-11-20T09:00:00.000000Z", 1, 0),
        (11, "+447700900123", "Your order is ready", "2026-11-21T09:00:00.000000Z", 0, 1),
    ]
    with closing(sqlite3.connect(program.mirror)) as conn, conn:
        for number, contact, text, at, offset in rows_in:
            conn.execute(
                "insert into inbox (id, device_id, phone, contact, text, channel, received_at,"
                " utc_offset, mirrored_at) values (?, 351, ?, ?, ?, 'sms', ?, ?, ?)",
                (number, contact, contact, text, at, offset, at),
            )
            conn.execute("insert into inbox_fts (rowid, text) values (?, ?)", (number, text))
        for number, contact, text, at, delivered, failed in rows_out:
            conn.execute(
                "insert into sent (id, device_id, phone, contact, text, channel, created_at,"
                " utc_offset, is_delivered, is_error, mirrored_at)"
                " values (?, 352, ?, ?, ?, 'whatsapp', ?, 0, ?, ?, ?)",
                (number, contact, contact, text, at, delivered, failed, at),
            )
            conn.execute("insert into sent_fts (rowid, text) values (?, ?)", (number, text))
        conn.executemany(
            "insert into contacts (contact, name, last_at, last_direction, last_id, received, sent)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            [
                ("+79201234567", "Anna", "2026-11-20T09:00:00.000000Z", "out", 10, 1, 1),
                ("+447700900123", None, "2026-11-21T09:00:00.000000Z", "out", 11, 1, 1),
                ("Beeline", None, "2026-11-22T08:00:00.000000Z", "in", 3, 1, 0),
            ],
        )
    return program
