"""The questions that people ask of a mirror, in SQL: plain text, for whoever shows them."""

from typing import NamedTuple


class Query(NamedTuple):
    """A question, and how SQL puts it."""

    name: str
    title: str
    description: str
    sql: str


QUERIES = (
    Query(
        "unanswered",
        "Conversations that wait for an answer",
        "The last message is theirs; the newest first.",
        """
select contact, name, last_at, last_text, unread
  from conversations
 where last_direction = 'in'
 order by last_at desc
 limit 100
""",
    ),
    Query(
        "messages_per_day",
        "Messages a day",
        "Of the last 30 days, by the day in UTC.",
        """
select substr(at, 1, 10) as day,
       sum(direction = 'in') as received,
       sum(direction = 'out') as sent
  from messages
 where at >= strftime('%Y-%m-%d', 'now', '-29 days')
 group by day
 order by day desc
""",
    ),
    Query(
        "failures_by_device",
        "Failures by device",
        "Messages of the last 30 days: how many each device has sent, and how many failed.",
        """
select device_id, (select coalesce(label, name) from devices where id = device_id) as device,
       count(*) as messages,
       sum(status = 'failed') as failed,
       round(100.0 * sum(status = 'failed') / count(*), 1) as failed_per_cent
  from sent
 where created_at >= strftime('%Y-%m-%d', 'now', '-29 days')
 group by device_id
 order by failed_per_cent desc, messages desc
""",
    ),
    Query(
        "slowest_deliveries",
        "Slowest deliveries",
        "Of the last seven days: minutes from the service to the other side's phone. The two times "
        "are of two clocks.",
        """
select id, contact, device_id, created_at, delivered_at,
       round((julianday(delivered_at) - julianday(created_at)) * 1440, 1) as minutes, text
  from sent
 where created_at >= strftime('%Y-%m-%dT%H:%M', 'now', '-7 days') and status = 'delivered'
 order by minutes desc
 limit 50
""",
    ),
    Query(
        "waiting_drafts",
        "Drafts that wait",
        "What has not gone out yet, and why.",
        """
select id, coalesce(contact, phone) as contact, status, text, created_at, send_at,
       next_attempt_at, attempts, error
  from outbox
 where status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'on_phone', 'cancelling')
 order by status = 'held', status = 'queued', priority desc, id
 limit 200
""",
    ),
    Query(
        "stuck",
        "What does not move",
        "Messages and drafts that have stood still for an hour, and the likely reason.",
        """
select what, id, contact, status, since, device, reason
  from stuck
 order by since desc
 limit 200
""",
    ),
)
