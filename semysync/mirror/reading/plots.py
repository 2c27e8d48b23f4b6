"""
What is worth a plot, in SQL over the mirror: for the charts in the browser and for `semysync
stats`.

Each statement looks at a span of time that has an end, along an index, so that it is as quick in a
mirror of a million messages as in one of a thousand. Days and hours are those of UTC.
"""

from typing import NamedTuple


class Plot(NamedTuple):
    """A question whose answer is drawn: what is along `x`, how high, and in which colours."""

    name: str
    title: str
    sql: str
    x: str
    y: str
    series: str | None = None
    unit: str = ""
    days: int = 0  #: so many it looks back at, with today


# By the columns: in `group by` the name `direction` alone is the view's, and not the one above it.
HOURS = Plot(
    "hours",
    "Messages an hour, the last two days",
    """
select substr(at, 1, 13) || ':00:00Z' as hour,
       case direction when 'in' then 'received' else 'sent' end
           || case when coalesce(channel, 'sms') = 'sms' then '' else ', ' || channel end as direction,
       count(*) as messages
  from messages
 where at >= strftime('%Y-%m-%dT%H', 'now', '-47 hours')
   and at <= strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+1 hour')
 group by hour, messages.direction, coalesce(channel, 'sms')
 order by hour
""",
    "hour",
    "messages",
    "direction",
    days=2,
)

DAYS = Plot(
    "days",
    "Messages a day, the last 30 days",
    """
select substr(at, 1, 10) as day,
       case direction when 'in' then 'received' else 'sent' end
           || case when coalesce(channel, 'sms') = 'sms' then '' else ', ' || channel end as direction,
       count(*) as messages
  from messages
 where at >= strftime('%Y-%m-%d', 'now', '-29 days')
   and at <= strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+1 hour')
 group by day, messages.direction, coalesce(channel, 'sms')
 order by day
""",
    "day",
    "messages",
    "direction",
    days=30,
)

# Of the newest hundred thousand: enough for a percentile, and no more than a page can wait for.
PERCENTILES = ("half of them", "90 of 100", "99 of 100")

DELIVERY = Plot(
    "delivery",
    "Time to delivery, the last 14 days",
    """
with took as (
    select substr(created_at, 1, 10) as day,
           max(0, (julianday(delivered_at) - julianday(created_at)) * 86400) as seconds
      from sent
     where created_at >= strftime('%Y-%m-%d', 'now', '-13 days') and status = 'delivered'
       and delivered_at is not null and utc_offset is not null and phone_utc_offset is not null
     order by created_at desc
     limit 100000
), ranked as (
    select day, seconds, row_number() over (partition by day order by seconds) as number,
           count(*) over (partition by day) as many
      from took
), share (share, percentile) as (
    values (50, 'half of them'), (90, '90 of 100'), (99, '99 of 100')
)
select day, percentile, round(min(seconds), 1) as seconds
  from ranked join share on number * 100 >= share * many
 group by day, percentile
 order by day, share
""",
    "day",
    "seconds",
    "percentile",
    "s",
    days=14,
)

FAILURES = Plot(
    "failures",
    "Failures a day by device, the last 30 days",
    """
select substr(created_at, 1, 10) as day,
       coalesce((select coalesce(nullif(label, ''), name) from devices where id = device_id),
                'device ' || coalesce(device_id, '?')) as device,
       count(*) as failed
  from sent
 where created_at >= strftime('%Y-%m-%d', 'now', '-29 days') and status = 'failed'
 group by day, device_id
 order by day
""",
    "day",
    "failed",
    "device",
    days=30,
)

QUEUE = Plot(
    "queue",
    "The outbox",
    """
select status, count(*) as drafts
  from outbox
 where status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'on_phone', 'cancelling')
 group by status
 order by drafts desc
""",
    "status",
    "drafts",
)

# Device by device, which is how the samples are indexed: there is one for each sign of life.
BATTERY = Plot(
    "battery",
    "Battery, the last seven days",
    """
select max(at) as at,
       coalesce(nullif(label, ''), name, 'device ' || device_id) as device,
       round(avg(sample.battery)) as battery
  from devices cross join device_samples as sample on device_id = devices.id
 where at >= strftime('%Y-%m-%d', 'now', '-6 days') and sample.battery is not null
 group by device_id, cast(strftime('%s', at) as integer) / 14400
 order by at desc
 limit 900
""",
    "at",
    "battery",
    "device",
    "%",
    days=7,
)

ACTIVITY = Plot(
    "activity",
    "Messages by device, the last 14 days",
    """
with latest as (
    select device_id, substr(received_at, 1, 10) as day from inbox
     where received_at >= strftime('%Y-%m-%d', 'now', '-13 days')
       and received_at <= strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+1 hour')
    union all
    select device_id, substr(created_at, 1, 10) from sent
     where created_at >= strftime('%Y-%m-%d', 'now', '-13 days')
)
select day,
       coalesce((select coalesce(nullif(label, ''), name) from devices where id = device_id),
                'device ' || coalesce(device_id, '?')) as device,
       count(*) as messages
  from latest
 group by day, device_id
 order by day
""",
    "day",
    "messages",
    "device",
    days=14,
)

PLAN = Plot(
    "plan",
    "Messages left in the plan, the last 90 days",
    """
select max(at) as at, messages_left
  from account
 where at >= strftime('%Y-%m-%d', 'now', '-89 days') and messages_left is not null
 group by substr(at, 1, 13)
 order by at desc
 limit 900
""",
    "at",
    "messages_left",
    days=90,
)

PLOTS = (HOURS, DAYS, DELIVERY, FAILURES, QUEUE, BATTERY, ACTIVITY, PLAN)

#: one row, for figures at a glance
FIGURES = """
select (select verdict from health) as verdict,
       (select count(*) from messages
         where at >= strftime('%Y-%m-%d', 'now')
           and at <= strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+1 hour')) as today,
       (select count(*) from outbox
         where status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'on_phone',
                          'cancelling')) as waiting,
       coalesce((select messages_left from account order by id desc limit 1), '–') as messages_left
"""
