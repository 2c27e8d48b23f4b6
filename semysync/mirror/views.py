"""
The views that know of drafts, which take the place of the first ones.

They run in other people's programs: see `rules` for what that forbids.
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

STUCK = """
create view stuck as
select 'message' as what, sent.id, sent.contact, sent.status, sent.created_at as since,
       sent.device_id as device, devices.last_active_at as device_last_active_at,
       case when devices.mirrored_at is null or devices.missing_since is not null
                 then 'its device is gone from the account'
            when devices.archived = 1 then 'its device is archived'
            when devices.service_on = 0 then 'the service is switched off in the app'
            when devices.last_active_at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
                 then 'its device is out of reach'
            when sent.is_send_to_phone = 1
                 then 'its device has it, and has said nothing of it since'
            else 'its device has not fetched it yet' end as reason
  from sent left join devices on devices.id = sent.device_id
 where sent.is_delivered = 0 and sent.is_error_send = 0 and sent.is_error = 0
   and sent.is_cancel = 0 and sent.is_send = 0
   and sent.created_at < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
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
           and not exists (select 1 from sent where sent.id = outbox.sent_id
                                                and outbox.status = 'accepted'))
 where since < strftime('%Y-%m-%dT%H:%M:%S', 'now', '-1 hour')
"""

# A dead daemon shows as late by the view's own arithmetic.
HEALTH = """
create view health as
with complete as (
    select kind, max(finished_at) as at from passes where error is null group by kind
), latest as (
    select max(finished_at) as at from passes
), waiting as (
    select count(*) as queued,
           min(max(created_at, coalesce(send_at, created_at))) as since
      from outbox
     where status = 'queued'
       and coalesce(send_at, '') <= strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
), facts as (
    select cast((julianday('now') - julianday((select at from complete where kind = 'inbox')))
                * 86400 as integer) as inbox_lag_s,
           cast((julianday('now') - julianday((select at from complete where kind = 'sent')))
                * 86400 as integer) as sent_lag_s,
           cast((julianday('now') - julianday((select at from latest))) * 86400 as integer)
               as idle_s,
           (select queued from waiting) as queued,
           cast((julianday('now') - julianday((select since from waiting))) * 86400 as integer)
               as oldest_waiting_s,
           coalesce((select value from settings where key = 'sending_blocked' and value <> ''),
                    (select error from passes
                      where error is not null
                        and id in (select max(id) from passes group by kind)
                      order by id desc limit 1)) as last_error,
           coalesce((select cast(value as integer) from settings where key = 'late_after_s'), 300)
               as late_after_s
)
select inbox_lag_s, sent_lag_s, queued, oldest_waiting_s, last_error,
       case when idle_s is null or idle_s > late_after_s then 'late'
            when last_error is not null then 'failing'
            when inbox_lag_s is null or inbox_lag_s > late_after_s
              or sent_lag_s is null or sent_lag_s > late_after_s then 'late'
            else 'ok' end as verdict
  from facts
"""
