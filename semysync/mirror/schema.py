"""
The mirror's tables, as numbered migrations in SQL.

`MIGRATIONS` are applied by sqlite-utils, each in a transaction; one that was released is never
edited. `user_version` counts them, so that a reader knows at a glance whether it can use a file,
and `application_id` says that the file is a mirror at all. Nothing that is stored here (views,
generated columns, triggers) needs a function of ours or anything newer than SQLite 3.37, since it
runs in other people's programs.
"""

from sqlite_utils import Database, Migrations

MIGRATIONS = Migrations("semysync")

INBOX = """
create table inbox (
    id            integer primary key,  -- the service's
    device_id     integer,
    phone         text,                 -- as the service gives it
    contact       text,                 -- normalised: both boxes join on it
    text          text,
    channel       text not null,        -- sms, whatsapp, whatsapp_business, type:N
    received_at   text,                 -- by the phone's clock
    utc_offset    integer,              -- minutes east; null: received_at is what was printed
    mirrored_at   text not null,
    changed_at    text,
    purged_at     text,
    missing_since text,
    extra         text                  -- JSON: all that has no column or was not understood
) strict
"""

SENT = """
create table sent (
    id               integer primary key,  -- the service's
    device_id        integer,
    phone            text,
    contact          text,
    text             text,
    channel          text not null,
    status           text generated always as (
        case when is_delivered = 1                   then 'delivered'
             when is_error_send = 1 or is_error = 1  then 'failed'
             when is_send = 1                        then 'sent'
             when is_cancel = 1                      then 'cancelled'
             when is_send_to_phone = 1               then 'on_phone'
             else 'accepted' end) virtual,
    is_send_to_phone integer not null default 0 check (is_send_to_phone in (0, 1)),
    is_send          integer not null default 0 check (is_send in (0, 1)),
    is_delivered     integer not null default 0 check (is_delivered in (0, 1)),
    is_cancel        integer not null default 0 check (is_cancel in (0, 1)),
    is_error         integer not null default 0 check (is_error in (0, 1)),
    is_error_send    integer not null default 0 check (is_error_send in (0, 1)),
    is_out           integer not null default 0 check (is_out in (0, 1)),
    created_at       text,                 -- by the service's clock, as handed_at
    handed_at        text,
    sent_at          text,                 -- by the phone's clock, as delivered_at
    delivered_at     text,
    cancelled_at     text,
    failed_at        text,
    utc_offset       integer,
    phone_utc_offset integer,
    mirrored_at      text not null,
    changed_at       text,
    purged_at        text,
    missing_since    text,
    extra            text
) strict
"""

DEVICES = """
create table devices (
    id               integer primary key,  -- the service's
    name             text,
    label            text,
    channel          text,
    manufacturer     text,
    android_version  text,
    app_version      text,
    battery          integer,              -- per cent
    service_on       integer,
    use_for_sending  integer,
    reports_on       integer,
    archived         integer not null default 0,
    speed            integer,
    limit_phone      integer,
    limit_use        integer,
    limit_at         text,
    limit_period     text,
    last_active_at   text,
    utc_offset       integer,
    phone_utc_offset integer,
    first_seen_at    text not null,
    mirrored_at      text,                 -- null: seen in messages only
    changed_at       text,
    missing_since    text,
    extra            text
) strict
"""

MARKS = """
create table marks (
    box              text not null check (box in ('inbox', 'sent')),
    device_id        integer not null,            -- 0: the whole account
    last_id          integer not null default 0,  -- the mark: complete from floor_id up to here
    floor_id         integer not null default 0,  -- where `history` begins
    top_id           integer,                     -- the newest id before the first load
    lookback_id      integer not null default 0,  -- the mark at least lookback_s ago
    lookback_next_id integer not null default 0,  -- the mark at lookback_at
    lookback_at      text,
    width            integer,                     -- ids a question, where all at once is too much
    loaded_at        text,                        -- when the first load was complete
    looked_at        text,                        -- when the last look proved complete
    primary key (box, device_id)
) strict
"""

PASSES = """
create table passes (
    id          integer primary key autoincrement,
    kind        text not null,      -- inbox, sent, devices
    started_at  text not null,
    finished_at text not null,
    requests    integer not null,
    added       integer not null,
    changed     integer not null,
    illegible   integer not null,   -- rows that could not be stored as messages
    error       text
) strict
"""

CONFLICTS = """
create table conflicts (
    id            integer primary key autoincrement,
    box           text not null,    -- inbox, sent, devices
    message_id    integer,          -- null: the row has no usable id
    reason        text not null,
    row           text not null,    -- the newcomer, whole, as JSON
    first_seen_at text not null,
    last_seen_at  text not null,
    times         integer not null default 1,
    unique (box, row)
) strict
"""

INDEXES = """
create index inbox_by_device on inbox (device_id, id);
create index inbox_by_time on inbox (received_at);
create index inbox_by_contact on inbox (contact, received_at);
create index sent_by_device on sent (device_id, id);
create index sent_by_time on sent (created_at);
create index sent_by_contact on sent (contact, created_at)
"""

# Both arms give each column the same affinity, else SQLite would sort instead of merging by index.
MESSAGES = """
create view messages as
select 'in' as direction, contact, text, received_at as at, cast('received' as text) as status,
       device_id as device, channel, phone, id
  from inbox
union all
select 'out' as direction, contact, text, created_at as at, status,
       device_id as device, channel, phone, id
  from sent
"""


@MIGRATIONS()
def m001_first_tables(db: Database) -> None:
    """Both boxes, the devices, and the daemon's memory."""
    for statement in (INBOX, SENT, DEVICES, MARKS, PASSES, CONFLICTS, MESSAGES):
        db.execute(statement)
    for statement in INDEXES.split(";"):
        db.execute(statement)
