"""Caps and retainers: what may still be billed, and what runs have taken of it (DESIGN 5).

Rows are locked in the order of their ids, from the look until the commit. What a run takes net of
what it gives back within itself counts at once, and can be undone until it is handed over; what it
gives back net counts only then, and only against what cannot be undone any more: see
`store.subledger_balances`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.engagement import Cap, CapScope, ContractLine, Engagement
from canonical.money import Money
from canonical.rating import Disposition, Rated
from canonical.schedule_facts import ScheduleFact
from canonical.schedules import Overage, RetainerTerms
from canonical.standing import Allocation, CapStanding, RetainerStanding
from store.database import AnyRow
from store.schedule_draws import LocalDay, lock, put_down
from store.schedule_facts import facts_of
from store.subledger_session import as_rows

Allocate = Callable[
    [Sequence[Rated], Sequence[CapStanding], Sequence[RetainerStanding]], Allocation
]
"""The pure decision of `policies.allocation`, called under lock: it must be quick."""


@dataclass(frozen=True)
class Schedules:
    """How the balance of a retainer with a schedule is worked out, under lock."""

    today: Callable[[ContractLine], LocalDay]
    """Where the line's legal entity is."""
    balance: Callable[[RetainerTerms, Sequence[ScheduleFact], date], Decimal]
    """The pure decision of `policies.schedules.balance`: what is left on a day."""


_PUT_CAPS = text("""
    INSERT INTO caps AS cap (engagement, line, cap, period, scope, base, amount, currency)
    SELECT :engagement, given.line, given.cap, given.period, given.scope, given.base,
        given.amount, given.currency
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(line text, cap text, period text,
        scope text, base text, amount numeric, currency text)
    ORDER BY given.line, given.cap, given.period
    ON CONFLICT (engagement, line, cap, period) DO UPDATE
    SET base = excluded.base,
        -- A cap lowered below what is consumed lets nothing more through.
        amount = greatest(excluded.amount,
            cap.reserved + cap.drafted + cap.invoiced - cap.credited)
    WHERE (cap.base, cap.amount) IS DISTINCT FROM (excluded.base, excluded.amount)
""")

_LOCK_CAPS = text("""
    SELECT id, line, cap, period, reserved + drafted + invoiced - credited AS consumed,
        reserved + drafted + invoiced - credited - pending - relieving AS settled, amount, currency
    FROM caps WHERE engagement = :engagement AND period IN ('', :period)
    ORDER BY id FOR UPDATE
""")

_PUT_RETAINERS = text("""
    WITH told AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS told(line text, amount numeric, currency text, fed boolean)
    ), known AS (
        SELECT line, prepaid, drawn FROM retainers WHERE engagement = :engagement
    ), given AS (
        -- What a schedule has left comes on top of all that was ever drawn.
        SELECT told.line, told.currency,
            told.amount + CASE WHEN told.fed THEN coalesce(known.drawn, 0) ELSE 0 END AS prepaid
        FROM told LEFT JOIN known USING (line)
    ), put AS (
        INSERT INTO retainers AS retainer (engagement, line, prepaid, currency)
        SELECT :engagement, line, prepaid, currency FROM given ORDER BY line
        ON CONFLICT (engagement, line) DO UPDATE
        SET prepaid = greatest(excluded.prepaid, retainer.drawn), by_schedule = false
        WHERE retainer.prepaid <> excluded.prepaid OR retainer.by_schedule
        RETURNING id, line, prepaid
    )
    INSERT INTO retainer_movements (retainer, movement, amount)
    SELECT put.id, 'prepaid', put.prepaid - coalesce(known.prepaid, 0)
    FROM put LEFT JOIN known USING (line)
    WHERE put.prepaid <> coalesce(known.prepaid, 0)
""")

# A schedule that decides at its closes keeps the balance alone: nothing is counted here.
_LEAVE_TO_SCHEDULE = text("""
    UPDATE retainers SET by_schedule = true
    WHERE engagement = :engagement AND line = :line AND NOT by_schedule
""")

_LOCK_RETAINERS = text("""
    SELECT id, line, prepaid - drawn AS balance, drawn - pending - relieving AS settled, currency
    FROM retainers WHERE engagement = :engagement ORDER BY id FOR UPDATE
""")

_USES = text("""
    INSERT INTO cap_uses (part, cap, amount)
    SELECT part.id, given.cap, part.amount
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(line text, kind text, cap bigint)
    JOIN ratings AS rating ON rating.run_key = :run_key AND rating.line = given.line
    JOIN entry_versions AS version ON version.id = rating.entry AND version.kind = given.kind
    JOIN parts AS part ON part.entry = rating.entry AND part.cycle = rating.cycle
        AND part.run_key = :run_key AND part.disposition = 'to_bill'
""")

# Net over the run: what it takes, or, negative, what it gives back.
_CAP_NET = """
    SELECT used.cap AS id, sum(used.amount) AS net FROM cap_uses AS used
    JOIN parts AS part ON part.id = used.part WHERE part.run_key = :run_key GROUP BY used.cap
"""
_RETAINER_NET = """
    SELECT retainer.id, sum(part.amount) AS net FROM parts AS part
    JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    JOIN billing_runs AS run ON run.run_key = part.run_key
    JOIN retainers AS retainer ON retainer.engagement = run.engagement
        AND retainer.line = rating.line
    WHERE part.run_key = :run_key AND part.disposition = 'drawn_from_retainer'
        AND NOT retainer.by_schedule
    GROUP BY retainer.id
"""


def _change(net: str, balance: str, sets: str) -> str:
    return (
        f"WITH net AS ({net}) UPDATE {balance} AS balance SET {sets} "  # noqa: S608 - constants
        "FROM net WHERE balance.id = net.id AND net.net <> 0 RETURNING balance.id, net.net"
    )


_TAKE = """
    {0} = {0} + greatest(net.net, 0), pending = pending + greatest(net.net, 0),
    relieving = relieving + greatest(-net.net, 0)
"""
_UNDO = """
    {0} = {0} - greatest(net.net, 0), pending = pending - greatest(net.net, 0),
    relieving = relieving - greatest(-net.net, 0)
"""
_SETTLE = """
    {0} = {0} - greatest(-net.net, 0), pending = pending - greatest(net.net, 0),
    relieving = relieving - greatest(-net.net, 0)
"""
_BALANCES = ((_CAP_NET, "caps", "reserved"), (_RETAINER_NET, "retainers", "drawn"))

_MOVE = text("""
    INSERT INTO retainer_movements (retainer, movement, amount, run_key)
    SELECT given.retainer, given.movement, given.amount, :run_key
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(retainer bigint, movement text, amount numeric)
""")


async def lock_caps(
    session: AsyncConnection, engagement: Engagement, period: str
) -> tuple[CapStanding, ...]:
    """Lock the engagement's caps as they are in force, and return where they stand."""
    terms = {
        (line, cap.id, period if cap.scope is CapScope.PERIOD else ""): cap
        for line, cap in _terms(engagement)
    }
    if not terms:
        return ()
    rows = [
        {
            "line": line,
            "cap": cap_id,
            "period": of_period,
            "scope": cap.scope.value,
            "base": cap.base.value,
            "amount": cap.amount.amount,
            "currency": cap.amount.currency,
        }
        for (line, cap_id, of_period), cap in terms.items()
    ]
    await session.execute(_PUT_CAPS, {"engagement": engagement.id, "rows": as_rows(rows)})
    found = await session.execute(_LOCK_CAPS, {"engagement": engagement.id, "period": period})
    return tuple(
        CapStanding(
            id=row.id,
            cap=terms[key].model_copy(
                update={"amount": Money(amount=row.amount, currency=row.currency)}
            ),
            line=row.line,
            period=row.period,
            consumed=row.consumed,
            settled=row.settled,
        )
        for row in found
        if (key := (row.line, row.cap, row.period)) in terms
    )


async def lock_retainers(
    session: AsyncConnection, engagement: Engagement, schedules: Schedules | None = None
) -> tuple[RetainerStanding, ...]:
    """Lock the engagement's retainers as they are in force, and return where they stand.

    Of a line with a retainer's schedule the balance is the schedule's, and no other.
    """
    prepaid, decided = [], []
    retained = [line for line in engagement.lines if _is_retained(line)]
    if not retained:
        return ()
    # The rows may not be there yet to be locked.
    await lock(session, engagement.id)
    for line in retained:
        match line.schedule:
            case RetainerTerms(overage=Overage.ENTRIES):
                prepaid.append(await _fed(session, engagement.id, line, schedules))
            case RetainerTerms():
                leave = {"engagement": engagement.id, "line": line.ref}
                await session.execute(_LEAVE_TO_SCHEDULE, leave)
                decided.append(_decided_by(line, line.schedule))
            case _ if line.retainer is not None:
                prepaid.append((line, line.retainer.balance, False))
    if not prepaid:
        return tuple(decided)
    rows = [
        {"line": line.ref, "amount": money.amount, "currency": money.currency, "fed": fed}
        for line, money, fed in prepaid
    ]
    await session.execute(_PUT_RETAINERS, {"engagement": engagement.id, "rows": as_rows(rows)})
    found = await session.execute(_LOCK_RETAINERS, {"engagement": engagement.id})
    lines = {line.ref: (line, money if fed else None) for line, money, fed in prepaid}
    standings = [_standing_of(row, *lines[row.line]) for row in found if row.line in lines]
    return (*standings, *decided)


def _is_retained(line: ContractLine) -> bool:
    return line.retainer is not None or isinstance(line.schedule, RetainerTerms)


async def _fed(
    session: AsyncConnection, engagement: str, line: ContractLine, schedules: Schedules | None
) -> tuple[ContractLine, Money, bool]:
    """Return what the line's schedule has for the hours that are placed now."""
    if schedules is None or not isinstance(line.schedule, RetainerTerms):
        raise ValueError(f"line {line.ref} has a scheduled retainer, and nobody works it out")
    day = await put_down(session, engagement, line, schedules.today(line))
    facts = await facts_of(session, engagement, line.ref)
    left = schedules.balance(line.schedule, facts, day)
    return line, Money(amount=left, currency=line.schedule.currency), True


def _decided_by(line: ContractLine, terms: RetainerTerms) -> RetainerStanding:
    """Return the standing of a retainer whose schedule decides at the close what it covers."""
    nothing = Money(amount=Decimal(0), currency=terms.currency)
    return RetainerStanding(
        id=0, line=line.ref, balance=nothing, settled=Decimal(0), schedule=terms.overage
    )


def _standing_of(row: AnyRow, line: ContractLine, fed: Money | None) -> RetainerStanding:
    """Return where a retainer stands; `fed`: what its schedule has left."""
    of_line = line.retainer.overage if line.retainer is not None else Disposition.TO_BILL.value
    return RetainerStanding(
        id=row.id,
        line=row.line,
        balance=Money(amount=row.balance, currency=row.currency) if fed is None else fed,
        settled=row.settled,
        overage=of_line if fed is None else Disposition.TO_BILL.value,
        schedule=None if fed is None else Overage.ENTRIES,
    )


async def put_down_draws(
    session: AsyncConnection, engagement: Engagement, schedules: Schedules | None
) -> None:
    """Let the schedules know at once what was placed; call it after `take`, under the lock."""
    for line in engagement.lines:
        match line.schedule:
            case RetainerTerms(overage=Overage.ENTRIES) if schedules is not None:
                await put_down(session, engagement.id, line, schedules.today(line))


async def take(
    session: AsyncConnection, run_key: str, rated: Sequence[Rated], caps: Sequence[CapStanding]
) -> None:
    """Count the run's placed parts towards caps and retainers; the constraints refuse too much."""
    kinds = {(each.line, each.ref.kind): each for each in rated}
    rows = [
        {"line": line, "kind": kind.value, "cap": cap.id}
        for (line, kind), each in kinds.items()
        for cap in caps
        if cap.counts(each)
    ]
    if rows:
        await session.execute(_USES, {"run_key": run_key, "rows": as_rows(rows)})
    await _book(session, run_key, _TAKE, "drawn")


async def give_back(session: AsyncConnection, run_key: str) -> None:
    """Undo what `take` did; the run's parts are still there."""
    await _book(session, run_key, _UNDO, "undone")


async def settle(session: AsyncConnection, run_key: str) -> None:
    """Make it final: what the run took cannot be undone, what it gave back is free."""
    await _book(session, run_key, _SETTLE, "returned")


async def _book(session: AsyncConnection, run_key: str, sets: str, movement: str) -> None:
    """Change balances by the run's nets, and put down what that means for retainers."""
    for net, table, column in _BALANCES:
        statement = text(_change(net, table, sets.format(column)))
        changed = (await session.execute(statement, {"run_key": run_key})).all()
        if table == "caps":
            continue
        sign = {"drawn": -1, "undone": 1, "returned": -1}[movement]
        rows = [
            {"retainer": row.id, "movement": movement, "amount": sign * row.net}
            for row in changed
            if (row.net < 0) == (movement == "returned")
        ]
        if rows:
            await session.execute(_MOVE, {"run_key": run_key, "rows": as_rows(rows)})


def _terms(engagement: Engagement) -> list[tuple[str, Cap]]:
    """Return every cap with the line it limits; each once, the engagement's own without a line."""
    found = [("", _scoped(cap, CapScope.ENGAGEMENT)) for cap in engagement.caps]
    for line in engagement.lines:
        for cap in line.caps:
            of_line = cap.scope is not CapScope.PERIOD
            found.append((line.ref, _scoped(cap, CapScope.LINE) if of_line else cap))
    return found


def _scoped(cap: Cap, scope: CapScope) -> Cap:
    """Where a cap stands says what it limits, whatever scope it names."""
    return cap.model_copy(update={"scope": scope})
