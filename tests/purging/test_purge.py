"""Passes of the purge against the stand-in, over real HTTP: what goes, what stays, what is noted."""

import json

import pytest
from bench_of_purges import BOXES, DAY, DELETES, grown

from semysync.config import Backup
from semysync.mirror.copies import backup
from semysync.mirror.reading import person


def test_what_is_old_goes_and_everything_is_still_here(bench):
    went = bench.purge_all()

    for box in BOXES:
        assert bench.purged(box) == bench.old(box)
        assert set(bench.there(box)) == bench.truth[box].keys() - set(bench.old(box))
    assert went == sum(len(bench.old(box)) for box in BOXES)
    bench.check()


def test_the_first_slice_of_a_box_is_its_oldest_message(bench):
    oldest = {box: bench.there(box)[0] for box in BOXES}

    bench.purge()

    for box in BOXES:
        first = next(call for call in bench.deletes() if call.method == DELETES[box])
        named = first.params.get("list_id") or first.params["start_id"]
        assert named == str(oldest[box])
        assert first.params.get("end_id", named) == named


def test_every_delete_names_a_device_and_ids_and_dates_before_yesterday(bench):
    bench.purge_all()

    last = f"{bench.time.now() - 61 / 24 * DAY:%Y-%m-%d %H:%M:%S}"
    assert len(bench.deletes()) > 10
    for call in bench.deletes():
        assert call.params["device"].isdigit()
        assert call.params.get("list_id") or (call.params["start_id"] and call.params["end_id"])
        assert "" < call.params["date_start"] < call.params["date_end"] <= last


def test_each_purge_is_in_the_log_and_told(bench):
    bench.purge_all()

    rows = bench.ask("select box, device_id, ids, gone, said, state, asked from purges order by id")
    assert {row[5] for row in rows} == {"done"}
    for box in BOXES:
        assert sorted(i for row in rows if row[0] == box for i in json.loads(row[2])) == bench.old(
            box
        )
    for _, _, ids, gone, said, _, asked in rows:
        assert sorted(json.loads(said)) == json.loads(ids)
        assert gone == len(json.loads(ids))
        assert "date_end" in json.loads(asked)
    told = [json.loads(data) for data in bench.events("purge.done")]
    assert sum(event["messages"] for event in told) == sum(row[3] for row in rows)


def test_slices_grow_once_the_first_ones_were_clean(make):
    bench = make(per_day=30, history=14, devices=1)

    bench.purge_all()

    sizes = {
        box: [
            len(json.loads(ids))
            for (ids,) in bench.ask("select ids from purges where box = ? order by id", box)
        ]
        for box in BOXES
    }
    assert sizes["inbox"][:3] == [1, 10, 19]
    assert sizes["sent"][:3] == [1, 10, 19]
    assert sizes["inbox"][3:] == [30] * 4
    assert sizes["sent"][3:] == [30] * 4


def test_a_pass_takes_no_more_than_configured(make):
    bench = make(per_day=30, history=14, max_per_pass=25)

    purged = bench.purge()

    assert purged.messages == 25
    assert len(bench.purged("inbox")) == 13


def test_nothing_goes_twice_and_a_second_pass_finds_nothing(bench):
    bench.purge_all()
    before = len(bench.deletes())

    purged = bench.purge()

    assert purged.messages == 0
    assert len(bench.deletes()) == before


@pytest.mark.parametrize("status", ["accepted", "sent"])
def test_what_is_not_finished_stays(make, status):
    bench = make(history=-1)
    old = bench.sent(bench.time.now() - 40 * DAY, status=status)
    bench.pull()

    assert bench.purge_all() == 0
    bench.days(8)
    bench.purge_all()

    assert (old in bench.there("sent")) == (status == "accepted")


def test_the_contacts_that_are_kept_stay_in_whatever_form_they_are_named(make):
    bench = make(history=-1, keep=["8 920 123-45-67", "Beeline"])
    at = bench.time.now() - 40 * DAY
    kept = [
        bench.sent(at, phone="+79201234567"),
        bench.sent(at, phone="Beeline"),
    ]
    other = bench.sent(at, phone="+79207654321")
    bench.pull()

    bench.purge_all(region="RU")

    assert bench.there("sent") == kept
    assert bench.purged("sent") == [other]


KEPT = "+79990000001"


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize(
    ("ignored", "harm"),
    [
        ("list_id", "sent"),
        ("ids", "inbox"),
        ("list_id, ids", "both"),
        ("dates", "none"),
        ("device", "none"),
        ("list_id, device", "sent"),
        ("ids, device", "inbox"),
    ],
)
def test_a_filter_that_deletes_ignore_costs_nothing_that_is_not_here(make, ignored, harm, grow):
    start = grown if grow else lambda make, **how: make(**how)
    bench = start(make, per_day=6, history=16, devices=1, keep=[KEPT], kept_every=3)
    bench.sandbox.set(delete_ignores=ignored)

    stopped = bench.purge_until_it_stops()

    bench.check()
    for box in BOXES:
        assert set(bench.purged(box)) == bench.truth[box].keys() - set(bench.there(box))
    if harm == "none":
        assert not stopped
        assert all(bench.purged(box) == bench.may_go(box) for box in BOXES)
    else:
        assert "went as well" in stopped or "are gone as well" in stopped
        assert len(bench.events("purge.stopped")) == 1
        asked = len(bench.deletes())
        assert "begins anew" in str(bench.purge().failure)
        assert len(bench.deletes()) == asked


def test_what_is_doubtful_stays(bench):
    doubtful, clashing = bench.there("sent")[:2]
    bench.store._db.execute("insert into arrivals (sent_id, tail) values (?, '')", [doubtful])
    bench.store._db.execute(
        """insert into conflicts (box, message_id, reason, row, first_seen_at, last_seen_at)
           values ('sent', ?, '', '{}', '', '')""",
        [clashing],
    )

    bench.purge_all()

    assert bench.there("sent")[:2] == [doubtful, clashing]
    assert bench.purged("sent") == bench.old("sent")[2:]


def test_a_message_waits_for_the_newest_copy(bench, tmp_path):
    folder = tmp_path / "copies"
    place = Backup(path=str(folder))

    assert "there is none yet" in str(bench.purge(backup=place).failure)

    bench.time.passed_s += 1
    copy = backup.make(bench.mirror, folder, bench.time.ours, lambda *_: None)
    backup.note(bench.mirror, copy, keep=1)
    bench.time.passed_s += 1
    oldest, second = bench.there("sent")[:2]
    bench.account.change("sent", oldest, msg="Changed after the copy was made")
    bench.pull()
    bench.purge_all(backup=place)

    assert oldest in bench.there("sent")
    assert second in bench.purged("sent")


def test_a_message_that_no_copy_holds_stays_though_the_clock_was_behind_when_it_came(
    bench, tmp_path
):
    place = Backup(path=str(tmp_path / "copies"))
    bench.time.passed_s += 1
    copy = backup.make(bench.mirror, tmp_path / "copies", bench.time.ours, lambda *_: None)
    backup.note(bench.mirror, copy, keep=1)

    bench.time.jumped_s = -400 * 86_400.0  # no clock of its own, and no network at its start
    late = bench.receive(bench.time.now() - 50 * DAY)
    bench.pull()
    bench.time.jumped_s = 0.0
    bench.days(40)
    bench.purge_all(backup=place)

    assert late in bench.there("inbox")
    assert bench.purged("inbox")


def test_a_copy_that_cannot_be_read_lets_nothing_go(bench, tmp_path):
    bench.time.passed_s += 1
    copy = backup.make(bench.mirror, tmp_path / "copies", bench.time.ours, lambda *_: None)
    backup.note(bench.mirror, copy, keep=1)
    bench.time.passed_s += 1
    copy.path.write_bytes(b"x" * copy.bytes)

    purged = bench.purge(backup=Backup(path=str(tmp_path / "copies")))

    assert "cannot be read" in str(purged.failure)
    assert not bench.deletes()


@pytest.mark.parametrize("keep", ["+79990000001", "79990000001", "8 999 000-00-01", "9990000001"])
@pytest.mark.parametrize("phone", ["+79990000001", "79990000001", "89990000001"])
def test_a_contact_is_kept_in_every_form_of_its_number_also_without_a_region(make, keep, phone):
    bench = make(history=-1, keep=[keep])
    at = bench.time.now() - 40 * DAY
    kept, other = bench.sent(at, phone=phone), bench.sent(at, phone="+79990000002")
    bench.pull()

    bench.purge_all()

    assert bench.there("sent") == [kept]
    assert bench.purged("sent") == [other]


def test_a_day_of_more_messages_than_a_list_may_hold_goes_too(make):
    bench = grown(make, per_day=120, history=11)

    bench.purge_all()

    assert all(bench.purged(box) == bench.old(box) for box in BOXES)
    assert max(bench.column("select gone from purges where box = 'inbox'")) == 120
    assert max(bench.column("select gone from purges where box = 'sent'")) == 50


@pytest.mark.parametrize("limit", [1, 7, 20])
def test_lists_of_ids_are_shorter_where_the_service_refuses_longer_ones(make, limit):
    bench = grown(
        make, per_day=30, history=12, switches={"list_id_limit": limit, "list_id_over": "error"}
    )

    bench.purge_all()

    assert bench.purged("sent") == bench.old("sent")
    assert max(bench.column("select gone from purges where box = 'sent'")) <= limit
    assert len(bench.purged("sent")) > 30


def test_what_was_forgotten_here_stays_there_and_does_not_stop_it(make):
    bench = grown(make)
    forgotten = bench.there("inbox")[5]
    (contact,) = bench.column("select contact from inbox where id = ?", forgotten)
    person.forget(bench.store._db.conn, contact)

    bench.purge_all()

    assert forgotten in bench.there("inbox")
    assert bench.purged("inbox") == [i for i in bench.old("inbox") if i != forgotten]
