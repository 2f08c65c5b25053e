"""Drafts and billables to try policies with: one client, one project, hours of two people."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from canonical.drafts import Billable, BillableKind, BillableRef, Draft, DraftState
from canonical.engagement import BillingMethod
from canonical.entries import EntryKind, EntryRef
from canonical.money import Money
from policies.bundle import Bundle
from policies.drafting import draft_of, groups_of

NOW = datetime(2026, 12, 4, 12, tzinfo=UTC)
TODAY = date(2026, 12, 4)


def money(amount: str, currency: str = "EUR") -> Money:
    """Return an amount."""
    return Money(amount=Decimal(amount), currency=currency)


def hours(number: int, minutes: int, rate: str | None = "165.00", **more: Any) -> Billable:
    """Return hours of one entry, rated."""
    hourly = Decimal(rate or 0)
    amount = Money.rounded(Decimal(minutes) * hourly / 60, more.pop("currency", "EUR"))
    given: dict[str, Any] = {
        "ref": BillableRef(kind=BillableKind.PART, id=number),
        "engagement": "salesforce/006",
        "line": "L1",
        "psa": "kantata",
        "project_id": "5001",
        "client_id": "001",
        "legal_entity": "DE",
        "erp": "netsuite",
        "erp_project_id": "7001",
        "erp_client_id": "6001",
        "method": BillingMethod.ERP_LINES,
        "amount": amount,
        "period": "2026-11",
        "kind": "time",
        "entry": EntryRef(kind=EntryKind.TIME, id=str(number)),
        "minutes": minutes,
        "rate": Decimal(rate) if rate else None,
        "person": "luca.rossi@example.com",
        "role": "Consultant",
        "narrative": f"Work {number}",
        "start": date(2026, 11, number % 28 + 1),
        "end": date(2026, 11, number % 28 + 1),
        "tax_category": "services-standard",
        "approved_by": ("maya.chen@example.com",),
        **more,
    }
    return Billable(**given)


def fee(number: int, amount: str, currency: str = "EUR", **more: Any) -> Billable:
    """Return a milestone's amount."""
    return hours(
        number,
        0,
        **{
            "ref": BillableRef(kind=BillableKind.FEE, id=number),
            "amount": money(amount, currency),
            "kind": "milestone",
            "entry": None,
            "fee": f"kantata/{number}",
            "rate": None,
            "person": "",
            "role": "",
            "narrative": f"Milestone {number}",
            **more,
        },
    )


def draft(bundle: Bundle, *billables: Billable, **changes: Any) -> Draft:
    """Return the one draft of these billables, in the queue unless it is changed."""
    (group,) = groups_of(billables, bundle)
    made = draft_of(group, 1, bundle, TODAY, NOW)
    return made.model_copy(update={"state": DraftState.QUEUED, "review_until": None, **changes})
