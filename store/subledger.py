"""What people and the reconciler ask of the subledger: why, trace, and whether the sums hold."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import text

from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Disposition
from store.database import AnyRow, Database
from store.evidence import Cipher, Evidence
from store.holds import Holds


class Hold(CanonicalModel):
    """Why an entry waits, for whom, since when."""

    reason: HoldReason
    owner: str
    because: str
    since: datetime
    released_at: datetime | None = None
    released_by: str | None = None


class Finding(CanonicalModel):
    """Something that should not be, for somebody to look into."""

    finding: str
    project_id: str
    ref: EntryRef
    detail: str
    found_at: datetime
    closed_at: datetime | None = None


class Version(CanonicalModel):
    """One version of an entry and where it stands."""

    id: int
    version: str
    state: str
    because: str
    """Why it was withdrawn: `unapproved`, `superseded`, `vanished`."""
    project_id: str
    service_date: date
    minutes: int | None
    amount: Decimal | None
    currency: str
    billable: bool
    approved_at: datetime
    first_seen_at: datetime
    run_key: str | None
    handed_over_at: datetime | None
    superseded_by: str | None


class TracedPart(CanonicalModel):
    """One part with where it stands."""

    version: str
    cycle: int
    number: int
    disposition: Disposition
    amount: Money
    minutes: int
    cap: str
    state: str
    run_key: str
    charge: str | None = None
    """External id of the charge in the ERP."""


class TracedCost(CanonicalModel):
    """One row of the cost track."""

    version: str
    state: str
    legal_entity: str
    amount: Money
    rate: Decimal | None
    rate_source: str
    run_key: str
    external_id: str | None
    """Of its posting in the ERP."""


class Move(CanonicalModel):
    """One move of an entry version, a part or a cost."""

    at: datetime
    track: str
    version: str
    part: int | None
    from_state: str
    to_state: str
    amount: Decimal | None
    run_key: str | None
    act: str


class Why(CanonicalModel):
    """The facts behind "why is this not billed yet"; None of them is an opinion."""

    ref: EntryRef
    state: str
    """State of the live version; `unknown` where none was ever approved, `withdrawn` after."""
    because: str = ""
    project_id: str = ""
    person_id: str = ""
    approved_at: datetime | None = None
    holds: tuple[Hold, ...] = ()
    """Open ones only."""
    run_key: str | None = None
    run_state: str | None = None
    period: str | None = None
    changed: str | None = None
    """What the PSA changed while a run holds the entry."""
    engagement: str | None = None
    """The contract in force on the service date; None: nothing bills the project yet."""
    parts: tuple[TracedPart, ...] = ()
    findings: tuple[Finding, ...] = ()


class EntryTrace(CanonicalModel):
    """All that the subledger knows of one entry, oldest first."""

    ref: EntryRef
    versions: tuple[Version, ...] = ()
    approved_as: tuple[Entry, ...] = ()
    """The record as read, each time it became approved."""
    moves: tuple[Move, ...] = ()
    parts: tuple[TracedPart, ...] = ()
    costs: tuple[TracedCost, ...] = ()
    holds: tuple[Hold, ...] = ()
    findings: tuple[Finding, ...] = ()
    adjusted_by: tuple[EntryRef, ...] = ()


class Conservation(CanonicalModel):
    """Placed amounts of one client, legal entity and currency: what was rated is what was placed.

    `difference` is zero, always.
    """

    client_id: str
    legal_entity: str
    currency: str
    entries: int
    rated: Decimal
    placed: dict[Disposition, Decimal]
    difference: Decimal


_ENTRY = "source = :source AND kind = :kind AND entry_id = :entry_id"

_WHY = text("""
    SELECT version.state, version.because, version.project_id, version.person_id,
        version.approved_at, version.run_key, run.state AS run_state, run.period, claim.changed,
        (SELECT id FROM engagements AS engagement
            WHERE engagement.psa = version.source AND engagement.project_id = version.project_id
                AND engagement.effective_from <= version.service_date
            ORDER BY effective_from DESC LIMIT 1) AS engagement
    FROM entry_versions AS version
    LEFT JOIN billing_runs AS run ON run.run_key = version.run_key
    LEFT JOIN run_entries AS claim ON claim.entry = version.id AND claim.state = 'claimed'
    WHERE version.source = :source AND version.kind = :kind AND version.entry_id = :entry_id
    ORDER BY version.state = 'withdrawn', version.state = 'waiting', version.id DESC LIMIT 1
""")

_HOLDS = text(f"SELECT * FROM holds WHERE {_ENTRY} ORDER BY id")  # noqa: S608 - a constant
_FINDINGS = text(f"SELECT * FROM findings WHERE {_ENTRY} ORDER BY id")  # noqa: S608 - a constant
_VERSIONS = text(f"SELECT * FROM entry_versions WHERE {_ENTRY} ORDER BY id")  # noqa: S608 - same
_OF_ENTRY = """
    JOIN entry_versions AS version ON version.id = entry
        AND version.source = :source AND version.kind = :kind AND version.entry_id = :entry_id
"""
_EVIDENCE = text(f"""
    SELECT record, encrypted FROM entry_evidence AS evidence {_OF_ENTRY}
    ORDER BY read_at, entry, evidence.reading
""")  # noqa: S608 - a constant
_MOVES = text(f"""
    SELECT moves.*, version.version FROM moves {_OF_ENTRY} ORDER BY moves.id
""")  # noqa: S608 - a constant
_PARTS = text(f"""
    SELECT parts.*, version.version, posting.external_id AS charge FROM parts {_OF_ENTRY}
    LEFT JOIN postings AS posting ON posting.id = parts.posting
    ORDER BY version.id, parts.cycle, parts.number
""")  # noqa: S608 - a constant
_COSTS = text(f"""
    SELECT cost_track.*, version.version, posted.external_id FROM cost_track {_OF_ENTRY}
    LEFT JOIN postings AS posted ON posted.id = cost_track.posting ORDER BY cost_track.id
""")  # noqa: S608 - a constant
_ADJUSTED = text("""
    SELECT DISTINCT kind, entry_id FROM entry_versions
    WHERE source = :source AND adjusts = :entry_id AND adjusts <> '' ORDER BY entry_id
""")

_CONSERVATION = text("""
    SELECT coalesce(run.client_id, '') AS client_id, rating.legal_entity, rating.currency,
        part.disposition, sum(part.amount) AS amount
    FROM ratings AS rating
    JOIN billing_runs AS run ON run.run_key = rating.run_key
    JOIN parts AS part ON part.entry = rating.entry AND part.cycle = rating.cycle
    WHERE CAST(:project_id AS text) IS NULL OR run.project_id = :project_id
    GROUP BY run.client_id, rating.legal_entity, rating.currency, part.disposition
    ORDER BY 1, 2, 3, 4
""")
_RATED = text("""
    SELECT coalesce(run.client_id, '') AS client_id, rating.legal_entity, rating.currency,
        count(*) AS entries, sum(rating.amount) AS rated
    FROM ratings AS rating
    JOIN billing_runs AS run ON run.run_key = rating.run_key
    JOIN entry_versions AS version ON version.id = rating.entry AND version.state = 'placed'
    WHERE CAST(:project_id AS text) IS NULL OR run.project_id = :project_id
    GROUP BY run.client_id, rating.legal_entity, rating.currency ORDER BY 1, 2, 3
""")

_OPEN_FINDINGS = text("""
    SELECT * FROM findings WHERE closed_at IS NULL
        AND (CAST(:source AS text) IS NULL OR source = :source)
        AND (CAST(:project_id AS text) IS NULL OR project_id = :project_id)
    ORDER BY id LIMIT :limit OFFSET :offset
""")

_STANDING = text("""
    SELECT version.state, version.handed_over_at IS NOT NULL AS handed_over, EXISTS (
        SELECT FROM holds AS hold WHERE hold.source = version.source AND hold.kind = version.kind
            AND hold.entry_id = version.entry_id AND hold.released_at IS NULL) AS held,
        count(*) AS entries
    FROM entry_versions AS version
    WHERE version.source = :source AND version.project_id = :project_id
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")


_WARNINGS = text("""
    SELECT run.run_key, run.period, run.number, warning.text FROM billing_runs AS run
    CROSS JOIN LATERAL jsonb_array_elements_text(run.warnings)
        WITH ORDINALITY AS warning(text, place)
    WHERE run.psa = :source AND run.project_id = :project_id
        AND run.state IN ('placed', 'handed_over')
    ORDER BY run.opened_at, run.number, warning.place
""")


class RunWarning(CanonicalModel):
    """What people should know of a run: it took a cap past one of its marks."""

    run_key: str
    period: str
    number: int
    text: str


class ProjectStanding(CanonicalModel):
    """How many of a project's entries are in one state."""

    state: str
    handed_over: bool
    held: bool
    entries: int


class Subledger(Holds):
    """Holds, and questions; nothing here moves an entry."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        super().__init__(database)
        self._evidence = Evidence(cipher)

    async def why(self, source: str, ref: EntryRef) -> Why:
        """Return the facts that tell why an entry is not billed yet."""
        key = {"source": source, "kind": ref.kind.value, "entry_id": ref.id}
        async with self._database.transaction() as session:
            row = (await session.execute(_WHY, key)).first()
            holds = (await session.execute(_HOLDS, key)).all()
            findings = (await session.execute(_FINDINGS, key)).all()
            parts = (await session.execute(_PARTS, key)).all()
        common = {
            "ref": ref,
            "holds": tuple(_hold(hold) for hold in holds if hold.released_at is None),
            "findings": tuple(_finding(each) for each in findings if each.closed_at is None),
            "parts": tuple(_part(part) for part in parts),
        }
        facts = {"state": "unknown"} if row is None else dict(row._mapping)
        return Why.model_validate({**facts, **common})

    async def trace(self, source: str, ref: EntryRef) -> EntryTrace:
        """Return everything about an entry: versions, moves, parts, costs, holds, findings."""
        key = {"source": source, "kind": ref.kind.value, "entry_id": ref.id}
        queries = (_VERSIONS, _EVIDENCE, _MOVES, _PARTS, _COSTS, _HOLDS, _FINDINGS, _ADJUSTED)
        async with self._database.transaction() as session:
            found = [(await session.execute(query, key)).all() for query in queries]
        versions, evidence, moves, parts, costs, holds, findings, adjusted = found
        return EntryTrace(
            ref=ref,
            versions=tuple(Version.model_validate(row._mapping) for row in versions),
            approved_as=tuple(self._evidence.open(row.record, row.encrypted) for row in evidence),
            moves=tuple(Move.model_validate(row._mapping) for row in moves),
            parts=tuple(_part(row) for row in parts),
            costs=tuple(_cost(row) for row in costs),
            holds=tuple(_hold(row) for row in holds),
            findings=tuple(_finding(row) for row in findings),
            adjusted_by=tuple(_ref(row) for row in adjusted),
        )

    async def standing(self, source: str, project_id: str) -> tuple[ProjectStanding, ...]:
        """Return how many of a project's entries are where."""
        values = {"source": source, "project_id": project_id}
        rows = await self._database.rows(_STANDING, values)
        return tuple(ProjectStanding.model_validate(row._mapping) for row in rows)

    async def warnings(self, source: str, project_id: str) -> tuple[RunWarning, ...]:
        """Return the warnings of a project's runs, oldest first; what was rolled back warns not."""
        values = {"source": source, "project_id": project_id}
        rows = await self._database.rows(_WARNINGS, values)
        return tuple(RunWarning.model_validate(row._mapping) for row in rows)

    async def findings(
        self,
        source: str | None = None,
        project_id: str | None = None,
        limit: int = 500,
        offset: int = 0,
    ) -> tuple[Finding, ...]:
        """Return open findings, oldest first."""
        values = {"source": source, "project_id": project_id, "limit": limit, "offset": offset}
        return tuple(_finding(row) for row in await self._database.rows(_OPEN_FINDINGS, values))

    async def conservation(self, project_id: str | None = None) -> tuple[Conservation, ...]:
        """Return, per client, legal entity and currency, what was rated and how it was placed."""
        values = {"project_id": project_id}
        async with self._database.transaction() as session:
            rated = (await session.execute(_RATED, values)).all()
            parts = (await session.execute(_CONSERVATION, values)).all()
        placed: dict[tuple[str, str, str], dict[Disposition, Decimal]] = {}
        for row in parts:
            key = (row.client_id, row.legal_entity, row.currency)
            placed.setdefault(key, {})[Disposition(row.disposition)] = row.amount
        found = []
        for row in rated:
            of_row = placed.pop((row.client_id, row.legal_entity, row.currency), {})
            difference = row.rated - sum(of_row.values(), Decimal(0))
            found.append(
                Conservation.model_validate(
                    {**row._mapping, "placed": of_row, "difference": difference}
                )
            )
        # Parts of nothing that was rated would be a difference too.
        found += [
            Conservation(
                client_id=client_id,
                legal_entity=entity,
                currency=currency,
                entries=0,
                rated=Decimal(0),
                placed=of_row,
                difference=-sum(of_row.values(), Decimal(0)),
            )
            for (client_id, entity, currency), of_row in placed.items()
        ]
        return tuple(found)


def _ref(row: AnyRow) -> EntryRef:
    return EntryRef(kind=EntryKind(row.kind), id=row.entry_id)


def _hold(row: AnyRow) -> Hold:
    return Hold.model_validate(row._mapping)


def _finding(row: AnyRow) -> Finding:
    return Finding.model_validate({**row._mapping, "ref": _ref(row)})


def _part(row: AnyRow) -> TracedPart:
    amount = Money(amount=row.amount, currency=row.currency)
    return TracedPart.model_validate({**row._mapping, "amount": amount})


def _cost(row: AnyRow) -> TracedCost:
    amount = Money(amount=row.amount, currency=row.currency)
    return TracedCost.model_validate({**row._mapping, "amount": amount})
