"""Complete pulls over real HTTP, whatever the service turns out to do."""

from datetime import UTC, datetime, timedelta
from itertools import cycle, product

import pytest

from semysync.model import Box
from semysync.sandbox import Sandbox, Switches

SHAPES = cycle(
    {"code": code, "empty": empty, "data": data}
    for code, empty, data in product(
        ["text", "int", "absent"], ["list", "object", "null", "missing"], ["list", "object"]
    )
)
CAPS = [
    {},
    {"cap": 7, "cap_keeps": "oldest"},
    {"cap": 7, "cap_keeps": "newest"},
    {"cap": 12, "cap_keeps": "oldest"},
    {"cap": 12, "cap_keeps": "newest"},
]
WAYS = [
    {"start_id": start, "end_id": end, **cap}
    for start, end, cap in product(
        ["inclusive", "exclusive"], ["inclusive", "exclusive", "ignored"], CAPS
    )
    # Where ends are ignored, one takes as long as ten others: two caps of it will do.
    if (end, cap.get("cap")) != ("ignored", 12)
]
# Each way in both scopes, each with another of the orders: all of them with all would cost three times
# as much, and show what their neighbours show.
ORDERS = cycle([("asc", "desc"), ("mixed", "asc"), ("desc", "mixed")])
MATRIX = [
    (scope, {"order": order, **way, **next(SHAPES)})
    for way in WAYS
    for scope, order in zip(("device", "account"), next(ORDERS), strict=True)
]


def named(value):
    return "-".join(map(str, value.values())) if isinstance(value, dict) else value


@pytest.fixture
def sandbox(switches):
    with Sandbox(messages=36, devices=2, switches=Switches(**switches)) as stand_in:
        yield stand_in


def assert_equal(sandbox, rows, boxes=Box):
    """The mirror holds exactly what the account shows."""
    for box in boxes:
        held = {row["id"]: row for row in sandbox.account.rows(box)}
        stored = {row[0]: row[1:] for row in rows(f"select id, text, phone, device_id from {box}")}
        assert stored == {
            number: (row["msg"], row["phone"], row["id_device"]) for number, row in held.items()
        }


@pytest.mark.parametrize(("scope", "switches"), MATRIX, ids=named)
def test_the_mirror_is_equal_to_the_account(sandbox, scope, make_sync, rows):
    sync = make_sync(scope=scope)
    device = next(sandbox.account.rows("inbox"))["id_device"]
    began = datetime.now(UTC)

    first = sync.once()
    # More arrive than a cap lets through, and one with a lower id becomes visible after them.
    late = sandbox.account.receive("+79201234567", "late", device, hidden=True)
    for number in range(9):
        at = began + timedelta(minutes=5 * number)
        sandbox.account.receive("+79201234567", f"new {number}", device, at=at)
        sandbox.account.sent_elsewhere("+79201234567", f"gone {number}", device, at=at)
    second = sync.once()
    before_late = {row[0] for row in rows("select id from inbox")}
    sandbox.account.reveal("inbox", late)
    third = sync.once()

    assert late not in before_late
    assert {o.noted.error for o in (*first, *second, *third)} == {None}  # a refresh may be due
    assert_equal(sandbox, rows)
    marks = dict(rows("select box, max(last_id) from marks group by box"))
    assert marks == {box: max(sandbox.account.ids(box)) for box in Box}


@pytest.mark.parametrize(
    "switches",
    [
        {"numbers": "text", "flags": "text"},
        {"flags": "bool", "optional_fields": "missing"},
        {"flags": "null", "unset_dates": "empty", "fraction": "short"},
        {"flags": "empty", "fraction": "0", "extra_fields": "yes"},
        {"server_zone": "Europe/Berlin", "phone_zone": "-09:30", "phone_skew_s": "-350000"},
        {"date_filter_clock": "phone", "today": "utc"},
        {"zero": "value", "today_only": "off"},
        {"unknown_parameters": "error"},
        {"id_spaces": "overlapping"},
        {"content_length": "chunked"},
        {"fault": "bom"},
        {"fault": "warning"},
        {"list_device": "required"},
        {"list_device": "empty"},
        {"list_device": "partial"},
        {"list_id_device": "right", "several_devices": "refused"},
        {"visibility": "out_of_order", "visible_after_s": 0.001},
    ],
    ids=named,
)
def test_no_other_habit_of_the_service_changes_what_is_mirrored(sandbox, switches, make_sync, rows):
    sandbox.set(**switches)

    outcomes = make_sync().once()

    assert [outcome.noted.error for outcome in outcomes] == [None] * 4
    assert_equal(sandbox, rows)


@pytest.mark.parametrize("switches", [{"list_device": "empty"}])
def test_where_the_whole_account_is_answered_by_nothing_each_device_is_asked(
    sandbox, switches, make_sync, rows
):
    sync = make_sync(scope="account")

    outcomes = [*sync.once(), *sync.once()]

    assert {outcome.noted.error for outcome in outcomes} == {None}
    assert_equal(sandbox, rows)
    assert rows("select * from events where kind = 'message.received'") == []


@pytest.mark.parametrize("scope", ["account", "auto"])
@pytest.mark.parametrize("list_device", ["empty", "partial"])
@pytest.mark.parametrize("switches", [{}], ids=["usual"])
def test_a_look_for_drafts_finds_what_the_service_begins_to_hide(
    sandbox, make_sync, rows, scope, list_device
):
    sync = make_sync(scope=scope)
    sync.once()
    sync.once()
    sandbox.set(list_device=list_device)
    for device in sandbox.account.devices:
        sandbox.account.sent_elsewhere("+79201234567", "new", device)

    outcome = sync.box(Box.SENT, everyone=True)

    assert outcome.noted.error is None
    assert_equal(sandbox, rows, [Box.SENT])


@pytest.mark.parametrize("switches", [{"end_id": "ignored", "cap": 7, "cap_keeps": "newest"}])
def test_more_rows_in_a_minute_than_can_be_asked_for_are_noticed(
    sandbox, switches, make_sync, rows
):
    sync = make_sync()
    sync.once()
    mark = rows("select min(last_id) from marks where box = 'inbox'")
    device = rows("select device_id from marks where last_id = ?", *mark[0])[0][0]
    for number in range(20):
        sandbox.account.receive("+79201234567", f"burst {number}", device)

    _, inbox, *_ = sync.once()

    assert "ignores the bounds of questions" in inbox.noted.error
    assert rows("select min(last_id) from marks where box = 'inbox'") == mark


@pytest.mark.parametrize("switches", [{"filters": "or"}])
def test_filters_that_widen_are_noticed_and_what_they_show_is_kept(
    sandbox, switches, make_sync, rows
):
    outcomes = make_sync().once()

    assert_equal(sandbox, rows)
    errors = [outcome.noted.error for outcome in outcomes[1:3]]
    assert all("ignores the bounds of questions" in error for error in errors)
    assert rows("select max(last_id) from marks") == [(0,)]


@pytest.mark.parametrize("switches", [{"filters": "or"}])
def test_the_account_as_a_whole_can_be_asked_where_filters_widen(
    sandbox, switches, make_sync, rows
):
    outcomes = make_sync(by_device=False).once()

    assert [outcome.noted.error for outcome in outcomes] == [None] * 4
    assert_equal(sandbox, rows)
