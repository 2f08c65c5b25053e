"""The step ledger: what each attempt of each step did, claimed before it is sent (DESIGN 3.2).

One row per (key, attempt). `recall`, `claim`, `record_done` and `record_failed` are one statement
each: they are on the path of every step.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text

from canonical.model import CanonicalModel
from canonical.records import Receipt, RecordRef, UndoReceipt
from canonical.saga import LedgerEntry
from store.audit import ENGINE, audit_data
from store.database import AnyRow, Database
from store.errors import GenerationClosed, NotFound
from store.models import REASON_MAX


class AttemptOutcome(StrEnum):
    """What is known of an attempt that did not end well."""

    NOT_DONE = "not_done"
    """It had no effect, for certain."""
    UNKNOWN = "unknown"
    """It may have had its effect, or have it yet."""


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """One attempt of one step, as the ledger names it."""

    key: str
    attempt: int
    """Counts from 1. A number that comes again, after a reset or in a new round, is the same row;
    what its earlier use may have done is not forgotten."""
    round: int
    workflow_id: str
    generation: int
    step: str
    connection: str
    request_json: str
    """The step's call as sent, so that an undo needs no history."""


class Recalled(CanonicalModel):
    """What the ledger knows of a step, over all its attempts."""

    attempts: int
    """The highest attempt number so far."""
    spent_seconds: float
    """Time that real attempts of the asked round took together."""
    done: Receipt | None = None
    undone: UndoReceipt | None = None
    outcome_unknown: bool = False
    """Not done as far as known, but an attempt was claimed and never proven to be without
    effect."""
    unknown_seconds: float | None = None
    """How long ago the last attempt of unknown outcome ended, or was claimed."""
    before_image: str | None = None
    """What stood before the first attempt that may have written."""


_RECALL = text("""
    SELECT max(attempt) AS attempts,
        coalesce(sum(seconds) FILTER (WHERE round = :round), 0) AS spent_seconds,
        (array_agg(receipt_json ORDER BY ended_at DESC) FILTER (WHERE state = 'done'))[1] AS done,
        (array_agg(undo_json ORDER BY undone_at DESC) FILTER (WHERE undone_at IS NOT NULL))[1]
            AS undone,
        NOT bool_or(state <> 'not_done' AND undone_at IS NULL) AS all_undone,
        NOT bool_or(state = 'done') AND bool_or(state IN ('claimed', 'unknown'))
            AS outcome_unknown,
        CAST(extract(epoch FROM clock_timestamp() - max(coalesce(ended_at, claimed_at))
            FILTER (WHERE state IN ('claimed', 'unknown'))) AS float) AS unknown_seconds,
        (array_agg(before_image ORDER BY state = 'not_done', seq)
            FILTER (WHERE before_image IS NOT NULL))[1] AS before_image
    FROM step_ledger WHERE key = :key
""")

# FOR SHARE: closing the generation waits for this claim, or this claim sees it closed.
_CLAIM = text("""
    WITH generation AS (
        SELECT workflow_id, generation FROM saga_generations
        WHERE workflow_id = :workflow_id AND generation = :generation AND state = 'open'
        FOR SHARE
    )
    INSERT INTO step_ledger AS ledger (key, attempt, round, workflow_id, generation, step,
        connection, state, request_json, before_image)
    SELECT :key, :attempt, :round, workflow_id, generation, :step, :connection, 'claimed',
        :request_json, :before_image
    FROM generation
    ON CONFLICT (key, attempt) DO UPDATE SET
        state = CASE ledger.state WHEN 'done' THEN 'done' ELSE 'claimed' END,
        doubtful = ledger.doubtful OR ledger.state IN ('claimed', 'unknown'),
        seconds = CASE ledger.round WHEN excluded.round THEN ledger.seconds ELSE 0 END,
        round = excluded.round,
        request_json = excluded.request_json,
        before_image = CASE ledger.state
            WHEN 'not_done' THEN coalesce(excluded.before_image, ledger.before_image)
            ELSE coalesce(ledger.before_image, excluded.before_image) END,
        claimed_at = now(), reason = '',
        ended_at = CASE ledger.state WHEN 'done' THEN ledger.ended_at END
    RETURNING key
""")

# What is already recorded as done, and not undone since, is left alone: no second audit entry.
_DONE = text("""
    WITH done AS (
        INSERT INTO step_ledger AS ledger (key, attempt, round, workflow_id, generation, step,
            connection, state, request_json, receipt_json, seconds, ended_at)
        VALUES (:key, :attempt, :round, :workflow_id, :generation, :step, :connection, 'done',
            :request_json, :receipt_json, :seconds, now())
        ON CONFLICT (key, attempt) DO UPDATE SET
            state = 'done', receipt_json = excluded.receipt_json, reason = '',
            seconds = ledger.seconds + excluded.seconds, ended_at = now(),
            undone_at = NULL, undo_result = NULL, undo_json = NULL
        WHERE ledger.state <> 'done' OR ledger.undone_at IS NOT NULL
        RETURNING key
    ), referred AS (
        INSERT INTO cross_references AS reference (key, position, workflow_id, generation, step,
            system, record_type, record_id, outcome)
        SELECT done.key, part.n - 1, :workflow_id, :generation, :step, part.system, part.type,
            part.id, :outcome
        FROM done, unnest(CAST(:systems AS text[]), CAST(:types AS text[]), CAST(:ids AS text[]))
            WITH ORDINALITY AS part (system, type, id, n)
        ON CONFLICT (key, position) DO UPDATE SET
            system = excluded.system, record_type = excluded.record_type,
            record_id = excluded.record_id, outcome = excluded.outcome,
            recorded_at = now(), undone_at = NULL
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :workflow_id, :actor, 'step_done', CAST(:audit AS jsonb) FROM done
""")

_FAILED = text("""
    WITH failed AS (
        INSERT INTO step_ledger AS ledger (key, attempt, round, workflow_id, generation, step,
            connection, state, request_json, seconds, reason, ended_at)
        VALUES (:key, :attempt, :round, :workflow_id, :generation, :step, :connection, :outcome,
            :request_json, :seconds, :reason, now())
        ON CONFLICT (key, attempt) DO UPDATE SET
            state = CASE
                WHEN ledger.state IN ('done', 'unknown') THEN ledger.state
                WHEN ledger.doubtful THEN 'unknown'
                ELSE excluded.state END,
            seconds = excluded.seconds
                + CASE ledger.round WHEN excluded.round THEN ledger.seconds ELSE 0 END,
            round = excluded.round, reason = excluded.reason, ended_at = now()
        RETURNING seconds
    )
    SELECT (SELECT seconds FROM failed) + coalesce((
        SELECT sum(seconds) FROM step_ledger
        WHERE key = :key AND round = :round AND attempt <> :attempt), 0) AS spent_seconds
""")

_ABSENT = text("""
    UPDATE step_ledger SET state = 'not_done', doubtful = false, ended_at = now(), reason = :reason
    WHERE key = :key AND state IN ('claimed', 'unknown')
""")

# What an earlier undo kept, a later one may still have removed; nothing else is written twice.
_UNDONE = text("""
    WITH undone AS (
        UPDATE step_ledger
        SET undone_at = now(), undo_result = :result, undo_json = :undo_json
        WHERE key = :key
            AND (undone_at IS NULL OR (undo_result = 'kept' AND :result <> 'kept'))
        RETURNING workflow_id
    ), unreferred AS (
        UPDATE cross_references SET undone_at = now()
        WHERE key = :key AND undone_at IS NULL AND EXISTS (SELECT FROM undone)
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT DISTINCT workflow_id, :actor, 'step_undone', CAST(:audit AS jsonb) FROM undone
""")

_ENTRIES = text("""
    SELECT (array_agg(step))[1] AS step, key,
        (array_agg(connection ORDER BY state = 'done' DESC, claimed_at DESC))[1] AS connection,
        (array_agg(request_json ORDER BY state = 'done' DESC, claimed_at DESC))[1]
            AS request_json,
        (array_agg(receipt_json ORDER BY ended_at DESC) FILTER (WHERE state = 'done'))[1] AS done
    FROM step_ledger
    WHERE workflow_id = :workflow_id AND generation = :generation
        AND state IN ('claimed', 'unknown', 'done') AND undone_at IS NULL
    GROUP BY key ORDER BY min(seq)
""")


class StepLedger:
    """Claims, outcomes and undos of steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, key: str, round_: int = 0) -> Recalled | None:
        """Return what is known of a step, or None where nothing was ever recorded.

        `done` stays after an undo, with `undone` beside it: an undo done twice answers the same.
        """
        row = await self._database.first(_RECALL, {"key": key, "round": round_})
        if row is None or row.attempts is None:
            return None
        return Recalled(
            attempts=row.attempts,
            spent_seconds=row.spent_seconds,
            done=_receipt(row.done),
            undone=UndoReceipt.model_validate_json(row.undone)
            if row.undone and row.all_undone
            else None,
            outcome_unknown=row.outcome_unknown,
            unknown_seconds=row.unknown_seconds,
            before_image=row.before_image,
        )

    async def claim(self, attempt: StepAttempt, before_image: str | None = None) -> None:
        """Put down that this attempt is about to be sent, with what stands before the write.

        Claiming the same attempt again is fine. The before-image of an attempt that may have
        written is never replaced.

        Raises:
            GenerationClosed: the saga is undoing, has ended or never began: send nothing.
        """
        values = _values(attempt) | {"before_image": before_image}
        if await self._database.first(_CLAIM, values) is None:
            raise GenerationClosed(
                f"generation {attempt.generation} of {attempt.workflow_id} is closed"
            )

    async def record_done(
        self, attempt: StepAttempt, receipt: Receipt, seconds: float = 0.0
    ) -> None:
        """Put down that the step is done, with its cross references; the same twice writes once.

        Needs no claim, as an existing record of ours may have been found; and no open generation,
        as what is there must be known to be undone.
        """
        records: tuple[RecordRef, ...] = (receipt.record, *receipt.parts)
        values = _values(attempt) | {
            "receipt_json": receipt.model_dump_json(),
            "seconds": seconds,
            "systems": [record.system for record in records],
            "types": [record.type for record in records],
            "ids": [record.id for record in records],
            "outcome": receipt.outcome,
            "actor": ENGINE,
            "audit": audit_data(
                key=attempt.key,
                step=attempt.step,
                outcome=receipt.outcome,
                system=receipt.record.system,
                type=receipt.record.type,
                id=receipt.record.id,
                parts=len(receipt.parts),
            ),
        }
        await self._database.run(_DONE, values)

    async def record_failed(
        self, attempt: StepAttempt, outcome: AttemptOutcome, seconds: float, reason: str
    ) -> float:
        """Put down how an attempt failed; returns the seconds spent in this round so far.

        `seconds` counts the attempt and the back-off planned after it; 0 for a rate-limited one.
        An attempt that may have written before does not become `not_done` by this; see
        `record_absent`.
        """
        values = _values(attempt) | {
            "outcome": outcome,
            "seconds": seconds,
            "reason": reason[:REASON_MAX],
        }
        row = await self._database.first(_FAILED, values)
        if row is None:
            raise NotFound(f"no ledger row for {attempt.key}")
        return float(row.spent_seconds)

    async def record_absent(self, key: str, reason: str) -> None:
        """Put down that nothing of the step's attempts is there, nor can land any more.

        Only for a look after the connection's `settle` time, with no attempt in flight.
        """
        await self._database.run(_ABSENT, {"key": key, "reason": reason[:REASON_MAX]})

    async def record_undone(self, key: str, receipt: UndoReceipt) -> None:
        """Put down the end of an undo; the same twice writes once, and an unknown key nothing.

        A receipt that says `look_again` is no end: nothing is written, the step stays open.
        """
        if receipt.look_again:
            return
        values = {
            "key": key,
            "result": receipt.result,
            "undo_json": receipt.model_dump_json(),
            "actor": ENGINE,
            "audit": audit_data(key=key, result=receipt.result, residue=receipt.residue),
        }
        await self._database.run(_UNDONE, values)

    async def entries(self, workflow_id: str, generation: int) -> tuple[LedgerEntry, ...]:
        """Return the steps that are done or may be, and not undone, in the order of claims."""
        values = {"workflow_id": workflow_id, "generation": generation}
        return tuple(_entry(row) for row in await self._database.rows(_ENTRIES, values))


def _values(attempt: StepAttempt) -> dict[str, object]:
    return {
        "key": attempt.key,
        "attempt": attempt.attempt,
        "round": attempt.round,
        "workflow_id": attempt.workflow_id,
        "generation": attempt.generation,
        "step": attempt.step,
        "connection": attempt.connection,
        "request_json": attempt.request_json,
    }


def _receipt(document: str | None) -> Receipt | None:
    return None if document is None else Receipt.model_validate_json(document)


def _entry(row: AnyRow) -> LedgerEntry:
    receipt = _receipt(row.done)
    return LedgerEntry(
        key=row.key,
        step=row.step,
        receipt=receipt,
        outcome_unknown=receipt is None,
        request_json=row.request_json,
        connection=row.connection,
    )
