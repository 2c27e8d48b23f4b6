"""
The nine calls of the SemySMS API, version 3: alone in knowing HTTP and the service's names.

Everything goes by POST with the token in the body, since a URL ends up in logs and tracebacks.
`_asked` puts a question, `_told` makes a request that changes something; what goes wrong becomes
one of our errors, which differ for the two (`failures`).
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from threading import Lock, local
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from semysync import __version__
from semysync.errors import AnswerLost, ServiceError, TooLarge
from semysync.model import (
    HIGHEST_ID,
    Accepted,
    Account,
    Box,
    Device,
    Illegible,
    Outgoing,
    Received,
    Sent,
)
from semysync.service import answers, reading
from semysync.service.failures import BadStatus, Failures
from semysync.service.hiding import Hide, forms_of, hiding
from semysync.service.line import Line, TooLate
from semysync.service.pace import Pace, Stopped
from semysync.service.questions import Dates, Doomed, Ids, Range
from semysync.service.reading import Legible, Row
from semysync.times import AGREE

BASE_URL = "https://semysms.net/api/3/"
LARGEST_ANSWER = 32 * 1024 * 1024  # bytes; what is larger is asked for in smaller windows
GLIMPSE = 256 * 1024  # bytes of an answer that says that it is larger: enough to learn from
PATIENCE = 10  # a whole answer may take this many times `timeout_s`, however slowly it drips in

T = TypeVar("T")


class Answer(Generic[Legible]):
    """
    The rows of a list answer in the service's order, read as they are iterated over.

    `size` is how many there are; `more` whether the service's own count is higher than that.
    """

    def __init__(self, answer: answers.Listed, read: Callable[[Row], Legible]) -> None:
        self._rows, self.more = answer
        self._read: Callable[[Row], Legible] = read
        self.size = len(self._rows)

    def __iter__(self) -> Iterator[Legible | Illegible]:
        return reading.each(self._rows, self._read)


class Client(AbstractContextManager["Client"]):
    """
    One account at the service, for any thread; `requests` counts what the calling one has made.

    It asks one question at a time. Questions keep to a `pace`, which other clients may share; those
    of an `urgent` client come first.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = BASE_URL,
        timeout_s: float = 30,
        largest_answer: int = LARGEST_ANSWER,
        pace: Pace | None = None,
        urgent: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._token = token
        self._token_forms = [form.encode() for form in forms_of(token)]
        self._hide = hiding([token])
        self._largest_answer = largest_answer
        self._timeout_s = timeout_s
        self._pace = pace or Pace()
        self._urgent = urgent
        host = urlsplit(base_url).hostname or base_url
        self._failures = Failures(host, timeout_s, self._hide)
        self._made = local()
        #: hears of each request: its method, its outcome (a status, or an error's name), seconds
        self.on_answer: Callable[[str, str, float], object] | None = None
        self._one_at_a_time = Lock()
        self._line = Line()
        self._date: tuple[float, float] | None = None  # by its clock, and by one that can't jump
        encrypted = base_url.startswith("https:")
        self._http = httpx.Client(
            base_url=base_url,
            timeout=timeout_s,
            follow_redirects=False,  # the request carries the token
            # Plain http is for loopback: no proxy, and no reading of all certificates, which is
            # slow.
            trust_env=encrypted,
            verify=encrypted or SSLContext(PROTOCOL_TLS_CLIENT),
            headers={"User-Agent": f"semysync/{__version__}"},
            transport=transport,
        )
        self._urls: dict[str, httpx.URL] = {}

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._failures.host}>"

    def close(self) -> None:
        self._http.close()

    def hang_up(self, patience_s: float = 0) -> None:
        """
        End what is under way, and let no request be made any more. For another thread.

        A question is broken off at once. A request that changes something may take so long to be
        answered; after that its answer is lost.
        """
        self._line.hang_up(patience_s)

    def sign_s(self) -> float:
        """Return when a request began or ended last, by the clock that cannot jump."""
        return self._line.sign_s

    @property
    def requests(self) -> int:
        """How many requests this thread has made."""
        return getattr(self._made, "requests", 0)

    @contextmanager
    def first(self, *, is_first: bool) -> Iterator[None]:
        """Let the questions of this thread come before others, or not, while the block runs."""
        self._made.is_first = is_first
        try:
            yield
        finally:
            self._made.is_first = False

    def ahead_s(self) -> float | None:
        """
        Return by how many seconds our clock is ahead of the service's, as its last answer said.

        None before any answer, and where answers bear no `Date`.
        """
        theirs = self.service_now()
        return None if theirs is None else time.time() - theirs.timestamp()

    def service_now(self) -> datetime | None:
        """Return what time it is at the service; None before any answer that bore a `Date`."""
        if self._date is None:
            return None
        theirs, then = self._date
        return datetime.fromtimestamp(theirs + time.monotonic() - then, UTC)

    # Questions: they change nothing, and may be asked again.

    def user(self) -> Account:
        """Return the plan of the account."""
        return reading.account(self._asked("user", {}, answers.document))

    def devices(self, *, archived: bool) -> Answer[Device]:
        """List the phones that are live, or those that are archived in the panel."""
        fields = {"is_arhive": str(int(archived))}
        return self._listed("devices", fields, reading.device)

    def inbox(self, which: Range | Dates, device_id: int | None = None) -> Answer[Received]:
        """List received messages of one device, or of the whole account."""
        return self._listed("inbox_sms", _narrowed(which, device_id), reading.received)

    def sent(self, which: Range | Dates | Ids, device_id: int | None = None) -> Answer[Sent]:
        """List messages that the account has sent, by one device or by all."""
        return self._listed("outbox_sms", _narrowed(which, device_id), reading.sent)

    def messages(
        self, box: Box, which: Range | Dates, device_id: int | None = None
    ) -> Answer[Received] | Answer[Sent]:
        """List a box: `inbox` or `sent`."""
        if box is Box.INBOX:
            return self.inbox(which, device_id)
        return self.sent(which, device_id)

    def doomed_inbox(self, doomed: Doomed) -> Answer[Received]:
        """List what `delete_inbox` would delete: the question has the very same fields."""
        return self._listed("inbox_sms", doomed.fields(), reading.received)

    def doomed_sent(self, doomed: Doomed) -> Answer[Sent]:
        """List what `delete_sent` would delete: the question has the very same fields."""
        return self._listed("outbox_sms", doomed.fields(), reading.sent)

    # Requests that change something: `AnswerLost` means that they may have been taken.

    def send(self, message: Outgoing) -> Accepted:
        """
        Send one message.

        Raises `Refused` or `Unreachable` where it surely was not taken, else `AnswerLost`.
        """
        fields = _named(message, reference=False)
        answer = self._told("sms", self._form(fields), texts=[message.text])
        return _accepted("sms", answer)

    def send_many(self, messages: Sequence[Outgoing]) -> dict[str, Accepted]:
        """
        Send several messages in one request; return those that were taken, by their reference.

        A message that is absent from the result may have been taken all the same. A refused batch
        is `AnswerLost` too: the messages before the bad one may have been taken.
        """
        if len({m.reference for m in messages}) < len(messages) or not all(
            m.reference and len(m.reference) <= 50 for m in messages
        ):
            raise ValueError("each message of a batch needs a reference of its own, 1 to 50 long")
        document = {
            "token": self._token,
            "data": [_named(message, reference=True) for message in messages],
        }
        body = json.dumps(document, ensure_ascii=False).encode()
        answer = self._told("sms_more", body, batch=True, texts=[m.text for m in messages])
        references = {m.reference for m in messages}
        taken = {}
        for row in _answered_rows(answer):
            reference, number = row.get("my_id"), reading.integer(row.get("id"))
            if str(reference) in references and number and number > 0:
                taken[str(reference)] = Accepted(number, reading.integer(row.get("id_device")))
        return taken

    def cancel(self, message_id: int) -> None:
        """
        Ask to cancel one message; whether it was in time is seen in its row only.

        The device is not named, so that a service which overlooks the id can at worst refuse.
        """
        self._told("cancel_sms", self._form({"id_sms": str(message_id)}))

    def cancel_all_waiting(self, device_id: int) -> None:
        """Cancel everything that the device has not fetched yet."""
        self._told("cancel_sms", self._form({"device": str(device_id)}))

    def delete_inbox(self, doomed: Doomed) -> Answer[Received]:
        """Delete received messages at the service; return the rows that it says are gone."""
        if isinstance(doomed.which, Ids):
            raise TypeError("the inbox knows no lists of ids: name a range")
        return self._deleted("del_inbox_sms", doomed, reading.received)

    def delete_sent(self, doomed: Doomed) -> Answer[Sent]:
        """Delete sent messages at the service; return the rows that it says are gone."""
        return self._deleted("del_outbox_sms", doomed, reading.sent)

    # How a request is made, and what its failures mean.

    def _listed(
        self, method: str, fields: Mapping[str, str], read: Callable[[Row], Legible]
    ) -> Answer[Legible]:
        return Answer(self._asked(method, fields, answers.listed), read)

    def _asked(
        self, method: str, fields: Mapping[str, str], opened: Callable[[str, bytearray, Hide], T]
    ) -> T:
        """Put a question, and return what stands in its answer."""
        try:
            return opened(method, self._put(method, fields), self._hide)
        except (httpx.HTTPError, ServiceError) as exc:
            if self._line.is_hung_up:
                raise Stopped from None
            error = self._failures.of_a_question(method, exc)
        raise error  # out here, so that it drags no request along, which holds the token

    def _told(
        self, method: str, content: bytes, *, batch: bool = False, texts: Sequence[str] = ()
    ) -> Row:
        """Make a request that changes something; `texts` are those of messages in it."""
        hide = hiding([self._token, *texts])
        try:
            with self._line.request():
                return answers.document(method, self._post(method, content, batch=batch), hide)
        except TooLate:
            raise Stopped from None
        except (httpx.HTTPError, ServiceError) as exc:
            error = self._failures.of_a_request(method, exc, hide, batch=batch)
        raise error

    def _deleted(
        self, method: str, doomed: Doomed, read: Callable[[Row], Legible]
    ) -> Answer[Legible]:
        """Delete; refuse to where the caller's clock may be ahead, so that today looks old to it."""
        theirs = self.service_now()
        if theirs is None or doomed.now > theirs + AGREE:
            raise ValueError(f"{method}: the service's clock does not bear out {doomed.now}")
        self._pace.take(method, urgent=self._urgent)
        try:
            with self._line.request():
                body = self._post(method, self._form(doomed.fields()))
            return Answer(answers.listed(method, body, self._hide), read)
        except (httpx.HTTPError, ServiceError) as exc:
            error = self._failures.of_a_request(method, exc, self._hide, batch=False)
        raise error

    def _put(self, method: str, fields: Mapping[str, str]) -> bytearray:
        """Put a question when it is its turn."""
        # Not with the lock held: a question that waits for its turn must not hold up urgent ones.
        self._pace.take(method, urgent=self._urgent or getattr(self._made, "is_first", False))
        with self._one_at_a_time, self._line.question():
            return self._post(method, self._form(fields))

    def _form(self, fields: Mapping[str, str]) -> bytes:
        return str(httpx.QueryParams({"token": self._token, **fields})).encode()

    def _post(self, method: str, content: bytes, *, batch: bool = False) -> bytearray:
        """Make one request; raise for every status but 200, and for an answer that is too large."""
        self._made.requests = self.requests + 1
        began = time.monotonic()
        outcome = "answered"
        try:
            return self._exchanged(method, content, batch=batch)
        except (httpx.HTTPError, ServiceError) as exc:
            outcome = str(exc) if isinstance(exc, BadStatus) else type(exc).__name__
            raise
        finally:
            if self.on_answer:
                self.on_answer(method, outcome, time.monotonic() - began)

    def _exchanged(self, method: str, content: bytes, *, batch: bool) -> bytearray:
        kind = "application/json" if batch else "application/x-www-form-urlencoded"
        deadline = time.monotonic() + PATIENCE * self._timeout_s
        with self._http.stream(
            "POST",
            self._url(method),
            content=content,
            headers={"Content-Type": kind},
            extensions={"trace": self._line.trace},
        ) as response:
            self._read_date(response)
            announced = reading.integer(response.headers.get("Content-Length")) or 0
            most = self._largest_answer if announced <= self._largest_answer else GLIMPSE
            body = bytearray()
            for piece in response.iter_bytes():
                body += piece
                if len(body) > most or len(body) == announced > self._largest_answer:
                    raise TooLarge(
                        f"{method}: the answer is over {self._largest_answer:,} bytes long",
                        seen=_ids_in(body),
                    )
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer drips in too slowly")
        for token in self._token_forms:  # a service in trouble may print what it was given
            if token in body:
                body = body.replace(token, b"***")
        if response.status_code != httpx.codes.OK:
            failure = BadStatus(response, bytes(body))
            self._pace.pause(failure.pause_s or 0)
            raise failure
        return body

    def _url(self, method: str) -> httpx.URL:
        """Where a method is asked; httpx would put it together for each request, which takes time."""
        if method not in self._urls:
            self._urls[method] = self._http.build_request("POST", f"{method}.php").url
        return self._urls[method]

    def _read_date(self, response: httpx.Response) -> None:
        try:
            date = parsedate_to_datetime(response.headers.get("Date", ""))
        except (ValueError, OverflowError):
            return
        # One without a zone is UTC; read as it stands it would be by our own.
        self._date = date.replace(tzinfo=date.tzinfo or UTC).timestamp(), time.monotonic()


def _ids_in(body: bytearray) -> list[int]:
    """Return the ids in the part of an answer that has come: they tell how dense its rows are."""
    ids = re.findall(rb'"id"\s*:\s*"?(\d{1,18})', memoryview(body)[: 4 * GLIMPSE])
    return [int(number) for number in ids]


def _narrowed(which: Range | Dates | Ids, device_id: int | None) -> dict[str, str]:
    return ({} if device_id is None else {"device": str(device_id)}) | which.fields()


def _named(message: Outgoing, *, reference: bool) -> dict[str, str]:
    fields = {"device": message.device, "phone": message.phone, "msg": message.text}
    if message.priority is not None:
        fields["priority"] = str(message.priority)
    if reference and message.reference:
        fields["my_id"] = message.reference
    return fields


def _accepted(method: str, answer: Row) -> Accepted:
    number = reading.integer(answer.get("id"))
    if number is None or not 1 <= number <= HIGHEST_ID:
        raise AnswerLost(f"{method}: the answer names no message")
    return Accepted(number, reading.integer(answer.get("id_device")))


def _answered_rows(answer: Row) -> list[Row]:
    found = answer.get("data")
    rows = list(found.values()) if isinstance(found, dict) else found
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
