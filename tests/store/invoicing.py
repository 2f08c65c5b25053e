"""Drafts made the plainest way, and acts on them, for tests of invoicing."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from canonical.client_pos import ClientPo, PoBasis
from canonical.draft_acts import DraftAnswer
from canonical.drafts import Billable, BillableRef, Draft, DraftLine, DraftState, LineState
from canonical.engagement import BillingMethod, Engagement
from canonical.fees import Fee, FeeSource
from canonical.invoicing import Application, ApplicationKind, Invoice, InvoiceStatus, IssuedLine
from canonical.money import Money
from canonical.records import RecordRef
from store import Store
from store.draft_change import Change, Decide, LockedDrafts
from tests.store.billing import (
    DAY,
    PERIOD,
    PROJECT,
    PSA,
    SEEN,
    contract,
    hand_over,
    time_entry,
    usd,
)

ON = date(2026, 11, 30)
NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
MAYA = "maya@example.com"
LUCA = "luca@example.com"
_acts = itertools.count(1)


def billed_contract(
    cap: object | None = None, project: str = PROJECT, client_po: str = "", **changes: object
) -> Engagement:
    """The contract of the subledger's tests, with what an invoice needs."""
    engagement = contract(cap, project=project, **changes)
    terms = {"erp": "netsuite", "erp_client_id": "501", "erp_project_id": "701"}
    lines = tuple(
        line.model_copy(update={**terms, "client_po": client_po}) for line in engagement.lines
    )
    return engagement.model_copy(update={"lines": lines})


async def billed(
    store: Store, *ids: str, number: int = 1, **changes: object
) -> tuple[Billable, ...]:
    """Take hours in, hand them over, and return what is free then."""
    project = str(changes.get("project_id", PROJECT))
    await store.entries.take_in([time_entry(id_, 60, **changes) for id_ in ids], SEEN)
    await hand_over(store, number, project)
    return await store.drafts.billables(project_id=project, on=ON)


def fee(item: str = "kantata/M1", amount: object = 1000, **changes: object) -> Fee:
    """A milestone of the fixed-fee line."""
    values: dict[str, object] = {
        "source": FeeSource.MILESTONE,
        "item": item,
        "engagement": "salesforce/006",
        "line": "FIX",
        "psa": PSA,
        "project_id": PROJECT,
        "client_id": "C1",
        "amount": usd(amount),
        "period": PERIOD,
        "sequence": 1,
        "unit_price": Decimal(str(amount)),
        "narrative": "Design accepted",
        "start": DAY,
        "end": DAY,
        "on": ON,
        "approved_by": (MAYA,),
    }
    return Fee.model_validate({**values, **changes})


def line_of(number: int, *bills: Billable) -> DraftLine:
    total = sum((each.amount.amount for each in bills), Decimal(0))
    first = bills[0]
    return DraftLine(
        number=number,
        kind="fee" if first.fee else "time",
        engagement=first.engagement,
        line=first.line,
        project_id=first.project_id,
        narrative=first.narrative,
        unit_price=total,
        amount=Money(amount=total, currency=first.amount.currency),
        start=first.start,
        end=first.end,
        bills=tuple(each.ref for each in bills),
    )


def draft_of(
    *lines: Sequence[Billable], number: int = 1, state: DraftState = DraftState.QUEUED
) -> Draft:
    """A draft with one line for each sequence of billables."""
    first = lines[0][0]
    id_ = f"invoice-draft/US/501/USD/project-{first.project_id}/{PERIOD}/{number}"
    return Draft(
        id=id_,
        state=state,
        legal_entity=first.legal_entity,
        client_id=first.client_id,
        bill_to=first.erp_client_id,
        connection="netsuite",
        erp="netsuite",
        method=BillingMethod.ERP_LINES,
        currency=first.amount.currency,
        group=f"project {first.project_id}",
        period=PERIOD,
        client_po=first.client_po,
        on=ON,
        lines=tuple(line_of(n, *bills) for n, bills in enumerate(lines, start=1)),
        preparers=(MAYA,),
        family=id_,
        reviewer=MAYA,
        review_until=NOW if state is DraftState.IN_REVIEW else None,
    )


async def opened(store: Store, *lines: Sequence[Billable], **values: object) -> Draft:
    draft = draft_of(*lines, **values)  # type: ignore[arg-type]
    assert await store.drafts.open([draft]) == (draft.id,)
    return draft


def change_of(
    locked: LockedDrafts, drafts: Iterable[Draft], act: str, made: Sequence[Draft] = ()
) -> Change:
    after = tuple(drafts)
    first = after[0] if after else locked.drafts[0]
    answer = DraftAnswer(
        taken=True, state=first.state, content_hash=first.content_hash, posting=first.posting
    )
    return Change(answer=answer, act=act, by=LUCA, drafts=after, made=tuple(made))


def deciding(
    act: str,
    decide: Callable[[Draft], Draft],
    made: Callable[[Draft], Sequence[Draft]] | None = None,
) -> Decide:
    """An act that makes one draft another, and counts its version."""

    def answer(locked: LockedDrafts) -> Change:
        (draft, *_) = locked.drafts
        after = decide(draft).model_copy(update={"version": draft.version + 1})
        return change_of(locked, [after], act, made(draft) if made else ())

    return answer


async def act(store: Store, id_: str, decide: Decide, *more: str) -> DraftAnswer:
    return await store.drafts.change([id_, *more], decide, act_id=f"A{next(_acts)}")


def released(draft: Draft) -> Draft:
    return draft.model_copy(
        update={
            "state": DraftState.RELEASED,
            "released_by": LUCA,
            "released_at": NOW,
            "released_hash": draft.content_hash,
            "posting": draft.posting + 1,
        }
    )


def returned(draft: Draft) -> Draft:
    return draft.model_copy(
        update={
            "state": DraftState.QUEUED,
            "released_by": "",
            "released_hash": "",
            "returned": "closed",
        }
    )


def off(
    state: LineState, *numbers: int, until: date | None = None, empty: DraftState | None = None
) -> Callable[[Draft], Draft]:
    """Take lines off a draft; all of them end it."""

    def change(draft: Draft) -> Draft:
        update = {"state": state, "because": "asked for", "deferred_until": until}
        lines = tuple(
            line.model_copy(update=update) if line.number in numbers else line
            for line in draft.lines
        )
        new = draft.model_copy(update={"lines": lines})
        if not new.live_lines:
            new = new.model_copy(update={"state": empty or DraftState.EMPTY, "review_until": None})
        return new

    return change


def written_down(number: int, amount: object) -> Callable[[Draft], Draft]:
    def change(draft: Draft) -> Draft:
        def down(line: DraftLine) -> DraftLine:
            left = usd(line.amount.amount - Decimal(str(amount)))
            return line.model_copy(
                update={"amount": left, "unit_price": left.amount, "written_down": usd(amount)}
            )

        lines = (down(line) if line.number == number else line for line in draft.lines)
        return draft.model_copy(update={"lines": tuple(lines)})

    return change


def split_off(*numbers: int) -> Decide:
    def made(draft: Draft) -> Sequence[Draft]:
        lines = [line for line in draft.live_lines if line.number in numbers]
        renumbered = (line.model_copy(update={"number": n}) for n, line in enumerate(lines, 1))
        return [draft.model_copy(update={"id": "", "version": 1, "lines": tuple(renumbered)})]

    return deciding("split", off(LineState.MOVED, *numbers), made)


def merge(locked: LockedDrafts) -> Change:
    draft, other = locked.drafts
    first = max(line.number for line in draft.lines) + 1
    added = tuple(
        line.model_copy(update={"number": n}) for n, line in enumerate(other.live_lines, first)
    )
    numbers = [line.number for line in other.live_lines]
    ended = off(LineState.MOVED, *numbers, empty=DraftState.MERGED)(other)
    after = [
        draft.model_copy(update={"lines": (*draft.lines, *added), "version": draft.version + 1}),
        ended.model_copy(update={"version": other.version + 1}),
    ]
    return change_of(locked, after, "merge")


def refusing(locked: LockedDrafts) -> Change:
    (draft, *_) = locked.drafts
    answer = DraftAnswer(
        taken=False,
        reasons=("not now",),
        state=draft.state,
        content_hash=draft.content_hash,
    )
    return Change(answer=answer, act="release", by=MAYA)


async def release(store: Store, id_: str) -> Draft:
    answer = await act(store, id_, deciding("release", released))
    assert answer.taken
    return await store.drafts.get(id_)


def po(
    amount: object, number: str = "PO-1", basis: PoBasis = PoBasis.NET, **changes: object
) -> ClientPo:
    values: dict[str, object] = {
        "client_id": "C1",
        "number": number,
        "amount": usd(amount),
        "basis": basis,
        "valid_from": date(2026, 1, 1),
    }
    return ClientPo.model_validate({**values, **changes})


def item(number: int) -> str:
    return f"line-{number}"


def invoice_of(
    draft: Draft, id_: str = "9001", paid: Mapping[str, object] | None = None, **changes: object
) -> Invoice:
    """The draft as the ERP issued it, with 10 percent of tax on top."""
    net = draft.net.amount
    tax = (net / 10).quantize(Decimal("0.01"))
    applied = tuple(
        Application(id=name, kind=ApplicationKind.PAYMENT, amount=usd(amount), on=ON)
        for name, amount in (paid or {}).items()
    )
    remaining = net + tax - sum((each.amount.amount for each in applied), Decimal(0))
    values: dict[str, object] = {
        "record": RecordRef(system="netsuite", type="invoice", id=id_),
        "external_id": f"dt-{id_}",
        "status": InvoiceStatus.OPEN,
        "number": f"INV-{id_}",
        "currency": draft.currency,
        "net": usd(net),
        "tax": usd(tax),
        "gross": usd(net + tax),
        "remaining": usd(remaining),
        "on": ON,
        "due": date(2026, 12, 30),
        "period": "Nov 2026",
        "lines": tuple(
            IssuedLine(
                id=str(line.number),
                item=item(line.number),
                amount=line.amount,
                tax=Money.rounded(line.amount.amount / 10, draft.currency),
            )
            for line in draft.live_lines
        ),
        "applications": applied,
    }
    return Invoice.model_validate({**values, **changes})


def items_of(draft: Draft) -> dict[str, int]:
    return {item(line.number): line.number for line in draft.live_lines}


async def states(store: Store, refs: Iterable[BillableRef]) -> dict[BillableRef, str]:
    """Return where parts and fees stand in the database."""
    from sqlalchemy import text

    found = {}
    for ref in refs:
        table = "parts" if ref.kind == "part" else "fees"
        row = await store.database.first(
            text(f"SELECT state FROM {table} WHERE id = :id"), {"id": ref.id}
        )
        assert row is not None
        found[ref] = str(row.state)
    return found
