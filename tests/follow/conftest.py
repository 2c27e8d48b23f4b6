"""What tests of hooks need: a mirror with events, followers, and a receiver over real HTTP."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from threading import Event

import pytest
from blank import lay_blank
from receiving import PATIENT, Receiver

from semysync.config import Hook
from semysync.follow.actions import action_of
from semysync.follow.hooks import Follower
from semysync.mirror.file import connect
from semysync.mirror.store import Store
from semysync.mirror.tables import followers
from semysync.model import Box, Received, Sent

NOW = datetime.now(UTC)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def mirror(tmp_path):
    """The path of a mirror, migrated and empty."""
    path = tmp_path / "semysync.db"
    lay_blank(path)
    return path


@pytest.fixture
def ask(mirror):
    def ask(query, *parameters):
        with closing(sqlite3.connect(mirror, isolation_level=None, timeout=30)) as conn:
            return conn.execute(query, parameters).fetchall()

    return ask


@pytest.fixture
def happen(mirror):
    """Let messages come in, each with its event; texts, or fields of a message."""
    count = 100

    def happen(*messages, kind="message.received"):
        nonlocal count
        with Store.open(mirror) as store:
            for message in messages:
                fields = {"text": message} if isinstance(message, str) else message
                count += 1
                values = {"device_id": 351, "phone": "+79201234567", "channel": "sms"} | fields
                if kind == "message.received":
                    row = Received(id=count, received_at=datetime(2026, 11, 1, 12), **values)
                    store.save(Box.INBOX, [row], now=NOW)
                else:
                    empty = dict.fromkeys(Sent.__struct_fields__)
                    row = Sent(**empty | {"id": count} | values)
                    store.save(Box.SENT, [row], now=NOW)
        return count

    return happen


@pytest.fixture
def follow(mirror):
    """Make a follower of a hook, which begins at now."""
    made = []

    def follow(action=None, *, patience=PATIENT, stopping=None, name="tell", **fields):
        hook = Hook(**{"name": name, "on": ["message.received"], **fields})
        with closing(connect(mirror)) as conn:
            followers.add(conn, [name], NOW)
        action = action or action_of(hook, stopping or Event())
        follower = Follower(hook, action, mirror, patience=patience, stopping=stopping)
        made.append(follower)
        return follower

    yield follow
    for follower in made:
        follower.close()


@pytest.fixture
def deliveries(ask):
    def deliveries(columns="seq, status, attempts, error", name="tell"):
        return ask(f"select {columns} from deliveries where follower = ? order by seq", name)

    return deliveries
