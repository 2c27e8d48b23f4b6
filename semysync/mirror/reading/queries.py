"""The questions that people ask of a mirror, in SQL: plain text, for whoever shows them."""

from typing import NamedTuple


class Query(NamedTuple):
    """A question, and how SQL puts it."""

    name: str
    title: str
    description: str
    sql: str


# A `+` before a column keeps SQLite from going through the whole history in the order of that
# column, where few days are asked for, which have an index of their own.
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
 group by +device_id
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
    Query(
        "unread",
        "Unread messages",
        "Received after `read_until` of their contact, or of a contact that has none; the "
        "newest first.",
        """
select inbox.id, inbox.contact, contacts.name, received_at, text
  from inbox join contacts on contacts.contact = inbox.contact
 where received_at > coalesce(read_until, '')
 order by received_at desc
 limit 100
""",
    ),
    Query(
        "conversation",
        "One conversation",
        "Both directions of one contact, the newest first.",
        """
select at, direction, status, text, device
  from messages
 where contact = :contact
 order by at desc
 limit 200
""",
    ),
    Query(
        "search",
        "Search both boxes",
        "Messages with all of some words, the newest first; `beg*` finds beginnings.",
        """
select direction, at, contact, text
  from (select 'in' as direction, received_at as at, contact, text
          from inbox where id in (select rowid from inbox_fts where inbox_fts match coalesce(nullif(:words, ''), '""')
                                   order by rowid desc limit 200)
        union all
        select 'out', created_at, contact, text
          from sent where id in (select rowid from sent_fts where sent_fts match coalesce(nullif(:words, ''), '""')
                                  order by rowid desc limit 200))
 order by at desc
 limit 100
""",
    ),
    Query(
        "busiest_contacts",
        "Busiest contacts",
        "Of the last 30 days, by messages in both directions.",
        """
select contact, (select name from contacts where contacts.contact = messages.contact) as name,
       sum(direction = 'in') as received, sum(direction = 'out') as sent, max(at) as last_at
  from messages
 where at >= strftime('%Y-%m-%d', 'now', '-29 days')
 group by contact
 order by count(*) desc
 limit 50
""",
    ),
    Query(
        "new_contacts",
        "New contacts",
        "Who was heard from, or written to, for the first time in the last 30 days.",
        """
select contact, name, received, sent, last_at
  from contacts
 where last_at >= strftime('%Y-%m-%d', 'now', '-29 days')
   and not exists (select 1 from inbox where inbox.contact = contacts.contact
                                         and received_at < strftime('%Y-%m-%d', 'now', '-29 days'))
   and not exists (select 1 from sent where sent.contact = contacts.contact
                                        and created_at < strftime('%Y-%m-%d', 'now', '-29 days'))
 order by last_at desc
 limit 200
""",
    ),
    Query(
        "gone_quiet",
        "Contacts that have gone quiet",
        "Ten messages or more, and none for 60 days.",
        """
select contact, name, received + sent as messages, last_at
  from contacts
 where received + sent >= 10 and last_at < strftime('%Y-%m-%d', 'now', '-60 days')
 order by last_at desc
 limit 200
""",
    ),
    Query(
        "wants_no_more",
        "Who has asked to be left alone",
        "Whose message is STOP, or the like, and little else.",
        """
select contact, max(received_at) as at, text
  from inbox
 where id in (select rowid from inbox_fts where inbox_fts match 'stop OR stopp OR unsubscribe OR стоп')
   and length(trim(text)) <= 12
 group by contact
 order by at desc
 limit 500
""",
    ),
    Query(
        "no_numbers",
        "Senders that are no number",
        "Names and short codes: banks, operators, shops.",
        """
select contact, received, last_at
  from contacts
 where contact not glob '+[0-9]*'
 order by received desc
 limit 200
""",
    ),
    Query(
        "messages_per_hour",
        "Messages by hour of the day",
        "Of the last 30 days, in UTC.",
        """
select substr(at, 12, 2) as hour, sum(direction = 'in') as received, sum(direction = 'out') as sent
  from messages
 where at >= strftime('%Y-%m-%d', 'now', '-29 days')
 group by hour
 order by hour
""",
    ),
    Query(
        "channels_per_month",
        "Channels by month",
        "How many messages went which way, in this month and the last two.",
        """
select substr(at, 1, 7) as month, channel, sum(direction = 'in') as received,
       sum(direction = 'out') as sent
  from messages
 where at >= strftime('%Y-%m-01', 'now', '-2 months')
 group by month, channel
 order by month desc, channel
""",
    ),
    Query(
        "fate_per_day",
        "What became of sent messages",
        "Of the last 30 days, by day.",
        """
select substr(created_at, 1, 10) as day, count(*) as messages,
       sum(status = 'delivered') as delivered, sum(status = 'sent') as sent,
       sum(status = 'failed') as failed, sum(status = 'cancelled') as cancelled,
       sum(status in ('accepted', 'on_phone')) as on_their_way
  from sent
 where created_at >= strftime('%Y-%m-%d', 'now', '-29 days')
 group by day
 order by day desc
""",
    ),
    Query(
        "failed_lately",
        "Failed messages",
        "Of the last seven days, the newest first.",
        """
select id, created_at, failed_at, contact, device_id, channel, text
  from sent
 where status = 'failed' and created_at >= strftime('%Y-%m-%dT%H:%M', 'now', '-7 days')
 order by created_at desc
 limit 200
""",
    ),
    Query(
        "dead_numbers",
        "Numbers that only fail",
        "Three messages or more in the last 90 days, and none that came through.",
        """
select contact, count(*) as messages, max(created_at) as last_at
  from sent
 where created_at >= strftime('%Y-%m-%d', 'now', '-89 days')
 group by +contact
having count(*) >= 3 and sum(status = 'failed') = count(*)
 order by messages desc
""",
    ),
    Query(
        "delivery_times",
        "Delivery times by device",
        "Seconds from the phone to the other side, by the phone's clock, in the last "
        "seven days: half of the messages, and nine of ten, took no longer.",
        """
with times as (
    select device_id, (julianday(delivered_at) - julianday(sent_at)) * 86400 as seconds
      from sent
     where created_at >= strftime('%Y-%m-%dT%H:%M', 'now', '-7 days')
       and delivered_at is not null and sent_at is not null
), ranked as (
    select device_id, seconds,
           row_number() over (partition by +device_id order by seconds) as place,
           count(*) over (partition by +device_id) as messages
      from times
)
select device_id, messages,
       round(max(iif(place <= (messages + 1) / 2, seconds, 0))) as half_s,
       round(max(iif(place <= (messages * 9 + 9) / 10, seconds, 0))) as nine_of_ten_s,
       round(max(seconds)) as slowest_s
  from ranked
 group by device_id
 order by messages desc
""",
    ),
    Query(
        "answer_times",
        "How soon you answer",
        "Of what was received in the last seven days: minutes until the next message to "
        "that contact.",
        """
select contact, count(*) as received, sum(answered_at is not null) as answered,
       round(avg((julianday(answered_at) - julianday(received_at)) * 1440), 1) as average_minutes
  from (select contact, received_at,
               (select min(created_at) from sent
                 where sent.contact = inbox.contact and created_at > received_at) as answered_at
          from inbox
         where received_at >= strftime('%Y-%m-%dT%H:%M', 'now', '-7 days'))
 group by +contact
 order by received desc
 limit 100
""",
    ),
    Query(
        "campaigns",
        "One text to many",
        "Texts that went to ten contacts or more in the last 30 days, and what became of them.",
        """
select min(created_at) as since, count(*) as messages, count(distinct contact) as contacts,
       sum(status = 'delivered') as delivered, sum(status = 'failed') as failed, text
  from sent
 where created_at >= strftime('%Y-%m-%d', 'now', '-29 days')
 group by text
having count(distinct contact) >= 10
 order by since desc
 limit 50
""",
    ),
    Query(
        "twice",
        "The same text twice",
        "Equal messages to one contact within ten minutes, in the last 30 days.",
        """
select one.contact, one.created_at as first_at, two.created_at as second_at, one.id as first_id,
       two.id as second_id, one.text
  from sent as one join sent as two
    on two.contact = one.contact and two.text = one.text
   and two.created_at > one.created_at
   and two.created_at < strftime('%Y-%m-%dT%H:%M:%S', one.created_at, '+10 minutes')
 where one.created_at >= strftime('%Y-%m-%d', 'now', '-29 days')
 order by first_at desc
 limit 100
""",
    ),
    Query(
        "devices_by_load",
        "Messages by device",
        "Of the last 30 days, with how each phone is now.",
        """
with loads as (
    select device, sum(direction = 'out') as sent, sum(direction = 'in') as received
      from messages
     where at >= strftime('%Y-%m-%d', 'now', '-29 days')
     group by device
)
select id, coalesce(label, name) as name, channel, battery, last_active_at,
       coalesce(sent, 0) as sent, coalesce(received, 0) as received
  from devices left join loads on loads.device = devices.id
 where not archived
 order by sent + received desc
""",
    ),
    Query(
        "batteries",
        "Batteries",
        "How they went in the last two days.",
        """
select at, device_id, coalesce(label, name) as device, sample.battery as battery
  from devices cross join device_samples as sample on device_id = devices.id
 where at >= strftime('%Y-%m-%dT%H:%M', 'now', '-2 days') and sample.battery is not null
 order by device_id, at desc
 limit 1000
""",
    ),
    Query(
        "silent_devices",
        "Phones that are silent",
        "In use, and not in touch with the service for an hour.",
        """
select id, coalesce(label, name) as device, last_active_at, service_on, battery
  from devices
 where not archived and missing_since is null
   and last_active_at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
 order by last_active_at
""",
    ),
    Query(
        "plan",
        "What is left of the plan",
        "A row for each change, the newest first.",
        """
select at, messages_left, messages_left - lead(messages_left) over (order by at desc) as change,
       plan_ends_at, paid
  from account
 order by at desc
 limit 100
""",
    ),
    Query(
        "drafts_by_status",
        "Drafts by status",
        "All that are in the outbox.",
        """
select status, count(*) as drafts, min(created_at) as oldest, max(created_at) as newest
  from outbox
 group by status
 order by drafts desc
""",
    ),
    Query(
        "rejected_drafts",
        "Drafts that were never sent",
        "Rejected or expired, with the reason; the newest first.",
        """
select id, finished_at, status, phone, error, attempts, text
  from outbox
 where status in ('rejected', 'expired')
 order by finished_at desc
 limit 100
""",
    ),
    Query(
        "time_in_outbox",
        "Time in the outbox",
        "Of drafts that the service took in the last seven days: seconds from when they could go.",
        """
select id, contact, created_at, send_at, accepted_at, attempts,
       round((julianday(accepted_at) - julianday(max(created_at, coalesce(send_at, '')))) * 86400, 1)
           as seconds
  from outbox
 where accepted_at >= strftime('%Y-%m-%dT%H:%M', 'now', '-7 days')
 order by seconds desc
 limit 100
""",
    ),
    Query(
        "segments_per_day",
        "SMS parts by day",
        "What drafts of the last 30 days cost, as operators count.",
        """
select substr(accepted_at, 1, 10) as day, count(*) as drafts, sum(segments) as parts
  from outbox
 where accepted_at >= strftime('%Y-%m-%d', 'now', '-29 days') and kind = 'text'
 group by day
 order by day desc
""",
    ),
    Query(
        "sent_again",
        "Sent again, or found twice",
        "Drafts whose answer was lost and which the account did not show.",
        """
select at, kind, json_extract(data, '$.draft_id') as draft_id, message_id
  from events
 where kind in ('draft.resent', 'draft.doubled')
 order by seq desc
 limit 100
""",
    ),
    Query(
        "vanished",
        "Vanished at the service",
        "Messages that are here, and that the account does not show any more.",
        """
select 'inbox' as box, id, received_at as at, contact, missing_since
  from inbox where missing_since is not null
union all
select 'sent', id, created_at, contact, missing_since
  from sent where missing_since is not null
 order by missing_since desc
 limit 200
""",
    ),
    Query(
        "changed",
        "Texts that were changed",
        "What a message said before is kept in `extra`.",
        """
select id, created_at, contact, text, json_extract(extra, '$.former') as former
  from sent
 where extra like '%"former"%'
 order by changed_at desc
 limit 100
""",
    ),
    Query(
        "events_lately",
        "What happened",
        "The log of the last two days, the newest first.",
        """
select seq, at, kind, box, message_id, device_id, data
  from events
 where at >= strftime('%Y-%m-%dT%H:%M', 'now', '-2 days')
 order by seq desc
 limit 500
""",
    ),
    Query(
        "requests",
        "What the service was asked",
        "Requests of the last day, by hour and pass.",
        """
select substr(started_at, 1, 13) as hour, kind, count(*) as passes, sum(requests) as requests,
       sum(added) as added, sum(error is not null) as failed
  from passes
 where started_at >= strftime('%Y-%m-%dT%H:%M', 'now', '-1 day')
 group by hour, kind
 order by hour desc, requests desc
""",
    ),
)
