"""
Which switches of the stand-in change while the program runs, and what that may cost.

All of them may but those that are fixed at a start, that make no difference to the program, or that
wait in real time: `LEFT_OUT` says which and why, and a test holds the lists to `Switches`.
"""

#: what an answer looks like, and which rows it holds: under any of them all becomes true
FORMS = {
    "start_id": ("inclusive", "exclusive"),
    "end_id": ("inclusive", "exclusive"),
    "zero": ("unset", "value"),
    "unknown_parameters": ("ignored", "error"),
    "cap": (0, 5, 50),
    "cap_keeps": ("oldest", "newest"),
    "order": ("asc", "desc", "mixed"),
    "several_devices": ("accepted", "refused"),
    "list_id_limit": (0, 2),
    "list_id_inbox": ("ignored", "honoured"),
    "code": ("text", "int", "absent"),
    "empty": ("list", "object", "null", "missing"),
    "data": ("list", "object"),
    "numbers": ("int", "text"),
    "flags": ("int", "text", "bool", "null", "empty"),
    "extra_fields": ("no", "yes"),
    "fraction": ("6", "0", "short"),
    "unset_dates": ("null", "empty"),
    "date_filter_clock": ("server", "phone", "printed"),
    "today_only": ("on", "off"),
    "today": ("server", "utc"),
    "answer_device": ("sms", "both", "none"),
    "batch_order": ("in_order", "shuffled", "short", "empty"),
    "batch_bad_item": ("none_taken", "before_taken", "absent", "error"),
    "batch_limit": (0, 1, 2),
    "batch_over": ("refused", "cut"),
    "my_id": ("echoed", "absent"),
    "my_id_repeated": ("sent", "refused"),
    "phone_stored": ("as_given", "plus", "digits", "national", "compact"),
    "text_trim": ("no", "yes"),
    "text_tags": ("kept", "rewritten"),
    "cancel_comes": ("in_time", "too_late"),
    "cancel_late": ("silent", "error"),
    "cancel_id": ("alone", "needs_device"),
    "deleted_waiting": ("dropped", "sent"),
    "answers": ("off", "on"),
    "arrivals_every_s": (0.0, 90.0),
    "error_language": ("en", "ru"),
    "wrong_token": ("minus_one", "other_code", "http_401", "http_403"),
    "content_length": ("yes", "chunked"),
    "refusal_code": (-1, 7),
    "refusal_status": (200, 400, 403, 422, 500, 503),
    "webhook_encoding": ("multipart", "urlencoded", "json"),
    "webhook_verb": ("post", "get"),
    "webhook_status": ("filled", "empty"),
}
#: what hides rows only together, and seldom comes together by itself
TOGETHER = (
    {"cap": 5, "cap_keeps": "newest"},
    {"cap": 5, "cap_keeps": "newest", "order": "mixed", "start_id": "exclusive"},
    {"cap": 6, "cap_keeps": "oldest", "order": "desc", "end_id": "exclusive"},
)
#: a sickness: it must end before all becomes true
SICK = {
    "end_id": ("ignored",),
    "filters": ("or",),
    "list_id_over": ("error",),
    "optional_fields": ("missing",),
    "send_several": ("refused",),
    "device_off": ("refused",),
    "device_archived": ("waits",),
    "refuse_phone": ("+79200000002",),
    "refuse_text": ("draft",),
    "text_limit": (6,),
    "text_over": ("refused",),
    "plan": ("ended",),
    "balance": (0,),
    "token_refused": ("yes",),
    "ussd": ("silent", "plain", "named"),
    "other_client": ("other_text",),
    "phone_speed": (0.0,),
    "server_zone": ("+02:00", "Europe/Berlin"),
    "phone_zone": ("+09:00", "-03:00"),
    "phone_skew_s": (400, -7200),
}
#: messages may show below what was seen, later or never: `verify` finds those
BLINDING = {
    "visibility": ("out_of_order",),
    "sent_visible": ("after_s", "after_lists"),
    "list_device": ("required", "empty", "partial"),
    "list_id_device": ("right",),
    "moved": ("at_once", "on_fetch"),
}
MISLED = (
    {"delete_ignores": "list_id"},
    {"delete_ignores": "ids"},
    {"delete_ignores": "dates"},
    {"delete_ignores": "device"},
    {"delete_takes": "half"},
    {"delete_takes": "none"},
    {"delete_takes": "half", "delete_says": "asked"},
    {"delete_says": "half"},
    {"delete_says": "nothing"},
)
LEFT_OUT = {
    "id_spaces": "fixed at the start: a world has one or the other",
    "visible_after_s": "how long, not whether",
    "sent_visible_lists": "how long, not whether",
    "retention_days": "rows vanish by a step of their own, which spares what we sent unseen",
    "webhook_manner": "the steps make, double, forge and leave out the calls themselves",
    "webhook_late_s": "as webhook_manner",
    "webhook_forged": "as webhook_manner",
    "webhook_repeated": "as webhook_manner",
    "delay_s": "waits in real time",
    **dict.fromkeys(
        ("fault", "fault_when", "fault_methods", "fault_times", "fault_status"),
        "faults are ordered by a step of their own",
    ),
    "retry_after": "as fault",
    "down_s": "as fault",
}
#: values that are no switch's question here: the contract says what remains under them
NOT_TRIED = {
    ("my_id_repeated", "first_id"),  # then nothing is ever sent twice by the service itself
    ("other_client", "same_text"),  # one may be taken for the other (promise 2, what remains)
    ("sent_visible", "never"),  # sent again (promise 2, what remains)
    ("cancel_id", "ignored"),  # another's queue is cancelled: the service's doing
    ("delete_ignores", "all"),  # today's rows go too: `mislead` has each alone
}


def changes(*kinds):
    """Each switch and value of these kinds, as `set` takes them."""
    return [{name: value} for kind in kinds for name, values in kind.items() for value in values]


def of_deletes(name):
    return name.startswith("delete_")
