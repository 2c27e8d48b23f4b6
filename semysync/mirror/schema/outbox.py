"""
The outbox with its rules inside: a table that any program may write, and none can harm.

A row that cannot be sent fails in the writer's own statement, with a sentence; so does every change
that is not a user's to make. The daemon has no key to the table: its moves pass by their evidence.
It may bring a draft to `accepted` since the draft names its message, to `delivered` since the row
in `sent` says so, and change its own columns since it says when: `updated_at` is the very moment,
which SQLite keeps still within a statement.

`RAISE` is used where a constraint would do, since `INSERT OR IGNORE` passes over constraints in
silence, and a message would be lost. The ledger `outbox_keys` outlives rows: `INSERT OR REPLACE`
deletes without firing any trigger, and a deleted draft's key stays used. All of it runs in other
people's programs: nothing here is newer than SQLite 3.37, and no function is one that
`trusted_schema = off` forbids.
"""

OUTBOX = """
create table outbox (
    id               integer primary key autoincrement,
    phone            text not null,
    text             text not null default '',
    contact          text,                             -- null until the daemon has seen the row
    device           text,                             -- an id, ids joined by commas, or active
    priority         integer not null default 0,
    send_at          text,
    expires_at       text,
    client_key       text unique,
    kind             text not null default 'text',     -- text, ussd
    status           text not null default 'queued',
    sent_id          integer unique,                   -- the message in sent
    attempts         integer not null default 0,
    next_attempt_at  text,
    error            text,
    segments         integer,
    cancel_wanted_at text,
    created_at       text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    accepted_at      text,
    finished_at      text,
    updated_at       text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
) strict
"""

# `uses` never counts: to try it is how a trigger fails unless the writer said OR IGNORE.
OUTBOX_KEYS = """
create table outbox_keys (
    id          integer primary key,
    client_key  text unique,
    released_at text,                                  -- when a held draft was released
    uses        integer not null default 1
                constraint "outbox: this client_key was used before, by a draft that is deleted"
                check (uses = 1)
) strict
"""

ATTEMPTS = """
create table attempts (
    draft_id      integer not null,
    number        integer not null,      -- from 1 for each draft
    began_at      text not null,
    ended_at      text,                  -- null: no answer has come, or the daemon was ended
    outcome       text,                  -- refused, lost; null: the answer is still awaited
    tail          text not null,         -- the last nine digits of the number
    device        text,                  -- as it was asked for
    batched       integer not null,
    above_id      integer not null,      -- the newest message known before the request
    arrivals_from integer not null,      -- the newest of arrivals before the request
    complete      integer not null,      -- whether all of the box was mirrored before the request
    clock_right   integer not null,      -- whether our clock agreed with the service's
    held          integer not null default 0,  -- the draft was held when the mirror was restored
    primary key (draft_id, number)
) strict
"""

ARRIVALS = """
create table arrivals (
    seq     integer primary key autoincrement,
    sent_id integer not null unique,     -- mirrored while an attempt was open
    tail    text not null                -- the last nine digits of its number
) strict
"""

# What a text of nothing else shows as nothing: blanks of all kinds, and what has no width.
_BLANKS = (
    "char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 173, 5760, 6158, 8192, 8193, 8194, 8195, "
    "8196, 8197, 8198, 8199, 8200, 8201, 8202, 8203, 8204, 8205, 8206, 8207, 8232, 8233, 8239, "
    "8287, 8288, 10240, 12288, 12644, 65024, 65025, 65038, 65039, 65279)"
)

# What holds for a new draft and for an edited one alike. A time of the year 1999 is a mistake, and
# 24:00 is a time that nothing but SQLite takes.
_CHECKS = """\
    select raise(abort, 'outbox.kind is not text or ussd')
     where new.kind is null or new.kind not in ('text', 'ussd');
    select raise(abort, 'outbox.phone is empty') where trim(coalesce(new.phone, '')) = '';
    select raise(abort, 'outbox.phone holds a NUL character') where instr(new.phone, char(0)) > 0;
    select raise(abort, 'outbox.phone is not a number such as +79201234567')
     where new.kind = 'text'
       and (new.phone glob '*[^-0-9+() ]*' or ltrim(new.phone) glob '?*+*'
            or length(replace(replace(replace(replace(replace(
                   new.phone, ' ', ''), '-', ''), '(', ''), ')', ''), '+', ''))
               not between 2 and 15);
    select raise(abort, 'outbox.phone of a ussd draft is not a code such as *100#')
     where new.kind = 'ussd'
       and (trim(new.phone) glob '*[^0-9*#+]*' or trim(new.phone) not glob '*[0-9]*'
            or length(trim(new.phone)) > 30);
    select raise(abort, 'outbox.text holds a NUL character') where instr(new.text, char(0)) > 0;
    select raise(abort, 'outbox.text is empty')
     where new.text is null
        or (new.kind = 'text'
            and trim(new.text, -- blanks
                    ) = '');
    select raise(abort, 'outbox.text is longer than 1000 characters') where length(new.text) > 1000;
    select raise(abort, 'outbox.text holds what the service would take for a command: [ussd], [ping], [name], [surname] or an <img')
     where new.kind = 'text'
       and (instr(lower(new.text), '[ussd]') or instr(lower(new.text), '[ping]')
            or instr(lower(new.text), '[name]') or instr(lower(new.text), '[surname]')
            or instr(lower(new.text), '<img'));
    select raise(abort, 'outbox.device is not a device id, ids joined by commas, or active')
     where new.device <> 'active' and new.device <> ''
       and (new.device glob '*[^0-9, ]*' or trim(new.device) glob ',*' or trim(new.device) glob '*,'
            or replace(new.device, ' ', '') glob '*,,*' or trim(new.device) = ''
            or length(new.device) > 200 or instr(new.device, char(0)) > 0);
    select raise(abort, 'outbox.priority is not a whole number from 0 to 1000000')
     where new.priority is null or new.priority not between 0 and 1000000;
    select raise(abort, 'outbox.client_key is longer than 200 characters, or holds a NUL')
     where length(new.client_key) > 200 or instr(new.client_key, char(0)) > 0;
    select raise(abort, 'outbox.send_at is not a date with a time such as 2026-11-24T09:00Z or 2026-11-24 12:00+03:00')
     where new.send_at <> ''
       and (new.send_at not glob '2[0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*'
            or julianday(new.send_at) is null or substr(new.send_at, 12, 2) = '24'
            or date(substr(new.send_at, 1, 10), '+0 days') is not substr(new.send_at, 1, 10));
    select raise(abort, 'outbox.expires_at is not a date with a time such as 2026-11-24T09:00Z or 2026-11-24 12:00+03:00')
     where new.expires_at <> ''
       and (new.expires_at not glob '2[0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*'
            or julianday(new.expires_at) is null or substr(new.expires_at, 12, 2) = '24'
            or date(substr(new.expires_at, 1, 10), '+0 days') is not substr(new.expires_at, 1, 10));
    select raise(abort, 'outbox.expires_at is before send_at')
     where julianday(new.expires_at) < julianday(new.send_at);
""".replace("-- blanks\n                    ", _BLANKS)

NEW_DRAFT = """
create trigger outbox_new before insert on outbox begin
    -- the checks
    select raise(abort, 'outbox.status of a new draft is queued or held')
     where new.status is null or new.status not in ('queued', 'held');
    select raise(abort, 'outbox: leave out contact, sent_id, attempts, next_attempt_at, error, segments and the times of what happened, they belong to the daemon')
     where new.contact is not null or new.sent_id is not null or new.attempts <> 0
        or new.next_attempt_at is not null or new.error is not null or new.segments is not null
        or new.cancel_wanted_at is not null or new.accepted_at is not null
        or new.finished_at is not null
        or new.created_at is not strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
        or new.updated_at is not strftime('%Y-%m-%dT%H:%M:%f000Z', 'now');
    select raise(abort, 'outbox.id is given by the table: leave it out')
     where new.id <> -1 and not exists (select 1 from outbox_keys where id = new.id);
    update outbox_keys set uses = uses + 1
     where client_key = new.client_key
       and not exists (select 1 from outbox where client_key = new.client_key);
    select raise(ignore)
     where exists (select 1 from outbox_keys where client_key = new.client_key)
       and not exists (select 1 from outbox where client_key = new.client_key);
end
""".replace("    -- the checks\n", _CHECKS)

KEPT_DRAFT = """
create trigger outbox_kept after insert on outbox begin
    select raise(abort, 'outbox.id is given by the table: leave it out') where new.id < 1;
    select raise(abort, 'outbox: this id or client_key was used before; use INSERT OR IGNORE, never OR REPLACE')
     where exists (select 1 from outbox_keys where id = new.id or client_key = new.client_key);
    insert into outbox_keys (id, client_key) values (new.id, nullif(new.client_key, ''));
    update outbox
       set send_at = strftime('%Y-%m-%dT%H:%M:%f000Z', nullif(send_at, '')),
           expires_at = strftime('%Y-%m-%dT%H:%M:%f000Z', nullif(expires_at, '')),
           device = replace(nullif(device, ''), ' ', ''),
           client_key = nullif(client_key, '')
     where id = new.id
       and (send_at is not null or expires_at is not null or device is not null
            or client_key = '');
    insert into events (kind, data)
    values ('draft.' || new.status, printf('{"draft_id":%d}', new.id));
end
"""

EDITED_DRAFT = """
create trigger outbox_edit
before update of id, phone, text, device, priority, send_at, expires_at, client_key, kind,
                 created_at on outbox
when (old.id, old.client_key, old.created_at) is not (new.id, new.client_key, new.created_at)
  or (old.phone, old.text, old.device, old.priority, old.send_at, old.expires_at, old.kind)
     is not (new.phone, new.text, new.device, new.priority, new.send_at, new.expires_at, new.kind)
begin
    select raise(abort, 'outbox: id, client_key and created_at of a draft stay as they are; insert a new draft')
     where (old.id, old.created_at) is not (new.id, new.created_at)
        or (old.client_key is not new.client_key
            and (old.client_key, new.client_key) is not ('', null));
    select raise(abort, 'outbox: this draft was handed over already, or is finished; insert a new one')
     where old.status not in ('queued', 'held') or old.attempts > 0
        or new.status not in ('queued', 'held');
    -- the checks
end
""".replace("    -- the checks\n", _CHECKS)

# `update outbox set rowid = 7` is no update of `id` to the trigger above.
KEPT_ID = """
create trigger outbox_keeps_id before update on outbox when old.id is not new.id begin
    select raise(abort, 'outbox: the id of a draft stays as it is; insert a new draft');
end
"""

REREAD_DRAFT = """
create trigger outbox_reread
after update of phone, text, device, priority, send_at, expires_at, kind on outbox
when (old.phone, old.text, old.device, old.priority, old.send_at, old.expires_at, old.kind)
     is not (new.phone, new.text, new.device, new.priority, new.send_at, new.expires_at, new.kind)
begin
    update outbox
       set contact = null, segments = null, error = null,
           send_at = strftime('%Y-%m-%dT%H:%M:%f000Z', nullif(send_at, '')),
           expires_at = strftime('%Y-%m-%dT%H:%M:%f000Z', nullif(expires_at, '')),
           device = replace(nullif(device, ''), ' ', ''),
           updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
     where id = new.id;
end
"""

DAEMONS_COLUMNS = """
create trigger outbox_daemons_columns
before update of contact, sent_id, attempts, next_attempt_at, error, segments, cancel_wanted_at,
                 accepted_at, finished_at, updated_at on outbox
when (old.contact, old.sent_id, old.attempts, old.next_attempt_at, old.error, old.segments,
      old.cancel_wanted_at, old.accepted_at, old.finished_at, old.updated_at)
     is not (new.contact, new.sent_id, new.attempts, new.next_attempt_at, new.error, new.segments,
             new.cancel_wanted_at, new.accepted_at, new.finished_at, new.updated_at)
begin
    select raise(abort, 'outbox: contact, sent_id, attempts, next_attempt_at, error, segments and the times belong to the daemon')
     where new.updated_at is not strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
        or (old.sent_id is not new.sent_id
            and (old.sent_id is not null or new.status in ('queued', 'held', 'sending')))
        or (old.attempts <> new.attempts
            and not (new.attempts = old.attempts + 1 and old.status = 'queued' and new.status = 'sending')
            and not (new.attempts = old.attempts - 1 and old.status in ('sending', 'queued')));
end
"""

MOVED_DRAFT = """
create trigger outbox_move before update of status on outbox when old.status is not new.status begin
    select raise(abort, 'outbox.status: there is no such status')
     where new.status is null
        or new.status not in ('queued', 'held', 'sending', 'unknown', 'accepted', 'on_phone', 'sent',
                              'delivered', 'failed', 'cancelling', 'cancelled', 'rejected', 'expired');
    select raise(abort, 'outbox.status: it is too late to cancel this draft')
     where new.status = 'cancelling'
       and old.status not in ('queued', 'held', 'sending', 'unknown', 'accepted');
    select raise(abort, 'outbox.status: this draft is finished, and a finished draft is never revived; insert a new one')
     where old.status in ('rejected', 'delivered', 'failed', 'cancelled', 'expired')
       and new.status in ('queued', 'held', 'sending', 'unknown');
    select raise(abort, 'outbox.status: a person may set held, queued or cancelling; the rest follows from what happened')
     where not case new.status
         when 'held' then old.status = 'queued'
             or (old.status = 'unknown'
                 and exists (select 1 from attempts where draft_id = new.id and held = 1))
         when 'queued' then old.status in ('held', 'unknown')
             or (old.status = 'sending' and new.error is not null)
         when 'sending' then
             (old.status = 'queued' and new.attempts = old.attempts + 1 and new.contact is not null)
             or (old.status = 'cancelling' and new.sent_id is null)
         when 'unknown' then
             (old.status = 'sending' and new.error is not null)
             or (old.status = 'cancelling' and new.sent_id is null)
             or (old.status in ('queued', 'held') and new.error is not null
                 and exists (select 1 from attempts where draft_id = new.id))
         when 'rejected' then old.status in ('queued', 'held', 'sending') and new.error is not null
         when 'expired' then old.status in ('queued', 'unknown') and new.error is not null
         when 'cancelling' then 1
         else (new.status = 'cancelled' and old.sent_id is null
               and (old.status in ('queued', 'held', 'unknown', 'cancelling')
                    or (old.status = 'sending' and new.cancel_wanted_at is not null
                        and new.error is not null)))
             or ((old.status not in ('queued', 'held', 'rejected', 'cancelled', 'expired')
                  or old.sent_id is not null
                  or exists (select 1 from attempts where draft_id = new.id and outcome = 'lost'))
                 and new.sent_id is not null
                 and new.status = coalesce((select status from sent where id = new.sent_id),
                                           'accepted'))
     end;
end
"""

# One trigger, since the order of several is nobody's promise. A wish to cancel what is on its way
# goes back to where it was at once; what `recursive_triggers` adds changes nothing.
TOLD_MOVE = """
create trigger outbox_told after update of status on outbox when old.status <> new.status begin
    insert into events (kind, message_id, data)
    select 'draft.' || case when new.status = 'cancelling' and old.status in ('queued', 'held')
                            then 'cancelled' else new.status end,
           new.sent_id, printf('{"draft_id":%d,"was":"%s"}', new.id, old.status)
     where not (old.status = 'cancelling' and old.sent_id is null);
    update outbox_keys set released_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
     where id = new.id and old.status = 'held' and new.status = 'queued';
    update outbox
       set updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'),
           accepted_at = case when new.sent_id is null then accepted_at
               else coalesce(accepted_at, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) end,
           finished_at = case
               when new.status in ('delivered', 'failed', 'cancelled', 'rejected', 'expired')
                 or (new.status = 'cancelling' and old.status in ('queued', 'held'))
               then strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') end,
           cancel_wanted_at = case
               when new.status = 'queued' and old.status = 'unknown' then null
               when new.status <> 'cancelling' then cancel_wanted_at
               else coalesce(cancel_wanted_at, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) end,
           status = case when new.status <> 'cancelling' or new.sent_id is not null then new.status
               when old.status in ('queued', 'held') then 'cancelled' else old.status end
     where id = new.id;
end
"""

DELETED_DRAFT = """
create trigger outbox_gone before delete on outbox
when old.status not in ('sent', 'delivered', 'failed', 'cancelled', 'rejected', 'expired') begin
    select raise(abort, 'outbox: a draft that is not finished cannot be deleted; cancel it first');
end
"""

# The message of a draft that is gone must not be taken for another draft's that is searched for.
MESSAGE_GOES_ALONG = """
create trigger outbox_message_goes_along after delete on outbox when old.sent_id is not null begin
    delete from arrivals where sent_id = old.sent_id;
end
"""

# `status` is computed: SQLite fires for it when one of the flags was set.
SENT_MOVES = """
create trigger sent_moves_draft after update on sent when old.status <> new.status begin
    update outbox set status = new.status where sent_id = new.id and status <> new.status;
end
"""

# What these two triggers do, for drafts that came or moved while they were missing. A key that an
# earlier draft has used stays that one's.
ENTER_IN_LEDGER = (
    """insert or ignore into outbox_keys (id, client_key)
        select id, nullif(client_key, '') from outbox""",
    "insert or ignore into outbox_keys (id) select id from outbox",
)
FOLLOW_SENT = """
update outbox
   set status = (select status from sent where id = sent_id)
 where sent_id is not null
   and (select status from sent where id = sent_id) not in (status, 'accepted')
"""

INDEXES = (
    "create index outbox_queued on outbox (priority desc, id) where status = 'queued'",
    """create index outbox_at_once on outbox (priority desc, id)
        where status = 'queued' and send_at is null""",
    """create index outbox_waiting on outbox (contact, created_at)
        where +status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'cancelling')""",
    """create index outbox_waiting_by_time on outbox (created_at)
        where +status in ('queued', 'held', 'sending', 'unknown', 'accepted', 'cancelling')""",
    "create index outbox_by_status on outbox (status, contact)",
    "create index outbox_by_acceptance on outbox (accepted_at) where accepted_at is not null",
    "create index outbox_unseen on outbox (id) where contact is null and status in ('queued', 'held')",
    # Each step of the sender asks for these: among all that were ever accepted, cancelled or
    # refused they would be looked for long.
    """create index outbox_wishes on outbox (id)
        where cancel_wanted_at is not null and status = 'accepted'""",
    """create index outbox_by_send_at on outbox (send_at)
        where status = 'queued' and send_at is not null""",
    """create index outbox_by_next_attempt on outbox (next_attempt_at)
        where next_attempt_at is not null""",
    "create index attempts_by_tail on attempts (tail)",
)

ALL = (
    OUTBOX,
    OUTBOX_KEYS,
    ATTEMPTS,
    ARRIVALS,
    NEW_DRAFT,
    KEPT_DRAFT,
    EDITED_DRAFT,
    KEPT_ID,
    REREAD_DRAFT,
    DAEMONS_COLUMNS,
    MOVED_DRAFT,
    TOLD_MOVE,
    DELETED_DRAFT,
    MESSAGE_GOES_ALONG,
    SENT_MOVES,
    *INDEXES,
)
