"""`run` keeps statuses true and heals the last days, through the real process."""

import sqlite3
from contextlib import closing

from processes import end, wait_until

DELIVERED = {"is_send_to_phone": 1, "is_send": 1, "is_delivered": 1}


def test_what_is_delivered_long_after_it_was_pulled_is_delivered_here_seconds_later(
    program, sandbox
):
    sandbox.set(phone_speed=0)
    program.mirror_here()
    number = sandbox.account.sent_elsewhere("+79201234567", "text")
    program.mirror_here()
    # Pulls look back over a few messages only, and do not come by this one any more.
    for _ in range(3):
        sandbox.account.sent_elsewhere("+79201234567", "later")
    with closing(sqlite3.connect(program.mirror)) as conn, conn:
        conn.execute("update marks set last_id = 1000000000000, lookback_id = 1000000000000")
    sandbox.account.change("sent", number, **DELIVERED)

    with program.running("run") as process:
        wait_until(
            lambda: program.ask(f"select status from sent where id = {number}") == [("delivered",)],
            process,
        )
        noted = "select 1 from passes where kind = 'refresh' and changed > 0"
        wait_until(lambda: program.ask(noted), process)  # a stop would leave the pass unnoted
        code, _ = end(process)

    assert code == 0
    assert program.ask(
        f"select kind from events where message_id = {number} order by seq desc limit 1"
    ) == [("message.delivered",)]


def test_a_day_after_the_first_load_it_verifies_and_heals(program, sandbox):
    program.mirror_here()
    lacking, vanished = sandbox.account.ids("inbox")[-100:-98]
    with closing(sqlite3.connect(program.mirror)) as conn, conn:
        conn.execute("update marks set loaded_at = '2020-01-01T00:00:00.000000Z'")
        conn.execute("update marks set lookback_id = last_id, lookback_next_id = last_id")
        conn.execute("delete from inbox where id = ?", (lacking,))
    sandbox.account.remove("inbox", [vanished])

    with program.running("run") as process:
        wait_until(
            lambda: program.ask("select data from events where kind = 'verify.found'"), process
        )
        _, logged = end(process)

    assert program.ask("select data from events where kind = 'verify.found'") == [
        ('{"lacking": 1, "vanished": 1, "left": 0}',)
    ]
    assert program.ask(f"select count(*) from inbox where id = {lacking}") == [(1,)]
    assert program.ask("select id from inbox where missing_since is not null") == [(vanished,)]
    assert "verify.found" in logged
