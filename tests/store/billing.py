"""A contract, its entries, and the plainest rating and allocation, for tests of the subledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from canonical.deal import ContractLineType
from canonical.engagement import Cap, CapBase, CapScope, ContractLine, Engagement, Retainer
from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from canonical.ids import billing_run_id
from canonical.money import Money
from canonical.rating import Cost, Disposition, Part, Rated, RateUsed
from canonical.standing import Allocation, CapStanding, RetainerStanding
from store import Store

PSA = "kantata"
PROJECT = "5001"
PERIOD = "2026-11"
SEEN = datetime(2026, 11, 9, 8, 0, tzinfo=UTC)
DAY = date(2026, 11, 3)
RATE = Decimal(120)
TASKS = {"100": "TM", "101": "RET", "102": "FIX"}
BASE = {
    "TM": Disposition.TO_BILL,
    "RET": Disposition.DRAWN_FROM_RETAINER,
    "FIX": Disposition.COVERED_BY_FIXED_FEE,
}


def usd(amount: object) -> Money:
    return Money(amount=Decimal(str(amount)), currency="USD")


def run_key(number: int = 1, project: str = PROJECT) -> str:
    return billing_run_id(PSA, project, PERIOD, number)


def ref(entry_id: str, kind: EntryKind = EntryKind.TIME) -> EntryRef:
    return EntryRef(kind=kind, id=entry_id)


def time_entry(entry_id: str, minutes: int = 60, **changes: object) -> Entry:
    """An approved hour of Maya's on the line TM."""
    number = int(entry_id) if entry_id.isdigit() else 0
    values: dict[str, object] = {
        "source": PSA,
        "kind": EntryKind.TIME,
        "id": entry_id,
        "project_id": PROJECT,
        "task_id": "100",
        "person_id": "3",
        "person_email": "maya.chen@example.com",
        "role": "Principal",
        "service_date": DAY,
        "minutes": minutes,
        "currency": "USD",
        "notes": "Workshop with the client",
        "approved": True,
        "approved_by": "9",
        "approved_at": SEEN + timedelta(seconds=number),
        "submission_id": "S1",
    }
    return Entry.model_validate({**values, **changes})


def contract(
    cap: object | None = None,
    shared_cap: object | None = None,
    prepaid: object = 1000,
    project: str = PROJECT,
    **changes: object,
) -> Engagement:
    """Time and materials (with a cap), a retainer, and a fixed fee, in one engagement."""
    line_caps = () if cap is None else (Cap(id="line", amount=usd(cap)),)
    own_caps = () if shared_cap is None else (
        Cap(id="all", scope=CapScope.ENGAGEMENT, base=CapBase.ALL, amount=usd(shared_cap)),
    )  # fmt: skip
    tm = ContractLineType.TIME_AND_MATERIALS
    lines = (
        _line("TM", tm, task_ids=("100",), caps=line_caps),
        _line("RET", ContractLineType.RETAINER, retainer=Retainer(balance=usd(prepaid))),
        _line("FIX", ContractLineType.FIXED_FEE),
    )
    values: dict[str, object] = {
        "id": "salesforce/006",
        "client_id": "C1",
        "psa": PSA,
        "project_id": project,
        "effective_from": date(2026, 1, 1),
        "lines": lines,
        "caps": own_caps,
    }
    return Engagement.model_validate({**values, **changes})


def _line(line_ref: str, type_: ContractLineType, **values: object) -> ContractLine:
    return ContractLine.model_validate(
        {"ref": line_ref, "type": type_, "currency": "USD", "legal_entity": "US", **values}
    )


def rate(entries: Sequence[Entry], held: Mapping[str, HoldReason] | None = None) -> list[Rated]:
    """Rate every entry at 120 an hour, and hold those that `held` names."""
    return [_rated(entry, (held or {}).get(entry.id)) for entry in entries]


def _rated(entry: Entry, hold: HoldReason | None) -> Rated:
    minutes = entry.minutes or 0
    amount = entry.amount or Money.rounded(RATE * minutes / 60, "USD")
    line = TASKS.get(entry.task_id, "TM")
    cost = Money.rounded(Decimal(95) * minutes / 60, "USD")
    return Rated(
        ref=entry.ref,
        version=entry.version,
        line=line,
        legal_entity="US",
        minutes=minutes,
        billed_minutes=minutes,
        amount=None if hold else amount,
        base=BASE[line] if entry.billable else Disposition.NON_BILLABLE,
        cost=Cost(
            amount=cost,
            legal_entity="US",
            rate=RateUsed(rate=Decimal(95), currency="USD", source="hcm:E1003"),
        ),
        hold=hold,
        hold_detail="Ask finance for a rate." if hold else "",
    )


@dataclass
class _Balances:
    caps: Sequence[CapStanding]
    retainers: Sequence[RetainerStanding]
    taken: dict[int, Decimal] = field(default_factory=dict)
    drawn: dict[str, Decimal] = field(default_factory=dict)


def allocate(
    rated: Sequence[Rated],
    caps: Sequence[CapStanding],
    retainers: Sequence[RetainerStanding],
) -> Allocation:
    """Fill caps and draw retainers in claim order; what a negative cannot give back is over cap."""
    balances = _Balances(caps, retainers)
    return Allocation(parts=tuple(_parts(each, balances) for each in rated))


def _parts(rated: Rated, balances: _Balances) -> tuple[Part, ...]:
    assert rated.amount is not None
    if rated.base is Disposition.DRAWN_FROM_RETAINER:
        share = _drawn(rated, rated.amount.amount, balances)
    elif rated.base is Disposition.TO_BILL:
        share = _billed(rated, rated.amount.amount, balances)
    else:
        share = rated.amount.amount
    shares = [(rated.base, share)]
    if share != rated.amount.amount:
        shares.append((Disposition.OVER_CAP, rated.amount.amount - share))
        shares = [each for each in shares if each[1]]
    return tuple(
        Part(
            number=number,
            disposition=disposition,
            amount=usd(amount),
            minutes=rated.billed_minutes if number == 1 else 0,
        )
        for number, (disposition, amount) in enumerate(shares, start=1)
    )


def _billed(rated: Rated, amount: Decimal, balances: _Balances) -> Decimal:
    applying = [cap for cap in balances.caps if cap.counts(rated)]
    share = amount
    for cap in applying:
        taken = balances.taken.get(cap.id, Decimal(0))
        if amount > 0:
            share = min(share, max(cap.cap.amount.amount - cap.consumed - taken, Decimal(0)))
        else:
            share = max(share, -max(cap.settled + taken, Decimal(0)))
    for cap in applying:
        balances.taken[cap.id] = balances.taken.get(cap.id, Decimal(0)) + share
    return share


def _drawn(rated: Rated, amount: Decimal, balances: _Balances) -> Decimal:
    (retainer,) = (each for each in balances.retainers if each.line == rated.line)
    drawn = balances.drawn.get(rated.line, Decimal(0))
    if amount > 0:
        share = min(amount, max(retainer.balance.amount - drawn, Decimal(0)))
    else:
        share = max(amount, -max(retainer.settled + drawn, Decimal(0)))
    balances.drawn[rated.line] = drawn + share
    return share


async def claim(store: Store, number: int = 1, project: str = PROJECT, **values: int) -> str:
    """Claim what is approved, and return the run's key."""
    key = run_key(number, project)
    await store.runs.claim(key, PSA, project, PERIOD, **values)
    return key


async def claim_and_rate(store: Store, number: int = 1, project: str = PROJECT) -> str:
    key = await claim(store, number, project)
    await store.runs.store_rated(key, rate(await store.runs.load(key)))
    return key


async def place(store: Store, number: int = 1, project: str = PROJECT) -> str:
    key = await claim_and_rate(store, number, project)
    await store.runs.place(key, allocate, DAY)
    return key


async def hand_over(store: Store, number: int = 1, project: str = PROJECT) -> str:
    key = await place(store, number, project)
    await store.runs.hand_over(key)
    return key
