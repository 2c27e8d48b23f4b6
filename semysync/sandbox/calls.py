"""
Requests as PHP would see them: query and form merged into one set of parameters.

Multipart and urlencoded bodies and their merging with the query are observed or likely; a JSON body
counts for sms_more only, whatever its content type, and is not seen by the other methods.
"""

import email
import email.policy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

#: A part of a request.
Place = Literal["query", "body"] | None


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came in, without its token."""

    method: str  #: sms, outbox_sms ...; the whole path where it is no method's
    params: Mapping[str, Any]
    at: datetime
    verb: str = "POST"
    token_in: Place = None  #: where the token stood; None if there was none


def read_call(
    method: str, *, verb: str, query: str, content_type: str, body: bytes, at: datetime
) -> tuple[Call, str]:
    """The call, and the token that came with it (empty if none did)."""
    in_query: dict[str, Any] = _form(query)
    in_body = _body(method, content_type, body)
    place: Place = "body" if "token" in in_body else "query" if "token" in in_query else None
    params = in_query | in_body  # as in PHP's $_REQUEST, the body wins
    token = str(params.pop("token", ""))
    return Call(method, params, at, verb, place), token


def _body(method: str, content_type: str, body: bytes) -> dict[str, Any]:
    if method == "sms_more":
        return _document(body)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _form(body.decode("utf-8", "replace"))
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    return {}


def _form(text: str) -> dict[str, Any]:
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _multipart(content_type: str, body: bytes) -> dict[str, Any]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    fields: dict[str, Any] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode("utf-8", "replace")
    return fields
