"""
Take the envelope off an answer: lenient in the form, strict in what counts as an answer.

`document` reads a body, `listed` that of a list; `reading` makes sense of its rows. Which forms are
documented, observed or merely possible is in the protocol notes that the tests in `tests/service`
follow: `code` missing, `data` as an object, a byte order mark, PHP warnings before the JSON.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from semysync.errors import Refused, Unreadable
from semysync.service.hiding import Hide, hiding
from semysync.service.reading import Row, integer

AS_SAID = hiding([])  #: hides nothing; what is too long is cut


class _Envelope(msgspec.Struct):
    """The outside of an answer; rows stay bytes until they are needed, which keeps memory small."""

    code: Any = None
    error: Any = None
    count: Any = None
    data: list[msgspec.Raw] | dict[str, msgspec.Raw] | None = None


class Listed(NamedTuple):
    """The rows of a list answer, not read yet, and whether the service says there are more."""

    rows: Sequence[msgspec.Raw | Row]
    more: bool


def document(method: str, body: bytes | bytearray, hide: Hide = AS_SAID) -> dict[str, Any]:
    """
    Read the body of an answer that holds no list.

    Raises `Unreadable` where it is no JSON object, `Refused` where it is an error of the service;
    the words of the service in them pass through `hide`.
    """
    answer = _object(method, body, hide)
    if not answer:
        raise Unreadable(f"{method}: the answer says nothing")
    names_message = bool(integer(answer.get("id")))
    check(method, answer.get("code"), answer.get("error"), hide, names_message=names_message)
    return answer


def listed(method: str, body: bytes | bytearray, hide: Hide = AS_SAID) -> Listed:
    """
    Read the body of a list answer, without reading its rows.

    Raises `Unreadable` where it is none, `Refused` where it is an error of the service. An answer
    counts only where it has rows, or says in one way or another that there are none.
    """
    try:
        envelope = msgspec.json.decode(_trimmed(body), type=_Envelope)
        data = envelope.data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        plain = _object(method, body, hide)
        envelope = _Envelope(plain.get("code"), plain.get("error"), plain.get("count"))
        data = plain.get("data")
    data = list(data.values()) if isinstance(data, dict) else data
    check(method, envelope.code, envelope.error, hide)
    count = integer(envelope.count)
    if data is not None and not isinstance(data, list):
        raise Unreadable(f"{method}: `data` is no list of rows")
    if not data and (count or 0) > 0:
        raise Unreadable(f"{method}: the answer speaks of {count} rows and shows none")
    if data is None and count is None and envelope.code is None:
        raise Unreadable(f"{method}: the answer holds neither rows nor a count nor a code")
    return Listed(data or [], more=(count or 0) > len(data or []))


def check(
    method: str, code: Any, error: Any, hide: Hide = AS_SAID, *, names_message: bool = False
) -> None:
    """Raise `Refused` where an answer is an error: a code that is not zero, or an error text."""
    said = "" if code is None else str(code).strip()
    reason = "" if error is None else str(error).strip()
    if not _is_zero(code) or reason:
        because = f": {hide(reason)}" if reason else ""
        raise Refused(
            f"{method}: the service refuses (code {hide(said) or 'none'}){because}",
            code=hide(said)[:40],
            sure=not _is_zero(code) and not names_message,
        )


def _is_zero(code: Any) -> bool:
    """Tell whether a code means success, or nothing: 0 and "0" are documented."""
    if code is None or code is False or code in ([], {}):
        return True
    text = str(code).strip()
    try:
        return not text or float(text) == 0
    except ValueError:
        return False


def _trimmed(body: bytes | bytearray) -> bytes | bytearray:
    return body.removeprefix(b"\xef\xbb\xbf").strip() if body[:1] != b"{" else body


def _object(method: str, body: bytes | bytearray, hide: Hide) -> dict[str, Any]:
    """Read an object as leniently as can be: from the first brace on, after whatever stands there."""
    text = body.decode("utf-8", "replace")
    try:
        begin = text.index("{") if text.strip()[:1] != "[" else len(text)
        answer = json.loads(text[begin:], parse_constant=str) if begin < len(text) else []
    except (ValueError, RecursionError):
        raise Unreadable(f"{method}: the answer is no JSON: {_glimpse(text, hide)}") from None
    if not isinstance(answer, dict):
        raise Unreadable(f"{method}: the answer is a list where an object belongs")
    return answer


def _glimpse(text: str, hide: Hide) -> str:
    """
    Show the beginning of a body in one line, so that a person sees what kind of thing it is.

    Not of one that may hold messages: texts and numbers have no place in errors and logs.
    """
    shown = " ".join(text.split())
    if not shown:
        return "the body is empty"
    if "{" in shown or "[" in shown:
        return f"{len(text):,} characters that are cut off or spoilt"
    return repr(hide(shown)[:200])
