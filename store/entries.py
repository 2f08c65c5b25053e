"""Entry versions: what the PSA approved, as it was read, and what became of it before billing.

Each version stands once; at most one version of an entry is live. A newer one replaces the older
before billing, waits while a run holds the older, and is a finding after billing (DESIGN 5).
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import Entry, EntryKind, EntryRef
from canonical.money import Money
from canonical.standing import KnownExpense
from canonical.time_to_billing import TakenIn
from store.audit import ENGINE
from store.database import Database
from store.evidence import Cipher, Evidence, Named
from store.holds import (
    close_findings,
    find,
    put_holds,
    release_holds,
)
from store.intake import (
    BILLED_OUTSIDE,
    CHANGED_AFTER_BILLING,
    VANISHED,
    Decisions,
    Known,
    live_project,
)
from store.subledger_session import as_rows, begin_act, ref_rows
from store.successors import RATING, link_successors

_KNOWN = text("""
    SELECT version.id, version.kind, version.entry_id, version.version, version.state,
        version.project_id, version.vanished_at, version.handed_over_at IS NOT NULL AS handed_over,
        claim.changed
    FROM entry_versions AS version
    JOIN jsonb_to_recordset(CAST(:refs AS jsonb)) AS given(kind text, entry_id text)
        ON version.source = :source AND version.kind = given.kind
        AND version.entry_id = given.entry_id
    LEFT JOIN run_entries AS claim ON claim.entry = version.id AND claim.state = 'claimed'
    ORDER BY version.id FOR UPDATE OF version
""")

_OURS = text("""
    SELECT record_id FROM cross_references
    WHERE system = :source AND record_id = ANY(CAST(:ids AS text[])) AND step = 'reserve_entries'
    UNION SELECT reservation FROM billing_runs
    WHERE psa = :source AND reservation = ANY(CAST(:ids AS text[]))
""")

_FACTS = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(
        id bigint, source text, kind text, entry_id text, version text, project_id text,
        task_id text, person_id text, submission_id text, adjusts text, receipt text,
        service_date date, minutes integer, amount numeric, currency text, billable boolean,
        state text, approved_at timestamptz, record text)
"""

_INSERT = text(f"""
    WITH given AS (SELECT * FROM {_FACTS}), added AS (
        INSERT INTO entry_versions (source, kind, entry_id, version, project_id, task_id, person_id,
            submission_id, adjusts, receipt, service_date, minutes, amount, currency, billable,
            state, approved_at, first_seen_at)
        SELECT source, kind, entry_id, version, project_id, task_id, person_id, submission_id,
            adjusts, receipt, service_date, minutes, amount, currency, billable, state,
            approved_at, :seen_at
        FROM given
        RETURNING id, source, kind, entry_id, version
    )
    INSERT INTO entry_evidence (entry, reading, read_at, record, encrypted)
    SELECT added.id, 1, :seen_at, decode(given.record, 'base64'), :encrypted
    FROM added JOIN given USING (source, kind, entry_id, version)
""")  # noqa: S608 - the text above, no input

_READMIT = text(f"""
    WITH given AS (SELECT * FROM {_FACTS}), moved AS (
        UPDATE entry_versions AS version
        SET state = given.state, project_id = given.project_id, approved_at = given.approved_at,
            submission_id = given.submission_id, receipt = given.receipt, because = '',
            vanished_at = NULL, superseded_by = NULL, reading = version.reading + 1
        FROM given WHERE version.id = given.id
        RETURNING version.id, version.reading
    )
    INSERT INTO entry_evidence (entry, reading, read_at, record, encrypted)
    SELECT moved.id, moved.reading, :seen_at, decode(given.record, 'base64'), :encrypted
    FROM moved JOIN given USING (id)
""")  # noqa: S608 - the text above, no input

_WITHDRAW = text("""
    UPDATE entry_versions AS version SET state = 'withdrawn', because = given.because
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id bigint, because text)
    WHERE version.id = given.id
""")

_FLAG = text("""
    UPDATE run_entries AS claim SET changed = given.changed
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id bigint, changed text)
    WHERE claim.entry = given.id AND claim.state = 'claimed'
        AND claim.changed IS DISTINCT FROM given.changed
""")

_BACK = text("""
    UPDATE entry_versions SET vanished_at = NULL, superseded_by = NULL
    WHERE id = ANY(CAST(:ids AS bigint[]))
""")

_VANISH = text("""
    UPDATE entry_versions SET vanished_at = :seen_at
    WHERE id = ANY(CAST(:ids AS bigint[])) AND vanished_at IS NULL
""")

_AS_READ = text("""
    SELECT evidence.entry, evidence.record, evidence.encrypted FROM entry_versions AS version
    JOIN entry_evidence AS evidence ON evidence.entry = version.id
        AND evidence.reading = version.reading
    WHERE version.id = ANY(CAST(:ids AS bigint[]))
""")

_EXPENSES = text("""
    SELECT kind, entry_id, person_id, service_date, amount, currency, receipt FROM entry_versions
    WHERE source = :source AND project_id = :project_id AND kind = 'expense'
        AND standing = 'live' AND amount IS NOT NULL
    ORDER BY first_seen_at, entry_id
""")


class EntryStore:
    """Takes in entries as read; the same reading twice changes nothing."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._evidence = Evidence(cipher)

    async def take_in(self, entries: Sequence[Entry], seen_at: datetime) -> TakenIn:
        """Put down entries of one PSA as they were read at `seen_at`, and count what changed.

        Of an entry that is given twice, the later counts. What an open run holds stays as claimed:
        the run learns of it by `RunStore.changed`, and once it lets go, what is true now holds.

        Raises:
            Conflict: the entries are of different PSAs, or a value is beyond the store's limits.
        """
        latest = {(entry.source, entry.ref): entry for entry in entries}
        decisions = Decisions()
        findings = 0
        for source in sorted({source for source, _ in latest}):
            of_source = [entry for key, entry in latest.items() if key[0] == source]
            projects = {entry.project_id for entry in of_source}
            async with self._database.transaction() as session:
                await begin_act(session, "take_in", source, *projects)
                known = await _known(session, source, [entry.ref for entry in of_source])
                ours = await _ours(session, source, of_source)
                of_this = Decisions()
                renamed = await self._renamed(session, of_source, known)
                for entry in of_source:
                    of_this.take(entry, known.get(entry.ref, ()), ours, renamed)
                findings += await self._apply(session, source, of_this, of_source, seen_at)
                findings += await link_successors(
                    session, source, [entry for entry, _ in of_this.insert]
                )
            _add(decisions, of_this)
        return TakenIn(
            read=len(entries),
            approved=decisions.approved,
            withdrawn=decisions.withdrawn,
            superseded=decisions.superseded,
            unchanged=decisions.unchanged,
            findings=findings,
        )

    async def vanished(
        self, source: str, refs: Sequence[EntryRef], seen_at: datetime, project_id: str = ""
    ) -> TakenIn:
        """Put down that the PSA, or this project of it, has these entries no more.

        With `project_id`, what meanwhile is another project's stays as it is.
        One that comes back under a new id, with the same timesheet, person, date and task, is the
        same work: holds go over to it, and where the old id was billed the new one is held.
        """
        async with self._database.transaction() as session:
            await begin_act(session, "vanished", source, *await _projects(session, source, refs))
            known = {
                ref: versions
                for ref, versions in (await _known(session, source, refs)).items()
                if not project_id or live_project(versions) in {"", project_id}
            }
            decisions = Decisions()
            for ref in dict.fromkeys(refs):
                decisions.gone(ref, known.get(ref, ()), VANISHED)
            findings = await self._apply(session, source, decisions, (), seen_at)
            ids = [version.id for versions in known.values() for version in versions]
            await session.execute(_VANISH, {"ids": ids, "seen_at": seen_at})
            findings += await link_successors(session, source, refs)
        return TakenIn(
            read=len(refs),
            withdrawn=decisions.withdrawn,
            unchanged=decisions.unchanged,
            findings=findings,
        )

    async def known_expenses(self, source: str, project_id: str) -> tuple[KnownExpense, ...]:
        """Return the project's live expenses, oldest first: to find one recorded twice."""
        rows = await self._database.rows(_EXPENSES, {"source": source, "project_id": project_id})
        return tuple(
            KnownExpense(
                ref=EntryRef(kind=EntryKind(row.kind), id=row.entry_id),
                person_id=row.person_id,
                service_date=row.service_date,
                amount=Money(amount=row.amount, currency=row.currency),
                receipt=row.receipt,
            )
            for row in rows
        )

    async def _renamed(
        self,
        session: AsyncConnection,
        entries: Sequence[Entry],
        known: Mapping[EntryRef, Sequence[Known]],
    ) -> frozenset[EntryRef]:
        """Return which entries that wait as they are name their person by another address now.

        An address is no part of a version: who corrects it changes no work.
        """
        same = {
            version.id: entry
            for entry in entries
            for version in known.get(entry.ref, ())
            if version.state == "approved" and version.version == entry.version
        }
        if not same:
            return frozenset()
        found = set()
        for row in await session.execute(_AS_READ, {"ids": list(same)}):
            entry = same[row.entry]
            before = self._evidence.read(row.record, row.encrypted, Named)
            if before.person_email.lower() != entry.person_email.lower():
                found.add(entry.ref)
        return frozenset(found)

    async def _apply(
        self,
        session: AsyncConnection,
        source: str,
        decisions: Decisions,
        entries: Sequence[Entry],
        seen_at: datetime,
    ) -> int:
        """Write decisions, withdrawals first; return how many new findings there are."""
        withdrawn = [{"id": id_, "because": why} for id_, why in decisions.withdraw.items()]
        if withdrawn:
            await session.execute(_WITHDRAW, {"rows": as_rows(withdrawn)})
        common = {"seen_at": seen_at, "encrypted": self._evidence.encrypted}
        if decisions.insert:
            rows = [self._row(entry, state, seen_at) for entry, state in decisions.insert]
            await session.execute(_INSERT, {**common, "rows": as_rows(rows)})
        if decisions.readmit:
            rows = [
                {**self._row(entry, state, seen_at), "id": id_}
                for id_, entry, state in decisions.readmit
            ]
            await session.execute(_READMIT, {**common, "rows": as_rows(rows)})
        if decisions.flag:
            flags = [{"id": id_, "changed": why} for id_, why in decisions.flag.items()]
            await session.execute(_FLAG, {"rows": as_rows(flags)})
        if decisions.back:
            await session.execute(_BACK, {"ids": decisions.back})
        return await _consequences(session, source, decisions, entries)

    def _row(self, entry: Entry, state: str, seen_at: datetime) -> Mapping[str, object]:
        money = entry.amount
        return {
            "source": entry.source,
            "kind": entry.kind.value,
            "entry_id": entry.id,
            "version": entry.version,
            "project_id": entry.project_id,
            "task_id": entry.task_id,
            "person_id": entry.person_id,
            "submission_id": entry.submission_id,
            "adjusts": entry.adjusts,
            "receipt": entry.receipt,
            "service_date": entry.service_date,
            "minutes": entry.minutes,
            "amount": None if money is None else money.amount,
            "currency": entry.currency if money is None else money.currency,
            "billable": entry.billable,
            "state": state,
            "approved_at": entry.approved_at or seen_at,
            "record": base64.b64encode(self._evidence.seal(entry)).decode(),
        }


async def _known(
    session: AsyncConnection, source: str, refs: Iterable[EntryRef]
) -> dict[EntryRef, list[Known]]:
    rows = await session.execute(_KNOWN, {"source": source, "refs": ref_rows(refs)})
    found: dict[EntryRef, list[Known]] = {}
    for row in rows:
        ref = EntryRef(kind=EntryKind(row.kind), id=row.entry_id)
        found.setdefault(ref, []).append(
            Known(
                id=row.id,
                version=row.version,
                state=row.state,
                handed_over=row.handed_over,
                changed=row.changed,
                project_id=row.project_id,
                vanished_at=row.vanished_at,
            )
        )
    return found


async def _projects(
    session: AsyncConnection, source: str, refs: Iterable[EntryRef]
) -> Sequence[str]:
    statement = text("""
        SELECT DISTINCT version.project_id FROM entry_versions AS version
        JOIN jsonb_to_recordset(CAST(:refs AS jsonb)) AS given(kind text, entry_id text)
            USING (kind, entry_id)
        WHERE version.source = :source
    """)
    found = await session.execute(statement, {"source": source, "refs": ref_rows(refs)})
    return found.scalars().all()


async def _ours(session: AsyncConnection, source: str, entries: Iterable[Entry]) -> frozenset[str]:
    ids = sorted({entry.reservation_id for entry in entries} - {""})
    if not ids:
        return frozenset()
    found = await session.execute(_OURS, {"source": source, "ids": ids})
    return frozenset(found.scalars().all())


async def _consequences(
    session: AsyncConnection, source: str, decisions: Decisions, entries: Sequence[Entry]
) -> int:
    """Set and release what follows from a reading: holds and findings."""
    project = {entry.ref: entry.project_id for entry in entries}
    known = {**decisions.changed_after, **decisions.outside}
    if any(ref not in project for ref in known):
        refs = [ref for ref in known if ref not in project]
        (first, *_) = [*await _projects(session, source, refs), ""]
        project |= dict.fromkeys(refs, first)
    new = await find(session, source, CHANGED_AFTER_BILLING, decisions.changed_after, project)
    if decisions.outside:
        new += await find(session, source, BILLED_OUTSIDE, decisions.outside, project)
        await put_holds(session, source, ENGINE, BILLED_OUTSIDE, decisions.outside)
    await close_findings(session, source, CHANGED_AFTER_BILLING, decisions.as_billed)
    await release_holds(session, source, decisions.rejudge, owner=RATING, by=ENGINE)
    await release_holds(
        session, source, decisions.free, owner=ENGINE, by=ENGINE, reason=BILLED_OUTSIDE
    )
    await close_findings(session, source, BILLED_OUTSIDE, decisions.free, unless_held=True)
    return new


def _add(total: Decisions, more: Decisions) -> None:
    total.approved += more.approved
    total.withdrawn += more.withdrawn
    total.superseded += more.superseded
    total.unchanged += more.unchanged
