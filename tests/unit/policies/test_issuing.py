"""From a released draft to the issuing system's request, and whether its answer agrees."""

from datetime import timedelta
from decimal import Decimal

import pytest

from canonical.draft_acts import WriteDown
from canonical.draft_to_invoice import IssueInvoice
from canonical.drafts import Draft
from canonical.engagement import BillingMethod
from canonical.invoicing import Invoice, InvoiceStatus, IssuedLine
from canonical.records import RecordRef
from policies.bundle import load_bundle
from policies.issuing import (
    charges_of,
    differences,
    head_differences,
    items_of,
    provision_of,
    shares_of,
)
from policies.preflight import Standing
from policies.queue import judge
from policies.queue_case import Actor, Case
from tests.support.drafts import NOW, TODAY, draft, fee, hours, money

BUNDLE = load_bundle(None)
CHARGED = {"method": BillingMethod.ERP_CHARGES}


def written_down(of: Draft, line: int, amount: str) -> Draft:
    """Return the draft with a line written down by a controller."""
    act = WriteDown(by="cara", line=line, amount=money(amount), because="goodwill")
    actor = Actor("cara", frozenset({"controller"}))
    case = Case(actor, Standing(today=TODAY, now=NOW), BUNDLE.policies.invoicing)
    judged = judge(of, act, case)
    assert judged.draft is not None
    return judged.draft


def request(of: Draft) -> IssueInvoice:
    return IssueInvoice(
        connection=of.connection,
        draft=of.id,
        posting=1,
        method=of.method,
        currency=of.currency,
        on=of.on,
    )


def test_lines_are_asked_for_as_they_were_released() -> None:
    of = draft(BUNDLE, fee(1, "1000.00"), hours(2, 90))
    wanted = provision_of(of, request(of))
    assert [(line.item, line.quantity, line.unit_price) for line in wanted.lines] == [
        ("1", Decimal(1), Decimal("1000.00")),
        ("2", Decimal("1.5"), Decimal(165)),
    ]
    assert items_of(of) == {"1": 1, "2": 2}
    assert charges_of(of) == ()


def test_a_line_written_down_is_asked_for_at_less() -> None:
    of = written_down(draft(BUNDLE, fee(1, "1000.00")), 1, "100.00")
    (line,) = provision_of(of, request(of)).lines
    assert line.amount == money("900.00")


def test_a_charge_written_down_is_billed_whole_with_a_deduction() -> None:
    of = draft(
        BUNDLE, hours(1, 60, charge="dt-1", **CHARGED), hours(2, 60, charge="dt-2", **CHARGED)
    )
    of = written_down(of, 1, "65.00")
    lines = provision_of(of, request(of)).lines
    assert [(line.item, line.amount, line.charges) for line in lines] == [
        ("1", money("165.00"), ("dt-1",)),
        ("1-down", money("-65.00"), ()),
        ("2", money("165.00"), ("dt-2",)),
    ]
    assert sum(line.amount.amount for line in lines) == of.net.amount == Decimal("265.00")
    assert items_of(of) == {"1": 1, "1-down": 1, "2": 2}
    assert charges_of(of) == ("dt-1", "dt-2")


def test_shares_are_by_project() -> None:
    of = draft(BUNDLE, fee(1, "1000.00"), hours(2, 60))
    moved = of.lines[1].model_copy(update={"project_id": "5002"})
    of = of.model_copy(update={"lines": (of.lines[0], moved)})
    shares = shares_of(of, {"salesforce/006": "kantata"})
    assert [(each.project_id, each.net) for each in shares] == [
        ("5001", money("1000.00")),
        ("5002", money("165.00")),
    ]


def issued(*lines: IssuedLine) -> Invoice:
    net = money(str(sum((line.amount.amount for line in lines), Decimal("0.00"))))
    return Invoice(
        record=RecordRef(system="netsuite", type="invoice", id="77"),
        status=InvoiceStatus.OPEN,
        number="INV-77",
        currency="EUR",
        net=net,
        tax=money("0.00"),
        gross=net,
        remaining=net,
        lines=lines,
    )


def line(item: str, amount: str, **more: object) -> IssuedLine:
    given = {"id": f"l{item}{amount}", "item": item, "amount": money(amount), "tax": money("0.00")}
    return IssuedLine.model_validate({**given, **more})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((line("1", "1000.00"), line("2", "247.50")), ()),
        ((line("2", "247.50"), line("1", "1000.00")), ()),
        ((line("1", "1000.00"),), ("line 2 is not on it",)),
        (
            (line("1", "999.00"), line("2", "247.50")),
            ("line 1 is 999.00 EUR, released was 1,000.00 EUR",),
        ),
        (
            (line("1", "1000.00"), line("2", "247.50"), line("", "5.00", description="Fee")),
            ("5.00 EUR (Fee) was added there",),
        ),
    ],
)
def test_what_was_issued_is_compared_line_by_line(
    lines: tuple[IssuedLine, ...], says: tuple[str, ...]
) -> None:
    of = draft(BUNDLE, fee(1, "1000.00"), hours(2, 90))
    assert differences(provision_of(of, request(of)).lines, issued(*lines)) == says


def test_lines_without_our_item_are_told_by_their_charges() -> None:
    of = draft(
        BUNDLE, hours(1, 60, charge="dt-1", **CHARGED), hours(2, 30, charge="dt-2", **CHARGED)
    )
    wanted = provision_of(of, request(of)).lines
    there = (
        line("", "82.50", charges=("dt-2",)),
        line("", "165.00", charges=("dt-1",)),
    )
    assert differences(wanted, issued(*there)) == ()
    foreign = line("", "10.00", charges=("dt-9",))
    assert differences(wanted, issued(*there, foreign)) == ("10.00 EUR (l10.00) was added there",)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ()),
        ({"on": TODAY + timedelta(days=1)}, ("it is dated",)),
        ({"gross": money("1.00")}, ("do not come to 1.00 EUR",)),
        ({"currency": "USD"}, ("it is in USD, released was EUR",)),
    ],
)
def test_what_was_issued_is_compared_as_a_whole(
    changed: dict[str, object], says: tuple[str, ...]
) -> None:
    of = draft(BUNDLE, fee(1, "1000.00"))
    there = issued(line("1", "1000.00")).model_copy(update={"on": of.on, **changed})
    found = head_differences(of, there)
    assert len(found) == len(says)
    assert all(part in each for part, each in zip(says, found, strict=True))
