"""What a decision on drafts is judged by, read while they are locked (DESIGN 4).

Limits count together what was ever on one draft: kin are the drafts that bill, or billed, an amount
which stood on a draft together with an amount of these. So neither a split and a merge, nor a
rejection and a new draft, takes anything out of a limit.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef, Draft
from store.billing_session import STAGES, ids_of, lock_pos
from store.client_po_rows import standings
from store.draft_change import ClosedPeriod, LockedDrafts
from store.draft_rows import members_of, po_keys

_KIN = text("""
    WITH mine AS (
        SELECT part, fee FROM draft_members WHERE draft = ANY(CAST(:ids AS text[])) AND live
    ), together AS (
        SELECT member.draft FROM mine JOIN draft_members AS member ON member.part = mine.part
        UNION SELECT member.draft FROM mine JOIN draft_members AS member ON member.fee = mine.fee
    ), ever AS (
        SELECT DISTINCT part, fee FROM draft_members JOIN together USING (draft)
    )
    SELECT draft, bool_or(live) AS live FROM (
        SELECT member.draft, member.live FROM ever
        JOIN draft_members AS member ON member.part = ever.part
        UNION ALL SELECT member.draft, member.live FROM ever
        JOIN draft_members AS member ON member.fee = ever.fee
    ) AS kin GROUP BY draft ORDER BY draft
""")
_DOCUMENTS = text("SELECT id, document FROM drafts WHERE id = ANY(CAST(:ids AS text[]))")

_HELD = text("""
    SELECT 'part' AS kind, part.id,
        hold.reason || CASE WHEN hold.because = '' THEN '' ELSE ': ' || hold.because END AS why
    FROM parts AS part JOIN entry_versions AS version ON version.id = part.entry
    JOIN holds AS hold ON hold.source = version.source AND hold.kind = version.kind
        AND hold.entry_id = version.entry_id AND hold.released_at IS NULL
    WHERE part.id = ANY(CAST(:parts AS bigint[]))
    UNION ALL
    SELECT 'fee', id, CASE WHEN withdrawn = '' THEN held ELSE 'withdrawn: ' || withdrawn END
    FROM fees WHERE id = ANY(CAST(:fees AS bigint[])) AND (withdrawn <> '' OR held <> '')
""")
_CLIENT_HELD = text("""
    SELECT source || CASE WHEN reason = '' THEN '' ELSE ': ' || reason END AS why FROM client_holds
    WHERE client_id = ANY(CAST(:clients AS text[])) AND released_at IS NULL ORDER BY id
""")

# Whose word an amount rests on: who let a rate that differs pass, and who recorded what a schedule
# bills by.
_VOUCHED = text("""
    SELECT hold.released_by AS who FROM parts AS part
    JOIN entry_versions AS version ON version.id = part.entry
    JOIN holds AS hold ON hold.source = version.source AND hold.kind = version.kind
        AND hold.entry_id = version.entry_id AND hold.reason = 'rate_mismatch'
    WHERE part.id = ANY(CAST(:parts AS bigint[])) AND hold.released_at IS NOT NULL
        AND hold.released_by <> ''
    UNION
    SELECT fact.by FROM fees AS fee
    JOIN schedule_facts AS fact ON fact.engagement = fee.engagement AND fact.line = fee.line
    WHERE fee.id = ANY(CAST(:fees AS bigint[])) AND fee.source = 'schedule' AND fact.by <> ''
    ORDER BY who
""")
_WARNED = text("""
    SELECT DISTINCT warning.value AS warning FROM fees AS fee,
        jsonb_array_elements_text(CAST(fee.document AS jsonb) -> 'warnings') AS warning(value)
    WHERE fee.id = ANY(CAST(:fees AS bigint[])) ORDER BY warning
""")

# Runs read periods again and again: what was read last counts.
_CLOSED = text("""
    SELECT subsidiary, name, read_at FROM (
        SELECT DISTINCT ON (subsidiary, period_id) subsidiary, name, open, read_at
        FROM posting_periods
        WHERE connection = :erp AND first_day <= :on AND last_day >= :on
        ORDER BY subsidiary, period_id, read_at DESC
    ) AS period WHERE NOT open ORDER BY subsidiary, name
""")


async def kin_of(session: AsyncConnection, ids: Sequence[str]) -> dict[str, bool]:
    """Return the ids of the drafts' kin, and whether each bills such an amount still."""
    rows = await session.execute(_KIN, {"ids": list(ids)})
    return {row.draft: row.live for row in rows}


async def looked(
    session: AsyncConnection, ids: Sequence[str], drafts: Mapping[str, Draft]
) -> LockedDrafts:
    """Return what an act on drafts is judged by; `drafts` are those that are locked, by id."""
    asked = tuple(drafts[id_] for id_ in ids)
    keys = po_keys(drafts.values())
    await lock_pos(session, keys)
    pos = await standings(session, keys)
    refs = _by_kind(members_of(asked))
    held = await session.execute(_HELD, refs)
    clients = sorted({draft.client_id for draft in asked})
    whole = await session.execute(_CLIENT_HELD, {"clients": clients})
    live = await kin_of(session, ids)
    kin = await _documents(session, live, drafts)
    return LockedDrafts(
        drafts=asked,
        family=tuple(draft for _, draft in sorted(drafts.items()) if draft.state in STAGES),
        kin=kin,
        siblings=tuple(each for each in kin if live[each.id] and each.state in STAGES),
        pos={standing.po.number: standing for standing in pos},
        client_holds=tuple(whole.scalars()),
        held={BillableRef(kind=BillableKind(row.kind), id=row.id): row.why for row in held},
        vouchers=tuple((await session.execute(_VOUCHED, refs)).scalars()),
        warnings=tuple((await session.execute(_WARNED, {"fees": refs["fees"]})).scalars()),
        closed=await _closed(session, asked[0]),
    )


async def _documents(
    session: AsyncConnection, ids: Iterable[str], drafts: Mapping[str, Draft]
) -> tuple[Draft, ...]:
    """Return drafts by id, in order; those that are locked need no reading."""
    missing = [id_ for id_ in ids if id_ not in drafts]
    found = dict(drafts)
    if missing:
        rows = await session.execute(_DOCUMENTS, {"ids": missing})
        found |= {row.id: Draft.model_validate_json(row.document) for row in rows}
    return tuple(found[id_] for id_ in sorted(ids))


async def _closed(session: AsyncConnection, draft: Draft) -> tuple[ClosedPeriod, ...]:
    rows = await session.execute(_CLOSED, {"erp": draft.erp, "on": draft.on})
    return tuple(ClosedPeriod.model_validate(row._mapping) for row in rows)


def _by_kind(refs: Iterable[BillableRef]) -> dict[str, object]:
    given = tuple(refs)
    return {
        "parts": ids_of(given, BillableKind.PART),
        "fees": ids_of(given, BillableKind.FEE),
    }
