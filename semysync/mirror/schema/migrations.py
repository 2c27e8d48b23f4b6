"""
The mirror's tables, as numbered migrations in SQL.

`MIGRATIONS` are applied by sqlite-utils, each in a transaction; one that was released is never
edited. `user_version` counts them, so that a reader knows at a glance whether it can use a file,
and `application_id` says that the file is a mirror at all. Nothing that is stored here (views,
generated columns, triggers) needs a function of ours or anything newer than SQLite 3.37, since it
runs in other people's programs.
"""

from sqlite_utils import Database, Migrations

from semysync.mirror.reading import person
from semysync.mirror.schema import outbox, views
from semysync.mirror.tables import audits, followers, missing, pending, purges, unconfirmed

MIGRATIONS = Migrations("semysync")

#: names of migrations that rewrite or drop: before one of them a copy of the mirror is made
REWRITING: frozenset[str] = frozenset()

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

BACKUPS = """
create table backups (
    id       integer primary key autoincrement,
    at       text not null,         -- the copy holds all that was mirrored before
    path     text not null,
    bytes    integer not null,
    messages integer not null
) strict
"""

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

SETTINGS = """
create table settings (
    key   text primary key,
    value text
) strict
"""

# Datasette finds a table's index by content="…" in double quotes.
SEARCH_TABLES = (
    """
create virtual table inbox_fts using fts5 (
    text, content="inbox", content_rowid="id", tokenize="unicode61"
)
""",
    """
create virtual table sent_fts using fts5 (
    text, content="sent", content_rowid="id", tokenize="unicode61"
)
""",
)

# New rows are indexed a page at a time by the program that stores them; a trigger for each row
# would take a first load twice as long.
SEARCH_TRIGGERS = (
    """
create trigger inbox_text_changes after update of text on inbox when old.text is not new.text begin
    insert into inbox_fts (inbox_fts, rowid, text) values ('delete', old.id, old.text);
    insert into inbox_fts (rowid, text) values (new.id, new.text);
end
""",
    """
create trigger inbox_row_goes after delete on inbox begin
    insert into inbox_fts (inbox_fts, rowid, text) values ('delete', old.id, old.text);
end
""",
    """
create trigger sent_text_changes after update of text on sent when old.text is not new.text begin
    insert into sent_fts (sent_fts, rowid, text) values ('delete', old.id, old.text);
    insert into sent_fts (rowid, text) values (new.id, new.text);
end
""",
    """
create trigger sent_row_goes after delete on sent begin
    insert into sent_fts (sent_fts, rowid, text) values ('delete', old.id, old.text);
end
""",
)

SEARCH = (*SEARCH_TABLES, *SEARCH_TRIGGERS)

# An index that holds what its box does not say any more is damaged by the next change.
REBUILD = {
    box: f"insert into {box}_fts ({box}_fts) values ('rebuild')"  # noqa: S608  names of ours
    for box in ("inbox", "sent")
}

INDEXES = (
    "create index device_samples_by_device on device_samples (device_id, at)",
    "create index contacts_by_time on contacts (last_at)",
)

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

#: what makes up for what may have happened while something was missing, when it is put back
MADE_UP_FOR = {
    "inbox_fts": (REBUILD["inbox"],),
    "sent_fts": (REBUILD["sent"],),
    "inbox_text_changes": (REBUILD["inbox"],),
    "inbox_row_goes": (REBUILD["inbox"],),
    "sent_text_changes": (REBUILD["sent"],),
    "sent_row_goes": (REBUILD["sent"],),
    "outbox_kept": outbox.ENTER_IN_LEDGER,
    "sent_moves_draft": (outbox.FOLLOW_SENT,),
}


@MIGRATIONS()
def m001_first_tables(db: Database) -> None:
    """Both boxes, the devices, and the daemon's memory."""
    tables = (INBOX, SENT, DEVICES, DEVICE_SAMPLES, ACCOUNT, CONTACTS)
    memory = (MARKS, PASSES, CONFLICTS, SETTINGS)
    for statement in (*tables, *memory, *SEARCH, *INDEXES, MESSAGES, CONVERSATIONS):
        db.execute(statement)


@MIGRATIONS()
def m002_drafts(db: Database) -> None:
    """Drafts, which users insert and the daemon sends, and the log of events."""
    db.execute("drop view messages")
    for statement in (*outbox.DRAFTS, views.MESSAGES):
        db.execute(statement)


@MIGRATIONS()
def m003_device_states(db: Database) -> None:
    """What was told of the devices."""
    db.execute(DEVICE_STATES)


@MIGRATIONS()
def m004_backups(db: Database) -> None:
    """The copies that were made and proved."""
    db.execute(BACKUPS)


@MIGRATIONS()
def m005_followers(db: Database) -> None:
    """Who follows the events, and what webhooks told of that no list shows."""
    for statement in (*followers.TABLES, unconfirmed.UNCONFIRMED):
        db.execute(statement)


@MIGRATIONS()
def m006_knowing(db: Database) -> None:
    """The views that tell how all is."""
    for view in ("stuck", "health"):  # files from before the first release have earlier ones
        db.execute(f"drop view if exists {view}")
    for statement in views.KNOWING:
        db.execute(statement)


@MIGRATIONS()
def m007_purges(db: Database) -> None:
    """The log of what was deleted at the service."""
    for statement in purges.TABLES:
        db.execute(statement)


@MIGRATIONS()
def m008_pending(db: Database) -> None:
    """What is still asked for, and what has vanished."""
    for statement in (*pending.TABLES, pending.SO_FAR, *missing.INDEXES):
        db.execute(statement)


@MIGRATIONS()
def m009_stricter_drafts(db: Database) -> None:
    """Refuse ids moved by another name, NULs in numbers, texts that show nothing, and 24:00."""
    for statement in outbox.MENDED:
        db.execute(statement)


@MIGRATIONS()
def m010_forgotten(db: Database) -> None:
    """The ids of messages that were removed for good."""
    db.execute(person.FORGOTTEN)


@MIGRATIONS()
def m011_audits(db: Database) -> None:
    """What was compared with the account, and found."""
    for statement in audits.TABLES_OF_RUNS:
        db.execute(statement)


@MIGRATIONS()
def m012_wishes(db: Database) -> None:
    """Find the drafts at once that somebody wants cancelled."""
    db.execute(outbox.WISHES)


@MIGRATIONS()
def m013_freed_messages(db: Database) -> None:
    """Let the message of a deleted draft be nobody else's, and a second `queued` undo a wish."""
    for statement in outbox.FREED:
        db.execute(statement)


@MIGRATIONS()
def m014_drills(db: Database) -> None:
    """Let `health` tell what came of the last drill."""
    db.execute("drop view health")
    db.execute(views.HEALTH)


@MIGRATIONS()
def m015_written_on_the_phone(db: Database) -> None:
    """Let `stuck` leave out what was written on the phone itself."""
    db.execute("drop view stuck")
    db.execute(views.STUCK)
