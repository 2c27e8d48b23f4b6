"""The messages in their boxes, and the index of their words."""

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

INDEXES = (
    "create index inbox_missing on inbox (id) where missing_since is not null",
    "create index sent_missing on sent (id) where missing_since is not null",
)

ALL = (INBOX, SENT, *INDEXES, *SEARCH_TABLES, *SEARCH_TRIGGERS)

# An index that holds what its box does not say any more is damaged by the next change.
REBUILD = {
    box: f"insert into {box}_fts ({box}_fts) values ('rebuild')" for box in ("inbox", "sent")
}
