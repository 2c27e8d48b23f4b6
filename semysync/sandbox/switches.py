"""
The switches of the stand-in: one for each open question about the service, and the faults.

`Switches` is the list; each switch has its values (the first or the given one is the default) and
a sentence beside it. How they are set is in `switching`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

METHODS = (
    "user",
    "sms",
    "sms_more",
    "outbox_sms",
    "inbox_sms",
    "devices",
    "cancel_sms",
    "del_outbox_sms",
    "del_inbox_sms",
)

IGNORABLE = {
    "device": {"device"},
    "list_id": {"list_id"},
    "ids": {"start_id", "end_id"},
    "dates": {"date_start", "date_end"},
    "all": {"device", "list_id", "start_id", "end_id", "date_start", "date_end", "phone"},
}


Fault = Literal[
    "none",
    "bom",
    "warning",
    "html",
    "empty",
    "cut",
    "truncated",
    "api_error",
    "http_429",
    "http_500",
    "http_502",
    "http_503",
    "http_404",
    "redirect",
    "hang",
    "drop",
    "reset",
    "down",
    "huge_text",
]


class Switches(msgspec.Struct, frozen=True, kw_only=True):
    """How the stand-in answers. The defaults are the likeliest readings of the service."""

    # Ranges and filters
    start_id: Annotated[
        Literal["inclusive", "exclusive"], Meta(description="Whether start_id itself is listed.")
    ] = "inclusive"
    end_id: Annotated[
        Literal["inclusive", "exclusive", "ignored"],
        Meta(description="Whether end_id itself is listed, or end_id does nothing at all."),
    ] = "inclusive"
    filters: Annotated[
        Literal["and", "or"],
        Meta(description="Whether a row must pass all filters given, or any one of them."),
    ] = "and"
    zero: Annotated[
        Literal["unset", "value"],
        Meta(description="Whether a filter given as 0 or empty is as if absent, or compared."),
    ] = "unset"
    unknown_parameters: Annotated[
        Literal["ignored", "error"],
        Meta(description="Whether a parameter that a method does not know is ignored or refused."),
    ] = "ignored"

    # Paging, order, visibility
    cap: Annotated[
        int, Meta(ge=0, description="The most rows a list or delete call covers; 0 is no cap.")
    ] = 0
    cap_keeps: Annotated[
        Literal["oldest", "newest"], Meta(description="Which end of a longer list the cap keeps.")
    ] = "oldest"
    order: Annotated[
        Literal["asc", "desc", "mixed"], Meta(description="The order of rows by id.")
    ] = "asc"
    visibility: Annotated[
        Literal["at_once", "out_of_order"],
        Meta(description="Whether every second new row shows only visible_after_s later."),
    ] = "at_once"
    visible_after_s: Annotated[
        float,
        Meta(
            ge=0,
            description="The delay, in seconds, of visibility=out_of_order and sent_visible=after_s.",
        ),
    ] = 5.0

    sent_visible: Annotated[
        Literal["at_once", "after_s", "after_lists", "never"],
        Meta(
            description="When outbox_sms shows a message that a send request made: at once, "
            "visible_after_s later, after sent_visible_lists calls of outbox_sms, or only when a "
            "test reveals it."
        ),
    ] = "at_once"
    sent_visible_lists: Annotated[
        int,
        Meta(ge=0, description="The calls of outbox_sms that do not show a new message yet."),
    ] = 3

    # Devices on list methods
    list_device: Annotated[
        Literal["optional", "required", "empty", "partial"],
        Meta(
            description="A list call without device: allowed, refused, answered empty, or answered "
            "with the rows of every second device only."
        ),
    ] = "optional"
    list_id_device: Annotated[
        Literal["any", "right"],
        Meta(description="Whether list_id finds a row only together with the row's own device."),
    ] = "any"
    several_devices: Annotated[
        Literal["accepted", "refused"],
        Meta(description="Several device ids, or `active`, on list and delete methods."),
    ] = "accepted"

    # list_id
    list_id_limit: Annotated[
        int, Meta(ge=0, description="The most ids list_id may hold; 0 is no limit.")
    ] = 0
    list_id_over: Annotated[
        Literal["cut", "error"],
        Meta(description="What becomes of a list_id above the limit."),
    ] = "cut"
    list_id_inbox: Annotated[
        Literal["ignored", "honoured"],
        Meta(description="list_id on the inbox methods; ignored, it does not lift today-only."),
    ] = "ignored"

    # Envelope
    code: Annotated[
        Literal["text", "int", "absent"],
        Meta(description="The form of `code` in the answers of list and delete methods."),
    ] = "text"
    empty: Annotated[
        Literal["list", "object", "null", "missing"],
        Meta(description="`data` when there is no row: [], {}, null, or no such key."),
    ] = "list"
    data: Annotated[
        Literal["list", "object"],
        Meta(description="`data` as a list, or as an object keyed by number."),
    ] = "list"

    # Types
    numbers: Annotated[
        Literal["int", "text"], Meta(description="Numbers as JSON numbers or as text.")
    ] = "int"
    flags: Annotated[
        Literal["int", "text", "bool", "null", "empty"],
        Meta(description="0/1 flags; null and empty stand for 0 only, 1 stays a number."),
    ] = "int"
    optional_fields: Annotated[
        Literal["present", "missing"],
        Meta(description="Fields that came late to the API (is_cancel, is_out, type, bat ...)."),
    ] = "present"
    extra_fields: Annotated[
        Literal["no", "yes"], Meta(description="Fields in rows that no documentation names.")
    ] = "no"

    # Dates and clocks
    fraction: Annotated[
        Literal["6", "0", "short"],
        Meta(description="Digits behind the second in server dates; short is 1 to 5 of them."),
    ] = "6"
    unset_dates: Annotated[
        Literal["null", "empty"], Meta(description="A date that is not set: null or empty text.")
    ] = "null"
    server_zone: Annotated[
        str, Meta(description="The zone of the service's clock: +03:00, or Europe/Berlin.")
    ] = "+03:00"
    phone_zone: Annotated[
        str, Meta(description="The zone of the phones' clocks: +05:00, or Asia/Yekaterinburg.")
    ] = "+05:00"
    phone_skew_s: Annotated[
        int, Meta(description="Seconds by which the phones' clocks are fast; below 0, slow.")
    ] = 0
    date_filter_clock: Annotated[
        Literal["server", "phone", "printed"],
        Meta(
            description="What date_start and date_end are compared with: when a row was made, by "
            "the server's or the phones' clock, or the date that is printed in it, right or wrong."
        ),
    ] = "server"
    today_only: Annotated[
        Literal["on", "off"],
        Meta(description="Whether a list or delete call without a lifting filter covers the day."),
    ] = "on"
    today: Annotated[Literal["server", "utc"], Meta(description="Whose day today-only means.")] = (
        "server"
    )

    # What exists
    retention_days: Annotated[
        int, Meta(ge=0, description="Rows older than so many days are gone; 0 keeps all.")
    ] = 0
    id_spaces: Annotated[
        Literal["apart", "overlapping"],
        Meta(description="Whether an id occurs in one box only, or in both; fixed at the start."),
    ] = "apart"

    # Sending
    answer_device: Annotated[
        Literal["sms", "both", "none"],
        Meta(
            description="Whether the answers of sms, of sms and sms_more, or of none have "
            "id_device."
        ),
    ] = "sms"
    batch_order: Annotated[
        Literal["in_order", "shuffled", "short", "empty"],
        Meta(
            description="What the answer of sms_more names: all items in order, all shuffled, the "
            "first, third, fifth ... only, or none; taken they are all."
        ),
    ] = "in_order"
    batch_bad_item: Annotated[
        Literal["none_taken", "before_taken", "absent", "error"],
        Meta(
            description="A bad item in sms_more: the batch is refused, with none taken or with the "
            "items before it taken; or the others are taken, and it is absent from the answer or "
            "there with an error and no id."
        ),
    ] = "none_taken"
    batch_limit: Annotated[
        int, Meta(ge=0, description="The most items of sms_more; 0 is no limit.")
    ] = 0
    batch_over: Annotated[
        Literal["refused", "cut"],
        Meta(description="A batch above the limit: refused, or its surplus left out."),
    ] = "refused"
    my_id: Annotated[
        Literal["echoed", "absent"], Meta(description="Whether sms_more answers with my_id.")
    ] = "echoed"
    my_id_repeated: Annotated[
        Literal["sent", "refused", "first_id"],
        Meta(
            description="A my_id that was used before: a message like any other, a bad item, or "
            "nothing new and the id of the first message."
        ),
    ] = "sent"
    send_several: Annotated[
        Literal["accepted", "refused"],
        Meta(description="Several device ids, or `active`, on sms and sms_more."),
    ] = "accepted"
    device_off: Annotated[
        Literal["waits", "refused"],
        Meta(description="A text for a device whose service is switched off."),
    ] = "waits"
    device_archived: Annotated[
        Literal["refused", "waits"], Meta(description="A text for an archived device.")
    ] = "refused"
    moved: Annotated[
        Literal["no", "at_once", "on_fetch"],
        Meta(
            description="Whether a message stands under another device than the one answered: "
            "never, from the start, or from when a phone fetches it."
        ),
    ] = "no"
    refuse_phone: Annotated[
        str, Meta(description="Numbers, by comma, that are refused with an error naming nothing.")
    ] = ""
    refuse_text: Annotated[
        str, Meta(description="Texts that hold this are refused with an error naming nothing.")
    ] = ""
    refusal_code: Annotated[
        int, Meta(description="The `code` of all refusals but that of a token; not 0.")
    ] = -1
    refusal_status: Annotated[
        Literal[200, 400, 403, 422, 500, 503],
        Meta(description="The HTTP status of all refusals but that of a token."),
    ] = 200
    other_client: Annotated[
        Literal["none", "same_text", "other_text"],
        Meta(
            description="Whether with each text of a send request, taken or not, another client "
            "sends one to the same number."
        ),
    ] = "none"
    ussd: Annotated[
        Literal["answered", "named", "silent", "plain"],
        Meta(
            description="A text with [ussd]: the phone dials the number as a code, and an answer "
            "comes from the code, from a name, or not at all; or it is a text like any other."
        ),
    ] = "answered"

    # Texts and numbers as they are stored
    text_trim: Annotated[
        Literal["no", "yes"], Meta(description="Whether blanks around a text go.")
    ] = "no"
    text_limit: Annotated[
        int, Meta(ge=0, description="The most characters of a text; 0 is no limit.")
    ] = 0
    text_over: Annotated[Literal["cut", "refused"], Meta(description="A text above the limit.")] = (
        "cut"
    )
    text_tags: Annotated[
        Literal["kept", "rewritten"],
        Meta(description="Tags such as [name]: kept, or filled from the contact or with nothing."),
    ] = "kept"
    phone_stored: Annotated[
        Literal["as_given", "plus", "digits", "national", "compact"],
        Meta(
            description="A number: as given, as plus and digits, as digits, with 8 for +7 (00 for "
            "any other plus), or without blanks, hyphens, dots and brackets."
        ),
    ] = "as_given"

    # Cancelling
    cancel_comes: Annotated[
        Literal["in_time", "too_late"],
        Meta(description="too_late: phones fetch what waits a moment before any cancel."),
    ] = "in_time"
    cancel_late: Annotated[
        Literal["silent", "error"],
        Meta(description="The answer when the message of id_sms does not wait: success, or not."),
    ] = "silent"
    cancel_id: Annotated[
        Literal["alone", "needs_device", "ignored"],
        Meta(
            description="id_sms: enough alone, refused without a device, or never read, so that "
            "beside a device the whole queue is cancelled."
        ),
    ] = "alone"

    # Deleting
    delete_ignores: Annotated[
        str,
        Meta(
            description="What the delete methods do not read while the lists do, by comma: device, "
            "list_id, ids (start_id and end_id), dates; or all of it."
        ),
    ] = ""
    delete_takes: Annotated[
        Literal["all", "half", "none"],
        Meta(description="How many of the rows a delete is about really go."),
    ] = "all"
    delete_says: Annotated[
        Literal["gone", "asked", "half", "nothing"],
        Meta(
            description="Which rows a delete answers with: those that are gone, those it was "
            "about, every second of those that are gone, or none."
        ),
    ] = "gone"
    deleted_waiting: Annotated[
        Literal["dropped", "sent"],
        Meta(description="Whether a message that is deleted while it waits is sent all the same."),
    ] = "dropped"

    # Plan
    plan: Annotated[
        Literal["in_force", "ended"],
        Meta(description="ended: user says so, and sms and sms_more are refused."),
    ] = "in_force"
    balance: Annotated[
        int,
        Meta(
            ge=-1,
            description="The messages left when it is set; at none left sending is "
            "refused. -1: whatever is left, it is never used up.",
        ),
    ] = -1

    # Phones
    phone_speed: Annotated[
        float,
        Meta(
            ge=0,
            description="1: phones fetch after 0.4 s, send after 1 s, report after 2 s; 10 is ten "
            "times as fast; 0 switches them off.",
        ),
    ] = 1.0
    answers: Annotated[
        Literal["off", "on"], Meta(description="Whether every third message sent gets a reply.")
    ] = "off"
    arrivals_every_s: Annotated[
        float,
        Meta(ge=0, description="Seconds between messages that turn up by themselves; 0 is never."),
    ] = 0.0

    # Webhooks
    webhook_encoding: Annotated[
        Literal["multipart", "urlencoded", "json"],
        Meta(description="How the body of a webhook's call is encoded."),
    ] = "multipart"
    webhook_verb: Annotated[
        Literal["post", "get"], Meta(description="Whether webhooks are called by POST or GET.")
    ] = "post"
    webhook_manner: Annotated[
        Literal["once", "doubled", "lost", "late", "unordered"],
        Meta(
            description="How webhooks come: one call for each message, two, or none; "
            "webhook_late_s later; or those of a moment in the wrong order."
        ),
    ] = "once"
    webhook_late_s: Annotated[
        float, Meta(ge=0, description="The delay, in seconds, of webhook_manner=late.")
    ] = 2.0
    webhook_status: Annotated[
        Literal["filled", "empty"],
        Meta(description="Whether a status call says the status, or leaves all its fields empty."),
    ] = "filled"
    webhook_forged: Annotated[
        Literal["no", "yes"],
        Meta(description="Whether beside each call another comes of a message that is not there."),
    ] = "no"
    webhook_repeated: Annotated[
        Literal["no", "yes"],
        Meta(description="Whether a call that is not answered with 200 is made again."),
    ] = "no"

    # Access
    token_refused: Annotated[
        Literal["no", "yes"], Meta(description="Whether even the right token is a wrong one.")
    ] = "no"
    wrong_token: Annotated[
        Literal["minus_one", "other_code", "http_401", "http_403"],
        Meta(description="The answer to a wrong token."),
    ] = "minus_one"
    error_language: Annotated[Literal["en", "ru"], Meta(description="Error texts.")] = "en"

    # Transport and faults
    content_length: Annotated[
        Literal["yes", "chunked"],
        Meta(description="Answers with Content-Length (up to 20,000 rows), or always chunked."),
    ] = "yes"
    delay_s: Annotated[
        float,
        Meta(ge=0, description="Every answer waits so many seconds (real time), its call done."),
    ] = 0.0
    fault: Annotated[
        Fault,
        Meta(
            description="What goes wrong. bom, warning, cut, truncated, huge_text usually spoil the "
            "answer of a call that was carried out; all others usually happen instead of it. hang "
            "never answers, drop closes the connection, reset breaks it, down closes the listener "
            "too."
        ),
    ] = "none"
    fault_when: Annotated[
        Literal["usual", "before", "after"],
        Meta(
            description="Whether a call that meets the fault is carried out: not (before), or so "
            "that only its answer suffers (after)."
        ),
    ] = "usual"
    fault_methods: Annotated[
        str, Meta(description="The methods that meet the fault, by comma; empty is all.")
    ] = ""
    fault_times: Annotated[
        int, Meta(ge=0, description="How many requests meet the fault before it ends; 0 is all.")
    ] = 0
    fault_status: Annotated[
        Literal[200, 400, 500], Meta(description="The HTTP status of fault=api_error.")
    ] = 200
    retry_after: Annotated[
        int,
        Meta(ge=0, description="Seconds in Retry-After of http_429 and http_503; 0 leaves it out."),
    ] = 0
    down_s: Annotated[
        float,
        Meta(
            ge=0, description="How long fault=down refuses connections (real time); 0 is for good."
        ),
    ] = 1.0
