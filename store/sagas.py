"""Generations of sagas: which one may run, what it planned, how it ended (DESIGN 3.1, 3.9)."""

from datetime import datetime

from sqlalchemy import Label, Text, literal_column, select, text, update

from canonical.model import CanonicalModel
from canonical.records import RecordRef
from canonical.saga import Begin, Begun, Outcome, SagaResult, UnfinishedSaga
from store.audit import ENGINE, audit_data
from store.database import AnyRow, Database
from store.errors import NotFound, StoreUnavailable
from store.ledger import StepLedger
from store.models import REASON_MAX, cross_references, saga_generations, step_ledger

BEGIN_TRIES = 5
"""Two that begin at once settle at the second try; more means something is wrong."""


class Generation(CanonicalModel):
    """Where one generation of a saga stands."""

    workflow_id: str
    generation: int
    saga: str
    business_key: str
    correlation_id: str
    run_id: str
    state: str
    """`open`: may write; `closed`: only undoes; `ended`: `outcome` says how."""
    outcome: Outcome | None = None
    reason: str
    bundle: str
    title: str = ""
    """The deal in business words, as planned; empty where there is no plan yet."""
    opened_at: datetime
    closed_at: datetime | None = None
    ended_at: datetime | None = None


class TracedAttempt(CanonicalModel):
    """One attempt of a step, for people."""

    key: str
    attempt: int
    round: int
    generation: int
    step: str
    connection: str
    state: str
    seconds: float
    reason: str
    claimed_at: datetime
    ended_at: datetime | None = None
    undone_at: datetime | None = None
    undo_result: str | None = None


class CrossReference(CanonicalModel):
    """A record in a connected system that a saga made or uses."""

    key: str
    workflow_id: str
    generation: int
    step: str
    record: RecordRef
    outcome: str
    recorded_at: datetime
    undone_at: datetime | None = None


class Trace(CanonicalModel):
    """All that the store knows of one saga, over its generations."""

    generations: tuple[Generation, ...]
    attempts: tuple[TracedAttempt, ...]
    references: tuple[CrossReference, ...]


_BEGIN = text("""
    WITH latest AS (
        SELECT generation, state, outcome, reason, result_json, plan_json FROM saga_generations
        WHERE workflow_id = :workflow_id ORDER BY generation DESC LIMIT 1
    ), opened AS (
        INSERT INTO saga_generations
            (workflow_id, generation, saga, business_key, correlation_id, run_id, input_json)
        SELECT :workflow_id, coalesce((SELECT generation FROM latest), 0) + 1, :saga,
            :business_key, :correlation_id, :run_id, :input_json
        WHERE NOT EXISTS (SELECT FROM latest WHERE state <> 'ended' OR :sweep
            OR outcome IN ('completed', 'completed_with_residue'))
        ON CONFLICT DO NOTHING
        RETURNING generation
    ), resumed AS (
        UPDATE saga_generations AS generation SET run_id = :run_id FROM latest
        WHERE generation.workflow_id = :workflow_id AND latest.state <> 'ended'
            AND generation.generation = latest.generation AND generation.run_id <> :run_id
        RETURNING generation.generation
    ), superseded AS (
        UPDATE work_items SET state = 'closed', closed_at = now(), how = 'superseded'
        WHERE workflow_id = :workflow_id AND state = 'open'
            AND kind IN ('step', 'gate', 'undo', 'stuck') AND EXISTS (SELECT FROM resumed)
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT :workflow_id, :actor, act,
            jsonb_build_object('generation', generation, 'run_id', CAST(:run_id AS text))
        FROM (SELECT 'saga_began' AS act, generation FROM opened
              UNION ALL SELECT 'saga_resumed', generation FROM resumed) AS begun
    )
    SELECT opened.generation AS opened, latest.generation, latest.state, latest.outcome,
        latest.reason, latest.result_json, latest.plan_json
    FROM (SELECT) AS one LEFT JOIN latest ON true LEFT JOIN opened ON true
""")

_FINISH = text("""
    WITH ended AS (
        UPDATE saga_generations
        SET state = 'ended', outcome = :outcome, reason = :reason, result_json = :result_json,
            closed_at = coalesce(closed_at, now()), ended_at = now()
        WHERE workflow_id = :workflow_id AND generation = :generation
            AND result_json IS DISTINCT FROM :result_json
        RETURNING generation
    ), moot AS (
        UPDATE work_items SET state = 'closed', closed_at = now(), how = :outcome
        WHERE workflow_id = :workflow_id AND state = 'open'
            AND kind IN ('step', 'gate', 'undo', 'stuck')
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT :workflow_id, :actor, 'saga_ended', CAST(:audit AS jsonb) FROM ended
    )
    SELECT generation FROM saga_generations
    WHERE workflow_id = :workflow_id AND generation = :generation
""")

# Waits for claims in flight, which hold the row FOR SHARE: after this, none is to come.
_CLOSE = text("""
    WITH closed AS (
        UPDATE saga_generations SET state = 'closed', reason = :reason, closed_at = now()
        WHERE workflow_id = :workflow_id AND generation = :generation AND state = 'open'
        RETURNING generation
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT :workflow_id, :actor, 'generation_closed', CAST(:audit AS jsonb) FROM closed
    )
    SELECT generation FROM saga_generations
    WHERE workflow_id = :workflow_id AND generation = :generation
""")

_TAKE_BACK = text("""
    WITH taken AS (
        UPDATE saga_generations SET state = 'closed', outcome = NULL, result_json = NULL,
            ended_at = NULL, reason = :reason, closed_at = now()
        WHERE workflow_id = :workflow_id AND state = 'ended'
            AND outcome IN ('completed', 'completed_with_residue')
            AND generation = (SELECT max(generation) FROM saga_generations
                WHERE workflow_id = :workflow_id)
        RETURNING generation
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :workflow_id, :actor, 'saga_taken_back', CAST(:audit AS jsonb) FROM taken
""")

# What was undone is settled no more; claimed is as good as unknown.
_UNFINISHED = text("""
    SELECT workflow_id, generation, saga, input_json,
        coalesce(ledger.settled, '{}') AS settled_steps
    FROM saga_generations AS saga
    CROSS JOIN LATERAL (
        SELECT array_agg(DISTINCT step)
            FILTER (WHERE state <> 'not_done' AND undone_at IS NULL) AS settled
        FROM step_ledger AS entry
        WHERE entry.workflow_id = saga.workflow_id AND entry.generation = saga.generation
    ) AS ledger
    WHERE state <> 'ended' AND workflow_id > :after
    ORDER BY workflow_id LIMIT :limit
""")

_TITLE: Label[str] = literal_column(
    "coalesce(CAST(nullif(plan_json, '') AS jsonb) ->> 'title', '')", Text
).label("title")
_DOCUMENTS = {"input_json", "plan_json", "result_json"}
"""Large, and not asked for."""
_VIEW = [*(column for column in saga_generations.c if column.name not in _DOCUMENTS), _TITLE]


class SagaStore:
    """Begins, closes and ends generations of sagas."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = StepLedger(database)

    async def begin(self, begin: Begin) -> Begun:
        """Return the generation to run as, or the result that stands; safe against two at once.

        Completed before: its result, and nothing is written. Rolled back or abandoned: the next
        generation. Not ended: the same one, with what its ledger holds open and its plan; work
        items of the run before are closed. A sweep never opens a further generation: what ended
        meanwhile stands.
        """
        values = {
            "workflow_id": begin.workflow_id,
            "run_id": begin.run_id,
            "saga": begin.saga,
            "business_key": begin.business_key,
            "correlation_id": begin.correlation_id,
            "input_json": begin.input_json,
            "sweep": begin.sweep is not None,
            "actor": ENGINE,
        }
        for _ in range(BEGIN_TRIES):
            (row,) = await self._database.rows(_BEGIN, values)
            if row.opened is not None:
                return Begun(generation=row.opened)
            if row.state in {"open", "closed"}:
                return await self._resumed(begin.workflow_id, row)
            if row.state == "ended" and (begin.sweep or Outcome(row.outcome) in _FINAL):
                result = SagaResult.model_validate_json(row.result_json)
                return Begun(generation=row.generation, completed=result)
            # Another one began between our look and our insert: look again.
        raise StoreUnavailable(f"{begin.workflow_id} is begun by others again and again")

    async def _resumed(self, workflow_id: str, row: AnyRow) -> Begun:
        entries = await self._ledger.entries(workflow_id, row.generation)
        return Begun(
            generation=row.generation,
            closed=row.state == "closed",
            because=row.reason if row.state == "closed" else "",
            open_steps=entries,
            plan_json=row.plan_json,
        )

    async def save_plan(
        self, workflow_id: str, generation: int, plan_json: str, bundle: str
    ) -> None:
        """Keep the plan in force, for a run that goes on where a terminated one stood.

        Raises:
            NotFound: there is no such generation.
        """
        statement = (
            update(saga_generations)
            .where(saga_generations.c.workflow_id == workflow_id)
            .where(saga_generations.c.generation == generation)
            .values(plan_json=plan_json, bundle=bundle)
        )
        if not await self._database.run(statement):
            raise _missing(workflow_id, generation)

    async def finish(self, result: SagaResult) -> None:
        """Put down how a generation ended; the same result twice writes once.

        Work items that a reset or terminated run left open are closed with it. A different result
        replaces the earlier one, and the audit trail has both: a saga that an operator reset may
        end a second time.

        Raises:
            NotFound: there is no such generation.
        """
        values = {
            "workflow_id": result.workflow_id,
            "generation": result.generation,
            "outcome": result.outcome,
            "reason": result.reason[:REASON_MAX],
            "result_json": result.model_dump_json(),
            "actor": ENGINE,
            "audit": audit_data(
                generation=result.generation, outcome=result.outcome, reason=result.reason
            ),
        }
        if await self._database.first(_FINISH, values) is None:
            raise _missing(result.workflow_id, result.generation)

    async def close_generation(self, workflow_id: str, generation: int, reason: str) -> None:
        """Let this generation send nothing but undos from now on; a second time changes nothing.

        Raises:
            NotFound: there is no such generation.
        """
        values = {
            "workflow_id": workflow_id,
            "generation": generation,
            "reason": reason[:REASON_MAX],
            "actor": ENGINE,
            "audit": audit_data(generation=generation, reason=reason),
        }
        if await self._database.first(_CLOSE, values) is None:
            raise _missing(workflow_id, generation)

    async def take_back(self, workflow_id: str, reason: str) -> bool:
        """Open a completed generation again, to be undone; return whether there was one.

        Only for a saga whose pivot was itself reversed: what it handed over was given back. Its
        next run undoes its steps, and then a further generation may begin.
        """
        values = {
            "workflow_id": workflow_id,
            "reason": reason[:REASON_MAX],
            "actor": ENGINE,
            "audit": audit_data(reason=reason),
        }
        return bool(await self._database.run(_TAKE_BACK, values))

    async def state(self, workflow_id: str) -> Generation | None:
        """Return the latest generation of a saga, or None where it never began."""
        query = (
            select(*_VIEW)
            .where(saga_generations.c.workflow_id == workflow_id)
            .order_by(saga_generations.c.generation.desc())
            .limit(1)
        )
        row = await self._database.first(query)
        return None if row is None else Generation.model_validate(row._mapping)

    async def completed(self, workflow_id: str) -> tuple[str, SagaResult] | None:
        """Return plan and result of the generation that completed; None where none has."""
        query = (
            select(saga_generations.c.plan_json, saga_generations.c.result_json)
            .where(saga_generations.c.workflow_id == workflow_id)
            .where(saga_generations.c.outcome.in_([outcome.value for outcome in _FINAL]))
            .order_by(saga_generations.c.generation.desc())
            .limit(1)
        )
        row = await self._database.first(query)
        if row is None:
            return None
        return row.plan_json, SagaResult.model_validate_json(row.result_json)

    async def unfinished(self, limit: int = 100, after: str = "") -> tuple[UnfinishedSaga, ...]:
        """Return sagas that did not end, by workflow id.

        `after` is the last workflow id of the page before. Most of them run: whose latest run was
        terminated, Temporal tells. One counts even if it touched nothing yet: a draft waits for
        the end of its posting, and an invoice for that of its look.
        """
        rows = await self._database.rows(_UNFINISHED, {"limit": limit, "after": after})
        return tuple(UnfinishedSaga.model_validate(row._mapping) for row in rows)

    async def trace(self, workflow_id: str) -> Trace:
        """Return all that is known of a saga, oldest first."""
        generations = (
            select(*_VIEW)
            .where(saga_generations.c.workflow_id == workflow_id)
            .order_by(saga_generations.c.generation)
        )
        attempts = (
            select(*(step_ledger.c[name] for name in TracedAttempt.model_fields))
            .where(step_ledger.c.workflow_id == workflow_id)
            .order_by(step_ledger.c.seq)
        )
        references = (
            select(cross_references)
            .where(cross_references.c.workflow_id == workflow_id)
            .order_by(cross_references.c.recorded_at, cross_references.c.position)
        )
        async with self._database.transaction() as connection:
            found = [
                (await connection.execute(query)).all()
                for query in (generations, attempts, references)
            ]
        return Trace(
            generations=tuple(Generation.model_validate(row._mapping) for row in found[0]),
            attempts=tuple(TracedAttempt.model_validate(row._mapping) for row in found[1]),
            references=tuple(_reference(row) for row in found[2]),
        )

    async def sagas_of(self, record: RecordRef) -> tuple[CrossReference, ...]:
        """Return which sagas made or use a record, newest first: from a vendor's id to the deal."""
        query = (
            select(cross_references)
            .where(cross_references.c.system == record.system)
            .where(cross_references.c.record_type == record.type)
            .where(cross_references.c.record_id == record.id)
            .order_by(cross_references.c.recorded_at.desc())
        )
        return tuple(_reference(row) for row in await self._database.rows(query))


_FINAL = frozenset({Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE})


def _reference(row: AnyRow) -> CrossReference:
    record = RecordRef(system=row.system, type=row.record_type, id=row.record_id)
    return CrossReference.model_validate({**row._mapping, "record": record})


def _missing(workflow_id: str, generation: int) -> NotFound:
    return NotFound(f"generation {generation} of {workflow_id} was never begun")
