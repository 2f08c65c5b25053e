"""Everything that waits to be drafted, read set by set: parts of entries, and fees (DESIGN 4).

What is held, set aside, or a client's that is not billed for now, is not there. A client PO that
was replaced is named by its replacement. What no contract line names any more waits: nothing says
how to invoice it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import Billable, BillableKind, BillableRef
from canonical.engagement import ContractLine
from canonical.entries import EntryKind, EntryRef
from canonical.fees import Fee
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Rated
from store.database import AnyRow
from store.engagement_imports import Importers, importers
from store.evidence import Evidence
from store.subledger_session import as_rows

LIMIT = 5_000
"""Most billables of one look; the rest is there for the next."""

_SET_ASIDE = """
    EXISTS (SELECT FROM set_asides AS aside WHERE aside.{what} = {what}.id
        AND (aside.until IS NULL OR aside.until > :on))
"""
_CLIENT_HELD = """
    EXISTS (SELECT FROM client_holds AS held WHERE held.client_id = {of}.client_id
        AND held.released_at IS NULL)
"""

_PARTS = text(f"""
    SELECT part.id, part.cycle, part.amount, part.currency, part.minutes, rating.document,
        rating.line, rating.legal_entity, run.engagement, run.client_id, run.psa, run.project_id,
        run.period, coalesce(run.ended_at, now()) AS ended_at, version.kind, version.entry_id,
        version.service_date,
        coalesce(posting.external_id, '') AS charge, evidence.record, evidence.encrypted,
        coalesce(led.email, '') AS lead
    FROM parts AS part
    JOIN entry_versions AS version ON version.id = part.entry
    JOIN billing_runs AS run ON run.run_key = part.run_key
    JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    JOIN entry_evidence AS evidence ON evidence.entry = version.id
        AND evidence.reading = version.reading
    LEFT JOIN postings AS posting ON posting.id = part.posting AND posting.state = 'live'
    LEFT JOIN project_leads AS led ON led.psa = run.psa AND led.project_id = run.project_id
    WHERE part.state = 'placed' AND part.disposition = 'to_bill'
        AND version.handed_over_at IS NOT NULL
        AND (:psa = '' OR run.psa = :psa) AND (:project_id = '' OR run.project_id = :project_id)
        AND (:client_id = '' OR run.client_id = :client_id)
        AND (:every_client OR run.client_id = ANY(CAST(:clients AS text[])))
        AND NOT EXISTS (SELECT FROM holds AS hold WHERE hold.source = version.source
            AND hold.kind = version.kind AND hold.entry_id = version.entry_id
            AND hold.released_at IS NULL)
        AND NOT {_SET_ASIDE.format(what="part")} AND NOT {_CLIENT_HELD.format(of="run")}
    ORDER BY part.id LIMIT :limit
""")  # noqa: S608 - constants

_FEES = text(f"""
    SELECT fee.id, fee.document, fee.reserved_at, coalesce(led.email, '') AS lead
    FROM fees AS fee
    LEFT JOIN project_leads AS led ON led.psa = fee.psa AND led.project_id = fee.project_id
    WHERE fee.state = 'handed_over' AND fee.withdrawn = '' AND fee.held = ''
        AND (:psa = '' OR fee.psa = :psa) AND (:project_id = '' OR fee.project_id = :project_id)
        AND (:client_id = '' OR fee.client_id = :client_id)
        AND (:every_client OR fee.client_id = ANY(CAST(:clients AS text[])))
        AND NOT {_SET_ASIDE.format(what="fee")} AND NOT {_CLIENT_HELD.format(of="fee")}
    ORDER BY fee.id LIMIT :limit
""")  # noqa: S608 - constants

# Whatever holds it: an estimate of what there is to read, never too low.
_CLIENTS = text("""
    SELECT client_id, CAST(sum(n) AS integer) AS n FROM (
        SELECT run.client_id, count(*) AS n FROM parts AS part
        JOIN billing_runs AS run ON run.run_key = part.run_key
        WHERE part.state = 'placed' AND part.disposition = 'to_bill'
            AND (:psa = '' OR run.psa = :psa)
            AND (:project_id = '' OR run.project_id = :project_id)
        GROUP BY run.client_id
        UNION ALL
        SELECT fee.client_id, count(*) AS n FROM fees AS fee
        WHERE fee.state = 'handed_over'
            AND (:psa = '' OR fee.psa = :psa)
            AND (:project_id = '' OR fee.project_id = :project_id)
        GROUP BY fee.client_id
    ) AS free
    WHERE client_id > :after AND (:client_id = '' OR client_id = :client_id)
    GROUP BY client_id ORDER BY client_id LIMIT :limit
""")

_LINES = text("""
    SELECT DISTINCT engagement.psa, engagement.project_id, engagement.id, effective_from,
        CAST(lines AS text) AS lines
    FROM engagements AS engagement
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(psa text, project_id text)
        USING (psa, project_id)
    ORDER BY effective_from
""")

_REPLACED = text("""
    SELECT client_id, number, replaced_by FROM client_pos
    WHERE replaced_by <> '' AND client_id = ANY(CAST(:clients AS text[]))
""")


class _Told(CanonicalModel):
    """What a line of a draft says of the record as approved."""

    notes: str = ""
    person_email: str = ""
    role: str = ""
    approved_by: str = ""


class _Terms:
    """Contract lines by project with who imported them, and client POs by what replaced them."""

    def __init__(
        self, rows: Iterable[AnyRow], replaced: Iterable[AnyRow], imported: Importers
    ) -> None:
        self.imported = imported
        self._versions: dict[tuple[str, str], list[tuple[date, str, dict[str, ContractLine]]]] = {}
        for row in rows:
            lines = {
                line.ref: line
                for line in (ContractLine.model_validate(each) for each in json.loads(row.lines))
            }
            version = (row.effective_from, str(row.id), lines)
            self._versions.setdefault((row.psa, row.project_id), []).append(version)
        self._replaced = {(row.client_id, row.number): row.replaced_by for row in replaced}

    def line(
        self, project: tuple[str, str], engagement: str, ref: str, on: date
    ) -> ContractLine | None:
        """Return a line as it was in force on a day; before its first version, that one."""
        known = [
            (since, lines[ref])
            for since, name, lines in self._versions.get(project, ())
            if name == engagement and ref in lines
        ]
        in_force = [line for since, line in known if since <= on]
        if in_force:
            return in_force[-1]
        return known[0][1] if known else None

    def client_po(self, client_id: str, number: str) -> str:
        """Return the number under which a client PO goes now."""
        seen = {number}
        while (other := self._replaced.get((client_id, number), "")) and other not in seen:
            number = other
            seen.add(number)
        return number


async def clients_to_bill(
    session: AsyncConnection, values: Mapping[str, object]
) -> tuple[tuple[str, int], ...]:
    """Return whose amounts are free to be drafted, in order, with about how many they are."""
    rows = (await session.execute(_CLIENTS, values)).all()
    return tuple((row.client_id, row.n) for row in rows)


async def billables(
    session: AsyncConnection, evidence: Evidence, values: Mapping[str, object]
) -> tuple[Billable, ...]:
    """Return what is free to be drafted; `values` are the filters, a day and a limit."""
    rows = (await session.execute(_PARTS, values)).all()
    fee_rows = (await session.execute(_FEES, values)).all()
    fees = [(row, Fee.model_validate_json(row.document)) for row in fee_rows]
    projects = {(row.psa, row.project_id) for row in rows}
    projects |= {(fee.psa, fee.project_id) for _, fee in fees}
    clients = {row.client_id for row in rows} | {fee.client_id for _, fee in fees}
    named = as_rows({"psa": psa, "project_id": project} for psa, project in sorted(projects))
    found = (await session.execute(_LINES, {"rows": named})).all()
    replaced = (await session.execute(_REPLACED, {"clients": sorted(clients)})).all()
    terms = _Terms(found, replaced, await importers(session, named))
    of_parts = _of_parts(rows, evidence, terms)
    of_fees = [each for each in (_of_fee(row, fee, terms) for row, fee in fees) if each]
    limit = int(str(values["limit"]))
    return tuple([*of_fees, *of_parts][:limit])


def _of_parts(rows: Sequence[AnyRow], evidence: Evidence, terms: _Terms) -> list[Billable]:
    found = (_of_part(r, evidence.read(r.record, r.encrypted, _Told), terms) for r in rows)
    return [each for each in found if each is not None]


def _of_part(row: AnyRow, told: _Told, terms: _Terms) -> Billable | None:
    rated = Rated.model_validate_json(row.document)
    project = (row.psa, row.project_id)
    line = terms.line(project, row.engagement, row.line, row.service_date)
    if line is None:
        return None
    priced_by = terms.imported.of(project, row.engagement, row.line, row.service_date, row.ended_at)
    values = {
        **row._mapping,
        **_of_line(line, row.client_id, terms),
        "ref": BillableRef(kind=BillableKind.PART, id=row.id),
        "method": rated.billing_method or line.billing_method,
        "amount": Money(amount=row.amount, currency=row.currency),
        "entry": EntryRef(kind=EntryKind(row.kind), id=row.entry_id),
        "rate": _rate(rated),
        "person": told.person_email,
        "role": told.role,
        "narrative": told.notes,
        "start": row.service_date,
        "end": row.service_date,
        "approved_by": (told.approved_by,) if told.approved_by else (),
        "priced_by": priced_by,
        "in_review": row.cycle > 1,
    }
    return Billable.model_validate(values)


def _of_fee(row: AnyRow, fee: Fee, terms: _Terms) -> Billable | None:
    project = (fee.psa, fee.project_id)
    line = terms.line(project, fee.engagement, fee.line, fee.start)
    if line is None:
        return None
    priced_by = terms.imported.of(project, fee.engagement, fee.line, fee.start, row.reserved_at)
    same = {"engagement", "line", "psa", "project_id", "client_id", "period", "narrative"}
    values = {
        **fee.model_dump(include=same | {"start", "end", "approved_by", "cycle"}),
        **_of_line(line, fee.client_id, terms),
        "ref": BillableRef(kind=BillableKind.FEE, id=row.id),
        "lead": row.lead,
        "legal_entity": line.legal_entity,
        "method": line.billing_method,
        "amount": fee.amount,
        "kind": fee.source.value,
        "fee": fee.item,
        "priced_by": priced_by,
        "in_review": fee.cycle > 1,
    }
    return Billable.model_validate(values)


def _of_line(line: ContractLine, client_id: str, terms: _Terms) -> dict[str, object]:
    return {
        "erp": line.erp,
        "erp_project_id": line.erp_project_id,
        "erp_client_id": line.erp_client_id,
        "client_po": terms.client_po(client_id, line.client_po) if line.client_po else "",
        "tax_category": line.tax_category,
        "dimensions": line.dimensions,
    }


def _rate(rated: Rated) -> Decimal | None:
    """Return the hourly rate in the contract's currency, multiplier included."""
    if rated.rate is None:
        return None
    hourly = rated.rate.rate * rated.multiplier
    foreign = rated.amount is not None and rated.rate.currency != rated.amount.currency
    return hourly * rated.fx.rate if foreign and rated.fx is not None else hourly
