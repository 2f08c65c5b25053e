"""Credits: who may, up to how much, and how they fall on what an invoice bills."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.credit_invoice import CreditedAmount
from canonical.drafts import BillableKind, BillableRef
from canonical.invoicing import (
    Application,
    ApplicationKind,
    CreditReason,
    Invoice,
    InvoiceStatus,
    IssuedLine,
)
from canonical.lifecycle import InvoicedLine, InvoiceState, LeftToCredit, TrackedInvoice
from canonical.money import Money
from canonical.records import RecordRef
from policies.bundle import load_bundle
from policies.credits import (
    Worked,
    may_approve,
    may_ask,
    may_explain,
    may_refuse,
    native_credits,
    net_of,
    not_creditable,
    work_out,
)
from policies.queue_case import Actor

INVOICING = load_bundle(None).policies.invoicing
RECORD = RecordRef(system="netsuite", type="invoice", id="9001")
INES = Actor("ines", frozenset({"finance"}), "ines@example.com")
CARA = Actor("cara", frozenset({"controller"}))
ADA = Actor("ada", frozenset({"admin"}))
OLGA = Actor("olga", frozenset({"operator"}))
VERA = Actor("vera", frozenset({"viewer"}))
CONCESSION = CreditReason.CONCESSION


def usd(value: object) -> Money:
    return Money(amount=Decimal(str(value)), currency="USD")


def left(line: int, id_: int, billed: object, taken: object = 0) -> LeftToCredit:
    ref = BillableRef(kind=BillableKind.PART, id=id_)
    return LeftToCredit(line=line, bills=ref, billed=usd(billed), taken=usd(taken))


def invoice(*numbers: int) -> TrackedInvoice:
    """Return an invoice with these lines, and one that somebody added in the ERP."""
    lines = tuple(
        InvoicedLine(
            number=number,
            item=str(number) if number else "",
            issued=IssuedLine(id=str(number), amount=usd(0), tax=usd(0)),
            expected=usd(0),
            credited=usd(0),
        )
        for number in (*numbers, 0)
    )
    return TrackedInvoice(
        record=RECORD,
        draft="invoice-draft/1",
        external_id="dt-1",
        number="INV-1",
        on=date(2026, 11, 30),
        currency="USD",
        legal_entity="US",
        client_id="C1",
        net=usd(0),
        tax=usd(0),
        gross=usd(0),
        remaining=usd(0),
        state=InvoiceState.ISSUED,
        lines=lines,
        seen_at=datetime(2026, 11, 30, tzinfo=UTC),
    )


def want(line: int, amount: object) -> CreditedAmount:
    return CreditedAmount(line=line, amount=usd(amount))


def work(members: list[LeftToCredit], *wanted: CreditedAmount) -> Worked:
    numbers = sorted({each.line for each in members})
    return work_out(invoice(*numbers), members, wanted, CONCESSION)


# What is credited.


def test_a_part_of_a_line_takes_what_it_bills_in_its_order() -> None:
    (line,) = work([left(1, 7, 100, 30), left(1, 8, 50), left(2, 9, 10)], want(1, 90)).lines
    assert (line.line, line.item, line.amount, line.reason) == (1, "1", usd(90), CONCESSION)
    assert [(part.bills.id, part.amount) for part in line.parts] == [(7, usd(70)), (8, usd(20))]


def test_nothing_named_is_everything_that_is_left() -> None:
    worked = work([left(1, 7, 100, 30), left(2, 9, 10, 10), left(3, 11, 5)])
    assert [(line.line, line.amount) for line in worked.lines] == [(1, usd(70)), (3, usd(5))]
    assert worked.net == usd(75)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (want(1, "70.01"), "line 1: 70.00 USD of it is left to credit, not 70.01 USD"),
        (want(1, 0), "line 1: credit more than 0"),
        (want(1, -5), "line 1: credit more than 0"),
        (want(4, 1), "invoice INV-1 has no line 4; it has 1, 2"),
        (want(0, 1), "invoice INV-1 has no line 0; it has 1, 2"),
    ],
)
def test_what_is_not_there_to_credit_is_refused(wanted: CreditedAmount, why: str) -> None:
    worked = work([left(1, 7, 100, 30), left(2, 9, 10)], wanted)
    assert worked.refused == (why,)
    assert worked.lines == ()


def test_another_currency_and_a_line_named_twice_are_refused() -> None:
    euro = CreditedAmount(line=1, amount=Money(amount=Decimal(1), currency="EUR"))
    assert work([left(1, 7, 100)], euro).refused == ("the invoice is in USD, not EUR",)
    twice = work([left(1, 7, 100)], want(1, 60), want(1, 60))
    assert twice.refused == ("it names a line twice: add the amounts up",)


def test_when_all_is_credited_nothing_is_left() -> None:
    worked = work([left(1, 7, 100, 100)])
    assert worked.refused == ("nothing is left of invoice INV-1 to credit",)


def test_a_deduction_inside_a_line_is_no_part_of_what_can_be_credited() -> None:
    (line,) = work([left(1, 7, 100), left(1, 8, -20)]).lines
    assert line.amount == usd(80)
    assert [(part.bills.id, part.amount) for part in line.parts] == [(7, usd(80))]


def test_a_line_that_deducts_counts_against_the_whole() -> None:
    members = [left(1, 7, 100), left(2, 8, -20)]
    refused = work(members, want(1, "80.01")).refused[0]
    assert "has 80.00 USD left to credit, and this is 80.01 USD: what line 2 deducts" in refused
    assert work(members, want(1, 80)).net == usd(80)


def test_the_whole_of_an_invoice_with_deductions_is_what_was_invoiced() -> None:
    members = [left(1, 7, 100), left(2, 8, "33.33"), left(3, 9, "-20")]
    worked = work(members)
    assert [(line.line, line.amount) for line in worked.lines] == [(1, usd(85)), (2, usd("28.33"))]
    assert worked.net == usd("113.33")
    credited = [left(1, 7, 100, 85), left(2, 8, "33.33", "28.33"), left(3, 9, "-20")]
    assert work(credited).refused == ("nothing is left of invoice INV-1 to credit",)


def test_a_deduction_cuts_the_lines_of_its_own_project_first() -> None:
    def of(project: str, each: LeftToCredit) -> LeftToCredit:
        return each.model_copy(update={"project_id": project})

    members = [of("a", left(1, 7, 100)), of("b", left(2, 8, 50)), of("b", left(3, 9, -20))]
    assert [line.amount for line in work(members).lines] == [usd(100), usd(30)]
    more = [*members[:2], of("b", left(3, 9, -60))]
    assert [line.amount for line in work(more).lines] == [usd(90)]


@given(
    st.lists(st.tuples(st.integers(1, 9_999), st.sampled_from("abc")), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 9_999), st.sampled_from("abc")), min_size=1, max_size=3),
)
def test_the_whole_is_never_more_nor_less_than_was_invoiced(
    billed: list[tuple[int, str]], deducted: list[tuple[int, str]]
) -> None:
    members = [
        left(number, number, Decimal(sign * cents) / 100).model_copy(update={"project_id": of})
        for number, (sign, cents, of) in enumerate(
            [*((1, *each) for each in billed), *((-1, *each) for each in deducted)], start=1
        )
    ]
    whole = sum((each.billed.amount for each in members), Decimal(0))
    worked = work(members)
    assert bool(worked.refused) == (whole <= 0)
    if not worked.refused:
        assert worked.net.amount == whole
        assert all(part.amount.amount > 0 for line in worked.lines for part in line.parts)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 5_000), st.integers(0, 5_000)), min_size=1
    ),
    st.integers(1, 20_000),
)
def test_parts_sum_to_the_line_and_none_exceeds_what_is_left(
    given_: list[tuple[int, int, int]], asked: int
) -> None:
    members = [
        left(line, id_, Decimal(billed) / 100, Decimal(min(taken, billed)) / 100)
        for id_, (line, billed, taken) in enumerate(given_)
    ]
    open_ = {each.bills.id: each.open for each in members}
    line = given_[0][0]
    worked = work(members, want(line, Decimal(asked) / 100))
    whole = sum(each.open for each in members if each.line == line)
    assert bool(worked.refused) == (Decimal(asked) / 100 > whole)
    for each in worked.lines:
        assert sum(part.amount.amount for part in each.parts) == each.amount.amount
        assert all(0 < part.amount.amount <= open_[part.bills.id] for part in each.parts)


# Who may.


@pytest.mark.parametrize(
    ("actor", "net", "others", "why"),
    [
        (INES, 5_000, [], ""),
        (INES, 5_001, [], "ines may credit up to 5,000.00 USD, and this is 5,001.00 USD"),
        (INES, 3_000, [2_500], "this is 5,500.00 USD with 1 earlier on the invoice"),
        (CARA, 1_000_000, [], ""),
        (ADA, 1, [], "ada may credit up to 0.00 USD"),
        (OLGA, 1, [], "olga has not the role for approving a credit"),
        (None, 1, [], "is not in dealthread.toml"),
    ],
)
def test_who_approves_how_much(actor: Actor | None, net: int, others: list[int], why: str) -> None:
    others_ = [usd(each) for each in others]
    refused = may_approve(actor, "somebody", "olga", usd(net), others_, INVOICING)
    assert bool(refused) == bool(why)
    assert why in "".join(refused)


@pytest.mark.parametrize("asked_by", ["INES", "ines@example.com"])
def test_who_asked_does_not_approve(asked_by: str) -> None:
    refused = may_approve(INES, "ines", asked_by, usd(1), [], INVOICING)
    assert refused == ("ines asked for it: somebody else of finance approves it",)


def test_asking_refusing_and_explaining_want_a_role_and_a_reason() -> None:
    assert may_ask(OLGA, "olga", "late") == ()
    assert may_ask(OLGA, "olga", "  ") == ("it needs a reason: say why",)
    assert "vera has not the role" in may_ask(VERA, "vera", "late")[0]
    assert may_refuse(INES, "ines", "no") == ()
    assert may_refuse(INES, "ines", "") == ("a refusal needs a reason: say why",)
    assert may_explain(INES, "ines") == ()
    assert "olga has not the role" in may_explain(OLGA, "olga")[0]
    assert "is not in dealthread.toml" in may_explain(None, "x")[0]


# What the issuing system says.


def applied(id_: str, amount: object, **more: object) -> Application:
    values: dict[str, object] = {
        "id": id_,
        "kind": ApplicationKind.CREDIT,
        "amount": usd(amount),
        "on": date(2026, 11, 30),
    }
    return Application.model_validate({**values, **more})


def issued(*applications: Application, status: InvoiceStatus = InvoiceStatus.OPEN) -> Invoice:
    """Return an invoice of 1,000 net and 1,190 gross."""
    return Invoice(
        record=RECORD,
        status=status,
        number="INV-1",
        currency="USD",
        net=usd(1000),
        tax=usd(190),
        gross=usd(1190),
        remaining=usd(0),
        applications=applications,
    )


def test_credits_made_there_take_their_net_share() -> None:
    native = applied("7", 119)
    assert not_creditable(issued(native), usd(900)) == ()
    (why,) = not_creditable(issued(native), usd("900.02"))
    assert why == (
        "900.00 USD net of invoice INV-1 is left in netsuite, where credits of 100.00 are applied, "
        "and this is 900.02 USD"
    )
    payment = applied("8", 1190, kind=ApplicationKind.PAYMENT)
    assert not_creditable(issued(payment), usd(1000)) == ()


def test_the_credit_itself_does_not_count_against_it() -> None:
    own = applied("7", 1190, external_id="dt-own")
    assert not_creditable(issued(own), usd(1000), "dt-own") == ()
    assert not_creditable(issued(own), usd(1000)) != ()


@pytest.mark.parametrize(
    "status", sorted(set(InvoiceStatus) - {InvoiceStatus.OPEN, InvoiceStatus.SETTLED})
)
def test_what_is_not_issued_is_not_credited(status: InvoiceStatus) -> None:
    assert not_creditable(issued(status=status), usd(1)) == (
        f"invoice INV-1 is {status} in netsuite",
    )


def test_net_of_a_gross_amount_is_rounded_once() -> None:
    assert net_of(usd("0.03"), usd(1000), usd(1190)) == usd("0.03")
    assert net_of(usd(119), usd(1000), usd(1190)) == usd(100)
    assert net_of(usd(5), usd(0), usd(0)) == usd(0)


def test_native_credits_are_those_that_nobody_of_ours_made() -> None:
    native = applied("1", 10)
    others = (
        applied("2", 10, external_id="dt-2"),
        applied("3", 10),
        applied("4", 10, kind=ApplicationKind.PAYMENT),
        applied("5", 10, kind=ApplicationKind.WRITE_OFF),
    )
    assert native_credits((native, *others), frozenset({"3"})) == (native,)
