"""From the service into the tables, over real HTTP: clocks, types never seen, ids given anew."""

from datetime import UTC, datetime, timedelta

import pytest

from semysync.mirror.store import Store
from semysync.passes.pull import Puller
from semysync.passes.sync import Sync
from semysync.sandbox import Sandbox, Switches
from semysync.times import Locale, utc_text


@pytest.fixture
def clock():
    """The time at the service and here; a test moves it."""
    return {"now": datetime(2026, 11, 23, 9, 0, tzinfo=UTC)}


@pytest.fixture
def switches():
    return Switches(server_zone="+03:00", phone_zone="-05:00")


@pytest.fixture
def sandbox(clock, switches):
    with Sandbox(messages=200, devices=2, clock=lambda: clock["now"], switches=switches) as held:
        yield held


def pass_by(clock, sync, times=1, seconds=30):
    for _ in range(times):
        clock["now"] += timedelta(seconds=seconds)
        sync.once()


def test_the_clocks_are_learnt_and_every_row_is_put_right(clock, sandbox, make_sync, rows):
    sync = make_sync(now=lambda: clock["now"])
    sync.once()
    before = rows("select distinct utc_offset from sent")
    for _ in range(3):
        sandbox.account.sent_elsewhere("+79201234567", "Hello")
    created = clock["now"]

    pass_by(clock, sync, times=6)

    assert before == [(None,)]
    assert rows("select distinct utc_offset from sent") == [(180,)]
    assert rows("select value from settings where key = 'utc_offset'") == [("180",)]
    newest = rows("select created_at from sent order by id desc limit 1")
    assert newest == [(utc_text(created),)]
    assert (-300,) in rows("select distinct phone_utc_offset from sent")
    assert (-300,) in rows("select distinct phone_utc_offset from devices")


def test_by_a_clock_of_ours_that_is_wrong_nothing_is_learnt(clock, sandbox, make_sync, rows):
    ahead = timedelta(hours=3)
    sync = make_sync(now=lambda: clock["now"] + ahead)
    sync.once()

    pass_by(clock, sync, times=3)
    wrong = rows("select distinct utc_offset from sent")
    ahead = timedelta()
    pass_by(clock, sync, times=3)

    assert wrong == [(None,)]
    assert rows("select distinct utc_offset from sent") == [(180,)]


@pytest.mark.parametrize("switches", [Switches(server_zone="Europe/Berlin")])
def test_a_zone_by_name_is_right_on_both_sides_of_a_change_of_the_clocks(
    clock, sandbox, client, tmp_path, rows
):
    """Berlin goes from +02:00 to +01:00 in the night to 25 October 2026."""
    summer = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
    winter = datetime(2026, 10, 26, 12, 0, tzinfo=UTC)
    ids = [sandbox.account.sent_elsewhere("+7920", "x", at=at) for at in (summer, winter)]

    with Store.migrate(tmp_path / "zone.db", Locale(timezone="Europe/Berlin")) as store:
        puller = Puller(account=client, mirror=store, now=lambda: clock["now"])
        Sync(client, store, puller).once()
        found = store._db.execute(
            "select created_at, utc_offset from sent where id in (?, ?) order by id", ids
        ).fetchall()

    assert found == [(utc_text(summer), 120), (utc_text(winter), 60)]


def test_types_never_seen_and_fields_never_seen_are_mirrored(sandbox, make_sync, rows):
    sandbox.set(extra_fields="yes")
    number = min(sandbox.account.ids("inbox"))
    sandbox.account.change("inbox", number, type=7)

    make_sync().once()

    ((channel, extra),) = rows("select channel, extra from inbox where id = ?", number)
    assert channel == "type:7"
    assert extra is not None


def test_an_id_that_is_given_anew_is_kept_beside_what_was_there(sandbox, make_sync, rows):
    make_sync().once()
    newest = max(sandbox.account.ids("inbox"))
    was = rows("select text from inbox where id = ?", newest)
    sandbox.account.reuse_ids("inbox", [newest])
    sandbox.account.receive("+15550001111", "Another message", min(sandbox.account.devices))

    make_sync().once()

    assert rows("select text from inbox where id = ?", newest) == was
    ((number, row),) = rows("select message_id, row from conflicts")
    assert number == newest
    assert "Another message" in row


def test_the_plan_of_the_account_is_mirrored(sandbox, make_sync, rows):
    make_sync().once()
    make_sync().once()

    assert len(rows("select messages_left from account")) == 1
