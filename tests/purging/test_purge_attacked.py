"""
The purge attacked at each step: at the end the mirror has every message that ever existed, and the
messages of the last two days are still at the service.
"""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import pytest
from bench_of_purges import BOXES, DAY, DELETES, grown

from semysync.errors import AnswerLost, PurgeStopped, PurgeUnsafe, Refused, ServiceError
from semysync.mirror.copies.takeover import ANOTHER_SENDS

KEPT = "+79990000001"


@pytest.fixture(autouse=True)
def _at_the_end(make):
    yield
    for bench in make.started:
        bench.remember()
        bench.check()


def at_the_next_delete(bench, box, do):
    """Do something when a slice of a box was listed and is about to be deleted."""

    def before(call):
        if call.method == DELETES[box]:
            bench.sandbox.before_call = None
            do(call)

    bench.sandbox.before_call = before


# Between listing and deleting


def test_a_message_that_turns_up_inside_the_range_is_kept_and_stops_it(make):
    bench = grown(make)
    device = next(iter(bench.account.devices))
    first = next(i for i, then in pairwise(bench.there("inbox")[:10]) if then - i > 1)
    at = bench.born["inbox", first] - timedelta(seconds=30)
    hidden = bench.receive(at, device, hidden=True)
    row = bench.account._shelves["inbox"].find(hidden)
    bench.account._shelves["inbox"].remove([hidden])
    row.id = first + 1  # no other has this id
    bench.account._shelves["inbox"].add(row)
    bench.born["inbox", row.id] = at
    del bench.born["inbox", hidden]
    at_the_next_delete(bench, "inbox", lambda _: bench.account.reveal("inbox", first + 1))

    purged = bench.purge()

    assert isinstance(purged.failure, PurgeStopped)
    assert "1 others went as well" in str(purged.failure)
    assert first + 1 not in bench.there("inbox")
    assert bench.ask("select text, purged_at is not null from inbox where id = ?", first + 1) == [
        (row.text, 1)
    ]


@pytest.mark.parametrize("box", BOXES)
def test_a_message_that_changes_before_it_goes_is_kept_as_it_was_last(bench, box):
    oldest = bench.there(box)[0]
    at_the_next_delete(bench, box, lambda _: bench.account.change(box, oldest, msg="Changed"))

    purged = bench.purge()

    assert "came back from the delete as another" in str(purged.failure)
    assert bench.column(f"select text from {box} where id = ?", oldest) == ["Changed"]
    bench.truth[box][oldest] = "Changed"
    assert oldest in bench.purged(box)


@pytest.mark.parametrize("box", BOXES)
def test_a_message_that_has_changed_when_it_is_listed_waits_for_another_pass(bench, box):
    oldest, second = bench.there(box)[:2]
    method = "inbox_sms" if box == "inbox" else "outbox_sms"

    def change(call):
        if call.method == method and "date_start" in call.params and "device" in call.params:
            bench.sandbox.before_call = None
            bench.account.change(box, oldest, msg="Changed")

    bench.sandbox.before_call = change
    bench.purge()

    assert bench.column(f"select text from {box} where id = ?", oldest) == ["Changed"]
    assert oldest in bench.there(box)
    assert second not in bench.there(box)
    bench.purge_all()
    assert oldest not in bench.there(box)


# Lost answers


# Each two of the three meet: a loss, which end a cap keeps, how many are deleted at once.
@pytest.mark.parametrize(
    ("clean", "keeps", "when"),
    [
        (0, "oldest", "before"),
        (0, "newest", "after"),
        (3, "oldest", "after"),
        (3, "newest", "before"),
    ],
)
def test_a_lost_answer_is_no_deletion_where_answers_do_not_reach_down_to_it(
    make, keeps, when, clean
):
    clocks = {"server_zone": "+00:00", "phone_zone": "+00:00"}
    bench = make(
        per_day=3,
        history=7,
        inbox_days=4,
        sent_days=4,
        switches=clocks | {"end_id": "ignored", "cap": 8, "cap_keeps": keeps},
    )
    bench.store.set_setting("purge_clean_inbox", str(clean))
    bench.sandbox.order_fault("drop", when=when, method=DELETES["inbox"])

    first = bench.purge()

    assert isinstance(first.failure, AnswerLost)
    assert set(bench.purged("inbox")).isdisjoint(bench.there("inbox"))
    bench.purge_all()
    assert set(bench.purged("inbox")).isdisjoint(bench.there("inbox"))
    assert not set(bench.may_go("inbox")) & set(bench.there("inbox"))
    assert set(bench.may_go("inbox")) <= set(bench.purged("inbox"))
    assert len(bench.may_go("inbox")) > 10


# Each loss of an answer meets each box, before or after the deletion.
LOST = [
    (fault, when, BOXES[(place + (when == "after")) % 2])
    for place, fault in enumerate(["drop", "reset", "http_500", "cut", "html", "empty"])
    for when in ("before", "after")
]


@pytest.mark.parametrize(("fault", "when", "box"), LOST)
def test_a_lost_answer_is_settled_by_listing_again(make, box, fault, when):
    bench = make(history=13)
    oldest = bench.there(box)[0]
    bench.sandbox.order_fault(fault, when=when, method=DELETES[box])

    purged = bench.purge()

    assert isinstance(purged.failure, AnswerLost)
    assert (oldest in bench.there(box)) == (when == "before")
    assert (oldest in bench.purged(box)) == (when == "after")
    state = bench.ask("select state, gone, said from purges where box = ? order by id", box)[-1]
    assert state == ("lost", int(when == "after"), None)
    bench.purge_all()
    assert bench.purged(box) == bench.old(box)


def test_where_even_the_listing_fails_the_next_pass_settles_it(bench):
    oldest = bench.there("inbox")[0]

    def fail_from_now_on(call):
        if call.method == DELETES["inbox"]:
            bench.sandbox.set(fault="http_500", fault_methods="inbox_sms", fault_when="before")

    bench.sandbox.after_call = fail_from_now_on
    purged = bench.purge()

    assert isinstance(purged.failure, ServiceError)
    assert bench.column("select ids from purges where ended_at is null") == [f"[{oldest}]"]
    assert bench.purged("inbox") == []

    bench.sandbox.after_call = None
    bench.sandbox.set(fault="none")
    bench.again()
    bench.purge()
    assert oldest in bench.purged("inbox")
    assert bench.column("select count(*) from purges where ended_at is null") == [0]


@pytest.mark.parametrize("fault", ["http_429", "api_error", "http_404"])
def test_a_refused_delete_changes_nothing_and_ends_the_pass(bench, fault):
    oldest = bench.there("inbox")[0]
    bench.sandbox.order_fault(fault, when="before", method=DELETES["inbox"])

    purged = bench.purge()

    assert purged.failure
    assert purged.messages == 0
    assert oldest in bench.there("inbox")
    assert bench.column("select state from purges") == ["refused"]


# Deletes that do other than they say


@pytest.mark.parametrize(
    ("takes", "says", "why"),
    [
        ("none", "gone", "the service deletes none"),
        ("none", "asked", "the service says that 1 message went, and 0 are gone"),
        ("all", "nothing", "the service says that 0 messages went, and 1 are gone"),
    ],
)
def test_a_delete_that_lies_stops_it_at_the_first_message(bench, takes, says, why):
    bench.sandbox.set(delete_takes=takes, delete_says=says)

    purged = bench.purge()

    assert why in str(purged.failure)
    assert len(bench.deletes()) == 1
    assert set(bench.purged("inbox")) == bench.truth["inbox"].keys() - set(bench.there("inbox"))


def test_a_delete_that_takes_only_a_part_and_says_so_goes_on_until_all_went(make):
    bench = grown(make)
    bench.sandbox.set(delete_takes="half")

    bench.purge_all()

    assert all(bench.purged(box) == bench.old(box) for box in BOXES)
    assert "part" in bench.column("select state from purges")


@pytest.mark.parametrize(
    "switches",
    [
        {"cap": 6},
        {"cap": 6, "cap_keeps": "newest"},
        {"order": "mixed"},
        {"start_id": "exclusive"},
        {"end_id": "exclusive"},
        {"start_id": "exclusive", "end_id": "exclusive"},
        {"date_filter_clock": "phone"},
        {"date_filter_clock": "printed"},
        {"list_device": "required", "list_id_device": "right"},
        {"numbers": "text", "flags": "text", "code": "absent", "data": "object"},
        {"optional_fields": "missing", "fraction": "0"},
        {"server_zone": "-12:00", "phone_zone": "+14:00"},
        {"server_zone": "+14:00", "phone_zone": "-12:00"},
    ],
)
def test_it_works_with_every_way_in_which_the_service_may_answer(make, switches):
    bench = grown(
        make,
        per_day=5,
        history=10,
        devices=2,
        switches=switches,
        scope="device",
        inbox_days=5,
        sent_days=5,
    )

    bench.purge_all()

    for box in BOXES:
        sure = set(bench.old(box, days=7))
        assert len(sure) > 10
        assert set(bench.purged(box)) <= set(bench.old(box))
        for number in sure - set(bench.purged(box)):  # a range around it would hold another one
            assert "exclusive" in switches.values()
            assert {number - 1, number + 1} & bench.truth[box].keys()
        assert not set(bench.purged(box)) & set(bench.there(box))


@pytest.mark.parametrize("switches", [{"filters": "or"}, {"end_id": "ignored"}])
def test_a_list_that_shows_more_than_it_was_asked_for_stops_it_before_anything_goes(make, switches):
    bench = make(per_day=5, history=18)
    bench.sandbox.set(**switches)

    purged = bench.purge()

    assert "others as well" in str(purged.failure)
    assert [call.method for call in bench.deletes() if call.method == DELETES["inbox"]] == []


# Clocks


@pytest.mark.parametrize("compared", ["server", "phone", "printed"])
@pytest.mark.parametrize("always", [True, False])
def test_a_phone_with_a_clock_of_2015_costs_no_message_of_these_days(make, compared, always):
    bench = make(history=22, devices=2, switches={"date_filter_clock": compared}, scope="device")
    wrong, right = sorted(bench.account.devices)
    years = -11 * 366 * 86_400
    if not always:  # by its last clock it printed what is there already
        for number in bench.there("inbox"):
            row = bench.account.row("inbox", number)
            if row["id_device"] == wrong:
                bench.account.change("inbox", number, date=row["date"])
    bench.account.phone_clock(wrong, "+05:00", years)
    todays = [bench.receive(bench.time.now() - hours * DAY / 24, wrong) for hours in (47, 30, 5, 1)]
    bench.receive(bench.time.now(), right)
    bench.remember()
    bench.again_from_nothing()

    for _ in range(4):
        bench.purge()

    assert set(todays) <= set(bench.there("inbox"))
    assert len(bench.purged("sent")) > 10


@pytest.mark.parametrize("ahead", [timedelta(days=4000), timedelta(minutes=6), -timedelta(days=9)])
def test_a_clock_that_disagrees_with_the_services_deletes_nothing(bench, ahead):
    bench.time.jumped_s = ahead.total_seconds()

    purged = bench.purge()

    assert isinstance(purged.failure, PurgeUnsafe)
    assert "set it right" in str(purged.failure)
    assert bench.deletes() == []


def test_a_service_that_tells_no_time_deletes_nothing(bench, monkeypatch):
    monkeypatch.setattr(bench.client, "service_now", lambda: None)

    purged = bench.purge()

    assert isinstance(purged.failure, PurgeUnsafe)
    assert "does not say what time it is" in str(purged.failure)
    assert bench.deletes() == []


def test_who_has_seen_that_another_machine_sends_deletes_nothing(bench):
    bench.store.set_setting(ANOTHER_SENDS, "another machine seems to send")

    purged = bench.purge()

    assert isinstance(purged.failure, PurgeUnsafe)
    assert str(purged.failure) == "another machine seems to send"
    assert bench.deletes() == []


def test_a_message_whose_list_is_refused_stays(bench, monkeypatch):
    def refuse(_doomed):
        raise Refused("inbox_sms: the service refuses (code -1)", code="-1")

    monkeypatch.setattr(bench.client, "doomed_inbox", refuse)

    purged = bench.purge()

    assert isinstance(purged.failure, Refused)
    assert bench.deletes() == []


def test_nothing_goes_after_a_pull_that_was_not_complete(bench):
    bench.sandbox.set(fault="http_500", fault_methods="outbox_sms")

    purged = bench.purge()

    assert isinstance(purged.failure, ServiceError)
    assert bench.deletes() == []


def test_a_box_that_is_too_large_for_one_answer_is_listed_in_parts(make):
    bench = make(per_day=15, history=13, devices=1)
    bench.client._largest_answer = 6_000  # bytes; the box has over 20,000

    bench.purge_all()

    assert all(bench.purged(box) == bench.old(box) for box in BOXES)


# What is not to be found


def test_what_the_service_has_forgotten_is_noted_and_does_not_stand_in_the_way(make):
    bench = grown(make)
    gone = bench.there("inbox")[:10]
    bench.account.remove("inbox", gone)

    bench.purge_all()

    assert bench.purged("inbox") == bench.old("inbox")[10:]
    absent = bench.column("select ids from purges where state = 'absent'")
    assert sorted(i for ids in absent for i in json.loads(ids)) == gone


def test_what_a_lost_request_deleted_late_is_known_to_be_purged(bench):
    oldest = bench.there("inbox")[0]
    bench.sandbox.order_fault("drop", when="before", method=DELETES["inbox"])
    bench.purge()
    bench.account.remove("inbox", [oldest])  # the request comes through after all

    bench.purge()

    assert oldest in bench.purged("inbox")


def test_what_a_refused_request_deleted_all_the_same_is_known_to_be_purged(bench):
    oldest = bench.there("inbox")[0]
    bench.sandbox.order_fault("http_429", when="after", method=DELETES["inbox"])
    bench.purge()
    assert oldest not in bench.purged("inbox")

    bench.time.passed_s += 120
    bench.purge_all()

    assert oldest in bench.purged("inbox")


def test_by_what_a_message_came_is_not_forgotten_when_a_delete_does_not_say_it(make):
    bench = make(history=-1, devices=3)
    whatsapp = next(d.id for d in bench.account.devices.values() if d.type == 1)
    old = bench.sent(bench.time.now() - 40 * DAY, whatsapp)
    bench.pull()

    bench.purge_all()

    assert bench.ask("select id, channel, purged_at is not null from sent") == [
        (old, "whatsapp", 1)
    ]


# A mirror that does not hold all of the history


@pytest.mark.parametrize("compared", ["server", "phone"])
@pytest.mark.parametrize("box", BOXES)
def test_what_was_never_mirrored_is_out_of_reach_of_a_delete_that_ignores_ids(make, box, compared):
    bench = make(
        per_day=6, history=5, devices=1, mirrored="none", switches={"date_filter_clock": compared}
    )
    bench.check = lambda: None  # there are messages that are not here, as was asked for
    before = set(bench.there(box)) - set(bench.column(f"select id from {box}"))
    device = next(iter(bench.account.devices))
    for _ in range(8):
        bench.days(1)
        bench.receive(bench.time.now(), device)
        bench.sent(bench.time.now(), device)
    bench.pull()
    bench.days(35)
    bench.sandbox.set(delete_ignores="ids" if box == "inbox" else "list_id")
    # And the answer says nothing of what has gone.
    bench.sandbox.order_fault("cut", when="after", method=DELETES[box])

    bench.purge_until_it_stops()

    assert DELETES[box] in {call.method for call in bench.deletes()}
    assert len(before) > 30
    assert before <= set(bench.there(box))


def test_before_a_slice_that_is_deleted_late_in_a_pass_the_mirror_is_brought_up_to_date(make):
    bench = grown(make, history=25)  # so many that it does not come to the last of them
    came, here = [], []

    def during(call):
        if call.method == DELETES["inbox"]:
            with closing(sqlite3.connect(bench.mirror)) as conn:
                ids = {row[0] for row in conn.execute("select id from inbox")}
            here.append(set(came) <= ids)
            came.append(bench.receive(bench.time.now() - 11 * DAY, next(bench.devices)))
            bench.time.passed_s += 61

    bench.sandbox.before_call = during
    bench.purge()
    bench.sandbox.before_call = None

    assert len(here) > 5
    assert all(here)
