"""Key figures for Prometheus: worked out in the background at most once a minute, then shown.

A page never waits for them. Labels are bounded: legal entity, currency and flow, never a client.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from canonical.kpis import LASTS, KpiBy, KpiQuery, KpiReport, KpiUnit
from operations.people import Refused
from policies.bundle import BundleInvalid
from store.errors import StoreError
from store.kpi_table import KPIS

REFRESH_SECONDS: Final = 60.0
SERIES_MAX: Final = 500
"""Of one figure: more of them would be no legal entities or flows."""
SUFFIXES: Final = {
    KpiUnit.MONEY: "_amount",
    KpiUnit.PERCENT: "_percent",
    KpiUnit.HOURS: "_hours",
    KpiUnit.HOURS_WORKED: "_hours",
    KpiUnit.DAYS: "_days",
    KpiUnit.DAYS_OF_SALES: "_days",
    KpiUnit.SECONDS: "_seconds",
}

_log = structlog.get_logger("dealthread.gateway")


class Figures(Protocol):
    """What works the figures out; `operations.kpis.KpiDesk` is one."""

    async def report(self, name: str, query: KpiQuery) -> KpiReport:
        """Return one figure."""


class KpiMetrics(Collector):
    """The figures as they were last worked out, in a registry's page."""

    def __init__(
        self,
        figures: Figures,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._figures = figures
        self._clock = clock
        self._reports: Sequence[KpiReport] = ()
        self._begun_at: float | None = None
        self.work: asyncio.Task[None] | None = None
        registry.register(self)

    def wanted(self) -> None:
        """Let the figures be worked out anew, unless they are young or being worked out."""
        now = self._clock()
        young = self._begun_at is not None and now - self._begun_at < REFRESH_SECONDS
        if young or (self.work is not None and not self.work.done()):
            return
        self._begun_at = now
        self.work = asyncio.create_task(self._refresh())

    async def aclose(self) -> None:
        """Stop working figures out."""
        if self.work is not None:
            self.work.cancel()
            await asyncio.gather(self.work, return_exceptions=True)

    async def _refresh(self) -> None:
        reports: list[KpiReport] = []
        try:
            reports = [
                await self._figures.report(kpi.name, KpiQuery(by=by))
                for kpi in KPIS.values()
                for by in ((KpiBy.ENTITY, KpiBy.FLOW) if kpi.flows else (KpiBy.ENTITY,))
            ]
        except (StoreError, Refused, BundleInvalid) as error:
            _log.warning("kpis_not_worked_out", error=type(error).__name__)
        finally:
            # None, where they can't be told: old ones would look like figures of now.
            self._reports = reports

    def describe(self) -> Iterator[Metric]:
        """Name no metric beforehand: a figure of which there is nothing is not shown."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return the figures as gauges."""
        return map(_gauge, self._reports)


def _gauge(report: KpiReport) -> GaugeMetricFamily:
    group = report.by.value
    lasts = report.unit in LASTS
    of_flow = "_by_flow" if report.by is KpiBy.FLOW else ""
    name = report.name.removesuffix("_percent") + SUFFIXES.get(report.unit, "")
    gauge = GaugeMetricFamily(
        f"dealthread_kpi_{name}{of_flow}",
        f"{report.title}. {report.meaning}",
        labels=[group, "currency", "quantile"] if lasts else [group, "currency"],
    )
    for row in report.rows[:SERIES_MAX]:
        shown = (("0.5", row.value), ("0.9", row.high)) if lasts else ((None, row.value),)
        for quantile, value in shown:
            if value is not None:
                labels = [row.group, row.currency, *([quantile] if quantile else [])]
                gauge.add_metric(labels, float(value))
    return gauge
