"""What others own and billing needs: people (HCM), exchange rates (ERP), project leads (PSA)."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from canonical.people import Worker
from canonical.rating import ExchangeRate
from store.database import Database
from store.subledger_session import as_rows

# Read again, a version is replaced only where it says something else.
_PUT_WORKERS = text("""
    INSERT INTO workers AS worker (email, valid_from, source, worker_id, name, role,
        employee_class, legal_entity, cost_center, cost_rate, cost_currency, active)
    SELECT lower(given.email), given.valid_from, :source, given.id, given.name, given.role,
        given.employee_class, given.legal_entity, given.cost_center, given.cost_rate,
        given.cost_currency, given.active
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id text, name text, email text,
        role text, employee_class text, legal_entity text, cost_center text, cost_rate numeric,
        cost_currency text, valid_from date, active boolean)
    ON CONFLICT (source, email, valid_from) DO UPDATE
    SET worker_id = excluded.worker_id, name = excluded.name,
        role = excluded.role, employee_class = excluded.employee_class,
        legal_entity = excluded.legal_entity, cost_center = excluded.cost_center,
        cost_rate = excluded.cost_rate, cost_currency = excluded.cost_currency,
        active = excluded.active, read_at = now()
    WHERE (worker.worker_id, worker.name, worker.role, worker.employee_class,
            worker.legal_entity, worker.cost_center, worker.cost_rate, worker.cost_currency,
            worker.active)
        IS DISTINCT FROM (excluded.worker_id, excluded.name, excluded.role,
            excluded.employee_class, excluded.legal_entity, excluded.cost_center,
            excluded.cost_rate, excluded.cost_currency, excluded.active)
""")

_WORKERS = text("""
    SELECT worker_id AS id, name, email, role, employee_class, legal_entity, cost_center,
        cost_rate, cost_currency, valid_from, active
    FROM workers WHERE source = :source AND email = ANY(CAST(:emails AS text[]))
    ORDER BY email, valid_from
""")

_PUT_RATES = text("""
    INSERT INTO exchange_rates AS known (from_currency, to_currency, valid_from, rate, source)
    SELECT given.from_currency, given.to_currency, given.valid_from, given.rate, given.source
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(from_currency text, to_currency text,
        valid_from date, rate numeric, source text)
    ON CONFLICT (from_currency, to_currency, valid_from) DO UPDATE
    SET rate = excluded.rate, source = excluded.source, read_at = now()
    WHERE (known.rate, known.source) IS DISTINCT FROM (excluded.rate, excluded.source)
""")

_RATES = text("""
    SELECT from_currency, to_currency, rate, valid_from, source FROM exchange_rates
    WHERE to_currency = ANY(CAST(:currencies AS text[]))
    ORDER BY from_currency, to_currency, valid_from
""")

_PUT_LEAD = text("""
    INSERT INTO project_leads AS known (psa, project_id, email)
    VALUES (:psa, :project_id, lower(:email))
    ON CONFLICT (psa, project_id) DO UPDATE SET email = excluded.email, read_at = now()
""")
_LEAD_READ_AT = text("""
    SELECT read_at FROM project_leads WHERE psa = :psa AND project_id = :project_id
""")


class MasterData:
    """Copies of what was read last; what a rating used stands in the rating itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_workers(self, source: str, workers: Sequence[Worker]) -> None:
        """Keep versions of workers as the HCM `source` has them."""
        latest = {(worker.email.lower(), worker.valid_from): worker for worker in workers}
        rows = as_rows(worker.model_dump(mode="json") for worker in latest.values())
        await self._database.run(_PUT_WORKERS, {"source": source, "rows": rows})

    async def workers(self, emails: Sequence[str], source: str) -> tuple[Worker, ...]:
        """Return what the HCM `source` said of people by address, every version, oldest first."""
        values = {"emails": sorted({email.lower() for email in emails}), "source": source}
        rows = await self._database.rows(_WORKERS, values)
        return tuple(Worker.model_validate(row._mapping) for row in rows)

    async def put_exchange_rates(self, rates: Sequence[ExchangeRate]) -> None:
        """Keep exchange rates; one of the same pair and day is replaced."""
        latest = {(rate.from_currency, rate.to_currency, rate.valid_from): rate for rate in rates}
        rows = as_rows(rate.model_dump(mode="json") for rate in latest.values())
        await self._database.run(_PUT_RATES, {"rows": rows})

    async def put_lead(self, psa: str, project_id: str, email: str) -> None:
        """Keep who leads a project, as its PSA says now; an empty address: nobody."""
        await self._database.run(_PUT_LEAD, {"psa": psa, "project_id": project_id, "email": email})

    async def lead_read_at(self, psa: str, project_id: str) -> datetime | None:
        """Return when a PSA was last asked who leads a project; None: never."""
        row = await self._database.first(_LEAD_READ_AT, {"psa": psa, "project_id": project_id})
        return None if row is None else row.read_at

    async def rates(self, to_currencies: Sequence[str]) -> tuple[ExchangeRate, ...]:
        """Return the rates into these currencies, oldest first."""
        rows = await self._database.rows(_RATES, {"currencies": sorted(set(to_currencies))})
        return tuple(ExchangeRate.model_validate(row._mapping) for row in rows)
