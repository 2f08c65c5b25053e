"""Drafts as rows: documents, lines, and what each line bills.

The document is what was decided, as written; lines and members beside it are what the database
counts. Members keep their amount; what a line was written down by is shared out among them.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef, Draft, DraftLine, LineState
from canonical.money import minor_digits
from store.billing_session import STAGES, PoKey, ids_of
from store.errors import Conflict, NotFound
from store.subledger_session import as_rows

_LOCK = text("""
    SELECT id, document FROM drafts
    WHERE id = ANY(CAST(:ids AS text[])) OR family = ANY(CAST(:families AS text[]))
    ORDER BY id FOR UPDATE
""")
_FAMILIES = text("SELECT DISTINCT family FROM drafts WHERE id = ANY(CAST(:ids AS text[]))")

_PUT = text("""
    INSERT INTO drafts AS draft (id, version, state, family, legal_entity, client_id, client_po,
        currency, period, reviewer, review_until, posting, net, gross, content_hash, released_hash,
        document)
    SELECT given.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id text, version integer,
        state text, family text, legal_entity text, client_id text, client_po text, currency text,
        period text, reviewer text, review_until timestamptz, posting integer, net numeric,
        gross numeric, content_hash text, released_hash text, document text)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state,
        family = excluded.family, legal_entity = excluded.legal_entity,
        client_id = excluded.client_id, client_po = excluded.client_po,
        currency = excluded.currency, period = excluded.period, reviewer = excluded.reviewer,
        review_until = excluded.review_until, posting = excluded.posting, net = excluded.net,
        gross = excluded.gross, content_hash = excluded.content_hash,
        released_hash = excluded.released_hash, document = excluded.document, changed_at = now()
""")
_INSERT_ONLY = text(_PUT.text.partition("ON CONFLICT")[0])

_VERSIONS = text("""
    INSERT INTO draft_versions (draft, version, content_hash, document, by)
    SELECT given.id, given.version, given.content_hash, given.document, :by
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id text, version integer,
        content_hash text, document text)
    ON CONFLICT DO NOTHING
""")

_LINES = text("""
    INSERT INTO draft_lines AS line (draft, number, state, engagement, line, project_id, amount,
        written_down)
    SELECT given.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(draft text,
        number integer, state text, engagement text, line text, project_id text, amount numeric,
        written_down numeric)
    ON CONFLICT (draft, number) DO UPDATE SET state = excluded.state, amount = excluded.amount,
        written_down = excluded.written_down
    WHERE (line.state, line.amount, line.written_down)
        IS DISTINCT FROM (excluded.state, excluded.amount, excluded.written_down)
""")

_LET_GO = text("""
    UPDATE draft_members SET live = false
    WHERE live AND draft = ANY(CAST(:drafts AS text[])) AND (
        part = ANY(CAST(:parts AS bigint[])) OR fee = ANY(CAST(:fees AS bigint[])))
""")

_GIVEN_MEMBERS = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(draft text, number integer, part bigint,
        fee bigint, amount numeric, written_down numeric)
"""
_KEEP = text(f"""
    UPDATE draft_members AS member SET live = true, written_down = given.written_down
    FROM {_GIVEN_MEMBERS}
    WHERE member.draft = given.draft AND member.number = given.number
        AND (member.part = given.part OR member.fee = given.fee)
        AND (NOT member.live OR member.written_down <> given.written_down)
""")  # noqa: S608 - a constant
# In the order in which a line bills: a credit of a line falls on them in that order.
_TAKE = text("""
    INSERT INTO draft_members (draft, number, part, fee, amount, written_down, live)
    SELECT given.draft, given.number, given.part, given.fee, given.amount, given.written_down, true
    FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb)) AS (draft text, number integer,
        part bigint, fee bigint, amount numeric, written_down numeric)) WITH ORDINALITY
        AS given(draft, number, part, fee, amount, written_down, place)
    WHERE NOT EXISTS (SELECT FROM draft_members AS member WHERE member.draft = given.draft
        AND member.number = given.number
        AND (member.part = given.part OR member.fee = given.fee))
    ORDER BY given.place
""")

_AMOUNTS = text("""
    SELECT 'part' AS kind, id, amount FROM parts WHERE id = ANY(CAST(:parts AS bigint[]))
    UNION ALL SELECT 'fee', id, amount FROM fees WHERE id = ANY(CAST(:fees AS bigint[]))
""")

Members = dict[BillableRef, tuple[str, int]]
"""What is billed, by which draft and line."""


async def families_of(session: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Return the families of drafts; they never change, so that they can be locked by name.

    Raises:
        NotFound: one of the drafts does not exist.
    """
    found = await session.execute(_FAMILIES, {"ids": list(ids)})
    return sorted(found.scalars())


async def locked(
    session: AsyncConnection, ids: Sequence[str], families: Sequence[str]
) -> dict[str, Draft]:
    """Lock drafts with their families, and return them by id.

    Raises:
        NotFound: one of the drafts does not exist.
    """
    rows = await session.execute(_LOCK, {"ids": list(ids), "families": list(families)})
    found = {row.id: Draft.model_validate_json(row.document) for row in rows}
    for id_ in ids:
        if id_ not in found:
            raise NotFound(f"there is no draft {id_}")
    return found


def members_of(drafts: Iterable[Draft]) -> Members:
    """Return what drafts hold: the lines that are in, of drafts that are live or invoiced.

    Raises:
        Conflict: two lines bill the same.
    """
    found: Members = {}
    for draft in drafts:
        if draft.state not in STAGES:
            continue
        for line in draft.live_lines:
            for ref in line.bills:
                if ref in found:
                    raise Conflict(f"{ref.kind} {ref.id} is billed twice: by {draft.id} too")
                found[ref] = (draft.id, line.number)
    return found


def po_keys(drafts: Iterable[Draft]) -> set[PoKey]:
    """Return the client POs that drafts name."""
    return {PoKey(draft.client_id, draft.client_po) for draft in drafts if draft.client_po}


async def put(
    session: AsyncConnection, drafts: Sequence[Draft], by: str, *, new: bool = False
) -> None:
    """Write drafts with their lines and what these bill; what left them has to be let go first.

    Raises:
        Conflict: a draft of that id is there already, though it should be new.
    """
    if not drafts:
        return
    rows = as_rows(_row(draft) for draft in drafts)
    await session.execute(_INSERT_ONLY if new else _PUT, {"rows": rows})
    await session.execute(_VERSIONS, {"rows": rows, "by": by})
    lines = as_rows(_line_row(draft, line) for draft in drafts for line in draft.lines)
    await session.execute(_LINES, {"rows": lines})
    members = await _member_rows(session, drafts)
    if members:
        await session.execute(_KEEP, {"rows": as_rows(members)})
        await session.execute(_TAKE, {"rows": as_rows(members)})


async def let_go(
    session: AsyncConnection, drafts: Iterable[str], refs: Iterable[BillableRef]
) -> None:
    """End the hold of drafts on what they billed."""
    given = tuple(refs)
    if given:
        values = {
            "drafts": sorted(drafts),
            "parts": ids_of(given, BillableKind.PART),
            "fees": ids_of(given, BillableKind.FEE),
        }
        await session.execute(_LET_GO, values)


def _row(draft: Draft) -> dict[str, object]:
    return {
        **draft.model_dump(
            include={"id", "version", "legal_entity", "client_id", "client_po", "currency"}
            | {"period", "reviewer", "review_until", "posting", "released_hash"}
        ),
        "state": draft.state.value,
        "family": draft.family or draft.id,
        "net": draft.net.amount,
        "gross": draft.gross.amount,
        "content_hash": draft.content_hash,
        "document": draft.model_dump_json(),
    }


def _line_row(draft: Draft, line: DraftLine) -> dict[str, object]:
    return {
        "draft": draft.id,
        "number": line.number,
        "state": line.state.value,
        "engagement": line.engagement,
        "line": line.line,
        "project_id": line.project_id,
        "amount": line.amount.amount,
        "written_down": line.written_down.amount if line.written_down else Decimal(0),
    }


async def _member_rows(
    session: AsyncConnection, drafts: Sequence[Draft]
) -> list[dict[str, object]]:
    refs = members_of(drafts)
    values = {
        "parts": ids_of(refs, BillableKind.PART),
        "fees": ids_of(refs, BillableKind.FEE),
    }
    found = await session.execute(_AMOUNTS, values)
    amounts = {BillableRef(kind=BillableKind(row.kind), id=row.id): row.amount for row in found}
    rows: list[dict[str, object]] = []
    for draft in drafts:
        if draft.state not in STAGES:
            continue
        for line in draft.live_lines:
            shares = _shares(line, [amounts[ref] for ref in line.bills], draft.currency)
            for ref, share in zip(line.bills, shares, strict=True):
                rows.append(
                    {
                        "draft": draft.id,
                        "number": line.number,
                        "part": ref.id if ref.kind is BillableKind.PART else None,
                        "fee": ref.id if ref.kind is BillableKind.FEE else None,
                        "amount": amounts[ref],
                        "written_down": share,
                    }
                )
    return rows


def _shares(line: DraftLine, amounts: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Share out what a line was written down by, in proportion, to the last minor unit."""
    if line.written_down is None or line.state is not LineState.IN:
        return [Decimal(0)] * len(amounts)
    digits = minor_digits(currency) or 0
    units = [max(int(amount.scaleb(digits)), 0) for amount in amounts]
    down, total = line.written_down.minor_units, sum(units)
    shares = [each * down // total if total else 0 for each in units]
    rest = down - sum(shares)
    for index, each in enumerate(units):
        more = min(rest, each - shares[index], 1)
        shares[index] += more
        rest -= more
    return [Decimal(each).scaleb(-digits) for each in shares]
