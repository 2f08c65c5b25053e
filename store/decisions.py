"""Decisions of people about work items: stored before the saga hears of them (DESIGN 3.6)."""

from datetime import datetime

from sqlalchemy import Select, select, text

from canonical.model import CanonicalModel
from canonical.saga import Decision, TakeDecision
from store.audit import ENGINE, audit_data
from store.database import AnyRow, Database
from store.errors import Conflict, DecisionRefused, NotFound, SamePerson
from store.models import decisions, work_items


class StoredDecision(CanonicalModel):
    """A decision with what became of it."""

    decision: Decision
    """`approved_by` is the second person's name once there is one."""
    workflow_id: str
    needs_second: bool
    proposed_at: datetime
    approved_at: datetime | None = None
    taken_at: datetime | None = None


_PROPOSE = text("""
    WITH proposed AS (
        INSERT INTO decisions (id, work_item_id, park, verb, decision_json, decided_by,
            needs_second)
        VALUES (:id, :work_item_id, :park, :verb, :decision_json, :decided_by, :needs_second)
        ON CONFLICT DO NOTHING
        RETURNING work_item_id
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT work_items.workflow_id, :decided_by, 'decision_proposed', CAST(:audit AS jsonb)
    FROM proposed JOIN work_items ON work_items.id = proposed.work_item_id
""")

_APPROVE = text("""
    WITH approved AS (
        UPDATE decisions SET approved_by = :approved_by, approved_at = now()
        WHERE id = :id AND approved_at IS NULL AND taken_at IS NULL
        RETURNING work_item_id
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT work_items.workflow_id, :approved_by, 'decision_approved', CAST(:audit AS jsonb)
    FROM approved JOIN work_items ON work_items.id = approved.work_item_id
""")

_TAKE = text("""
    WITH taken AS (
        UPDATE decisions SET taken_at = now() WHERE id = :id AND taken_at IS NULL RETURNING id
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :workflow_id, :actor, 'decision_taken', CAST(:audit AS jsonb) FROM taken
""")


class DecisionStore:
    """Proposes, approves and hands out decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def propose(self, decision: Decision, needs_second: bool) -> None:
        """Store a decision; the same twice stores once. An approval comes by `approve` alone.

        Raises:
            NotFound: there is no such work item.
            Conflict: the id stands for another decision already.
            DecisionRefused: the work item is closed, or of another park.
        """
        document = decision.model_copy(update={"approved_by": ""}).model_dump_json()
        values = {
            "id": decision.id,
            "work_item_id": decision.work_item_id,
            "park": decision.park,
            "verb": decision.verb,
            "decision_json": document,
            "decided_by": decision.decided_by.strip(),
            "needs_second": needs_second,
            "audit": audit_data(**decision.model_dump(mode="json"), needs_second=needs_second),
        }
        async with self._database.transaction() as session:
            query = select(work_items).where(work_items.c.id == decision.work_item_id)
            item = (await session.execute(query.with_for_update(read=True))).first()
            if item is None:
                raise NotFound(f"there is no work item {decision.work_item_id}")
            known = (await session.execute(_by_id(decision.id))).first()
            if known is not None:
                if (known.decision_json, known.needs_second) != (document, needs_second):
                    raise Conflict(f"decision {decision.id} was stored with other content")
                return
            _refuse_stale(item, decision.park)
            await session.execute(_PROPOSE, values)

    async def approve(self, decision_id: str, approved_by: str) -> StoredDecision:
        """Add the second person; a decision that has one, or was taken, stays as it is.

        Raises:
            NotFound: there is no such decision.
            SamePerson: the one who approves is the one who proposed.
        """
        stored = await self.get(decision_id)
        if stored is None:
            raise NotFound(f"there is no decision {decision_id}")
        person = approved_by.strip()
        if not person or person.casefold() == stored.decision.decided_by.strip().casefold():
            raise SamePerson(f"decision {decision_id} needs a second person")
        values = {
            "id": decision_id,
            "approved_by": person,
            "audit": audit_data(decision=decision_id, work_item=stored.decision.work_item_id),
        }
        await self._database.run(_APPROVE, values)
        return await self.get(decision_id) or stored

    async def take(self, request: TakeDecision) -> Decision:
        """Hand a decision to its saga and mark it taken; taken again, it is the same.

        Raises:
            DecisionRefused: it does not exist, is not about this park of an open work item of this
                workflow, says another verb, or lacks the second person that it needs.
        """
        resolve = request.resolve
        async with self._database.transaction() as session:
            query = _by_id(resolve.decision_id).with_for_update(of=decisions)
            row = (await session.execute(query)).first()
            if row is None:
                raise DecisionRefused(f"there is no decision {resolve.decision_id}")
            _refuse_mismatch(row, request)
            if row.taken_at is None:
                _refuse_untakeable(row)
                values = {
                    "id": row.id,
                    "workflow_id": request.workflow_id,
                    "actor": ENGINE,
                    "audit": audit_data(decision=row.id, work_item=row.work_item_id, verb=row.verb),
                }
                await session.execute(_TAKE, values)
            return _decision(row)

    async def pending(self, limit: int = 1_000) -> tuple[StoredDecision, ...]:
        """Return decisions about open work items that no saga took yet, oldest first."""
        query = (
            _DECISIONS.where(decisions.c.taken_at.is_(None), work_items.c.state == "open")
            .order_by(decisions.c.proposed_at, decisions.c.id)
            .limit(limit)
        )
        return tuple(_stored(row) for row in await self._database.rows(query))

    async def get(self, decision_id: str) -> StoredDecision | None:
        """Return one decision, taken or not."""
        row = await self._database.first(_by_id(decision_id))
        return None if row is None else _stored(row)


_DECISIONS = select(
    decisions,
    work_items.c.workflow_id,
    work_items.c.state.label("item_state"),
    work_items.c.park.label("item_park"),
).join(work_items, work_items.c.id == decisions.c.work_item_id)


def _by_id(decision_id: str) -> Select[*tuple[object, ...]]:
    return _DECISIONS.where(decisions.c.id == decision_id)


def _refuse_stale(item: AnyRow, park: int) -> None:
    if item.state != "open":
        raise DecisionRefused(f"work item {item.id} is closed: {item.how}")
    if item.park != park:
        raise DecisionRefused(f"park {park} is over; work item {item.id} is of park {item.park}")


def _refuse_mismatch(row: AnyRow, request: TakeDecision) -> None:
    resolve = request.resolve
    asked = (request.workflow_id, resolve.work_item_id, resolve.park, resolve.verb)
    stored = (row.workflow_id, row.work_item_id, row.park, row.verb)
    names = ("workflow", "work item", "park", "verb")
    for name, wanted, found in zip(names, asked, stored, strict=True):
        if wanted != found:
            raise DecisionRefused(f"decision {row.id} is for {name} {found}, not {wanted}")


def _refuse_untakeable(row: AnyRow) -> None:
    if row.item_state != "open":
        raise DecisionRefused(f"work item {row.work_item_id} is closed")
    if row.item_park != row.park:
        raise DecisionRefused(f"work item {row.work_item_id} is of park {row.item_park}")
    if row.needs_second and row.approved_at is None:
        raise DecisionRefused(f"decision {row.id} needs a second person's approval")


def _decision(row: AnyRow) -> Decision:
    decision = Decision.model_validate_json(row.decision_json)
    return decision.model_copy(update={"approved_by": row.approved_by})


def _stored(row: AnyRow) -> StoredDecision:
    return StoredDecision(
        decision=_decision(row),
        workflow_id=row.workflow_id,
        needs_second=row.needs_second,
        proposed_at=row.proposed_at,
        approved_at=row.approved_at,
        taken_at=row.taken_at,
    )
