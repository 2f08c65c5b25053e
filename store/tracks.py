"""The cost track, and which line in the ERP stands for which parts or costs."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import EntryKind, EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Rated
from store.database import Database
from store.errors import Conflict, NotFound
from store.run_rows import active_run, locked_run, require
from store.subledger_session import as_rows

M = TypeVar("M", bound=CanonicalModel)
Kind = Literal["charges", "costs"]


class PartRef(CanonicalModel):
    """One part of an entry of the run, or, without a number, its cost."""

    entry: EntryRef
    number: int = 0


class PostingLine(CanonicalModel):
    """One charge or cost posting, with what it stands for."""

    item: str
    """Tells lines of one run and kind apart."""
    amount: Money
    parts: tuple[PartRef, ...]
    external_id: str = ""
    """Set once it stands in the ERP."""
    state: str = "prepared"


class PreparedBatch(CanonicalModel):
    """A batch of lines as it will be sent."""

    kind: Kind
    number: int
    connection: str
    document: str
    """The batch as JSON: a retry sends the same."""
    lines: tuple[PostingLine, ...]


_PENDING = text("""
    INSERT INTO cost_track (entry, run_key, legal_entity, amount, currency, rate, rate_source,
        rate_from)
    SELECT given.id, :run_key, given.legal_entity, given.amount, given.currency, given.rate,
        given.rate_source, given.rate_from
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id bigint, legal_entity text,
        amount numeric, currency text, rate numeric, rate_source text, rate_from date)
""")
_POSTED_LEFT = text("""
    SELECT count(*) FROM cost_track WHERE run_key = :run_key AND state = 'posted'
""")
_DROP = text("""
    UPDATE cost_track SET state = 'reversed' WHERE run_key = :run_key AND state = 'pending'
""")

_PREPARED = text("""
    SELECT count(*) FROM posting_batches WHERE run_key = :run_key AND generation = :generation
""")
_BATCHES = text("""
    INSERT INTO posting_batches (run_key, generation, kind, number, connection, document)
    SELECT :run_key, :generation, given.kind, given.number, given.connection, given.document
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(kind text, number integer, connection text, document text)
""")
_LINES = text("""
    INSERT INTO postings (run_key, generation, kind, item, amount, currency)
    SELECT :run_key, :generation, given.kind, given.item, given.amount, given.currency
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(kind text, item text, amount numeric, currency text)
    RETURNING id, kind, item
""")

_ENTRIES = text("""
    SELECT version.id, version.kind, version.entry_id FROM run_entries AS claim
    JOIN entry_versions AS version ON version.id = claim.entry
    WHERE claim.run_key = :run_key AND claim.state = 'claimed'
""")
# By ids alone: joined by names, over rows that the planner takes for few, it is quadratic.
_LINKS = """
    unnest(CAST(:entries AS bigint[]), CAST(:numbers AS integer[]), CAST(:postings AS bigint[]))
        AS given(entry, number, posting)
"""
_LINK_PARTS = text(f"""
    UPDATE parts AS part SET posting = given.posting FROM {_LINKS}
    WHERE part.entry = given.entry AND part.number = given.number
        AND part.run_key || '' = :run_key AND part.posting IS NULL
""")  # noqa: S608 - constants
_LINK_COSTS = text(f"""
    UPDATE cost_track AS cost SET posting = given.posting FROM {_LINKS}
    WHERE cost.entry = given.entry AND cost.run_key || '' = :run_key AND cost.state = 'pending'
        AND cost.posting IS NULL
""")  # noqa: S608 - constants
_UNEQUAL = text("""
    SELECT count(*) FROM postings AS posting
    LEFT JOIN LATERAL (
        SELECT sum(amount) AS amount, min(currency) AS low, max(currency) AS high FROM (
            SELECT amount, currency FROM parts WHERE parts.posting = posting.id
            UNION ALL SELECT amount, currency FROM cost_track WHERE cost_track.posting = posting.id
        ) AS either
    ) AS stands_for ON true
    WHERE posting.run_key = :run_key AND posting.generation = :generation
        AND (posting.amount, posting.currency, posting.currency)
        IS DISTINCT FROM (stands_for.amount, stands_for.low, stands_for.high)
""")

_GET = text("""
    SELECT batch.document FROM posting_batches AS batch
    JOIN billing_runs AS run USING (run_key, generation)
    WHERE batch.run_key = :run_key AND batch.kind = :kind AND batch.number = :number
""")

_POSTED = text("""
    UPDATE postings AS posting
    SET state = 'live', external_id = given.external_id, posted_at = now(), removed_at = NULL
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(item text, external_id text)
    WHERE posting.run_key = :run_key AND posting.generation = :generation
        AND posting.kind = :kind AND posting.item = given.item
        AND (posting.external_id IS NULL OR posting.external_id = given.external_id)
""")
_COST = text("""
    UPDATE cost_track AS cost SET state = 'posted' FROM postings AS posting
    WHERE posting.id = cost.posting AND posting.run_key = :run_key AND posting.kind = 'costs'
        AND posting.generation = :generation AND posting.state = 'live' AND cost.state = 'pending'
""")
_REMOVED = text("""
    UPDATE postings SET state = 'removed', removed_at = now()
    WHERE run_key = :run_key AND kind = :kind AND state = 'live'
        AND (CAST(:ids AS text[]) IS NULL OR external_id = ANY(CAST(:ids AS text[])))
    RETURNING id
""")
_UNCOST = text("""
    UPDATE cost_track SET state = 'reversed'
    WHERE posting = ANY(CAST(:ids AS bigint[])) AND state = 'posted'
""")

_LISTED = text("""
    SELECT posting.item, posting.amount, posting.currency, posting.state,
        coalesce(posting.external_id, '') AS external_id, version.kind, version.entry_id,
        coalesce(part.number, 0) AS number
    FROM postings AS posting
    JOIN billing_runs AS run USING (run_key, generation)
    LEFT JOIN parts AS part ON part.posting = posting.id
    LEFT JOIN cost_track AS cost ON cost.posting = posting.id
    LEFT JOIN entry_versions AS version ON version.id = coalesce(part.entry, cost.entry)
    WHERE posting.run_key = :run_key AND posting.kind = :kind
    ORDER BY posting.id, version.entry_id, part.number
""")


class RunTracks:
    """What of a run stands in the ERP."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self, run_key: str, batches: Sequence[PreparedBatch]) -> None:
        """Keep the batches that the run will post; those of an earlier try stay as they are.

        Raises:
            Conflict: a line is not the sum of what it stands for, or two stand for the same.
        """
        async with self._database.transaction() as session:
            run = await active_run(session, "prepare", run_key)
            key = {"run_key": run_key, "generation": run.generation}
            if not batches or (await session.execute(_PREPARED, key)).scalar_one():
                return
            require(run, "preparing postings", "placed")
            rows = as_rows(batch.model_dump(mode="json", exclude={"lines"}) for batch in batches)
            await session.execute(_BATCHES, {**key, "rows": rows})
            lines = [(batch.kind, line) for batch in batches for line in batch.lines]
            rows = as_rows(
                {"kind": kind, "item": line.item, **line.amount.model_dump(mode="json")}
                for kind, line in lines
            )
            made = (await session.execute(_LINES, {**key, "rows": rows})).all()
            entries = (await session.execute(_ENTRIES, {"run_key": run_key})).all()
            postings = {(row.kind, row.item): row.id for row in made}
            ids = {(row.kind, row.entry_id): row.id for row in entries}
            for of, statement in (("charges", _LINK_PARTS), ("costs", _LINK_COSTS)):
                links = [
                    (
                        ids.get((part.entry.kind, part.entry.id)),
                        part.number,
                        postings[of, line.item],
                    )
                    for kind, line in lines
                    if kind == of
                    for part in line.parts
                ]
                await _link(session, statement, run_key, links)
            if (await session.execute(_UNEQUAL, key)).scalar_one():
                raise Conflict(f"{run_key}: a line is not the sum of what it stands for")

    async def batch(self, run_key: str, kind: Kind, number: int, model: type[M]) -> M:
        """Return one batch as it was prepared.

        Raises:
            NotFound: the run has no such batch.
        """
        values = {"run_key": run_key, "kind": kind, "number": number}
        row = await self._database.first(_GET, values)
        if row is None:
            raise NotFound(f"{run_key} has no batch {number} of {kind}")
        return model.model_validate_json(row.document)

    async def charges_posted(self, run_key: str, external_ids: Mapping[str, str]) -> None:
        """Put down that charges stand in the ERP: external id by item; the same twice is once.

        Raises:
            Conflict: the run prepared no such item, or it stands under another id.
        """
        await self._posted(run_key, "charges", external_ids)

    async def costs_posted(self, run_key: str, external_ids: Mapping[str, str]) -> None:
        """Put down that costs stand in the ERP: external id by item; the same twice is once.

        Raises:
            Conflict: the run prepared no such item, or it stands under another id.
        """
        await self._posted(run_key, "costs", external_ids)

    async def charges_removed(self, run_key: str, external_ids: Sequence[str] | None = None) -> int:
        """Put down that charges are gone from the ERP, these or all of the run; count them."""
        return await self._removed(run_key, "charges", external_ids)

    async def costs_reversed(self, run_key: str, external_ids: Sequence[str] | None = None) -> int:
        """Put down that costs were reversed in the ERP, these or all of the run; count them."""
        return await self._removed(run_key, "costs", external_ids)

    async def lines(self, run_key: str, kind: Kind) -> tuple[PostingLine, ...]:
        """Return the run's lines with what each stands for, in the order of posting."""
        found: dict[str, PostingLine] = {}
        for row in await self._database.rows(_LISTED, {"run_key": run_key, "kind": kind}):
            known = found.get(row.item)
            parts = known.parts if known else ()
            if row.entry_id is not None:
                ref = EntryRef(kind=EntryKind(row.kind), id=row.entry_id)
                parts = (*parts, PartRef(entry=ref, number=row.number))
            amount = Money(amount=row.amount, currency=row.currency)
            found[row.item] = PostingLine.model_validate(
                {**row._mapping, "amount": amount, "parts": parts}
            )
        return tuple(found.values())

    async def _posted(self, run_key: str, kind: Kind, external_ids: Mapping[str, str]) -> None:
        async with self._database.transaction() as session:
            run = await active_run(session, f"post_{kind}", run_key)
            require(run, f"posting {kind}", "placed", "handed_over")
            key = {"run_key": run_key, "generation": run.generation}
            rows = as_rows(
                {"item": item, "external_id": external_id}
                for item, external_id in external_ids.items()
            )
            result = await session.execute(_POSTED, {**key, "kind": kind, "rows": rows})
            if result.rowcount != len(external_ids):
                raise Conflict(f"{run_key}: {kind} were posted that it did not prepare")
            if kind == "costs":
                await session.execute(_COST, key)

    async def _removed(self, run_key: str, kind: Kind, external_ids: Sequence[str] | None) -> int:
        values = {"run_key": run_key, "kind": kind}
        ids = None if external_ids is None else list(external_ids)
        async with self._database.transaction() as session:
            if await locked_run(session, f"remove_{kind}", run_key) is None:
                return 0
            removed = await session.execute(_REMOVED, {**values, "ids": ids})
            gone = list(removed.scalars())
            if kind == "costs":
                await session.execute(_UNCOST, {"ids": gone})
        return len(gone)

    @staticmethod
    async def _pend_costs(
        session: AsyncConnection, run_key: str, rated: Mapping[int, Rated]
    ) -> None:
        rows = [
            {
                "id": id_,
                "legal_entity": each.cost.legal_entity,
                "amount": each.cost.amount.amount,
                "currency": each.cost.amount.currency,
                "rate": each.cost.rate and each.cost.rate.rate,
                "rate_source": each.cost.rate.source if each.cost.rate else "",
                "rate_from": each.cost.rate and each.cost.rate.valid_from,
            }
            for id_, each in rated.items()
            if each.cost is not None
        ]
        if rows:
            await session.execute(_PENDING, {"run_key": run_key, "rows": as_rows(rows)})

    @staticmethod
    async def _drop_costs(session: AsyncConnection, run_key: str) -> None:
        if (await session.execute(_POSTED_LEFT, {"run_key": run_key})).scalar_one():
            raise Conflict(f"{run_key}: its costs stand in the ERP and have to be reversed first")
        await session.execute(_DROP, {"run_key": run_key})


async def _link(
    session: AsyncConnection,
    statement: TextClause,
    run_key: str,
    links: Sequence[tuple[int | None, int, int]],
) -> None:
    """Say of parts or costs (entry, number) which posting stands for them.

    Raises:
        Conflict: one of them is not there, or another posting stands for it.
    """
    if not links:
        return
    entries, numbers, postings = map(list, zip(*links, strict=True))
    values = {"run_key": run_key, "entries": entries, "numbers": numbers, "postings": postings}
    result = await session.execute(statement, values)
    if result.rowcount != len(links):
        raise Conflict(f"{run_key}: a line stands for what is not there, or stood for")
