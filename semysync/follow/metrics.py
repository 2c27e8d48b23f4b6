"""
What Prometheus is told: numbers alone, no contact, text or name.

What the mirror knows is read when somebody asks; what happens is counted as it does.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from sqlite3 import Connection

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from semysync.errors import SemysyncError
from semysync.mirror.file import explained, open_reader

disable_created_metrics()  # type: ignore[no-untyped-call]  # a line more for each number, for nothing

PREFIX = "semysync"
SENT = "draft.accepted"
FAILED = ("draft.rejected", "draft.failed", "draft.expired")

HEALTH = """
select inbox_lag_s, sent_lag_s, oldest_waiting_s, verdict = 'ok' as ok from health
"""
DRAFTS = "select status, count(*) from outbox group by status"
NEWEST_EVENT = "select coalesce(max(seq), 0) from events"
DELIVERIES = """
select follower, status, count(*) from deliveries where status <> 'done' group by follower, status
"""
BEHIND = """
select name, (select count(*) from events where seq > position) from followers
"""
DEVICES = """
select id, battery, service_on,
       case when utc_offset is not null
            then (julianday('now') - julianday(last_active_at)) * 86400 end as silent_s
  from devices
 where mirrored_at is not null and missing_since is null and archived = 0
"""
UNCONFIRMED = "select count(*) from unconfirmed"


class Metrics:
    """The registry of one daemon; its methods may be called from any thread."""

    def __init__(self, mirror: Path) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Mirrored(mirror))
        self._requests = Histogram(
            f"{PREFIX}_request_seconds",
            "Requests to the service, by method and outcome, and how long they took.",
            ("method", "outcome"),
            registry=self._registry,
        )
        self._events = self._counter("events", "Events, by kind.", "kind")
        self._sends = self._counter("drafts_sent", "Drafts that the service has taken.")
        self._failures = self._counter("drafts_failed", "Drafts rejected, failed or expired.")
        self._attempts = self._counter(
            "hook_attempts", "Attempts of hooks, by what came of them.", "hook", "outcome"
        )
        self._calls = self._counter("webhook_calls", "Calls of webhooks.", "box", "outcome")

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def requested(self, method: str, outcome: str, seconds: float) -> None:
        """Count a request to the service."""
        self._requests.labels(method, outcome).observe(seconds)

    def happened(self, kind: str) -> None:
        """Count an event."""
        self._events.labels(kind).inc()
        if kind == SENT:
            self._sends.inc()
        elif kind in FAILED:
            self._failures.inc()

    def delivered(self, hook: str, outcome: str) -> None:
        """Count an attempt of a hook: done, failing or dead."""
        self._attempts.labels(hook, outcome).inc()

    def called(self, box: str, outcome: str) -> None:
        """Count a call of a webhook."""
        self._calls.labels(box, outcome).inc()

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", what, labels, registry=self._registry)


class Mirrored(Collector):
    """What the mirror shows at the moment when it is asked; nothing where it can't be read."""

    def __init__(self, mirror: Path) -> None:
        self._mirror = mirror

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return nothing: else the mirror would be read before it is there."""
        yield from ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with suppress(SemysyncError):  # then `semysync_healthy` is absent, which can be noticed
            yield from self._found()

    def _found(self) -> Iterator[GaugeMetricFamily]:
        with explained(self._mirror, reading=True), closing(open_reader(self._mirror)) as conn:
            yield from _of_health(conn)
            yield _gauge(conn, "drafts", "Drafts, by status.", DRAFTS, "status")
            yield _gauge(conn, "event_seq", "The number of the newest event.", NEWEST_EVENT)
            yield _gauge(
                conn,
                "deliveries",
                "Deliveries of hooks that fail or are dead.",
                DELIVERIES,
                "hook",
                "status",
            )
            yield _gauge(conn, "hook_behind", "Events that a hook has yet to see.", BEHIND, "hook")
            yield from _of_devices(conn)
            yield _gauge(
                conn, "unconfirmed", "Messages of webhooks that no list shows.", UNCONFIRMED
            )


def _gauge(conn: Connection, name: str, what: str, query: str, *labels: str) -> GaugeMetricFamily:
    """Make a gauge of what a query brings: labels first, the value last."""
    gauge = GaugeMetricFamily(f"{PREFIX}_{name}", what, labels=labels)
    for *named, value in conn.execute(query):
        gauge.add_metric([str(label) for label in named], float(value))
    return gauge


def _of_health(conn: Connection) -> Iterator[GaugeMetricFamily]:
    inbox, sent, waiting, ok = conn.execute(HEALTH).fetchone()
    lag = GaugeMetricFamily(
        f"{PREFIX}_lag_seconds", "Since the last complete pull of a box.", labels=("box",)
    )
    for box, value in (("inbox", inbox), ("sent", sent)):
        if value is not None:
            lag.add_metric([box], float(value))
    yield lag
    yield GaugeMetricFamily(
        f"{PREFIX}_oldest_waiting_seconds",
        "How long the oldest draft has been due.",
        value=float(waiting or 0),
    )
    yield GaugeMetricFamily(f"{PREFIX}_healthy", "Whether all is well.", value=float(ok))


def _of_devices(conn: Connection) -> Iterator[GaugeMetricFamily]:
    families = [
        GaugeMetricFamily(f"{PREFIX}_device_{name}", what, labels=("device",))
        for name, what in (
            ("battery_percent", "The battery of a phone."),
            ("service_on", "Whether the service is switched on in the app."),
            ("silent_seconds", "Since a phone was in touch, where its clock is known."),
        )
    ]
    for device, *values in conn.execute(DEVICES):
        for family, value in zip(families, values, strict=True):
            if value is not None:
                family.add_metric([str(device)], float(value))
    yield from families
