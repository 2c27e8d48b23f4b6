"""
Sign what is posted, as Standard Webhooks has it, so that its receiver can tell who sent it.

The signature is an HMAC-SHA256 over the id, the time stamp and the body. The id is that of the
event, the same at every repeat; the time stamp is that of the attempt, so that a receiver may
refuse what is old.
"""

import base64
import hashlib
import hmac

from semysync.config.hooks import signing_key


def headers(event_id: str, at: int, body: bytes, secret: str | None) -> dict[str, str]:
    """Return the headers that name an event, and vouch for it where there is a secret."""
    named = {"webhook-id": event_id, "webhook-timestamp": str(at)}
    if secret is None:
        return named
    signed = f"{event_id}.{at}.".encode() + body
    digest = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
    return named | {"webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}
