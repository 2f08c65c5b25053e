"""Fees: milestones and scheduled lines, reserved against their contract's value (DESIGN 4).

Reserving waits for others on the same contract line, so that no two fees count on the same
remainder. What has been taken of a line is its fees and its `to_bill` parts, net of credits.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.fees import ContractStanding, Fee, FeeSource, FeeStanding, FeeState
from canonical.money import Money
from store.audit import ENGINE
from store.billing_session import begin, note
from store.database import AnyRow, Database
from store.errors import Conflict, NotFound
from store.fee_holds import STANDING, FeeHolds, standing_of

ContractKey = tuple[str, str]
"""Engagement and ref of the contract line."""

_CURRENCY = text("""
    SELECT line.value ->> 'currency' AS currency
    FROM engagements, jsonb_array_elements(lines) AS line(value)
    WHERE id = :engagement AND line.value ->> 'ref' = :line
    ORDER BY effective_from DESC LIMIT 1
""")

# What was invoiced stays counted as invoiced; what was credited of it is counted beside. What was
# written off is none of these, and a write-down is final once its invoice is issued.
_TAKEN = text("""
    SELECT billed.currency,
        coalesce(sum(billed.amount) FILTER (WHERE state IN ('placed', 'reserved', 'handed_over')),
            0) AS reserved,
        coalesce(sum(billed.amount) FILTER (WHERE state IN ('drafted', 'released')), 0) AS drafted,
        coalesce(sum(billed.amount - billed.written_down)
            FILTER (WHERE state IN ('invoiced', 'credited')), 0) AS invoiced,
        coalesce(sum(billed.credited), 0) AS credited
    FROM (
        SELECT part.state, part.amount, part.currency, member.credited,
            coalesce(member.written_down, 0) AS written_down
        FROM billing_runs AS run JOIN parts AS part USING (run_key)
        JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
        LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
        WHERE run.engagement = :engagement AND rating.line = :line
            AND part.disposition = 'to_bill'
            AND NOT EXISTS (SELECT FROM set_asides AS aside
                WHERE aside.part = part.id AND aside.kind = 'written_off')
        UNION ALL
        SELECT fee.state, fee.amount, fee.currency, member.credited,
            coalesce(member.written_down, 0)
        FROM fees AS fee LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
        WHERE fee.engagement = :engagement AND fee.line = :line AND fee.state <> 'returned'
            AND NOT EXISTS (SELECT FROM set_asides AS aside
                WHERE aside.fee = fee.id AND aside.kind = 'written_off')
    ) AS billed
    GROUP BY billed.currency
""")

_OF_LINE = text(f"""
    {STANDING} WHERE fee.engagement = :engagement AND fee.line = :line
        AND fee.state <> 'returned' ORDER BY fee.id
""")
_OF_RUN = text(f"{STANDING} WHERE fee.run = :run ORDER BY fee.id")
_ONE = text(f"{STANDING} WHERE fee.id = :id")
_LIVE = text("""
    SELECT id, run, state, amount, currency, withdrawn FROM fees
    WHERE source = :source AND item = :item AND cycle = :cycle AND state <> 'returned' FOR UPDATE
""")
_INSERT = text("""
    INSERT INTO fees (source, item, cycle, engagement, line, psa, project_id, client_id, period,
        amount, currency, run, document)
    VALUES (:source, :item, :cycle, :engagement, :line, :psa, :project_id, :client_id, :period,
        :amount, :currency, :run, :document)
    RETURNING id
""")
_LOCK_RUN = text("SELECT id, state, source, item FROM fees WHERE run = :run ORDER BY id FOR UPDATE")
_MOVE_RUN = text("""
    UPDATE fees SET state = :to, moved_at = now() WHERE run = :run AND state = 'reserved'
""")


class FeeStore(FeeHolds):
    """Reserves fees, hands them over, gives them back, and says what a contract line has left."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, engagement: str, line: str) -> ContractStanding:
        """Return what has been taken of a contract line, and by which fees.

        Raises:
            NotFound: no engagement has that line, and nothing was ever taken of it.
        """
        async with self._database.transaction() as session:
            return await _standing(session, engagement, line)

    async def reserve(
        self, run: str, fee: Fee, *, limit: Money | None = None, others: Sequence[ContractKey] = ()
    ) -> int:
        """Reserve a fee for the run that bills it, and return its id.

        `limit` is the most that may be taken of the contract line and of `others`, the lines that
        share its ceiling; None: no limit. The same run again gets the same id.

        Raises:
            Conflict: the limit would be exceeded, the item is billed already in this cycle, or
                another amount was reserved under it; with the figures.
        """
        lines = sorted({(fee.engagement, fee.line), *others})
        async with self._database.transaction() as session:
            await begin(session, "reserve", *(f"contract:{e}/{line}" for e, line in lines))
            live = (await session.execute(_LIVE, _item(fee.source, fee.item, fee.cycle))).first()
            if live is not None:
                refused = _another(live, run, fee)
            else:
                refused = await _over(session, fee, lines, limit)
            if not refused:
                id_ = int(live.id) if live is not None else await _insert(session, run, fee)
            facts = {"run": run, "amount": fee.amount.amount, "currency": fee.amount.currency}
            if refused:
                subject = [_subject(fee.source, fee.item)]
                await note(session, subject, ENGINE, "reserve_refused", **facts, because=refused)
            elif live is None:
                subject = [_subject(fee.source, fee.item)]
                await note(session, subject, ENGINE, "reserve", **facts, fee=id_)
        if refused:
            raise Conflict(refused)
        return id_

    async def release(self, run: str) -> int:
        """Give back what a run reserved (its undo), and return how much that was.

        Raises:
            Conflict: a fee of it was handed over: it is billed, or withdrawn.
        """
        return await self._run(run, "release", FeeState.RETURNED)

    async def hand_over(self, run: str) -> tuple[int, ...]:
        """Let drafting take the run's fees, and return their ids; again: the same.

        Raises:
            NotFound: the run reserved nothing, or gave it back.
        """
        await self._run(run, "hand_over", FeeState.HANDED_OVER)
        found = [each for each in await self.of_run(run) if each.state is not FeeState.RETURNED]
        if not found:
            raise NotFound(f"{run} has reserved no fee")
        return tuple(each.id for each in found)

    async def get(self, fee: int) -> FeeStanding:
        """Return one fee.

        Raises:
            NotFound: there is none of that id.
        """
        row = await self._database.first(_ONE, {"id": fee})
        if row is None:
            raise NotFound(f"there is no fee {fee}")
        return standing_of(row)

    async def of_run(self, run: str) -> tuple[FeeStanding, ...]:
        """Return every fee that a run ever reserved, returned ones too."""
        return tuple(standing_of(row) for row in await self._database.rows(_OF_RUN, {"run": run}))

    async def _run(self, run: str, act: str, to: FeeState) -> int:
        async with self._database.transaction() as session:
            await begin(session, act)
            rows = (await session.execute(_LOCK_RUN, {"run": run})).all()
            beyond = [r for r in rows if r.state not in {FeeState.RESERVED, FeeState.RETURNED}]
            if beyond and to is FeeState.RETURNED:
                raise Conflict(f"{run}: fee {beyond[0].item} is {beyond[0].state} already")
            moved = await session.execute(_MOVE_RUN, {"run": run, "to": to.value})
            subjects = [_subject(r.source, r.item) for r in rows if r.state == FeeState.RESERVED]
            if subjects:
                await note(session, subjects, ENGINE, act, run=run)
        return moved.rowcount


async def _insert(session: AsyncConnection, run: str, fee: Fee) -> int:
    values = {
        **fee.model_dump(
            include={"item", "cycle", "engagement", "line", "psa", "project_id"}
            | {"client_id", "period"}
        ),
        "source": fee.source.value,
        "amount": fee.amount.amount,
        "currency": fee.amount.currency,
        "run": run,
        "document": fee.model_dump_json(),
    }
    return int((await session.execute(_INSERT, values)).scalar_one())


async def _over(
    session: AsyncConnection, fee: Fee, lines: Iterable[ContractKey], limit: Money | None
) -> str:
    """Say by how much a fee exceeds what is left; empty: it does not."""
    if limit is None:
        return ""
    taken = Decimal(0)
    for engagement, line in lines:
        for row in await session.execute(_TAKEN, {"engagement": engagement, "line": line}):
            if row.currency != limit.currency:
                return f"{engagement} line {line} is billed in {row.currency}, not {limit.currency}"
            taken += row.reserved + row.drafted + row.invoiced - row.credited
    if fee.amount.currency != limit.currency:
        return f"{fee.item} is in {fee.amount.currency}, the contract in {limit.currency}"
    after = taken + fee.amount.amount
    if after <= limit.amount:
        return ""
    known = Money(amount=taken, currency=limit.currency)
    over = Money(amount=after - limit.amount, currency=limit.currency)
    return f"{known} of {limit} is taken: {fee.item} with {fee.amount} exceeds it by {over}"


def _another(live: AnyRow, run: str, fee: Fee) -> str:
    """Say why a live fee of the same item stands in the way; empty: it is this very one."""
    amount = Money(amount=live.amount, currency=live.currency)
    if live.run != run:
        return (
            f"{fee.item} is {live.state} already in cycle {fee.cycle}, with {amount} by {live.run}"
        )
    if amount != fee.amount:
        return f"{fee.item} was reserved with {amount}, not {fee.amount}: release it first"
    return ""


async def _standing(session: AsyncConnection, engagement: str, line: str) -> ContractStanding:
    key = {"engagement": engagement, "line": line}
    taken = (await session.execute(_TAKEN, key)).first()
    currency = (await session.execute(_CURRENCY, key)).scalar()
    if taken is not None:
        currency = taken.currency
    if currency is None:
        raise NotFound(f"engagement {engagement} has no line {line}")
    rows = (await session.execute(_OF_LINE, key)).all()
    fees = sorted((standing_of(row) for row in rows), key=lambda each: (each.fee.sequence, each.id))
    sums = {
        name: Money(amount=getattr(taken, name) if taken else Decimal(0), currency=currency)
        for name in ("reserved", "drafted", "invoiced", "credited")
    }
    return ContractStanding(engagement=engagement, line=line, fees=tuple(fees), **sums)


def _item(source: FeeSource, item: str, cycle: int) -> dict[str, object]:
    return {"source": source.value, "item": item, "cycle": cycle}


def _subject(source: str, item: str) -> str:
    return f"fee/{source}/{item}"
