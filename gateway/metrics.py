"""What the gateway counts, for Prometheus."""

import math
from datetime import UTC, datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.kpi_metrics import Figures, KpiMetrics
from store.errors import StoreError
from store.inbox import Inbox

_log = structlog.get_logger("dealthread.gateway")


class GatewayMetrics:
    """The counters of one gateway, in a registry of their own."""

    def __init__(self, figures: Figures | None = None) -> None:
        """Count from nothing; with what works them out, the page has the key figures too."""
        self.registry = CollectorRegistry()
        self._kpis = KpiMetrics(figures, self.registry) if figures is not None else None
        self.received = Counter(
            "dealthread_events_received",
            "Events that were accepted: new ones, and duplicates of them.",
            ["connection", "new"],
            registry=self.registry,
        )
        self.refused = Counter(
            "dealthread_events_refused",
            "Deliveries of which nothing was taken.",
            ["connection", "reason"],
            registry=self.registry,
        )
        self.inserts = Histogram(
            "dealthread_inbox_insert_seconds",
            "One insert of all the events that arrived together.",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=self.registry,
        )
        self.settled = Counter(
            "dealthread_events_settled",
            "Tries of events by how they ended: delivered, ignored, dead, received (again).",
            ["state"],
            registry=self.registry,
        )
        self.signals = Counter(
            "dealthread_signals_sent", "Signals to workflows.", registry=self.registry
        )
        self.polls = Counter(
            "dealthread_feed_polls",
            "Reads of feeds: read, failed, gap.",
            ["connection", "result"],
            registry=self.registry,
        )
        self._waiting = Gauge(
            "dealthread_inbox_waiting", "Events not yet sent on.", registry=self.registry
        )
        self._oldest = Gauge(
            "dealthread_inbox_oldest_seconds",
            "How long the oldest of them has waited.",
            registry=self.registry,
        )
        self._dead = Gauge(
            "dealthread_inbox_dead", "Events that can't be handled.", registry=self.registry
        )

    async def page(self, inbox: Inbox) -> bytes:
        """Return all of it as text; what the store does not tell now is not a number."""
        if self._kpis is not None:
            self._kpis.wanted()
        try:
            waiting, oldest = await inbox.waiting()
            dead = await inbox.dead()
        except StoreError as error:
            _log.warning("inbox_not_counted", error=type(error).__name__)
            for gauge in (self._waiting, self._oldest, self._dead):
                gauge.set(math.nan)
        else:
            self._waiting.set(waiting)
            self._dead.set(dead)
            age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
            self._oldest.set(max(0.0, age))
        return generate_latest(self.registry)

    async def aclose(self) -> None:
        """Stop what works in the background."""
        if self._kpis is not None:
            await self._kpis.aclose()
