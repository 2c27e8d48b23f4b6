"""
Everything that may happen, in any order: the promises hold after each step, and when all is calm.

Hypothesis chooses the steps. Rules of the account, of people, of the program, and of what goes
wrong; `World` lets them happen, `Promises` knows what must hold.
"""

import shutil
import sqlite3
from datetime import timedelta
from functools import wraps
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from promises import BOXES, DONE, FLAGS, status_of
from reaching import AGES, BROKEN, FAULTS, NEVER_LEFT, SURE, reached
from switching import BLINDING, FORMS, MISLED, SICK, TOGETHER, changes, of_deletes
from world import HISTORY_FROM, KEPT, PHONES, USUAL, World

AGO = st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(days=10), timedelta(days=40)])
METHODS = (
    "del_inbox_sms,del_outbox_sms",
    "sms,sms_more",
    "outbox_sms",
    "inbox_sms",
    "cancel_sms",
    "devices",
    "user",
)
CONFIGURED = (
    {"scope": "account"},
    {"scope": "device"},
    {"scope": "auto"},
    {"lookback_s": 60},
    {"lookback_s": 600},
    {"region": None},
    {"region": "RU"},
    {"lost_answer": "hold"},
    {"lost_answer": "resend"},
    {"batch": 1},
    {"batch": 25},
    {"per_minute": 2},
    {"per_minute": 0},
    {"quiet_hours": "14:00-16:00 Europe/Moscow"},
    {"quiet_hours": None},
    {"settle_s": 300},
    {"settle_s": 60},
    {"lifetime_s": 1800},
    {"lifetime_s": 86_400},
    {"max_attempts": 2},
    {"max_attempts": 12},
    {"device": "active"},
    {"device": "auto"},
    {"enabled": False},
    {"enabled": True},
)
DEVICE = st.sampled_from([0, 1])


def step(**how):
    """A rule that is counted."""

    def counted(rule_):
        @wraps(rule_)
        def count(self, *args, **given):
            reached[f"step {rule_.__name__}"] += 1
            return rule_(self, *args, **given)

        return rule(**how)(count)

    return counted


class Machine(RuleBasedStateMachine):
    """One world, from its beginning until all is calm."""

    @initialize(
        scope=st.sampled_from(["account", "auto", "device"]),
        history=st.sampled_from(["all", "all", HISTORY_FROM]),
        id_spaces=st.sampled_from(["apart", "overlapping"]),
    )
    def begin(self, scope, history, id_spaces):
        self.folder = Path(mkdtemp(prefix="semysync-machine-"))
        self.world = World(self.folder, scope=scope, history=history, id_spaces=id_spaces)
        self.world.__enter__()
        self.account = self.world.account

    def teardown(self):
        if hasattr(self, "world"):
            try:
                if not self.world.broken:
                    self.world.settle()
            finally:
                self.world.__exit__()
                shutil.rmtree(self.folder)

    # The account

    @step(device=DEVICE, phone=st.sampled_from([*PHONES, KEPT]), ago=AGO)
    def receive(self, device, phone, ago):
        self.world.receive(self.world.devices[device], phone, ago)

    @step(ago=AGO)
    def receive_unseen(self, ago):
        self.world.receive(self.world.devices[0], PHONES[0], ago, hidden=True)

    @precondition(lambda self: self.world.hidden)
    @step()
    def reveal(self):
        self.world.reveal()

    @step(
        device=DEVICE,
        phone=st.sampled_from([*PHONES, KEPT]),
        ago=AGO,
        status=st.sampled_from(list(FLAGS)),
    )
    def sent_elsewhere(self, device, phone, ago, status):
        self.world.elsewhere(self.world.devices[device], phone, ago, status)

    @step(data=st.data(), status=st.sampled_from(["on_phone", "sent", "delivered", "failed"]))
    def change_status(self, data, status):
        rows = [row for row in self.account.rows("sent") if status_of(row) not in DONE]
        if rows:
            row = data.draw(st.sampled_from([row["id"] for row in rows]))
            self.world.change(row, status)

    @step(data=st.data(), status=st.sampled_from(["on_phone", "sent", "delivered", "failed"]))
    def change_status_of_a_draft(self, data, status):
        known = [
            number
            for (number,) in self.world.ask("select sent_id from outbox where sent_id is not null")
        ]
        there = sorted({*known} & {*self.account.ids("sent")})
        if there:
            self.world.change(data.draw(st.sampled_from(there)), status)

    @step(data=st.data(), box=st.sampled_from(BOXES), all_old=st.booleans())
    def delete_remotely(self, data, box, all_old):
        # Of what we send ourselves nothing: whether it went out twice would not be known.
        ours = {effect["id"] for effect in self.account.effects()} if box == "sent" else set()
        ids = [number for number in self.account.ids(box) if number not in ours]
        if ids:
            until = ids.index(data.draw(st.sampled_from(ids)))
            self.account.remove(box, ids[0 if all_old else until : until + 1])

    @step(data=st.data())
    def reuse_an_id(self, data):
        """A reset of the service: a new message has the id of another one, which is here."""
        ids = self.account.ids("inbox")
        if ids:
            number = data.draw(st.sampled_from(ids))
            self.world.promises.reused("inbox", number)
            self.account.reuse_ids("inbox", [number])
            self.world.time.passed_s += 1  # of the same moment it may as well be the same, edited
            stranger = f"+7930{next(self.world.numbers):07}"  # nobody else has this number
            self.world.receive(self.world.devices[0], stranger, timedelta(0))

    @step(on=st.booleans(), device=DEVICE)
    def switch_phone(self, on, device):
        self.account.change_device(self.world.devices[device], power=int(on))

    @step(battery=st.sampled_from(["9", "80", ""]), device=DEVICE)
    def change_battery(self, battery, device):
        self.account.change_device(self.world.devices[device], bat=battery)

    @step(archived=st.booleans())
    def archive(self, archived):
        self.account.change_device(self.world.devices[1], is_arhive=int(archived))

    @precondition(lambda self: len(self.world.devices) < 4)
    @step(kind=st.sampled_from([0, 1]))
    def add_device(self, kind):
        self.world.devices.append(self.account.add_device(type=kind, name="new"))

    @step(speed=st.sampled_from([0.0, 1.0]))
    def phones_work(self, speed):
        self.world.switch(phone_speed=speed)

    @step(years=st.sampled_from([0, -11, 2]), device=DEVICE)
    def set_clock_of_phone(self, years, device):
        self.world.honest = False
        self.account.phone_clock(self.world.devices[device], "+05:00", years * 365 * 86_400)

    @step(change=st.sampled_from(changes(FORMS)))
    def answer_otherwise(self, change):
        self._switch(change)

    @step(change=st.sampled_from(TOGETHER), many=st.integers(3, 8))
    def answer_in_part(self, change, many):
        """More comes than an answer holds, and what it leaves out is asked for."""
        self.world.switch(**change)
        for number in range(many):
            self.world.receive(self.world.devices[number % 2], PHONES[number % 3], timedelta(0))

    @step(change=st.sampled_from(changes(SICK, BLINDING)))
    def fall_ill(self, change):
        self._switch(change)

    @step(change=st.sampled_from(changes(SICK, BLINDING)))
    def fall_ill_for_a_while(self, change):
        """Time passes under it, and then it is over."""
        self._switch(change)
        self.world.run(60)
        self.world.switch(**{name: getattr(USUAL, name) for name in change})

    def _switch(self, change):
        (what,) = change.items()
        self.world.honest &= what[0] not in {"phone_skew_s", "phone_zone", "server_zone"}
        reached["switch {}={}".format(*what)] += 1
        self.world.switch(**change)

    @step()
    def recover(self):
        self.world.switch(**{name: getattr(USUAL, name) for name in {**SICK, **BLINDING}})

    # People

    @step(phone=st.sampled_from(PHONES), held=st.booleans())
    def draft(self, phone, held):
        self._draft(phone, status="held" if held else "queued")

    @step(
        phone=st.sampled_from(PHONES),
        ahead_s=st.sampled_from([-60, 60, 3600]),
        lives_s=st.sampled_from([None, 30, 7200]),
        priority=st.sampled_from([0, 7]),
    )
    def draft_for_later(self, phone, ahead_s, lives_s, priority):
        def at(seconds):
            return f"{self.world.time.ours() + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"

        times = {"send_at": at(ahead_s)}
        if lives_s is not None:
            times["expires_at"] = at(ahead_s + lives_s)
        self._draft(phone, priority=priority, **times)

    @step(phone=st.sampled_from(PHONES), kind=st.sampled_from(["text", "ussd"]))
    def draft_the_same_again(self, phone, kind):
        if kind == "ussd":
            self.world.draft("", "*100#", kind="ussd")
        else:
            self.world.draft("the same text each time", phone)

    @step(phone=st.sampled_from(PHONES), many=st.integers(2, 5))
    def draft_many(self, phone, many):
        for other in (phone, *PHONES, *PHONES)[:many]:
            self._draft(other)

    @step(phone=st.sampled_from(PHONES), status=st.sampled_from(["queued", "held"]))
    def draft_longer_than_a_phone_can_send(self, phone, status):
        """A table counts characters, a phone more: of these each is two."""
        number = next(self.world.numbers)
        self.world.draft(f"draft {number} " + "\N{GRINNING FACE}" * 600, phone, status=status)

    @step(lost=st.booleans())
    def refuse_a_draft_to_the_end(self, lost):
        """The service takes nothing to this number, as often as it is tried."""
        self.world.configure(max_attempts=1 + lost)
        self._switch({"refuse_phone": PHONES[1]})
        if lost:
            self.world.sandbox.order_fault("drop", method="sms,sms_more", when="before")
        self._draft(PHONES[1])
        self.world.run(200)
        self.world.switch(refuse_phone=USUAL.refuse_phone)

    def _draft(self, phone, **columns):
        return self.world.draft(f"draft {next(self.world.numbers)}", phone, **columns)

    @step(data=st.data(), status=st.sampled_from(["cancelling", "held", "queued"]))
    def change_draft(self, data, status):
        rows = self.world.ask("select id, status from outbox")
        # A person who queues an unknown draft again says that it may go out twice.
        ids = [number for number, was in rows if (status, was) != ("queued", "unknown")]
        self._by_hand(data, ids, lambda number: self.world.set(number, status))

    @step(data=st.data())
    def cancel_on_its_way(self, data):
        query = "select id from outbox where status in ('sending', 'unknown', 'accepted')"
        ids = [number for (number,) in self.world.ask(query)]
        self._by_hand(data, ids, self.world.cancel)

    @step(data=st.data())
    def edit_draft(self, data):
        def edit(number):
            text = f"edited {next(self.world.numbers)}"
            self.world.writer.execute("update outbox set text = ? where id = ?", (text, number))
            self.world.promises.texts[text] += 1

        ids = [number for (number,) in self.world.ask("select id from outbox")]
        self._by_hand(data, ids, edit)

    @step(data=st.data())
    def forget_draft(self, data):
        ids = [number for (number,) in self.world.ask("select id from outbox")]
        self._by_hand(data, ids, self.world.forget_draft)

    def _by_hand(self, data, ids, do):
        if ids:
            try:
                do(data.draw(st.sampled_from(ids)))
            except sqlite3.IntegrityError as refused:
                reached[f"refused: {str(refused)[:40]}"] += 1

    @step()
    def begin_purging_anew(self):
        self.world.begin_purging_anew()

    @step()
    def back_up(self):
        self.world.back_up()

    @step(change=st.sampled_from(CONFIGURED))
    def configure(self, change):
        self.world.configure(**change)

    @step(days=st.sampled_from([3, 30]), keep=st.booleans())
    def configure_purge(self, days, keep):
        keep = [KEPT] if keep else []
        how = {"inbox_days": days, "sent_days": days, "keep": keep}
        self.world.configure(purging=type(self.world.purging)(**how))

    # The program

    @step(seconds=st.sampled_from([5, 60, 200]))
    def go_on(self, seconds):
        self.world.run(seconds)

    @step()
    def pull(self):
        self.world.do(self.world.load)

    @step(boxes=st.booleans())
    def pull_in_turns(self, boxes):
        def once():
            for outcome in self.world._sync(self.world.store).once() if boxes else ():
                self.world.note(outcome)

        self.world.do(once)

    @step()
    def refresh(self):
        self.world.do(lambda: self.world.note(self.world._sync(self.world.store).refresh()))

    @step(repair=st.booleans(), days=st.sampled_from([None, 3]))
    def verify(self, repair, days):
        since = days and (self.world.time.ours() - timedelta(days=days)).date()
        self.world.do(lambda: self.world.verify(since, repair=repair))

    @step(days=st.sampled_from([0, 90]))
    def keep_house(self, days):
        self.world.keep_house(days)

    @step(phone=st.sampled_from(PHONES))
    def keep_house_while_a_hook_fails(self, phone):
        self.world.hook_fails = True
        self.world.receive(self.world.devices[0], phone, timedelta(0))
        self.world.do(self.world.load)
        self.world.do(self.world.follow)
        self.world.time.passed_s += 1
        self.world.keep_house(0)
        self.world.hook_fails = False

    @step()
    def purge(self):
        self.world.do(self.world.purge)

    @step(back_up=st.booleans())
    def purge_by_a_person(self, back_up):
        """Who sets the clock right, and begins anew."""
        self.world.time.jumped_s = 0.0
        self.world.begin_purging_anew()
        if back_up:
            self.world.back_up()
            self.world.time.passed_s += 1
        self.world.do(self.world.purge)

    @step(days=st.sampled_from([1, 8, 31]))
    def sleep(self, days):
        """The machine is off for some days, or asleep."""
        self.world.time.passed_s += days * 86_400

    @step()
    def restart(self):
        self.world.again()

    @step(age=st.sampled_from(AGES), claims=st.booleans())
    def restore(self, age, claims):
        self.world.restore(age, claims=claims)

    @step(
        phone=st.sampled_from(PHONES),
        status=st.sampled_from(["queued", "held"]),
        once_more=st.booleans(),
    )
    def restore_what_has_gone_out_since(self, *, phone, status, once_more):
        """A copy that holds a draft as it was before it went out, perhaps put back once more."""
        self.world.time.jumped_s = 0.0
        number = self._draft(phone, status=status)
        self.world.back_up()
        if status == "held":
            self.world.set(number, "queued")
        self.world.run(20)
        self.world.restore("newest")
        self.world.run(20)
        if once_more:
            self.world.restore_once_more()
            self.world.run(20)

    @step(box_first=st.booleans(), seconds=st.sampled_from([5, 30]))
    def receive_out_of_order(self, box_first, seconds):
        """A message shows below one that was pulled, but not too late to look back to."""
        if box_first:
            self.world.do(self.world.load)
        self.world.receive(self.world.devices[0], PHONES[0], timedelta(0), hidden=True)
        self.world.receive(self.world.devices[0], PHONES[1], timedelta(0))
        self.world.do(self.world.load)
        self.world.time.passed_s += seconds
        self.world.reveal()

    @step(times=st.sampled_from([1, 2]), data=st.data(), box=st.sampled_from(BOXES))
    def call_webhook(self, times, data, box):
        shelf = self.account._shelves[box]
        ids = sorted(row.id for row in shelf.live())
        number = data.draw(st.sampled_from(ids)) if ids else None
        if number is None:
            return
        reached["webhook of a hidden message"] += (box, number) in self.world.hidden
        which = "inbox" if box == "inbox" else "status"
        reached[f"webhook of {which}"] += 1
        self.world.call_webhook(which, self.world.fields_of(box, number), times)

    @step(number=st.integers(1, 2**40), which=st.sampled_from(["inbox", "status"]))
    def forge_webhook(self, number, which):
        reached["webhook of nothing"] += 1
        self.world.call_webhook(which, {"id": str(number), "phone": PHONES[0], "msg": "forged"})

    @step(fails=st.booleans())
    def follow(self, fails):
        self.world.hook_fails = fails
        self.world.do(self.world.follow)

    # What goes wrong

    @step(
        fault=st.sampled_from(FAULTS),
        when=st.sampled_from(["before", "after"]),
        method=st.sampled_from(METHODS),
        nth=st.integers(1, 3),
        retry_after=st.sampled_from([0, 30]),
    )
    def let_fail(self, fault, when, method, nth, retry_after):
        self._order(fault, when, method, nth=nth, retry_after=retry_after)

    def _order(self, fault, when, method, **how):
        when = "before" if fault in SURE else when
        reached[f"fault {fault} {when}"] += 1
        self.world.sandbox.order_fault(fault, when=when, method=method, **how)

    @step(
        broken=st.sampled_from(BROKEN),
        when=st.sampled_from(["before", "after"]),
        nth=st.integers(1, 6),
    )
    def let_break(self, broken, when, nth):
        when = "before" if broken in NEVER_LEFT else when
        self.world.perils[self.world.asked + nth] = when, broken

    @step(when=st.sampled_from(["before", "after"]), nth=st.integers(1, 20))
    def let_die(self, when, nth):
        """A kill at a request, whatever asks it: before its effect, or before its answer."""
        self.world.perils[self.world.asked + nth] = when, None

    @step(
        fault=st.sampled_from([*FAULTS, *BROKEN, "kill"]),
        when=st.sampled_from(["before", "after"]),
        phone=st.sampled_from(PHONES),
        seconds=st.sampled_from([0, 5, 60]),
        visible=st.sampled_from(["at_once", "after_s", "after_lists"]),
        another=st.booleans(),
    )
    def lose_the_answer_to_a_draft(self, *, fault, when, phone, seconds, visible, another):
        """It may show a little later, and another client may send to the same number meanwhile."""
        self.world.time.jumped_s = 0.0
        self.world.switch(sent_visible=visible, sent_visible_lists=2, visible_after_s=30.0)
        self._draft(phone)
        if fault in FAULTS:
            self._order(fault, when, "sms,sms_more")
        else:
            when = "before" if fault in NEVER_LEFT else when
            self.world.perils[self.world.asked + 1] = when, None if fault == "kill" else fault
        self.world.do(self.world.steps)
        if another:
            self.world.elsewhere(self.world.devices[0], phone, timedelta(0), "accepted")
        self.world.run(seconds)
        self.world.switch(sent_visible=USUAL.sent_visible)

    @step(
        fault=st.sampled_from(FAULTS),
        when=st.sampled_from(["before", "after"]),
        nth=st.integers(1, 5),
    )
    def lose_the_answer_to_a_purge(self, fault, when, nth):
        self._order(fault, when, "del_inbox_sms,del_outbox_sms", nth=nth)
        self.world.time.jumped_s = 0.0
        self.world.begin_purging_anew()
        self.world.do(self.world.purge)

    @step(steps=st.integers(0, 3), phone=st.sampled_from(PHONES))
    def die_while_sending(self, steps, phone):
        """A kill after so many steps of the sender, and a start anew."""

        def send():
            for _ in range(steps):
                self.world.sender.step()

        self._draft(phone)
        self.world.do(send)
        self.world.again()

    @step(nth=st.integers(1, 40), when=st.sampled_from(["before", "after"]))
    def die_while_purging(self, nth, when):
        """A kill at any request of a purge, before or after its effect."""
        self.world.time.jumped_s = 0.0
        self.world.begin_purging_anew()
        self.world.perils[self.world.asked + nth] = when, None
        self.world.do(self.world.purge)

    @step()
    def die_while_following(self):
        """A kill when a hook has acted, and could not note that."""
        self.world.hook_dies, self.world.hook_fails = True, False
        self.world.do(self.world.follow)

    @step(nth=st.integers(1, 4))
    def shut_the_door(self, nth):
        self.world.refused_at = self.world.asked + nth

    @step(seconds=st.sampled_from([0, -400 * 86_400, -250, 250, 86_400, 400 * 86_400]))
    def jump(self, seconds):
        self._jump(seconds)

    def _jump(self, seconds):
        self.world.honest &= not seconds
        self.world.time.jumped_s = float(seconds)

    @step(days=st.sampled_from([1, 400]))
    def jump_over_a_draft(self, days):
        """Our clock goes wrong while a draft waits for its time."""
        later = self.world.time.ours() + timedelta(minutes=10)
        self._draft(PHONES[0], send_at=f"{later:%Y-%m-%dT%H:%M:%SZ}")
        self._jump(days * 86_400)
        self.world.run(20)

    @step(how=st.sampled_from(MISLED))
    def mislead(self, how):
        reached[f"misled {how}"] += 1
        self.world.misled = True
        self.world.sandbox.set(**how)

    @step()
    def lead(self):
        self.world.misled = False
        told = [name for name in USUAL.__struct_fields__ if of_deletes(name)]
        self.world.sandbox.set(**{name: getattr(USUAL, name) for name in told})

    @precondition(lambda self: any(box == "inbox" for box, _ in self.world.hidden))
    @step()
    def reveal_at_the_next_delete(self):
        def reveal(_call):
            self.world.reveal()
            if self.world.sandbox.orders or self.world.perils:  # its answer may be lost
                self.world.promises.excused |= self.world.promises.late
            reached["revealed between listing and deleting"] += 1

        self.world.before_delete = reveal

    @step()
    def change_at_the_next_delete(self):
        def change(call):
            number = int((call.params.get("list_id") or call.params["start_id"]).split(",")[0])
            box = "sent" if "list_id" in call.params else "inbox"
            if number in self.account.ids(box):
                self.world.promises.excused.add((box, number))
                self.account.change(box, number, msg=f"changed {next(self.world.numbers)}")
                reached["changed between listing and deleting"] += 1

        self.world.before_delete = change

    @invariant()
    def promises(self):
        if not hasattr(self, "world"):
            return
        try:
            self.world.promises.check()
        except BaseException:
            self.world.broken = True
            raise
