"""Reconciliation runs and findings: the same difference is one finding over all runs.

A finding is opened when it is first found, seen again by later runs, and closed by the first run
that compared the same and did not find it. What has to be decided is a work item, opened with the
finding in one transaction and closed by itself with it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.model import CanonicalModel
from canonical.reconciliation import (
    CONSERVATION,
    Candidate,
    Compared,
    Finding,
    FindingClass,
    FoundRow,
    Healing,
    ReconciliationRun,
)
from canonical.saga import CloseWorkItem, OpenWorkItem, WorkItem
from store.database import AnyRow, Database
from store.errors import Conflict, NotFound
from store.models import REASON_MAX
from store.work_items import WorkItemStore

PERIODLESS: Final = ("client", "project", "deal", CONSERVATION)
"""Comparisons of what belongs to no period: every run sees all of it."""
PARK: Final = 1
"""Park number of a finding's work item: each opening has an item of its own."""
LISTED_MAX: Final = 1_000

_OPEN_RUN = text("""
    INSERT INTO reconciliation_runs (psa, legal_entity, period, asked_by, heal, began_at)
    VALUES (:psa, :legal_entity, :period, :asked_by, :heal, :now)
    ON CONFLICT (psa, legal_entity, period) WHERE state = 'open' DO NOTHING
    RETURNING id
""")
_OPEN_ONE = text("""
    SELECT id, began_at FROM reconciliation_runs
    WHERE psa = :psa AND legal_entity = :legal_entity AND period = :period AND state = 'open'
    FOR UPDATE
""")
_SUPERSEDE = text("""
    UPDATE reconciliation_runs SET state = 'superseded', ended_at = :now WHERE id = :id
""")
_END = text("""
    UPDATE reconciliation_runs SET state = 'ended', ended_at = :now,
        compared = CAST(:compared AS jsonb), failed = CAST(:failed AS jsonb)
    WHERE id = :id AND state = 'open'
""")

_KNOWN = text("""
    SELECT * FROM reconciliation_findings WHERE key = ANY(CAST(:keys AS text[])) FOR UPDATE
""")
_PUT = text("""
    INSERT INTO reconciliation_findings AS finding (key, psa, legal_entity, period, comparison,
        code, class, system, record_type, record_id, client_id, project_id, amount, currency,
        explanation, remedy, rows, healing, first_run, last_run, first_seen_at, last_seen_at)
    VALUES (:key, :psa, :legal_entity, :period, :comparison, :code, :class, :system, :record_type,
        :record_id, :client_id, :project_id, :amount, :currency, :explanation, :remedy,
        CAST(:rows AS jsonb), :healing, :run, :run, :now, :now)
    ON CONFLICT (key) DO UPDATE SET legal_entity = excluded.legal_entity,
        period = excluded.period, class = excluded.class, client_id = excluded.client_id,
        project_id = excluded.project_id, amount = excluded.amount, currency = excluded.currency,
        explanation = excluded.explanation, remedy = excluded.remedy, rows = excluded.rows,
        healing = excluded.healing, last_run = excluded.last_run,
        last_seen_at = excluded.last_seen_at,
        opens = finding.opens + CASE WHEN finding.closed_at IS NULL THEN 0 ELSE 1 END,
        work_item = CASE WHEN finding.closed_at IS NULL THEN finding.work_item ELSE '' END,
        healed_as = CASE WHEN finding.closed_at IS NULL THEN finding.healed_as ELSE '' END,
        closed_at = NULL
    RETURNING *
""")
_QUEUED = text("UPDATE reconciliation_findings SET work_item = :work_item WHERE id = :id")
_GONE = text("""
    SELECT id, work_item FROM reconciliation_findings
    WHERE closed_at IS NULL AND psa = :psa AND legal_entity = :legal_entity
        AND comparison = :comparison AND system = ANY(CAST(:systems AS text[]))
        AND (period = :period OR comparison = ANY(CAST(:periodless AS text[])))
        AND last_seen_at < :began_at
    ORDER BY id LIMIT :limit
""")
_CLOSE = text("""
    UPDATE reconciliation_findings SET closed_at = :now
    WHERE id = ANY(CAST(:ids AS bigint[])) AND closed_at IS NULL AND last_seen_at < :began_at
""")
_HEALABLE = text("""
    SELECT * FROM reconciliation_findings
    WHERE last_run = :run AND closed_at IS NULL AND healing <> '' AND healed_as = ''
        AND class <> 'timing_gap' AND id > :after
    ORDER BY id LIMIT :limit
""")
_HEALED = text("UPDATE reconciliation_findings SET healed_as = :how WHERE id = :id")

_RUNS = text("""
    SELECT run.*, (SELECT coalesce(jsonb_object_agg(class, n), '{}') FROM (
            SELECT class, count(*) AS n FROM reconciliation_findings
            WHERE last_run = run.id GROUP BY class) AS by_class) AS found
    FROM reconciliation_runs AS run
    WHERE (CAST(:id AS bigint) IS NULL OR run.id = :id)
        AND (:legal_entity = '' OR legal_entity = :legal_entity)
        AND (:period = '' OR period = :period)
    ORDER BY run.id DESC LIMIT :limit OFFSET :offset
""")
_FINDINGS = text("""
    SELECT * FROM reconciliation_findings
    WHERE (:legal_entity = '' OR legal_entity = :legal_entity)
        AND (:period = '' OR period = :period)
        AND (:psa = '' OR psa = :psa)
        AND (:code = '' OR code = :code) AND (:class = '' OR class = :class)
        AND (:comparison = '' OR comparison = :comparison)
        AND (CAST(:run AS bigint) IS NULL OR last_run = :run)
        AND (:closed OR closed_at IS NULL)
    ORDER BY closed_at IS NOT NULL, abs(coalesce(amount, 0)) DESC, id LIMIT :limit OFFSET :offset
""")
_FINDING = text("SELECT * FROM reconciliation_findings WHERE id = :id")


class Judgement(CanonicalModel):
    """What policy makes of a candidate."""

    class_: FindingClass
    explanation: str
    remedy: str
    healing: Healing
    queue: bool
    """Whether a person has to decide, unless it is healed in this run."""


class Scope(CanonicalModel):
    """Whose findings they are."""

    psa: str = ""
    legal_entity: str = ""
    period: str = ""


class Opened(CanonicalModel):
    """A run that is open; `resumed`: it was begun before, and its scratch counts."""

    run: int
    resumed: bool


ItemOf = Callable[[Finding], WorkItem]
"""The work item of a finding."""


class ReconciliationStore:
    """Runs and their findings."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._work_items = WorkItemStore(database)

    async def open(
        self, scope: Scope, *, now: datetime, resume_since: datetime, by: str, heal: bool
    ) -> Opened:
        """Open a run, or resume the one of its scope that did not end.

        One that began before `resume_since` is given up: what it listed is no longer true.
        """
        values = {**scope.model_dump(), "asked_by": by, "heal": heal, "now": now}
        async with self._database.transaction() as session:
            row = (await session.execute(_OPEN_ONE, scope.model_dump())).first()
            if row is not None and row.began_at >= resume_since:
                return Opened(run=row.id, resumed=True)
            if row is not None:
                await session.execute(_SUPERSEDE, {"id": row.id, "now": now})
            made = (await session.execute(_OPEN_RUN, values)).scalar()
            if made is None:
                raise Conflict("another run of this scope began just now")
        return Opened(run=made, resumed=False)

    async def put(
        self,
        run: int,
        scope: Scope,
        judged: Sequence[tuple[Candidate, Judgement]],
        item: ItemOf,
        *,
        now: datetime,
        may_queue: int,
    ) -> int:
        """Put down findings, each with its work item where it is to be queued; count new items.

        Two candidates of one key are one finding. At most `may_queue` items are opened.
        """
        unique = {key_of(scope, candidate): (candidate, each) for candidate, each in judged}
        queued = 0
        async with self._database.transaction() as session:
            await session.execute(_KNOWN, {"keys": sorted(unique)})
            for key in sorted(unique):
                candidate, judgement = unique[key]
                values = _values(key, scope, candidate, judgement)
                row = (await session.execute(_PUT, {**values, "run": run, "now": now})).one()
                finding = _finding(row)
                if not judgement.queue or finding.work_item or queued >= may_queue:
                    continue
                await self._queue(session, finding, item(finding))
                queued += 1
        return queued

    async def _queue(self, session: AsyncConnection, finding: Finding, item: WorkItem) -> None:
        await self._work_items.open_within(session, OpenWorkItem(item=item))
        await session.execute(_QUEUED, {"id": finding.id, "work_item": item.id})

    async def close_gone(
        self, run: int, scope: Scope, compared: Sequence[Compared], *, now: datetime
    ) -> int:
        """Close what this run would have found and did not, with its work items; count them."""
        began_at = (await self.run(run)).began_at
        closed = 0
        for kind in sorted({each.kind for each in compared}):
            values = {
                **scope.model_dump(),
                "comparison": kind,
                "systems": [each.connection for each in compared if each.kind == kind],
                "periodless": list(PERIODLESS),
                "began_at": began_at,
                "limit": LISTED_MAX,
            }
            while rows := await self._database.rows(_GONE, values):
                for row in rows:
                    if row.work_item:
                        how = f"reconciliation R{run} did not find it any more"
                        await self._work_items.close(
                            CloseWorkItem(work_item_id=row.work_item, park=PARK, how=how)
                        )
                ids = [row.id for row in rows]
                closed += await self._database.run(
                    _CLOSE, {"ids": ids, "now": now, "began_at": began_at}
                )
        return closed

    async def end(
        self, run: int, compared: Sequence[Compared], failed: Mapping[str, str], *, now: datetime
    ) -> None:
        """Put down how a run ended; again changes nothing."""
        values = {
            "id": run,
            "compared": json.dumps([each.model_dump() for each in compared]),
            "failed": json.dumps(dict(failed)),
            "now": now,
        }
        await self._database.run(_END, values)

    async def healable(self, run: int, after: int, limit: int) -> tuple[Finding, ...]:
        """Return the next findings of a run that can be mended and were not yet tried, by id."""
        values = {"run": run, "after": after, "limit": limit}
        return tuple(_finding(row) for row in await self._database.rows(_HEALABLE, values))

    async def healed(self, finding: int, how: str) -> None:
        """Put down what was done to mend a finding."""
        await self._database.run(_HEALED, {"id": finding, "how": how[:REASON_MAX]})

    # Looking.

    async def run(self, id_: int) -> ReconciliationRun:
        """Return a run.

        Raises:
            NotFound: there is none.
        """
        found = await self._runs(id=id_)
        if not found:
            raise NotFound(f"there is no reconciliation R{id_}")
        return found[0]

    async def runs(
        self, *, legal_entity: str = "", period: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[ReconciliationRun, ...]:
        """Return runs, the latest first."""
        return await self._runs(
            legal_entity=legal_entity, period=period, limit=limit, offset=offset
        )

    async def _runs(self, **given: object) -> tuple[ReconciliationRun, ...]:
        nothing = {"id": None, "legal_entity": "", "period": "", "limit": 1, "offset": 0}
        rows = await self._database.rows(_RUNS, {**nothing, **given})
        return tuple(ReconciliationRun.model_validate(dict(row._mapping)) for row in rows)

    async def findings(
        self,
        *,
        psa: str = "",
        legal_entity: str = "",
        period: str = "",
        code: str = "",
        class_: str = "",
        comparison: str = "",
        run: int | None = None,
        closed: bool = False,
        limit: int = LISTED_MAX,
        offset: int = 0,
    ) -> tuple[Finding, ...]:
        """Return findings, open ones first and then by money; `run`: those it was last to see."""
        values = {
            "psa": psa,
            "legal_entity": legal_entity,
            "period": period,
            "code": code,
            "class": class_,
            "comparison": comparison,
            "run": run,
            "closed": closed,
            "limit": limit,
            "offset": offset,
        }
        return tuple(_finding(row) for row in await self._database.rows(_FINDINGS, values))

    async def finding(self, id_: int) -> Finding:
        """Return a finding.

        Raises:
            NotFound: there is none.
        """
        row = await self._database.first(_FINDING, {"id": id_})
        if row is None:
            raise NotFound(f"there is no finding F{id_}")
        return _finding(row)


def key_of(scope: Scope, candidate: Candidate) -> str:
    """Return the name of a difference that is the same in every run."""
    period = "" if candidate.kind in PERIODLESS else scope.period
    where = f"{scope.psa}/{scope.legal_entity}/{period}"
    what = f"{candidate.connection}/{candidate.record_type}/{candidate.record_id}"
    return f"{where}/{candidate.code}/{what}"


def _values(
    key: str, scope: Scope, candidate: Candidate, judgement: Judgement
) -> dict[str, object]:
    rows = [row.model_dump(mode="json") for row in candidate.rows]
    return {
        **candidate.model_dump(include={"record_type", "record_id", "client_id", "project_id"}),
        **candidate.model_dump(include={"amount", "currency"}),
        "key": key,
        "psa": scope.psa,
        "legal_entity": scope.legal_entity,
        "period": "" if candidate.kind in PERIODLESS else scope.period,
        "comparison": candidate.kind,
        "code": candidate.code.value,
        "class": judgement.class_.value,
        "system": candidate.connection,
        "explanation": judgement.explanation[:REASON_MAX],
        "remedy": judgement.remedy[:REASON_MAX],
        "healing": judgement.healing.value,
        "rows": json.dumps(rows),
    }


def _finding(row: AnyRow) -> Finding:
    values = dict(row._mapping)
    rows = tuple(FoundRow.model_validate(each) for each in values.pop("rows"))
    class_ = FindingClass(values.pop("class"))
    return Finding.model_validate({**values, "class_": class_, "rows": rows})
