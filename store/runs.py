"""Billing runs: which entries a run holds, what rating made of them, and how it lets go."""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import Entry, EntryKind, EntryRef
from canonical.ids import billing_run_id
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Rated
from canonical.time_to_billing import RatedRun
from store.database import AnyRow, Database
from store.engagements import EngagementStore
from store.errors import Conflict, GenerationClosed
from store.evidence import Cipher, Evidence, Named
from store.holds import put_holds
from store.outside import RunOutside
from store.placing import RunPlacing
from store.run_rows import active_run, locked_run, require, set_state
from store.subledger_session import as_rows, begin_act
from store.successors import RATING
from store.tracks import RunTracks
from store.wanted import WantedPeople, WantedTerms, wanted_people, wanted_terms

CLAIM_MAX = 5_000
"""Most entries of one run; the rest waits for the next."""


class Claimed(CanonicalModel):
    """What a run holds; the entries themselves stay in the store."""

    count: int
    content_hash: str
    """SHA-256 over references and versions in claim order; empty for none."""
    left: int = 0
    """Entries beyond the limit, for the next run."""


class Released(CanonicalModel):
    """What undoing a claim gave back."""

    released: int = 0
    withdrawn: int = 0
    """Changed in the PSA while the run held them."""


_OPEN = text("""
    WITH known AS (
        SELECT min(number) FILTER (WHERE state = 'opened' AND number > :after) AS open,
            coalesce(max(number), 0) AS last
        FROM billing_runs WHERE psa = :psa AND project_id = :project_id AND period = :period
    )
    SELECT open, greatest(last, :after) + 1 AS next FROM known
""")

_LAST = text("""
    SELECT coalesce(max(number), 0) AS last FROM billing_runs
    WHERE psa = :psa AND project_id = :project_id AND period = :period
""")

_INSERT = text("""
    INSERT INTO billing_runs (run_key, psa, project_id, period, number, generation)
    VALUES (:run_key, :psa, :project_id, :period, :number, :generation)
    ON CONFLICT (run_key) DO NOTHING
""")

_REOPEN = text("""
    UPDATE billing_runs SET generation = :generation, state = 'opened', ended_at = NULL,
        entries = 0, content_hash = '', reservation = '', warnings = '[]'
    WHERE run_key = :run_key
""")

# Claim order is by approval, then by the entry's own id: the same whoever claims.
_CLAIM = text("""
    WITH free AS (
        SELECT id, approved_at, entry_id, kind, version FROM entry_versions AS version
        WHERE source = :psa AND project_id = :project_id AND standing = 'live'
            AND run_key IS NULL
            AND NOT EXISTS (SELECT FROM holds AS hold
                WHERE hold.source = version.source AND hold.kind = version.kind
                    AND hold.entry_id = version.entry_id AND hold.released_at IS NULL)
        ORDER BY approved_at, entry_id, kind LIMIT :limit FOR UPDATE
    ), ordered AS (
        SELECT *, row_number() OVER (ORDER BY approved_at, entry_id, kind) AS position FROM free
    ), moved AS (
        UPDATE entry_versions AS version SET state = 'claimed', run_key = :run_key
        FROM ordered WHERE version.id = ordered.id
    ), listed AS (
        INSERT INTO run_entries (run_key, generation, entry, position)
        SELECT :run_key, :generation, id, position FROM ordered
    )
    UPDATE billing_runs SET state = 'claimed', entries = claim.entries,
        content_hash = coalesce(claim.content_hash, '')
    FROM (SELECT count(*) AS entries, encode(sha256(convert_to(string_agg(
        concat_ws(' ', kind, entry_id, version), E'\\n' ORDER BY position), 'UTF8')), 'hex')
        AS content_hash FROM ordered) AS claim
    WHERE run_key = :run_key
    RETURNING billing_runs.entries, billing_runs.content_hash
""")

_LEFT = text("""
    SELECT count(*) FROM entry_versions AS version
    WHERE source = :psa AND project_id = :project_id AND standing = 'live'
            AND run_key IS NULL
        AND NOT EXISTS (SELECT FROM holds AS hold
            WHERE hold.source = version.source AND hold.kind = version.kind
                AND hold.entry_id = version.entry_id AND hold.released_at IS NULL)
""")

_LOAD = text("""
    SELECT evidence.record, evidence.encrypted FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN entry_versions AS version ON version.id = claim.entry
    JOIN entry_evidence AS evidence ON evidence.entry = claim.entry
        AND evidence.reading = version.reading
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
    ORDER BY claim.position
""")

_NAMED = text("""
    SELECT evidence.record, evidence.encrypted, version.service_date FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN entry_versions AS version ON version.id = claim.entry
    JOIN entry_evidence AS evidence ON evidence.entry = claim.entry
        AND evidence.reading = version.reading
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
""")

_TOUCHED = text("""
    SELECT DISTINCT run.psa, run.project_id, version.service_date, version.currency
    FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN entry_versions AS version ON version.id = claim.entry
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
""")

_CHANGED = text("""
    SELECT version.kind, version.entry_id FROM run_entries AS claim
    JOIN entry_versions AS version ON version.id = claim.entry
    WHERE claim.run_key = :run_key AND claim.state = 'claimed'
        AND (claim.changed IS NOT NULL OR EXISTS (SELECT FROM holds AS hold
            WHERE hold.source = version.source AND hold.kind = version.kind
                AND hold.entry_id = version.entry_id AND hold.released_at IS NULL))
    ORDER BY claim.position
""")

_HELD_ENTRIES = text("""
    SELECT version.kind, version.entry_id, version.version, version.id FROM run_entries AS claim
    JOIN entry_versions AS version ON version.id = claim.entry
    WHERE claim.run_key = :run_key AND claim.state = 'claimed'
""")

# An entry that changed meanwhile is not approved again as it was: what is true now takes its place.
_LET_GO = text("""
    WITH gone AS (
        UPDATE run_entries AS claim SET state = :as
        WHERE claim.run_key = :run_key AND claim.state = 'claimed'
            AND (CAST(:entries AS bigint[]) IS NULL
                OR claim.entry = ANY(CAST(:entries AS bigint[])))
        RETURNING claim.entry, claim.changed
    )
    UPDATE entry_versions AS version
    SET state = CASE WHEN gone.changed IS NULL THEN 'approved' ELSE 'withdrawn' END,
        because = coalesce(gone.changed, ''), run_key = NULL
    FROM gone WHERE version.id = gone.entry
    RETURNING version.source, version.kind, version.entry_id, gone.changed
""")

_LET_IN = text("""
    UPDATE entry_versions AS version SET state = 'approved'
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(kind text, entry_id text)
    WHERE version.source = :source AND version.kind = given.kind
        AND version.entry_id = given.entry_id AND version.state = 'waiting'
""")

_UNRATE = text("DELETE FROM ratings WHERE run_key = :run_key AND cycle = 1")

_RATE = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id bigint, line text,
            legal_entity text, amount numeric, currency text, minutes integer, document text)
    ), rated AS (
        INSERT INTO ratings (entry, run_key, line, legal_entity, amount, currency, minutes,
            document)
        SELECT id, :run_key, line, legal_entity, amount, currency, minutes, document FROM given
    )
    UPDATE entry_versions AS version SET state = 'rated' FROM given WHERE version.id = given.id
""")

_SUMMARY = text("""
    SELECT currency, count(*) AS entries, sum(amount) AS amount FROM ratings
    WHERE run_key = :run_key GROUP BY currency ORDER BY currency
""")
_HELD = text("""
    SELECT count(*) AS held FROM billing_runs AS run JOIN run_entries USING (run_key, generation)
    WHERE run.run_key = :run_key AND run_entries.state = 'held'
""")


class RunStore(RunPlacing, RunTracks, RunOutside):
    """Every act of a billing run on the subledger; each twice is once."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        super().__init__(database)
        self._evidence = Evidence(cipher)
        self._engagements = EngagementStore(database)

    async def open(self, psa: str, project_id: str, period: str, after: int = 0) -> int:
        """Return the number of the next run of a project's period: from 1, each once.

        `after` is the last number that the asker knows: asked again, the run that an earlier try
        opened and nobody used is the answer.
        """
        values = {"psa": psa, "project_id": project_id, "period": period}
        async with self._database.transaction() as session:
            await begin_act(session, "open", psa, project_id)
            row = (await session.execute(_OPEN, {**values, "after": after})).one()
            if row.open is not None:
                return int(row.open)
            run_key = billing_run_id(psa, project_id, period, row.next)
            numbered = {"run_key": run_key, "number": row.next, "generation": 1}
            await session.execute(_INSERT, {**values, **numbered})
            return int(row.next)

    async def last_number(self, psa: str, project_id: str, period: str) -> int:
        """Return the number of the last run that the store knows; 0 for none."""
        values = {"psa": psa, "project_id": project_id, "period": period}
        (row,) = await self._database.rows(_LAST, values)
        return int(row.last)

    async def claim(
        self,
        run_key: str,
        psa: str,
        project_id: str,
        period: str,
        *,
        generation: int = 1,
        limit: int = CLAIM_MAX,
    ) -> Claimed:
        """Take all approved entries of the project that nothing holds, in claim order.

        Raises:
            GenerationClosed: this generation of the run was released: it holds nothing more.
        """
        values = {"run_key": run_key, "psa": psa, "project_id": project_id}
        async with self._database.transaction() as session:
            await begin_act(session, "claim", psa, project_id)
            number = int(run_key.rpartition("/")[2])
            numbered = {"period": period, "number": number, "generation": generation}
            await session.execute(_INSERT, {**values, **numbered})
            run = await locked_run(session, "claim", run_key)
            if run is None:  # pragma: no cover - inserted above
                raise Conflict(f"{run_key} is no run of {project_id}")
            row: AnyRow = run
            if await _to_generation(session, run, generation):
                claim = {**values, "generation": generation, "limit": limit}
                row = (await session.execute(_CLAIM, claim)).one()
            left = (await session.execute(_LEFT, values)).scalar_one()
        return Claimed(count=row.entries, content_hash=row.content_hash, left=left)

    async def release(self, run_key: str, generation: int = 1) -> Released:
        """Undo the claim: entries are approved again, or what the PSA made of them meanwhile.

        Raises:
            Conflict: parts are placed, or costs posted, that have to be undone first; or the run
                was handed over.
        """
        async with self._database.transaction() as session:
            run = await locked_run(session, "release", run_key)
            if run is None or run.state == "released" or run.generation > generation:
                return Released()
            require(run, "release", "rated", "claimed", "opened")
            await self._drop_costs(session, run_key)
            await session.execute(_UNRATE, {"run_key": run_key})
            released = await _let_go(session, run_key, "released")
            await set_state(session, run_key, "released")
        return released

    async def load(self, run_key: str) -> tuple[Entry, ...]:
        """Return the run's entries as they were read when they were approved, in claim order."""
        rows = await self._database.rows(_LOAD, {"run_key": run_key})
        return tuple(self._evidence.open(row.record, row.encrypted) for row in rows)

    async def wanted_people(self, run_key: str) -> WantedPeople:
        """Return whom the run's entries name, and over which service dates."""
        rows = await self._database.rows(_NAMED, {"run_key": run_key})
        named = (self._evidence.read(row.record, row.encrypted, Named) for row in rows)
        return wanted_people(
            [each.person_email for each in named], [row.service_date for row in rows]
        )

    async def wanted_terms(self, run_key: str) -> WantedTerms:
        """Return the months and currencies that the run's entries and contract touch."""
        rows = await self._database.rows(_TOUCHED, {"run_key": run_key})
        if not rows:
            return WantedTerms()
        engagements = await self._engagements.of_project(rows[0].psa, rows[0].project_id)
        dates = [row.service_date for row in rows]
        return wanted_terms(dates, {row.currency for row in rows}, engagements)

    async def changed(self, run_key: str) -> tuple[EntryRef, ...]:
        """Return which of the run's entries changed, or were held, since it claimed them."""
        rows = await self._database.rows(_CHANGED, {"run_key": run_key})
        return tuple(EntryRef(kind=EntryKind(row.kind), id=row.entry_id) for row in rows)

    async def store_rated(self, run_key: str, rated: Sequence[Rated]) -> RatedRun:
        """Keep what rating made of the run's entries; those that it holds leave the run.

        Raises:
            Conflict: these are not the run's entries in the versions that it claimed.
        """
        async with self._database.transaction() as session:
            run = await active_run(session, "rate", run_key)
            if run.state == "claimed":
                await self._keep_rated(session, run, rated)
                await set_state(session, run_key, "rated")
            else:
                require(run, "rating", "claimed", "rated", "placed", "handed_over")
            sums = (await session.execute(_SUMMARY, {"run_key": run_key})).all()
            held = (await session.execute(_HELD, {"run_key": run_key})).scalar_one()
        return RatedRun(
            rated=sum(row.entries for row in sums),
            held=held,
            amounts=tuple(Money(amount=row.amount, currency=row.currency) for row in sums),
        )

    async def _keep_rated(
        self, session: AsyncConnection, run: AnyRow, rated: Sequence[Rated]
    ) -> None:
        entries = (await session.execute(_HELD_ENTRIES, {"run_key": run.run_key})).all()
        ids = {(row.kind, row.entry_id, row.version): row.id for row in entries}
        given = {(each.ref.kind.value, each.ref.id, each.version): each for each in rated}
        if ids.keys() != given.keys() or len(given) != len(rated):
            raise Conflict(f"{run.run_key}: what was rated is not what the run claimed")
        keep = {ids[key]: each for key, each in given.items() if each.hold is None}
        held = [(ids[key], each) for key, each in given.items() if each.hold is not None]
        if held:
            await _let_go(session, run.run_key, "held", [id_ for id_, _ in held])
            await _hold(session, run.psa, [each for _, each in held])
        if keep:
            rows = as_rows(_rating_row(id_, each) for id_, each in keep.items())
            await session.execute(_RATE, {"run_key": run.run_key, "rows": rows})
            await self._pend_costs(session, run.run_key, keep)


async def _to_generation(session: AsyncConnection, run: AnyRow, generation: int) -> bool:
    """Return whether the run has yet to claim; a later generation begins with nothing.

    Raises:
        GenerationClosed: this generation was released, or a later one has begun.
        Conflict: the generation before still holds entries.
    """
    if run.generation > generation or (run.generation == generation and run.state == "released"):
        raise GenerationClosed(f"generation {generation} of {run.run_key} was released")
    if run.generation < generation:
        require(run, "a new generation", "released", "opened")
        values = {"run_key": run.run_key, "generation": generation}
        await session.execute(_REOPEN, values)
        return True
    return bool(run.state == "opened")


async def _let_go(
    session: AsyncConnection, run_key: str, as_: str, entries: Sequence[int] | None = None
) -> Released:
    """Give entries back, all or some; newer versions that waited for it come in."""
    values = {"run_key": run_key, "as": as_, "entries": entries}
    gone = (await session.execute(_LET_GO, values)).all()
    changed = [row for row in gone if row.changed is not None]
    if changed:
        rows = [{"kind": row.kind, "entry_id": row.entry_id} for row in changed]
        await session.execute(_LET_IN, {"source": changed[0].source, "rows": as_rows(rows)})
    return Released(released=len(gone) - len(changed), withdrawn=len(changed))


async def _hold(session: AsyncConnection, source: str, rated: Sequence[Rated]) -> None:
    by_reason = sorted(rated, key=lambda each: str(each.hold))
    for reason, group in groupby(by_reason, key=lambda each: str(each.hold)):
        because = {each.ref: each.hold_detail for each in group}
        await put_holds(session, source, RATING, reason, because)


def _rating_row(id_: int, rated: Rated) -> dict[str, object]:
    if rated.amount is None:
        raise Conflict(f"{rated.ref} is neither held nor has it an amount")
    return {
        "id": id_,
        "line": rated.line,
        "legal_entity": rated.legal_entity,
        "amount": rated.amount.amount,
        "currency": rated.amount.currency,
        "minutes": rated.billed_minutes,
        "document": rated.model_dump_json(),
    }
