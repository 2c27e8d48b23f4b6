"""
All that follows, put together: the hooks, and where it is configured the listener.

The listener is an extra: without what it needs, and where its secrets can't be read, that is said
in a sentence, and everything else goes on.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from semysync.config import Config
from semysync.config.listening import address
from semysync.errors import ConfigError
from semysync.follow.hooks import Followers

if TYPE_CHECKING:
    from semysync.follow.hints import Settling
    from semysync.follow.listener import Listener
    from semysync.follow.metrics import Metrics

log = structlog.get_logger("semysync")


class Following:
    """
    Hooks and listener of one daemon.

    `hint` is called with a box that is worth a look, and the devices to ask first.
    """

    def __init__(
        self, config: Config, mirror: Path, hint: Callable[[str, Collection[int]], object]
    ) -> None:
        self._listener: Listener | None = None
        self._settling: Settling | None = None
        self._metrics: Metrics | None = None
        if config.http.listen:
            self._prepare(config, mirror, hint)
        metrics = self._metrics
        self._followers = Followers(
            config.hook,
            mirror,
            region=config.contacts.region,
            happened=metrics and metrics.happened,
            delivered=metrics and metrics.delivered,
        )

    @property
    def listens(self) -> bool:
        """Whether there is a listener; it may yet be waiting for its port."""
        return self._listener is not None

    def requested(self, method: str, outcome: str, seconds: float) -> None:
        """Hear of a request to the service, for the metrics."""
        if self._metrics:
            self._metrics.requested(method, outcome, seconds)

    def start(self) -> None:
        self._followers.start()
        if self._listener and self._settling:
            self._listener.start()
            self._settling.start()

    def stop(self) -> None:
        if self._listener and self._settling:
            self._listener.stop()
            self._settling.stop()
        self._followers.stop()

    def _prepare(
        self, config: Config, mirror: Path, hint: Callable[[str, Collection[int]], object]
    ) -> None:
        try:
            from semysync.follow.hints import Awaited, Settling  # noqa: PLC0415  extras
            from semysync.follow.listener import Listener, Served  # noqa: PLC0415  extras
            from semysync.follow.metrics import Metrics  # noqa: PLC0415  extras
        except ImportError as exc:
            log.error("http.lacks", error=f"{exc.name} is missing: pip install 'semysync[http]'")
            return
        http = config.http
        secrets: list[str] = []
        try:
            secrets = config.webhook_secrets()
        except ConfigError as exc:
            log.error("http.without_webhooks", error=str(exc))
        place = address(http.listen or "")
        served = Served(
            health=place.is_loopback if http.health == "auto" else http.health,
            metrics=place.is_loopback if http.metrics == "auto" else http.metrics,
        )
        awaited = Awaited(mirror, region=config.contacts.region)
        self._metrics = Metrics(mirror)
        self._settling = Settling(awaited)
        self._listener = Listener(
            place,
            mirror,
            secrets=secrets,
            served=served,
            awaited=awaited,
            hint=hint,
            metrics=self._metrics,
        )
