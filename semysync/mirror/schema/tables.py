"""
The tables beside the boxes and the outbox: the account and its phones, people, what has happened,
and the daemon's memory.
"""

# The account, its phones, and the people of the messages.

ACCOUNT = """
create table account (
    id            integer primary key autoincrement,
    at            text not null,
    user_id       integer,
    paid          integer,
    plan_type     integer,
    plan_ends_at  text,
    messages_left integer,
    extra         text
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

DEVICE_SAMPLES = """
create table device_samples (
    id             integer primary key autoincrement,
    device_id      integer not null,
    at             text not null,
    battery        integer,
    service_on     integer,
    last_active_at text
) strict
"""

DEVICE_STATES = """
create table device_states (
    device_id         integer primary key,
    silent_since      text,          -- since when its last contact was seen to stand still
    offline_since     text,          -- when device.offline was told; null: it is in touch
    battery_low_since text           -- when device.battery_low was told
) strict
"""

CONTACTS = """
create table contacts (
    contact        text primary key,
    name           text,                        -- yours to fill
    read_until     text,                        -- yours to fill: received up to here is read
    last_at        text,
    last_direction text,                        -- in, out
    last_id        integer,
    received       integer not null default 0,  -- messages
    sent           integer not null default 0   -- messages
) strict
"""

FORGOTTEN = """
create table forgotten (
    box text not null check (box in ('inbox', 'sent')),
    id  integer not null,                -- the service's
    primary key (box, id)
) strict, without rowid
"""

# What has happened, and who follows it.

EVENTS = """
create table events (
    seq        integer primary key autoincrement,
    at         text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    kind       text not null,
    box        text,
    message_id integer,
    device_id  integer,
    data       text                      -- JSON: ids, statuses and causes, never a text or a number
) strict
"""

FOLLOWERS = """
create table followers (
    name     text primary key,           -- of the hook in the configuration
    position integer not null,           -- the seq of the last event that it is done with
    since    text not null               -- when it was added
) strict
"""

DELIVERIES = """
create table deliveries (
    follower   text not null,
    seq        integer not null,         -- the event's
    kind       text not null,            -- the event's
    status     text not null check (status in ('failing', 'done', 'dead')),
    attempts   integer not null,
    first_at   text not null,            -- the first attempt
    last_at    text not null,            -- the last one
    next_at    text,                     -- when the next one is due
    error      text,
    output     text,                     -- what the program printed, or the receiver answered
    done_parts text not null default '', -- of several addresses, those that are served
    primary key (follower, seq)
) strict
"""

UNCONFIRMED = """
create table unconfirmed (
    id         integer primary key autoincrement,
    box        text not null check (box in ('inbox', 'sent')),
    message_id integer not null,           -- as the webhook said
    device_id  integer,
    phone      text,
    contact    text,
    text       text,
    channel    text,
    called_at  text not null,              -- when the webhook came
    fields     text not null,              -- JSON: all that it said
    unique (box, message_id)
) strict
"""

# How far the mirror is, and what is still to be asked for.

MARKS = """
create table marks (
    box              text not null check (box in ('inbox', 'sent')),
    device_id        integer not null,            -- 0: the whole account
    last_id          integer not null default 0,  -- the mark: complete from floor_id up to here
    floor_id         integer not null default 0,  -- where the history begins
    history          text,                        -- as the configuration wished when it was loaded
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

PENDING = """
create table pending (
    message_id   integer primary key,           -- of sent, where it need not be yet
    since        text not null,                 -- when it was made, or last changed
    asked_at     text,
    due_at       text,                          -- when to ask next; null: to be decided
    absences     integer not null default 0,    -- answers in a row that lacked it
    absent_since text
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

SETTINGS = """
create table settings (
    key   text primary key,
    value text
) strict
"""

# What was compared, deleted at the service, and copied.

VERIFIES = """
create table verifies (
    id          integer primary key autoincrement,
    what        text not null,             -- which days
    repair      integer not null,
    started_at  text not null,
    finished_at text                       -- null: cut off, or still at work
) strict
"""

VERIFY_PARTS = """
create table verify_parts (
    verify_id  integer not null,
    box        text not null,
    device_id  integer not null,           -- 0: the whole account
    start_id   integer not null,
    end_id     integer not null,           -- the newest mark: what is newer is not compared
    reached_id integer not null,           -- all up to here was compared
    done       integer not null default 0,
    primary key (verify_id, box, device_id)
) strict
"""

VERIFY_DAYS = """
create table verify_days (
    verify_id integer not null,
    box       text not null,
    day       text not null,
    account   integer not null,            -- messages
    primary key (verify_id, box, day)
) strict
"""

VERIFY_FOUND = """
create table verify_found (
    verify_id   integer not null,
    box         text not null,
    message_id  integer not null,
    day         text not null,
    what        text not null,             -- lacking, differing, conflicting, vanished, returned
    repaired_at text,
    primary key (verify_id, box, message_id)
) strict
"""

PURGES = """
create table purges (
    id        integer primary key autoincrement,
    box       text not null check (box in ('inbox', 'sent')),
    device_id integer not null,
    ids       text not null,     -- JSON: the messages, on the disk before the request
    asked     text not null,     -- JSON: how the request named them
    began_at  text not null,
    ended_at  text,              -- null: what it came to is not known yet
    state     text not null default 'asked'
              check (state in ('asked', 'done', 'part', 'lost', 'refused', 'surprise', 'absent')),
    gone      integer,           -- messages that are at the service no more
    said      text,              -- JSON: the ids it answered with; null: no answer came
    error     text
) strict
"""

BACKUPS = """
create table backups (
    id       integer primary key autoincrement,
    at       text not null,         -- the copy holds all that was mirrored before
    path     text not null,
    bytes    integer not null,
    messages integer not null
) strict
"""

INDEXES = (
    "create index device_samples_by_device on device_samples (device_id, at)",
    "create index contacts_by_time on contacts (last_at)",
    "create index deliveries_open on deliveries (follower, status, seq) where status <> 'done'",
    "create index pending_by_time on pending (due_at)",
    "create index purges_open on purges (id) where ended_at is null",
    "create index purges_absent on purges (box, began_at) where state = 'absent'",
    # Without these two `health` would read all passes of a month.
    "create index passes_by_kind on passes (kind)",
    "create index complete_passes_by_kind on passes (kind) where error is null",
)

ALL = (
    ACCOUNT,
    DEVICES,
    DEVICE_SAMPLES,
    DEVICE_STATES,
    CONTACTS,
    FORGOTTEN,
    EVENTS,
    FOLLOWERS,
    DELIVERIES,
    UNCONFIRMED,
    MARKS,
    PASSES,
    PENDING,
    CONFLICTS,
    SETTINGS,
    VERIFIES,
    VERIFY_PARTS,
    VERIFY_DAYS,
    VERIFY_FOUND,
    PURGES,
    BACKUPS,
    *INDEXES,
)
