"""
The views: messages with the drafts among them, what is stuck, and how all is.

They run in other people's programs: see `outbox` for what that forbids.
"""

# All arms give each column the same affinity, else SQLite would sort instead of merging by index.
# A draft is shown from here until its message is.
MESSAGES = """
create view messages as
select 'in' as direction, contact, text, received_at as at, cast('received' as text) as status,
       device_id as device, channel, phone, id
  from inbox
union all
select 'out' as direction, contact, text, created_at as at, status,
       device_id as device, channel, phone, id
  from sent
union all
select 'out' as direction, contact, text, created_at as at, status,
       cast(case when device not glob '*[^0-9]*' then device end as integer) as device,
       cast(null as text) as channel, phone, id
  from outbox
 where +status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'cancelling')
   and not exists (select 1 from sent where sent.id = outbox.sent_id)
"""

CONVERSATIONS = """
create view conversations as
select contact, name, last_at, last_direction,
       case last_direction
           when 'in' then (select text from inbox where id = last_id)
           else (select text from sent where id = last_id) end as last_text,
       received, sent, received + sent as messages,
       case when read_until is null then received
            else (select count(*) from inbox
                   where inbox.contact = contacts.contact and received_at > read_until) end
           as unread,
       read_until
  from contacts
"""

# Why a phone takes nothing. What the service printed by an unknown clock may be 15 hours off.
PHONE_IS_AWAY = """\
            when devices.mirrored_at is null or devices.missing_since is not null
                 then 'its device is gone from the account'
            when devices.archived = 1 then 'its device is archived'
            when devices.service_on = 0 then 'the service is switched off in the app'
            when device_states.offline_since is not null
              or devices.last_active_at < strftime('%Y-%m-%dT%H:%M:%S', 'now',
                     case when devices.utc_offset is null then '-15 hours' else '-1 hour' end)
                 then 'its device is out of reach'
"""

# Of a message with a time that may be 15 hours off, what counts is since when we know it. The draft
# behind a message is not told a second time.
STUCK = """
create view stuck as
select 'message' as what, sent.id, sent.contact, sent.status, sent.created_at as since,
       sent.device_id as device, devices.last_active_at as device_last_active_at,
       case when sent.missing_since is not null then 'the account does not show it any more'
            -- its phone
            when sent.is_send_to_phone = 1
                 then 'its device has it, and has said nothing of it since'
            else 'its device has not fetched it yet' end as reason
  from sent left join devices on devices.id = sent.device_id
            left join device_states on device_states.device_id = sent.device_id
 where sent.is_delivered = 0 and sent.is_error_send = 0 and sent.is_error = 0
   and sent.is_cancel = 0 and sent.is_send = 0 and sent.is_out = 0
   and sent.created_at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
   and (sent.utc_offset is not null
        or sent.mirrored_at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
        or sent.created_at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-15 hours'))
union all
select 'draft', id, contact, status, since, cast(null as integer), cast(null as text),
       case when error is not null then error
            when status = 'queued' and blocked is not null then blocked
            when status = 'queued' then 'the daemon has not sent it: see whether it runs'
            when status = 'sending' then 'the daemon has sent it, and was ended before the answer'
            when status = 'unknown'
                 then 'whether the service took it is not known: the account does not show it'
            when status = 'cancelling' then 'the service has not cancelled it yet'
            else 'the service took it, and the account does not show it' end
  from (select id, contact, status, error,
               (select value from settings where key = 'sending_blocked' and value <> '') as blocked,
               case status when 'queued' then max(created_at, coalesce(send_at, created_at))
                           else updated_at end as since
          from outbox
         where status in ('queued', 'sending', 'unknown', 'accepted', 'cancelling')
           and not (status = 'queued' and priority = 0
                    and exists (select 1 from settings
                                 where key = 'quiet_until'
                                   and value > strftime('%Y-%m-%dT%H:%M:%S', 'now')))
           and not exists (select 1 from sent where sent.id = outbox.sent_id
                                                and outbox.status = 'accepted'))
 where since < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
""".replace("            -- its phone\n", PHONE_IS_AWAY)

# How it is told whether all is well:
#
# * `late` where nothing was noted for `late_after_s`, so that a dead daemon shows as late by the
#   view's own arithmetic; or where a box was not read to its end for so long, or never. A daemon
#   that meets failures asks at distances of up to 750 s, on purpose: it is given 900.
# * `failing` where sending is stopped, or where the last pass of a kind failed: less than 900 s
#   ago, or for the second time in a row. What runs once a day is not failing all day for one
#   failure.
#
# What counts is the order of the passes. A time in the future was stamped by a clock that was
# wrong, and tells nothing.
HEALTH = """
create view health as
with recursive kinds (kind) as (
    select min(kind) from passes
    union all
    select (select min(kind) from passes where passes.kind > kinds.kind) from kinds
     where kind is not null
), failed as (
    select id, error,
           julianday('now') - julianday(finished_at) between -0.0007 and 900 / 86400.0 as is_fresh,
           (select earlier.error is not null from passes as earlier
             where earlier.kind = passes.kind and earlier.id < passes.id
             order by earlier.id desc limit 1) as is_second
      from passes
     where id in (select (select max(id) from passes where passes.kind = kinds.kind) from kinds)
       and error is not null
), stamps (latest, latest_error, inbox, sent) as (
    select (select finished_at from passes order by id desc limit 1),
           (select error from passes order by id desc limit 1),
           (select finished_at from passes
             where id = (select max(id) from passes where kind = 'inbox' and error is null)),
           (select finished_at from passes
             where id = (select max(id) from passes where kind = 'sent' and error is null))
), ages as (
    select cast((julianday('now') - julianday(latest)) * 86400 as integer) as idle_s,
           cast((julianday('now') - julianday(inbox)) * 86400 as integer) as inbox_s,
           cast((julianday('now') - julianday(sent)) * 86400 as integer) as sent_s,
           latest_error
      from stamps
), waiting as (
    select count(*) as queued,
           min(max(created_at, coalesce(send_at, created_at))) as since
      from outbox
     where status = 'queued'
       and coalesce(send_at, '') <= strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
), facts as (
    select case when inbox_s >= -60 then max(inbox_s, 0) end as inbox_lag_s,
           case when sent_s >= -60 then max(sent_s, 0) end as sent_lag_s,
           case when idle_s >= -60 then max(idle_s, 0) end as idle_s,
           latest_error,
           queued,
           max(cast((julianday('now') - julianday(since)) * 86400 as integer), 0)
               as oldest_waiting_s,
           (select value from settings where key = 'sending_blocked' and value <> '') as blocked,
           (select error from failed order by id desc limit 1) as error,
           exists (select 1 from failed where is_fresh or is_second) as is_failing,
           coalesce((select cast(value as integer) from settings where key = 'late_after_s'), 300)
               as late_after_s
      from ages, waiting
)
select inbox_lag_s, sent_lag_s, queued, oldest_waiting_s, coalesce(blocked, error) as last_error,
       case when idle_s is null then 'late'
            when idle_s > late_after_s and (latest_error is null or idle_s > max(late_after_s, 900))
                 then 'late'
            when blocked is not null or is_failing then 'failing'
            when inbox_lag_s is null or inbox_lag_s > late_after_s
              or sent_lag_s is null or sent_lag_s > late_after_s then 'late'
            else 'ok' end as verdict,
       (select value from settings where key = 'drilled_at') as drilled_at,
       (select value from settings where key = 'drill_error') as drill_error
  from facts
"""

ALL = (MESSAGES, CONVERSATIONS, STUCK, HEALTH)
