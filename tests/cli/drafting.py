"""A mirror with drafts in it, and what the daemon would do to them, step by step."""

import sqlite3
from contextlib import closing

NOW = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
PHONE = "+79201234567"


def change(program, statement, *parameters):
    """Write into the mirror as any program may; return what the statement returns."""
    with closing(sqlite3.connect(program.mirror, timeout=30)) as conn, conn:
        return conn.execute(statement, parameters).fetchall()


def draft(program, phone=PHONE, text="Hello", **columns):
    """Insert a draft; return its id."""
    names = ["phone", "text", *columns]
    statement = f"insert into outbox ({', '.join(names)}) values ({', '.join('?' * len(names))})"
    return change(program, f"{statement} returning id", phone, text, *columns.values())[0][0]


def step(program, id_, assignments, *parameters):
    """Move a draft as the daemon does: at this very moment."""
    change(
        program,
        f"update outbox set {assignments}, updated_at = {NOW} where id = {id_}",
        *parameters,
    )


def claim(program, id_):
    step(program, id_, "contact = phone")
    step(program, id_, "status = 'sending', attempts = attempts + 1, error = null")


def refuse(program, id_, why="the service is busy"):
    claim(program, id_)
    step(program, id_, "status = 'queued', error = ?", why)


def reject(program, id_, why="the service does not know this device"):
    claim(program, id_)
    step(program, id_, "status = 'rejected', error = ?", why)


def lose(program, id_, why="the answer was lost"):
    claim(program, id_)
    step(program, id_, "status = 'unknown', error = ?", why)


def expire(program, id_):
    step(program, id_, "status = 'expired', error = 'its time passed before it went out'")


def accept(program, id_, message_id, device_id=351):
    """Let the service take a draft as this message, which shows up in the account."""
    claim(program, id_)
    step(program, id_, "status = 'accepted', sent_id = ?", message_id)
    change(
        program,
        f"""insert into sent (id, device_id, phone, text, channel, created_at, mirrored_at,
                              is_send_to_phone, is_send, is_delivered, is_cancel, is_error,
                              is_error_send, is_out)
            values (?, ?, ?, 'Hello', 'sms', {NOW}, {NOW}, 0, 0, 0, 0, 0, 0, 0)""",
        message_id,
        device_id,
        PHONE,
    )


def report(program, message_id, flag):
    """Let a flag of a message be set: `is_send_to_phone`, `is_send`, `is_delivered`, …"""
    change(program, f"update sent set {flag} = 1 where id = ?", message_id)


def status_of(program, id_):
    return program.ask(f"select status from outbox where id = {id_}")[0][0]
