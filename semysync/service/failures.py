"""
What a failure means: whether the service can have seen a request, and so what is to be done.

A question may be asked again whatever happened. A request that changes something may only be
repeated where it surely was not taken; all else is a lost answer.
"""

import re
from typing import NamedTuple

import httpx

from semysync.errors import (
    AnswerLost,
    Refused,
    ServiceError,
    Throttled,
    Unreachable,
    Unreadable,
)
from semysync.service import answers
from semysync.service.hiding import Hide


class Failures(NamedTuple):
    """What goes wrong at a `host`, named as our errors; `hide` takes what is secret out of words."""

    host: str
    timeout_s: float
    hide: Hide

    def of_a_question(self, method: str, exc: Exception) -> ServiceError:
        """Turn a failure into ours where nothing can have changed at the service."""
        match exc:
            case BadStatus():
                error = exc.of_a_question(method, self.hide)
            case ServiceError():
                error = exc
            case _ if _never_left(exc):
                error = Unreachable(self._why_unreachable(method, exc))
            case httpx.TimeoutException():
                error = Unreadable(f"{method}: no answer within {self.timeout_s:g} s")
            case _:
                error = Unreadable(f"{method}: the connection broke: {_words(exc, self.hide)}")
        return error

    def of_a_request(self, method: str, exc: Exception, hide: Hide, *, batch: bool) -> ServiceError:
        """Turn a failure into ours where the request may have been taken, unless surely not."""
        match exc:
            case BadStatus() if exc.surely_refused(batch=batch):
                error: ServiceError = exc.of_a_question(method, hide)
            case Refused() if exc.sure and not batch:
                error = exc
            case _ if _never_left(exc):
                error = Unreachable(self._why_unreachable(method, exc))
            case httpx.TimeoutException():
                error = AnswerLost(f"{method}: no answer within {self.timeout_s:g} s")
            case BadStatus():
                error = AnswerLost(str(exc.of_a_question(method, hide)))
            case ServiceError():
                error = AnswerLost(str(exc))
            case _:
                error = AnswerLost(f"{method}: the connection broke: {_words(exc, hide)}")
        return error

    def _why_unreachable(self, method: str, exc: Exception) -> str:
        return (
            f"{method}: cannot connect to {self.host} ({_words(exc, self.hide)}); "
            "check the network, and `base_url` in the configuration"
        )


class BadStatus(httpx.HTTPError):
    """An answer with a status other than 200, which the service has never been seen to give."""

    def __init__(self, response: httpx.Response, body: bytes) -> None:
        super().__init__(f"status {response.status_code}")
        self.status = response.status_code
        self.body = body
        self.location = response.headers.get("Location", "")
        self.pause_s: float | None = None  #: how long the service wants to be left alone
        after = response.headers.get("Retry-After", "")
        if self.status == httpx.codes.TOO_MANY_REQUESTS and re.fullmatch("[0-9]{1,6}", after):
            self.pause_s = float(after)

    def of_a_question(self, method: str, hide: Hide) -> ServiceError:
        if self.status == httpx.codes.TOO_MANY_REQUESTS:
            return Throttled(
                f"{method}: the service asks for a pause (HTTP 429)", retry_after_s=self.pause_s
            )
        if 300 <= self.status < 400:
            where = hide(self.location.partition("?")[0])[:200]
            return Unreadable(
                f"{method}: the service points elsewhere, to {where}; "
                "the token is not sent after it: check `base_url` in the configuration"
            )
        if 400 <= self.status < 500:
            said = self._said(method, hide) or f"{method}: the service refuses (HTTP {self.status})"
            if self.status == httpx.codes.NOT_FOUND:
                said += "; check `base_url` in the configuration"
            return Refused(said, code=str(self.status))
        if 200 <= self.status < 300:
            return Unreadable(f"{method}: an answer without contents (HTTP {self.status})")
        return Unreadable(f"{method}: the service is in trouble (HTTP {self.status})")

    def surely_refused(self, *, batch: bool) -> bool:
        """
        Tell whether a request that got this answer was surely not taken.

        A batch that the program at the service refused by itself may have been taken in part.
        """
        if self.status == httpx.codes.TOO_MANY_REQUESTS:
            return True
        return 400 <= self.status < 500 and not (batch and self._said("sms_more", answers.AS_SAID))

    def _said(self, method: str, hide: Hide) -> str | None:
        """Return the refusal in the service's own words, if the body holds one."""
        try:
            answers.document(method, self.body, hide)
        except Refused as refused:
            return str(refused)
        except Unreadable:
            return None
        return None


def _never_left(exc: Exception) -> bool:
    """Tell whether no connection was made, so that the service cannot have seen the request."""
    return isinstance(
        exc,
        httpx.ConnectError
        | httpx.ConnectTimeout
        | httpx.PoolTimeout
        | httpx.ProxyError  # it has refused to open a connection to the service
        | httpx.UnsupportedProtocol,
    )


def _words(exc: Exception, hide: Hide) -> str:
    return hide(" ".join(str(exc).split())) or type(exc).__name__
