"""Phones that fall silent, come back, or run out of battery: told once, and never falsely."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from semysync.config import Devices
from semysync.mirror.store import Store
from semysync.mirror.tables.passes import Pass
from semysync.times import Locale, utc_text

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86_400
LIMITS = Devices(offline_s=HOUR, battery_low=15)


class World:
    """An account whose phones are in touch until they are not, and looks at it by the clock."""

    def __init__(self, store, device, offset=180):
        self.store, self.device, self.offset = store, device, offset
        self.at = START  #: the true time
        self.ahead_s = 0.0  #: by so much our clock is wrong
        self.phones = {}  #: number: what its row says, and when it was last in touch (None: now)

    def phone(self, number=351, *, last=None, **fields):
        self.phones[number] = (last, {"battery": 50} | fields)

    def silence(self, number=351):
        self.phones[number] = (self.at, self.phones[number][1])

    def wait(self, seconds):
        self.at += timedelta(seconds=seconds)

    def look(self, *, knows_clock=True):
        """Look at the devices as a pass does; return what was told: kind and device."""
        now = self.at + timedelta(seconds=self.ahead_s)
        rows = [
            self.device(number, last_active_at=self.printed(last or self.at), **fields)
            for number, (last, fields) in self.phones.items()
        ]
        before = self.events()
        service_now = self.at if knows_clock else None
        self.store.save_devices(
            rows, now=now, complete=True, service_now=service_now, limits=LIMITS
        )
        self.store.save_pass(Pass(kind="devices", started_at=utc_text(now)), now=now)
        return self.events()[len(before) :]

    def printed(self, moment):
        return (moment + timedelta(minutes=self.offset)).replace(tzinfo=None)

    def watch(self, seconds, every=MINUTE):
        """Look every minute for so long; return what was told."""
        told = []
        for _ in range(seconds // every):
            self.wait(every)
            told += self.look()
        return told

    def events(self):
        query = "select kind, device_id from events order by seq"
        return self.store._db.execute(query).fetchall()


@pytest.fixture
def world(store, device):
    """The clock of the service is known: three hours ahead."""
    store.learn_offsets(180, {})
    return World(store, device)


@pytest.fixture
def unsure(store, device):
    """Nothing is known of the service's clock, which is three hours ahead."""
    return World(store, device)


OFFLINE, ONLINE = ("device.offline", 351), ("device.online", 351)
LOW, OK = ("device.battery_low", 351), ("device.battery_ok", 351)


def test_a_phone_that_falls_silent_is_told_once_and_told_when_it_is_back(world):
    world.phone()
    world.look()
    world.silence()

    early = world.watch(HOUR - MINUTE)
    told = world.watch(DAY)
    world.phone()
    back = world.watch(DAY)

    assert (early, told, back) == ([], [OFFLINE], [ONLINE])


def test_it_is_told_as_soon_as_it_was_silent_for_long_enough(world):
    world.phone()
    world.look()
    world.silence()
    world.watch(HOUR - MINUTE)

    world.wait(MINUTE)

    assert world.look() == [OFFLINE]


def test_the_event_says_for_how_long_and_nothing_that_is_private(world, rows):
    world.phone(name="Anna's phone", label="+79201234567")
    world.look()
    world.silence()
    world.watch(HOUR)

    ((at, box, message_id, data),) = rows("select at, box, message_id, data from events")

    assert at == utc_text(world.at)
    assert (box, message_id) == (None, None)
    assert json.loads(data) == {"silent_s": HOUR}


def test_a_restart_repeats_nothing(world, store):
    world.phone(battery=10)
    world.look()
    world.silence()
    world.watch(2 * HOUR)

    with Store.open(store.path) as again:
        world.store = again
        assert world.watch(HOUR) == []
        world.phone()
        assert world.watch(HOUR) == [ONLINE, OK]


def test_a_daemon_that_was_down_for_a_day_tells_nothing_of_phones_that_are_in_touch(world):
    for number in range(351, 361):
        world.phone(number)
    world.watch(HOUR)

    world.wait(DAY)

    assert world.watch(HOUR) == []


def test_a_service_that_was_down_for_a_day_has_no_phone_offline_when_it_is_back(world):
    """Its phones could not reach it, and come back within minutes, one after the other."""
    for number in range(351, 361):
        world.phone(number)
    world.watch(HOUR)
    for number in world.phones:
        world.silence(number)

    world.wait(DAY)
    told = world.look()
    for number in list(world.phones)[:-1]:
        told += world.watch(20, every=20)
        world.phone(number)
    told += world.watch(HOUR)

    assert told == [("device.offline", 360)]


def test_what_was_offline_when_it_was_first_seen_is_no_event_but_its_return_is(world):
    world.phone(last=START - timedelta(days=90))

    assert world.watch(DAY) == []
    world.phone()
    assert world.watch(HOUR) == [ONLINE]


@pytest.mark.parametrize("jump_s", [-DAY, DAY, -HOUR, HOUR])
def test_a_jump_of_our_clock_is_no_silence(world, jump_s):
    """Phones here are in touch every ten minutes only."""
    world.phone()
    world.watch(HOUR)

    world.ahead_s = jump_s
    world.silence()
    told = world.watch(10 * MINUTE)
    world.phone()
    told += world.watch(HOUR)

    assert told == []


@pytest.mark.parametrize("jump_s", [-DAY, DAY])
def test_a_silence_is_noticed_whatever_our_clock_does(world, jump_s):
    world.phone()
    world.look()
    world.silence()
    world.watch(50 * MINUTE)

    world.ahead_s = jump_s

    assert world.watch(20 * MINUTE) == [OFFLINE]


@pytest.mark.parametrize("minutes", [-60, 60])
def test_the_end_of_daylight_saving_is_no_silence(world, minutes):
    """The service prints an hour less, or more, than what was learnt."""
    world.phone()
    world.watch(HOUR)

    world.offset += minutes

    assert world.watch(2 * HOUR) == []


@pytest.mark.parametrize("zone", ["+00:00", "+06:00", "-05:00"])
def test_a_wrong_zone_makes_no_false_alarm_and_hides_no_return(tmp_path, device, zone):
    with Store.migrate(tmp_path / "wrong.db", Locale(timezone=zone)) as store:
        world = World(store, device)
        world.phone()
        world.watch(2 * MINUTE)  # at the very first look it may have seemed out of touch
        quiet = world.watch(2 * HOUR)
        world.silence()
        told = world.watch(DAY)
        world.phone()
        back = world.watch(HOUR)

    assert (quiet, told, back) == ([], [OFFLINE], [ONLINE])


def test_without_a_date_of_the_service_our_own_clock_does(world):
    world.phone()
    world.look(knows_clock=False)
    world.silence()
    told = []
    for _ in range(70):
        world.wait(MINUTE)
        told += world.look(knows_clock=False)

    assert told == [OFFLINE]


def test_with_an_unknown_clock_a_phone_is_silent_for_as_long_as_it_was_seen_to_be(unsure):
    unsure.phone()
    unsure.look()
    unsure.silence()

    assert unsure.watch(HOUR - MINUTE) == []
    assert unsure.watch(HOUR) == [OFFLINE]
    unsure.phone()
    assert unsure.watch(HOUR) == [ONLINE]


def test_with_an_unknown_clock_another_phone_tells_the_time(unsure):
    unsure.phone(351)
    unsure.phone(388)
    unsure.look()
    unsure.silence(351)
    unsure.wait(50 * MINUTE)  # in which nobody looked

    unsure.look()

    assert unsure.watch(HOUR) == [OFFLINE]


def test_with_an_unknown_clock_a_date_that_makes_no_sense_is_no_clock(unsure):
    unsure.phone(351)
    unsure.phone(388, last=datetime(2099, 1, 1, tzinfo=UTC))

    unsure.watch(HOUR)
    unsure.silence(351)
    told = unsure.watch(50 * MINUTE)
    unsure.phone(351)
    told += unsure.watch(HOUR)

    assert told == [("device.offline", 388)]  # which was seen to stand still for an hour


def test_what_died_long_ago_is_known_to_be_offline_in_every_zone(unsure):
    unsure.phone(last=START - timedelta(days=2))

    assert unsure.watch(DAY) == []


@pytest.mark.parametrize("fields", [{"archived": 1}, {"last": None, "last_active_at": None}])
def test_of_archived_phones_and_such_without_a_date_nothing_is_told(world, fields):
    if "last_active_at" in fields:
        world.printed = lambda _: None
        fields = {}
    world.phone(**fields)
    world.look()
    world.silence()

    assert world.watch(DAY) == []


def test_a_phone_that_is_gone_is_not_judged_and_back_it_is_told(world):
    world.phone()
    world.phone(388)
    world.look()
    world.silence()
    world.watch(2 * HOUR)
    gone = world.phones.pop(351)

    assert world.watch(HOUR) == []
    world.phones[351] = gone
    assert world.watch(HOUR) == []
    world.phone()
    assert world.watch(HOUR) == [ONLINE]


def test_a_higher_limit_is_no_return(world, store):
    world.phone()
    world.look()
    world.silence()
    world.watch(HOUR)

    row = world.device(351, last_active_at=world.printed(world.phones[351][0]), battery=50)
    wide = Devices(offline_s=DAY)
    store.save_devices([row], now=world.at, complete=True, service_now=world.at, limits=wide)

    assert world.events() == [OFFLINE]


def test_a_low_battery_is_told_once_and_told_when_it_was_charged(world):
    told = []
    for battery in (17, 16, 15, 14, 16, 15, 17, 14, 19, 15, 20, 19, 15):
        world.phone(battery=battery)
        told.append((battery, world.watch(MINUTE)))

    assert [(battery, kinds) for battery, kinds in told if kinds] == [
        (15, [LOW]),
        (20, [OK]),
        (15, [LOW]),
    ]


def test_an_unknown_battery_says_nothing(world):
    told = []
    for battery in (10, None, 10, None, 90):
        world.phone(battery=battery)
        told += world.watch(MINUTE)

    assert told == [LOW, OK]


@pytest.mark.parametrize(("low", "ok"), [(0, 5), (97, 100), (15, 20)])
def test_the_limit_may_be_anywhere(world, store, low, ok):
    def told(battery):
        row = world.device(351, battery=battery)
        limits = Devices(battery_low=low)
        before = len(world.events())
        store.save_devices([row], now=world.at, complete=True, limits=limits)
        return world.events()[before:]

    assert [told(n) for n in (low + 1, low, ok - 1, ok)] == [[], [LOW], [], [OK]]


def test_nothing_is_written_while_all_phones_are_well(world, store):
    world.phone()
    world.look()
    rows = store._db.execute("select * from device_states").fetchall()

    world.watch(DAY, every=HOUR // 4)

    assert store._db.execute("select * from device_states").fetchall() == rows
    assert world.events() == []


def test_an_event_and_what_is_remembered_of_it_are_stored_together(world, store):
    world.phone()
    world.look()
    world.silence()
    world.watch(HOUR - MINUTE)
    store._db.execute(
        "create trigger no before insert on events begin select raise(abort, 'disk full'); end"
    )
    world.wait(MINUTE)
    with pytest.raises(Exception, match="disk full"):
        world.look()
    store._db.execute("drop trigger no")

    assert world.watch(MINUTE) == [OFFLINE]


@pytest.mark.parametrize("minutes", [103, 106])
def test_a_contact_between_two_silences_begins_the_second_one(world, minutes):
    """A short one at minute 45, which the look at `minutes` sees for the first time."""
    world.phone()
    world.look()
    world.silence()
    world.wait(40 * MINUTE)
    world.look()
    world.phone(last=START + timedelta(minutes=45))
    world.wait((minutes - 40) * MINUTE)

    assert world.look() == []
    assert world.watch(3 * MINUTE) == []
    assert world.watch(5 * MINUTE) == [OFFLINE]


def test_with_both_clocks_wrong_a_phone_in_touch_has_nothing_to_tell(unsure):
    unsure.ahead_s = 2 * DAY
    unsure.phone()

    assert unsure.watch(2 * HOUR) == []


def test_a_contact_of_hours_ago_is_no_return_though_our_clock_went_back(world):
    world.phone()
    world.look()
    world.silence()
    world.watch(2 * HOUR)
    world.phone(last=world.at + timedelta(hours=1))
    world.wait(6 * HOUR)
    world.ahead_s = -DAY

    assert world.look() == []


def test_of_a_phone_that_was_out_of_touch_from_the_first_the_battery_is_old(world):
    world.phone(last=START - timedelta(days=9), battery=3)

    assert world.watch(HOUR) == []
    world.phone(battery=4)
    assert world.watch(HOUR) == [ONLINE, LOW]
