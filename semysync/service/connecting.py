"""A client as the configuration has it."""

import httpx

from semysync.config import Config
from semysync.errors import ConfigError
from semysync.service.client import Client
from semysync.service.pace import Pace


def client_for(
    settings: Config, token: str, pace: Pace | None = None, *, urgent: bool = False
) -> Client:
    """
    Return a client as configured; the questions of one that is urgent come first.

    Raises `ConfigError` where none can be made, for what the environment says of proxies and the
    like. Nothing is asked.
    """
    base_url = settings.api.base_url
    try:
        _ = httpx.URL(base_url).host  # which is decoded, and fails, only when it is looked at
        return Client(
            token,
            base_url=base_url,
            timeout_s=settings.api.timeout_s,
            pace=pace or Pace(settings.api.requests_per_minute),
            urgent=urgent,
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as exc:
        # A proxy or a file of certificates, named by the environment, that is no good.
        raise ConfigError(
            f"cannot prepare a connection to {base_url}: {exc}; check $HTTPS_PROXY, $ALL_PROXY, "
            "$SSL_CERT_FILE and their like"
        ) from None
