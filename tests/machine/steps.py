"""
Everything that may happen, in any order: the promises hold after each step, and when all is calm.

Hypothesis chooses the steps. Rules of the account, of people, of the program, and of what goes
wrong; `World` knows what must hold.
"""

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import DONE, KEPT, PHONES, USUAL, World, reached, status_of

AGES = st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(days=10), timedelta(days=40)])
FAULTS = ("drop", "reset", "http_500", "http_429", "empty", "cut", "api_error", "html", "warning")
SURE = {"http_429", "api_error"}  #: by the contract: what was refused so was surely not taken
METHODS = (
    "del_inbox_sms,del_outbox_sms",
    "sms,sms_more",
    "outbox_sms",
    "inbox_sms",
    "cancel_sms",
    "devices",
)
MISLED = (
    {"delete_ignores": "list_id"},
    {"delete_ignores": "ids"},
    {"delete_ignores": "dates"},
    {"delete_ignores": "device"},
    {"delete_takes": "half"},
    {"delete_takes": "none"},
    {"delete_takes": "half", "delete_says": "asked"},
    {"delete_says": "half"},
    {"delete_says": "nothing"},
)


class Machine(RuleBasedStateMachine):
    """One world, from its beginning until all is calm."""

    @initialize()
    def begin(self):
        self.folder = Path(mkdtemp(prefix="semysync-machine-"))
        self.world = World(self.folder)
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

    @rule(device=st.sampled_from([0, 1]), phone=st.sampled_from([*PHONES, KEPT]), ago=AGES)
    def receive(self, device, phone, ago):
        self.world.receive(self.world.devices[device], phone, ago)

    @rule(ago=AGES)
    def receive_unseen(self, ago):
        self.world.receive(self.world.devices[0], PHONES[0], ago, hidden=True)

    @precondition(lambda self: self.world.hidden)
    @rule()
    def reveal(self):
        self.world.reveal()

    @rule(
        device=st.sampled_from([0, 1]),
        phone=st.sampled_from([*PHONES, KEPT]),
        ago=AGES,
        status=st.sampled_from(
            ["accepted", "on_phone", "sent", "delivered", "failed", "cancelled"]
        ),
    )
    def sent_elsewhere(self, device, phone, ago, status):
        self.world.elsewhere(self.world.devices[device], phone, ago, status)

    @rule(data=st.data(), status=st.sampled_from(["on_phone", "sent", "delivered", "failed"]))
    def change_status(self, data, status):
        rows = [row for row in self.world.shown("sent") if status_of(row) not in DONE]
        if rows:
            row = data.draw(st.sampled_from([row["id"] for row in rows]))
            self.world.change(row, status)

    @rule(data=st.data(), box=st.sampled_from(["inbox", "sent"]))
    def delete_remotely(self, data, box):
        # Of what we send ourselves nothing: whether it went out twice would not be known.
        ours = {effect["id"] for effect in self.account.effects()}
        ids = [number for number in self.account.ids(box) if number not in ours]
        if ids:
            self.account.remove(box, [data.draw(st.sampled_from(ids))])

    @rule(on=st.booleans(), device=st.sampled_from([0, 1]))
    def switch_phone(self, on, device):
        self.account.change_device(self.world.devices[device], power=int(on))

    @rule(speed=st.sampled_from([0.0, 1.0]))
    def phones_work(self, speed):
        self.world.sandbox.set(phone_speed=speed)

    @rule(years=st.sampled_from([0, -11, 2]), device=st.sampled_from([0, 1]))
    def set_clock_of_phone(self, years, device):
        self.account.phone_clock(self.world.devices[device], "+05:00", years * 365 * 86_400)

    @rule(cap=st.sampled_from([0, 6]), order=st.sampled_from(["asc", "desc", "mixed"]))
    def answer_otherwise(self, cap, order):
        self.world.sandbox.set(cap=cap, order=order)

    @rule(clock=st.sampled_from(["server", "phone", "printed"]))
    def compare_dates_with(self, clock):
        self.world.sandbox.set(date_filter_clock=clock)

    # People

    @rule(phone=st.sampled_from(PHONES), held=st.booleans())
    def draft(self, phone, held):
        text = f"draft {next(self.world.numbers)}"
        self.world.draft(text, phone, status="held" if held else "queued")

    @rule(data=st.data(), status=st.sampled_from(["cancelling", "held", "queued"]))
    def change_draft(self, data, status):
        rows = self.world.ask("select id, status from outbox")
        # A person who queues an unknown draft again says that it may go out twice.
        ids = [number for number, was in rows if (status, was) != ("queued", "unknown")]
        if ids:
            try:
                self.world.set(data.draw(st.sampled_from(ids)), status)
            except sqlite3.IntegrityError as refused:
                reached[f"refused: {str(refused)[:40]}"] += 1

    @rule()
    def begin_purging_anew(self):
        self.world.begin_purging_anew()

    @rule()
    def back_up(self):
        self.world.back_up()

    # The program

    @rule(seconds=st.sampled_from([5, 60, 200]))
    def go_on(self, seconds):
        self.world.run(seconds)

    @rule()
    def pull(self):
        for outcome in self.world._sync(self.world.store).complete():
            reached[f"{outcome.noted.kind} {'failed' if outcome.failure else 'complete'}"] += 1

    @rule()
    def refresh(self):
        outcome = self.world._sync(self.world.store).refresh()
        reached[f"refresh {'failed' if outcome.failure else 'complete'}"] += 1

    @rule(repair=st.booleans())
    def verify(self, repair):
        outcome, _ = self.world._sync(self.world.store).verify(None, repair=repair)
        reached[f"verify {'failed' if outcome.failure else 'complete'}"] += 1

    @rule()
    def purge(self):
        self.world.purge()

    @rule(back_up=st.booleans())
    def purge_by_a_person(self, back_up):
        """Who sets the clock right, and begins anew."""
        self.world.time.jumped_s = 0.0
        self.world.begin_purging_anew()
        if back_up:
            self.world.back_up()
            self.world.time.passed_s += 1
        self.world.purge()

    @rule(days=st.sampled_from([1, 8, 31]))
    def sleep(self, days):
        """The machine is off for some days, or asleep."""
        self.world.time.passed_s += days * 86_400

    @rule(loaded=st.booleans())
    def restart(self, loaded):
        self.world.end()
        self.world.begin_again(loaded=loaded)

    @rule()
    def restore(self):
        if self.world.restore():
            self.world.begin_again(loaded=False)

    # What goes wrong

    @rule(
        fault=st.sampled_from(FAULTS),
        when=st.sampled_from(["before", "after"]),
        method=st.sampled_from(METHODS),
        nth=st.integers(1, 3),
    )
    def let_fail(self, fault, when, method, nth):
        when = "before" if fault in SURE else when
        self.world.sandbox.order_fault(fault, when=when, method=method, nth=nth)

    @rule(
        fault=st.sampled_from(FAULTS),
        when=st.sampled_from(["before", "after"]),
        phone=st.sampled_from(PHONES),
        seconds=st.sampled_from([0, 5, 60]),
    )
    def lose_the_answer_to_a_draft(self, fault, when, phone, seconds):
        self.world.time.jumped_s = 0.0
        self.world.draft(f"draft {next(self.world.numbers)}", phone)
        when = "before" if fault in SURE else when
        self.world.sandbox.order_fault(fault, when=when, method="sms,sms_more")
        self.world.steps()
        self.world.run(seconds)

    @rule(
        fault=st.sampled_from(FAULTS),
        when=st.sampled_from(["before", "after"]),
        nth=st.integers(1, 5),
    )
    def lose_the_answer_to_a_purge(self, fault, when, nth):
        method = "del_inbox_sms,del_outbox_sms"
        self.world.sandbox.order_fault(fault, when=when, method=method, nth=nth)
        self.purge_by_a_person(back_up=False)

    @rule(steps=st.integers(0, 3), phone=st.sampled_from(PHONES))
    def die_while_sending(self, steps, phone):
        """A kill after so many steps of the sender, and a start anew."""
        self.world.draft(f"draft {next(self.world.numbers)}", phone)
        for _ in range(steps):
            self.world.sender.step()
        self.world.end()
        self.world.begin_again(loaded=True)

    @rule(nth=st.integers(1, 40))
    def die_while_purging(self, nth):
        """A kill at any request of a purge, before or after its effect."""
        self.world.time.jumped_s = 0.0
        self.world.begin_purging_anew()
        if self.world.purge_until_death(nth):
            reached["killed while purging"] += 1
        self.world.end()
        self.world.begin_again(loaded=True)

    @rule(nth=st.integers(1, 4))
    def shut_the_door(self, nth):
        self.world.refused_at = self.world.asked + nth

    @rule(seconds=st.sampled_from([0, -400 * 86_400, 250, 86_400, 400 * 86_400]))
    def jump(self, seconds):
        self.world.time.jumped_s = float(seconds)

    @rule(how=st.sampled_from(MISLED))
    def mislead(self, how):
        self.world.misled = True
        self.world.sandbox.set(**how)

    @rule()
    def lead(self):
        self.world.misled = False
        self.world.sandbox.set(**{name: USUAL[name] for name in USUAL if name[:6] == "delete"})

    @precondition(lambda self: any(box == "inbox" for box, _ in self.world.hidden))
    @rule()
    def reveal_at_the_next_delete(self):
        def reveal(_call):
            self.world.reveal()
            if self.world.sandbox.orders:  # it may go with an answer that is lost
                self.world.excused |= {number for _, number in self.world.revealed}
            reached["revealed between listing and deleting"] += 1

        self.world.at_the_next_delete(reveal)

    @rule()
    def change_at_the_next_delete(self):
        def change(call):
            number = int((call.params.get("list_id") or call.params["start_id"]).split(",")[0])
            box = "sent" if "list_id" in call.params else "inbox"
            if number in self.account.ids(box):
                self.account.change(box, number, msg=f"changed {next(self.world.numbers)}")
                reached["changed between listing and deleting"] += 1

        self.world.at_the_next_delete(change)

    @invariant()
    def promises(self):
        if not hasattr(self, "world"):
            return
        try:
            self.world.check()
        except BaseException:
            self.world.broken = True
            raise
        for status in {status for (status,) in self.world.ask("select status from outbox")}:
            event(f"a draft is {status}")
            reached[f"a draft is {status}"] += 1
