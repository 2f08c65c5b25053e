"""Work items: what waits for a person, with the alert that tells them (DESIGN 3.6)."""

from datetime import datetime

from sqlalchemy import TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.model import CanonicalModel
from canonical.saga import CloseWorkItem, EscalateWorkItem, OpenWorkItem, WorkItem
from canonical.worklist import money_of
from store.audit import ENGINE, audit_data
from store.database import AnyRow, Database
from store.errors import Conflict, NotFound
from store.models import NAME_MAX, REASON_MAX, work_items


class StoredWorkItem(CanonicalModel):
    """A work item with what became of it."""

    item: WorkItem
    open: bool
    escalated_at: datetime | None = None
    closed_at: datetime | None = None
    how: str = ""
    """How it was closed: the verb that a person chose, or the reason why nobody had to."""
    decision_id: str = ""


# A run that was reset or terminated leaves its items open: who parks anew at the same step takes
# their place.
_OPEN = text("""
    WITH superseded AS (
        UPDATE work_items SET state = 'closed', closed_at = now(), how = 'superseded'
        WHERE workflow_id = :workflow_id AND step = :step AND state = 'open' AND id <> :id
            AND CAST(item_json AS jsonb) ->> 'key' = :key
    ), opened AS (
        INSERT INTO work_items (id, workflow_id, generation, park, kind, step, reason, connection,
            client_id, project_code, legal_entities, amount, currency, item_json, opened_at,
            respond_by)
        VALUES (:id, :workflow_id, :generation, :park, :kind, :step, :reason, :connection,
            :client_id, :project_code, CAST(:legal_entities AS text[]), :amount, :currency,
            :item_json, :opened_at, :respond_by)
        ON CONFLICT DO NOTHING
        RETURNING id, item_json
    ), told AS (
        INSERT INTO outbox (kind, subject, payload_json)
        SELECT 'work_item_opened', id, item_json FROM opened
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :workflow_id, :actor, 'work_item_opened', CAST(:audit AS jsonb) FROM opened
""")

_CLOSE = text("""
    WITH closed AS (
        UPDATE work_items
        SET state = 'closed', closed_at = now(), how = :how, decision_id = :decision_id
        WHERE id = :id AND park = :park AND state = 'open'
        RETURNING workflow_id
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT workflow_id, :actor, 'work_item_closed', CAST(:audit AS jsonb) FROM closed
    )
    SELECT park FROM work_items WHERE id = :id
""")

_ESCALATE = text("""
    WITH escalated AS (
        UPDATE work_items SET escalated_at = now(), escalated_because = :because
        WHERE id = :id AND park = :park AND state = 'open' AND escalated_at IS NULL
        RETURNING id, workflow_id, item_json
    ), told AS (
        INSERT INTO outbox (kind, subject, payload_json)
        SELECT 'work_item_escalated', id, item_json FROM escalated
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT workflow_id, :actor, 'work_item_escalated', CAST(:audit AS jsonb) FROM escalated
    )
    SELECT park FROM work_items WHERE id = :id
""")


class WorkItemStore:
    """Opens, escalates, closes and lists work items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, request: OpenWorkItem) -> None:
        """Put an item on the list and its alert in the outbox; the same twice opens once."""
        await self._database.run(_OPEN, _open_values(request))

    async def open_within(self, connection: AsyncConnection, request: OpenWorkItem) -> None:
        """As `open`, in a transaction of the caller: with the fact that it tells of, or not."""
        await connection.execute(_OPEN, _open_values(request))

    async def close(self, request: CloseWorkItem) -> None:
        """Take an item off the list; what is closed stays as it was closed.

        Raises:
            NotFound: there is no such item.
            Conflict: the item belongs to another park.
        """
        values = {
            "id": request.work_item_id,
            "park": request.park,
            "how": request.how[:REASON_MAX],
            "decision_id": request.decision_id,
            "actor": ENGINE,
            "audit": audit_data(
                work_item=request.work_item_id, how=request.how, decision=request.decision_id
            ),
        }
        await self._change(_CLOSE, values, request.work_item_id, request.park)

    async def escalate(self, request: EscalateWorkItem) -> None:
        """Put down that an item's deadline passed, with an alert; once, and only while open.

        Raises:
            NotFound: there is no such item.
            Conflict: the item belongs to another park.
        """
        values = {
            "id": request.work_item_id,
            "park": request.park,
            "because": request.because[:REASON_MAX],
            "actor": ENGINE,
            "audit": audit_data(work_item=request.work_item_id, because=request.because),
        }
        await self._change(_ESCALATE, values, request.work_item_id, request.park)

    async def _change(
        self, statement: TextClause, values: dict[str, object], item_id: str, park: int
    ) -> None:
        row = await self._database.first(statement, values)
        if row is None:
            raise NotFound(f"there is no work item {item_id}")
        if row.park != park:
            raise Conflict(f"work item {item_id} is of park {row.park}, not {park}")

    async def get(self, work_item_id: str) -> StoredWorkItem | None:
        """Return one item, open or not."""
        row = await self._database.first(select(work_items).where(work_items.c.id == work_item_id))
        return None if row is None else _stored(row)

    async def list(
        self, *, open_only: bool = True, workflow_id: str | None = None, limit: int = 1_000
    ) -> tuple[StoredWorkItem, ...]:
        """Return items, the most urgent first."""
        query = select(work_items).order_by(work_items.c.respond_by, work_items.c.id).limit(limit)
        if open_only:
            query = query.where(work_items.c.state == "open")
        if workflow_id is not None:
            query = query.where(work_items.c.workflow_id == workflow_id)
        return tuple(_stored(row) for row in await self._database.rows(query))


def _open_values(request: OpenWorkItem) -> dict[str, object]:
    item = request.item
    money = money_of(item.amount)
    return {
        "client_id": item.client_id[:NAME_MAX],
        "project_code": item.project_code[:NAME_MAX],
        "legal_entities": list(item.legal_entities),
        "amount": None if money is None else money.amount,
        "currency": None if money is None else money.currency,
        "id": item.id,
        "workflow_id": item.workflow_id,
        "generation": item.generation,
        "park": item.park,
        "kind": item.kind,
        "step": item.step,
        "key": item.key,
        "reason": item.failure.reason,
        "connection": item.connection,
        "item_json": item.model_dump_json(),
        "opened_at": item.opened_at,
        "respond_by": item.respond_by,
        "actor": ENGINE,
        "audit": audit_data(work_item=item.id, step=item.step, reason=item.failure.reason),
    }


def _stored(row: AnyRow) -> StoredWorkItem:
    return StoredWorkItem(
        item=WorkItem.model_validate_json(row.item_json),
        open=row.state == "open",
        escalated_at=row.escalated_at,
        closed_at=row.closed_at,
        how=row.how,
        decision_id=row.decision_id,
    )
