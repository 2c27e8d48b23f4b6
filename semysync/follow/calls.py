"""
Read the calls that the service makes when a message comes in, or a status changes.

They are hints only: nobody signs them. That they come by POST as a form, most of them multipart,
with `id`, `id_device`, `phone` and `msg`, is likely; that `type` may be empty was observed; JSON was
never shown, and is read as well. So whatever comes is read leniently, and nothing in it is believed
but that it is worth a look. Nothing here does any I/O.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, parse_options_header

from semysync.mirror.tables.unconfirmed import Hint
from semysync.service import reading

#: by what a call says as `type`, which may be nothing at all
CHANNELS = {"": "sms"} | {str(number): name for number, name in reading.CHANNELS.items()}
MOST_FIELDS = 100
ID = re.compile(r"[1-9][0-9]{0,17}")

Fields = dict[str, str]


def fields_of(content_type: str, query: str, body: bytes) -> Fields:
    """
    Return the fields of a call: of its body, and those that only its query has.

    Of a field that is doubled the first value counts that is not empty. What makes no sense is left
    out.
    """
    kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
    if kind == b"multipart/form-data":
        in_body = _multipart(body, options.get(b"boundary", b""))
    elif kind == b"application/json" or body.lstrip()[:1] in {b"{", b"["}:
        in_body = _document(body)
    else:
        in_body = _form(body.decode("utf-8", "replace"))
    found: Fields = {}
    for name, value in [*in_body, *_form(query)][: 2 * MOST_FIELDS]:
        if not found.get(name):
            found[_whole(name)] = _whole(value).strip()
    return found


def _whole(text: str) -> str:
    """Return a text that can be stored: JSON can say half an emoji, which is none."""
    return text.encode("utf-8", "replace").decode()


def hint_of(box: str, fields: Mapping[str, str]) -> Hint | None:
    """Return what a call says of a message; None where it names none."""
    number = fields.get("id", "")
    if not ID.fullmatch(number):
        return None
    device = fields.get("id_device", "")
    kind = fields.get("type", "")
    return Hint(
        box=box,
        message_id=int(number),
        device_id=int(device) if ID.fullmatch(device) else None,
        phone=fields.get("phone") or None,
        text=fields.get("msg") or None,
        channel=CHANNELS.get(kind, f"type:{kind}"),
        fields=fields,
    )


def _form(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MOST_FIELDS)
    except ValueError:
        return []


def _document(body: bytes) -> list[tuple[str, str]]:
    try:
        document = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return []
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return []
    return [
        (name, str(int(value)) if isinstance(value, bool) else str(value))
        for name, value in document.items()
        if isinstance(value, str | int | float)
    ]


def _multipart(body: bytes, boundary: bytes) -> list[tuple[str, str]]:
    found: list[tuple[bytes, bytes]] = []

    def take(field: Field) -> None:
        if len(found) < MOST_FIELDS:
            found.append((field.field_name or b"", field.value or b""))

    try:
        parser = FormParser(
            "multipart/form-data", on_field=take, on_file=lambda _: None, boundary=boundary
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError, TypeError):
        pass  # what has come whole up to here is enough for a hint
    return [
        (name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in found
    ]
