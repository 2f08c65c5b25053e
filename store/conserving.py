"""The store compared with itself: nothing that was approved is lost, or counted twice (DESIGN 5).

Triggers and constraints refuse what these checks look for. They tell of what went past them: a
restored backup, a repair by hand, a defect of ours. All of it is SQL over the store.
"""

from decimal import Decimal
from typing import Final

from sqlalchemy import text

from canonical.reconciliation import CONSERVATION, Balance
from store.database import AnyRow, Database
from store.reconciling_scope import insert, shown

OURS: Final = "dealthread"
BREAKS_MAX: Final = 1_000
"""Of each kind, in one check: more of them have one cause."""
STATEMENT_SECONDS: Final = 900

_PATIENCE = text(f"SELECT set_config('statement_timeout', '{STATEMENT_SECONDS}s', true)")
_CLEAR = text("DELETE FROM reconciliation_candidates WHERE run = :run")


def _one(type_: str, id_: str, amount: str, currency: str, note: str) -> str:
    row = shown(":connection", type_, id_, amount=amount, currency=currency, note=note)
    return f"jsonb_build_array({row})"


_DISPOSITIONS: Final = f"""
    SELECT 'dispositions_differ', 'entry', version.kind || '/' || version.entry_id,
        run.client_id, version.project_id, coalesce(rating.amount, 0) - coalesce(placed.amount, 0),
        version.currency, '', false, CAST(NULL AS timestamptz), {
    _one(
        "'entry'",
        "version.kind || '/' || version.entry_id",
        "coalesce(rating.amount, 0) - coalesce(placed.amount, 0)",
        "coalesce(rating.currency, version.currency)",
        "'rated ' || coalesce(CAST(rating.amount AS text), 'nothing') || ', placed ' || "
        "coalesce(CAST(placed.amount AS text), 'nothing') || ', cycle ' || "
        "coalesce(CAST(rating.cycle AS text), '1')",
    )
}
    FROM entry_versions AS version
    LEFT JOIN billing_runs AS run ON run.run_key = version.run_key
    LEFT JOIN ratings AS rating ON rating.entry = version.id
    LEFT JOIN (SELECT entry, cycle, sum(amount) AS amount FROM parts GROUP BY entry, cycle)
        AS placed ON placed.entry = rating.entry AND placed.cycle = rating.cycle
    WHERE version.state = 'placed' AND rating.amount IS DISTINCT FROM placed.amount
        OR version.state = 'placed' AND rating.entry IS NULL
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

_STANDS: Final = """
    CASE WHEN draft.state IN ('in_review', 'queued') THEN 'drafted'
        WHEN draft.state IN ('released', 'invoiced') THEN draft.state END
"""
_ASTRAY: Final = f"""
    SELECT 'part_astray', billed.type, CAST(billed.id AS text), billed.client_id,
        billed.project_id, billed.amount, billed.currency, '', false, CAST(NULL AS timestamptz), {
    _one(
        "billed.type",
        "CAST(billed.id AS text)",
        "billed.amount",
        "billed.currency",
        "billed.state || ', and its draft: ' || coalesce(draft.id || ' ' || draft.state, 'none')",
    )
}
    FROM (
        SELECT 'part' AS type, part.id, part.state, part.amount, part.currency, run.client_id,
            run.project_id, member.draft
        FROM parts AS part JOIN billing_runs AS run USING (run_key)
        LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
        WHERE part.disposition = 'to_bill'
        UNION ALL
        SELECT 'fee', fee.id, fee.state, fee.amount, fee.currency, fee.client_id, fee.project_id,
            member.draft
        FROM fees AS fee LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
    ) AS billed LEFT JOIN drafts AS draft ON draft.id = billed.draft
    WHERE CASE WHEN billed.state IN ('drafted', 'released', 'invoiced') THEN billed.state
        WHEN billed.state = 'credited' THEN 'invoiced' END IS DISTINCT FROM {_STANDS}
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

_LINES: Final = f"""
    SELECT 'line_differs', 'draft_line', line.draft || ':' || line.number, draft.client_id,
        line.project_id, line.amount - coalesce(billed.amount, 0) + line.written_down,
        draft.currency, '', false, CAST(NULL AS timestamptz), {
    _one(
        "'draft_line'",
        "line.draft || ':' || line.number",
        "line.amount",
        "draft.currency",
        "'it bills ' || coalesce(CAST(billed.amount - line.written_down AS text), 'nothing')",
    )
}
    FROM draft_lines AS line JOIN drafts AS draft ON draft.id = line.draft
    LEFT JOIN (
        SELECT draft, number, sum(amount) AS amount FROM draft_members WHERE live
        GROUP BY draft, number
    ) AS billed ON billed.draft = line.draft AND billed.number = line.number
    WHERE line.state = 'in' AND draft.state IN ('in_review', 'queued', 'released', 'invoiced')
        AND line.amount <> coalesce(billed.amount, 0) - line.written_down
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

# What a run gives back net of a cap counts once it is handed over.
_CAPS: Final = f"""
    SELECT 'cap_miscounted', 'cap', cap.engagement || '/' || cap.line || '/' || cap.cap
            || CASE cap.period WHEN '' THEN '' ELSE '/' || cap.period END,
        '', '', cap.reserved + cap.drafted + cap.invoiced - coalesce(taken.amount, 0), cap.currency,
        '', false, CAST(NULL AS timestamptz), {
    _one(
        "'cap'",
        "cap.engagement || '/' || cap.line || '/' || cap.cap",
        "cap.reserved + cap.drafted + cap.invoiced",
        "cap.currency",
        "'its parts take ' || CAST(coalesce(taken.amount, 0) AS text) || ' of ' || "
        "CAST(cap.amount AS text)",
    )
}
    FROM caps AS cap LEFT JOIN (
        SELECT cap, sum(CASE WHEN handed_over THEN net ELSE greatest(net, 0) END) AS amount FROM (
            SELECT used.cap, part.run_key, run.state = 'handed_over' AS handed_over,
                sum(used.amount) AS net
            FROM cap_uses AS used JOIN parts AS part ON part.id = used.part
            JOIN billing_runs AS run USING (run_key)
            GROUP BY used.cap, part.run_key, run.state
        ) AS of_run GROUP BY cap
    ) AS taken ON taken.cap = cap.id
    WHERE cap.reserved + cap.drafted + cap.invoiced <> coalesce(taken.amount, 0)
        OR cap.reserved + cap.drafted + cap.invoiced - cap.credited > cap.amount
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

_POS: Final = f"""
    SELECT 'po_miscounted', 'client_po', po.client_id || '/' || po.number, po.client_id, '',
        po.released + po.invoiced - coalesce(drafted.released, 0) - coalesce(issued.amount, 0),
        po.currency, '', false, CAST(NULL AS timestamptz), {
    _one(
        "'client_po'",
        "po.client_id || '/' || po.number",
        "po.drafted + po.released + po.invoiced",
        "po.currency",
        "'drafts and invoices take ' || CAST(coalesce(drafted.open, 0) + "
        "coalesce(drafted.released, 0) + coalesce(issued.amount, 0) AS text) || ' of ' || "
        "CAST(po.amount AS text)",
    )
}
    FROM client_pos AS po
    LEFT JOIN LATERAL (
        SELECT sum(CASE po.basis WHEN 'net' THEN net ELSE gross END)
                FILTER (WHERE state IN ('in_review', 'queued')) AS open,
            sum(CASE po.basis WHEN 'net' THEN net ELSE gross END)
                FILTER (WHERE state = 'released') AS released
        FROM drafts WHERE drafts.client_id = po.client_id AND client_po = po.number
            AND drafts.currency = po.currency
    ) AS drafted ON true
    LEFT JOIN LATERAL (
        SELECT sum(CASE po.basis WHEN 'net' THEN net ELSE gross END) AS amount
        FROM invoices WHERE invoices.client_id = po.client_id AND client_po = po.number
            AND invoices.currency = po.currency
    ) AS issued ON true
    WHERE (po.drafted, po.released, po.invoiced) IS DISTINCT FROM
            (coalesce(drafted.open, 0), coalesce(drafted.released, 0), coalesce(issued.amount, 0))
        OR po.released + po.invoiced - po.credited > po.amount
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

_PO_LINES: Final = f"""
    SELECT 'po_miscounted', 'client_po', concat_ws('/', line.client_id, line.number, line.place),
        line.client_id, '', line.released + line.invoiced - counted.released - counted.invoiced,
        po.currency, '', false, CAST(NULL AS timestamptz), {
    _one(
        "'client_po_line'",
        "concat_ws('/', line.client_id, line.number, line.place)",
        "line.drafted + line.released + line.invoiced",
        "po.currency",
        "'drafts and invoices take ' || CAST(counted.drafted + counted.released + "
        "counted.invoiced AS text) || ' of ' || CAST(line.amount AS text) || ', line ' || "
        "array_to_string(line.numbers, ', ')",
    )
}
    FROM (SELECT DISTINCT client_id, number FROM client_po_lines) AS lined
    JOIN client_pos AS po USING (client_id, number)
    CROSS JOIN LATERAL client_po_line_takings(po.client_id, po.number) AS counted
    JOIN client_po_lines AS line ON line.client_id = po.client_id AND line.number = po.number
        AND line.place = counted.place
    WHERE (line.drafted, line.released, line.invoiced, line.credited) IS DISTINCT FROM
            (counted.drafted, counted.released, counted.invoiced, counted.credited)
        OR line.released + line.invoiced - line.credited > line.amount
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

# Opening with nothing: rated and re-opened, less removed and billed, is what is unbilled now.
_WIP: Final = f"""
    SELECT 'wip_differs', 'wip', concat_ws('/', of_run.client_id, rating.legal_entity,
            rating.currency),
        of_run.client_id, '', sum(wip.stands) - sum(wip.moved), rating.currency, '', false,
        CAST(NULL AS timestamptz), jsonb_build_array({
    shown(
        ":connection",
        "'wip'",
        "concat_ws('/', of_run.client_id, rating.legal_entity, rating.currency)",
        amount="sum(wip.stands)",
        currency="rating.currency",
        note="'by its moves ' || CAST(sum(wip.moved) AS text)",
    )
}) || to_jsonb((array_agg({
    shown(
        ":connection",
        "'entry'",
        "version.kind || '/' || version.entry_id",
        "wip.state",
        "wip.stands",
        "rating.currency",
        "'by its moves ' || CAST(wip.moved AS text)",
    )
}) FILTER (WHERE wip.stands <> wip.moved))[1:20])
    FROM (
        SELECT part.entry, part.cycle, part.state,
            CASE WHEN part.state IN ('invoiced', 'credited') THEN 0 ELSE part.amount END AS stands,
            coalesce(moved.amount, 0) AS moved
        FROM parts AS part LEFT JOIN (
            SELECT entry, cycle, part, sum(CASE WHEN from_state = '' THEN amount
                WHEN to_state IN ('removed', 'invoiced') THEN -amount ELSE 0 END) AS amount
            FROM moves WHERE track = 'part' GROUP BY entry, cycle, part
        ) AS moved ON moved.entry = part.entry AND moved.cycle = part.cycle
            AND moved.part = part.number
        WHERE part.disposition = 'to_bill'
    ) AS wip
    JOIN ratings AS rating ON rating.entry = wip.entry AND rating.cycle = wip.cycle
    JOIN billing_runs AS of_run ON of_run.run_key = rating.run_key
    JOIN entry_versions AS version ON version.id = wip.entry
    GROUP BY of_run.client_id, rating.legal_entity, rating.currency
    HAVING sum(wip.stands) <> sum(wip.moved)
    LIMIT {BREAKS_MAX}
"""  # noqa: S608 - constants

CHECKS: Final = tuple(
    text(insert(CONSERVATION, "nothing AS (SELECT 1)", check))
    for check in (_DISPOSITIONS, _ASTRAY, _LINES, _CAPS, _POS, _PO_LINES, _WIP)
)

_BALANCES = text("""
    WITH contract_lines AS (
        SELECT DISTINCT ON (engagement.id, line.document ->> 'ref')
            engagement.id AS engagement, line.document ->> 'ref' AS line,
            line.document ->> 'legal_entity' AS legal_entity
        FROM engagements AS engagement
        CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line(document)
        ORDER BY engagement.id, line.document ->> 'ref', engagement.effective_from DESC
    ), due AS (
        SELECT coalesce(run.client_id, '') AS client_id, rating.legal_entity, part.currency,
            CASE WHEN part.cycle > 1 THEN 'reopened' ELSE part.disposition END AS what,
            part.disposition = 'to_bill' AS to_bill, part.amount, part.state,
            coalesce(member.written_down, 0) AS written_down, aside.kind AS aside,
            EXISTS (SELECT FROM holds AS hold WHERE hold.source = version.source
                AND hold.kind = version.kind AND hold.entry_id = version.entry_id
                AND hold.released_at IS NULL) AS held
        FROM parts AS part
        JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
        JOIN billing_runs AS run ON run.run_key = rating.run_key
        JOIN entry_versions AS version ON version.id = part.entry
        LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
        LEFT JOIN LATERAL (SELECT kind FROM set_asides WHERE set_asides.part = part.id
            AND (kind = 'written_off' OR until > current_date) ORDER BY kind DESC LIMIT 1)
            AS aside ON part.state = 'placed'
        UNION ALL
        SELECT fee.client_id, coalesce(line.legal_entity, ''), fee.currency, 'fees', true,
            fee.amount, fee.state, coalesce(member.written_down, 0), aside.kind,
            fee.held <> '' OR fee.withdrawn <> ''
        FROM fees AS fee
        LEFT JOIN contract_lines AS line USING (engagement, line)
        LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
        LEFT JOIN LATERAL (SELECT kind FROM set_asides WHERE set_asides.fee = fee.id
            AND (kind = 'written_off' OR until > current_date) ORDER BY kind DESC LIMIT 1)
            AS aside ON fee.state = 'handed_over'
        WHERE fee.state <> 'returned'
    ), placed AS (
        SELECT client_id, legal_entity, currency, what, sum(amount) AS amount,
            sum(amount) FILTER (WHERE to_bill) AS to_bill,
            sum(amount - written_down)
                FILTER (WHERE to_bill AND state IN ('invoiced', 'credited')) AS billed,
            sum(CASE WHEN state IN ('invoiced', 'credited') THEN written_down
                    WHEN aside = 'written_off' THEN amount ELSE 0 END)
                FILTER (WHERE to_bill) AS written_off,
            sum(amount) FILTER (WHERE to_bill AND state NOT IN ('invoiced', 'credited')
                AND aside IS DISTINCT FROM 'written_off'
                AND (held OR aside IS NOT NULL)) AS held
        FROM due GROUP BY client_id, legal_entity, currency, what
    ), rated AS (
        SELECT coalesce(run.client_id, '') AS client_id, rating.legal_entity, rating.currency,
            count(*) AS entries, sum(rating.amount) AS rated
        FROM ratings AS rating JOIN billing_runs AS run USING (run_key)
        JOIN entry_versions AS version ON version.id = rating.entry AND version.state = 'placed'
        WHERE rating.cycle = 1 GROUP BY 1, 2, 3
    )
    SELECT client_id, legal_entity, currency, coalesce(max(entries), 0) AS entries,
        coalesce(max(rated), 0) AS rated,
        jsonb_object_agg(what, CAST(amount AS text)) FILTER (WHERE what IS NOT NULL) AS placed,
        coalesce(sum(to_bill), 0) AS to_bill, coalesce(sum(billed), 0) AS billed,
        coalesce(sum(written_off), 0) AS written_off, coalesce(sum(held), 0) AS held
    FROM placed FULL JOIN rated USING (client_id, legal_entity, currency)
    WHERE (:client_id = '' OR client_id = :client_id)
        AND (:legal_entity = '' OR legal_entity = :legal_entity)
    GROUP BY client_id, legal_entity, currency ORDER BY 1, 2, 3
""")


class Conserving:
    """Whether the sums hold, and what they are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self, run: int) -> int:
        """Put down every break as a candidate of the run, in one view of the store; count them."""
        found = 0
        async with self._database.transaction() as session:
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await session.execute(_PATIENCE)
            await session.execute(_CLEAR, {"run": run})
            for check in CHECKS:
                values = {"run": run, "connection": OURS}
                found += int((await session.execute(check, values)).rowcount)
        return found

    async def balances(self, *, client_id: str = "", legal_entity: str = "") -> tuple[Balance, ...]:
        """Return what became of all work, by client, legal entity and currency."""
        values = {"client_id": client_id, "legal_entity": legal_entity}
        async with self._database.transaction() as session:
            await session.execute(_PATIENCE)
            rows = (await session.execute(_BALANCES, values)).all()
        return tuple(_balance(row) for row in rows)


def _balance(row: AnyRow) -> Balance:
    placed = {name: Decimal(amount) for name, amount in (row.placed or {}).items()}
    reopened = placed.pop("reopened", Decimal(0))
    fees = placed.pop("fees", Decimal(0))
    return Balance.model_validate(
        {
            **row._mapping,
            "placed": placed,
            "reopened": reopened,
            "fees": fees,
            "queued": row.to_bill - row.billed - row.held - row.written_off,
            "difference": row.rated - sum(placed.values(), Decimal(0)),
        }
    )
