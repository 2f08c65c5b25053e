"""Key figures and the close for people: what may be asked, and by whom a figure is told apart."""

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache

from canonical.kpis import CloseReport, Kpi, KpiBy, KpiQuery, KpiReport
from operations.config import Config
from operations.people import Refused, short
from operations.reconciliation import PERIOD
from policies.bundle import load_bundle
from store import Store
from store.kpi_table import KPIS


class Unknown(Refused):
    """There is no such key figure or legal entity."""


@dataclass(frozen=True)
class KpiDesk:
    """Works figures out over one store."""

    store: Store
    regions: Callable[[], Mapping[str, str]]
    """The region of each legal entity, out of the policy bundle."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def report(self, name: str, query: KpiQuery) -> KpiReport:
        """Return one figure.

        Raises:
            Unknown: there is no such figure.
            Refused: it can't be asked for that way.
        """
        if name not in KPIS:
            raise Unknown(f"There is no key figure {short(name)}: there are {', '.join(KPIS)}.")
        if query.by is KpiBy.REGION:
            query = replace(query, regions=self.regions())
        try:
            return await self.store.kpis.report(name, query, self.now())
        except ValueError as error:
            raise Refused(str(error)) from error

    async def all(self, query: KpiQuery) -> tuple[KpiReport, ...]:
        """Return every figure that can be asked for that way.

        Raises:
            Refused: the days make no sense.
        """
        asked = [kpi.name for kpi in KPIS.values() if _fits(kpi, query)]
        return tuple([await self.report(name, query) for name in asked])

    async def close(self, legal_entity: str, period: str) -> CloseReport:
        """Return what keeps a legal entity's period from being closed.

        Raises:
            Unknown: there is no such legal entity.
            Refused: it is no period.
        """
        known = self.regions()
        if legal_entity not in known:
            raise Unknown(
                f"There is no legal entity {short(legal_entity)}: there are "
                f"{', '.join(sorted(known))}."
            )
        last = _last_day(period)
        as_of = min(last, self.now().date())
        lines = await self.store.closing.blockers(legal_entity, period, last=last, as_of=as_of)
        return CloseReport(legal_entity=legal_entity, period=period, as_of=as_of, lines=lines)


def kpi_desk(config: Config, store: Store) -> KpiDesk:
    """Return the desk of the configuration; its policy bundle is read when it is first needed."""

    @cache
    def regions() -> Mapping[str, str]:
        entities = load_bundle(config.policies.bundle).policies.legal_entities
        return {code: entity.country for code, entity in entities.items()}

    return KpiDesk(store, regions)


def _fits(kpi: Kpi, query: KpiQuery) -> bool:
    dated = query.since is not None or query.until is not None
    return query.by in kpi.askable() and (kpi.dated or not dated)


def _last_day(period: str) -> date:
    # Without the years in which calendars end.
    if not PERIOD.fullmatch(period) or period[:2] not in {"19", "20", "21"}:
        raise Refused(f"{short(period)} is no billing period: write 2026-11.")
    year, month = map(int, period.split("-"))
    return date(year, month, monthrange(year, month)[1])
