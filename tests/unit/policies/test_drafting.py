"""Grouping and lines of drafts: what shares an invoice, what shares a line, exact sums."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.drafts import Billable, DraftState
from canonical.engagement import BillingMethod
from canonical.money import Money
from policies.arithmetic import product
from policies.bundle import Bundle, load_bundle
from policies.drafting import draft_of, groups_of, is_due
from policies.invoicing_schema import GroupBy, Timing
from tests.support.drafts import NOW, TODAY, fee, hours, money

BUNDLE = load_bundle(None)


def invoicing(**changes: object) -> Bundle:
    """Return the bundle with other terms for Germany."""
    policies = BUNDLE.policies
    terms = policies.invoicing.entities["DE"].model_copy(update=changes)
    entities = {**policies.invoicing.entities, "DE": terms}
    changed = policies.invoicing.model_copy(update={"entities": entities})
    return replace(BUNDLE, policies=policies.model_copy(update={"invoicing": changed}))


def test_one_invoice_has_one_client_entity_currency_system_and_po() -> None:
    same = hours(1, 60)
    others = [
        same.model_copy(update={"erp_client_id": "6002"}),
        same.model_copy(update={"legal_entity": "US"}),
        hours(1, 60, currency="USD"),
        same.model_copy(update={"method": BillingMethod.BILLING_ENGINE}),
        same.model_copy(update={"client_po": "PO-1"}),
        same.model_copy(update={"client_po": "PO-2"}),
        same.model_copy(update={"cycle": 2}),
        same.model_copy(update={"period": "2026-12"}),
    ]
    assert len(groups_of([same, hours(2, 30), *others], BUNDLE)) == 1 + len(others)


@pytest.mark.parametrize(
    ("by", "drafts"),
    [
        (GroupBy.PROJECT, 2),
        (GroupBy.CLIENT, 1),
        (GroupBy.CLIENT_PO, 1),
        (GroupBy.CONTRACT_LINE, 3),
    ],
)
def test_grouping_decides_what_else_shares_an_invoice(by: GroupBy, drafts: int) -> None:
    billables = [
        hours(1, 60),
        hours(2, 60, line="L2"),
        hours(3, 60, project_id="5002", line="L3"),
    ]
    assert len(groups_of(billables, invoicing(group_by=by))) == drafts


def test_a_clients_own_grouping_comes_before_the_entitys() -> None:
    bundle = invoicing(clients={"001": GroupBy.CLIENT})
    assert len(groups_of([hours(1, 60), hours(2, 60, project_id="5002")], bundle)) == 1


def test_charges_of_two_projects_never_share_an_invoice() -> None:
    charged = {"method": BillingMethod.ERP_CHARGES}
    billables = [hours(1, 60, **charged), hours(2, 60, project_id="5002", **charged)]
    assert len(groups_of(billables, invoicing(group_by=GroupBy.CLIENT))) == 2


def test_hours_of_one_person_and_rate_are_one_line_and_expenses_stand_alone() -> None:
    billables = [
        hours(1, 60),
        hours(2, 30),
        hours(3, 45, rate="110.00", person="sam.okoro@example.com", role="Analyst"),
        hours(4, 0, kind="expense", amount=money("41.20"), rate=None, narrative="Taxi"),
        fee(9, "1000.00"),
    ]
    (group,) = groups_of(billables, BUNDLE)
    lines = draft_of(group, 1, BUNDLE, TODAY, NOW).lines
    assert [(line.kind, line.quantity, line.unit_price, str(line.amount)) for line in lines] == [
        ("fee", Decimal(1), Decimal("1000.00"), "1,000.00 EUR"),
        ("time", Decimal("1.5"), Decimal(165), "247.50 EUR"),
        ("time", Decimal("0.75"), Decimal(110), "82.50 EUR"),
        ("expense", Decimal(1), Decimal("41.20"), "41.20 EUR"),
    ]
    assert [str(line.expected_tax) for line in lines] == [
        "190.00 EUR",
        "47.03 EUR",
        "15.68 EUR",
        "7.83 EUR",
    ]


def test_a_charge_is_a_line_as_it_was_posted() -> None:
    charged = {"method": BillingMethod.ERP_CHARGES, "charge": "dt-1"}
    (group,) = groups_of([hours(1, 7, **charged), hours(2, 13, **charged)], BUNDLE)
    (line,) = draft_of(group, 1, BUNDLE, TODAY, NOW).lines
    # 7 minutes are 19.25, 13 minutes 35.75: 20 minutes at 165.
    assert (line.charge, line.amount) == ("dt-1", money("55.00"))
    assert len(line.bills) == 2


MINUTES = st.integers(min_value=1, max_value=600)
RATES = st.decimals(min_value="1", max_value="999", places=4)


@given(
    entries=st.lists(st.tuples(MINUTES, RATES), min_size=1, max_size=12),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_lines_sum_to_what_they_bill_and_quantity_times_price_is_the_amount(
    entries: list[tuple[int, Decimal]], currency: str
) -> None:
    billables = [
        hours(number, minutes, rate=str(rate), currency=currency)
        for number, (minutes, rate) in enumerate(entries, start=1)
    ]
    (group,) = groups_of(billables, BUNDLE)
    draft = draft_of(group, 1, BUNDLE, TODAY, NOW)
    assert draft.net.amount == sum(each.amount.amount for each in billables)
    assert sorted(ref.id for line in draft.lines for ref in line.bills) == [
        each.ref.id for each in billables
    ]
    for line in draft.lines:
        assert Money.rounded(product(line.quantity, line.unit_price), currency) == line.amount


@given(order=st.permutations([hours(1, 60), hours(2, 30), fee(3, "10.00"), hours(4, 15)]))
def test_the_same_billables_make_the_same_draft_in_any_order(order: list[Billable]) -> None:
    (group,) = groups_of(order, BUNDLE)
    (usual,) = groups_of(sorted(order, key=lambda each: each.ref.id), BUNDLE)
    made, known = (draft_of(each, 1, BUNDLE, TODAY, NOW) for each in (group, usual))
    assert made.content_hash == known.content_hash


def test_more_than_a_thousand_lines_make_two_drafts() -> None:
    billables = [fee(number, "1.00") for number in range(1, 1_202)]
    sizes = [len(group.billables) for group in groups_of(billables, BUNDLE)]
    assert sizes == [1_000, 201]


def test_what_the_issuing_system_takes_on_an_invoice_cuts_its_drafts_alone() -> None:
    bundle = replace(BUNDLE, billing_engine="stripe")
    by_engine = [
        fee(number, "1.00", method=BillingMethod.BILLING_ENGINE) for number in range(1, 602)
    ]
    by_erp = [fee(number, "1.00", client_po="PO-1") for number in range(602, 1_000)]

    def taken(billables: list[Billable]) -> list[list[int]]:
        groups = groups_of(billables, bundle, {"stripe": 250}.get)
        return [[each.ref.id for each in group.billables] for group in groups]

    cut = taken([*by_engine, *by_erp])

    assert sorted(map(len, cut)) == [101, 250, 250, 398]
    assert taken([*reversed(by_erp), *reversed(by_engine)]) == cut


def test_approvers_are_preparers_and_the_review_has_a_deadline() -> None:
    (group,) = groups_of([hours(1, 60), hours(2, 60, approved_by=("zoe@example.com",))], BUNDLE)
    draft = draft_of(group, 1, BUNDLE, TODAY, NOW)
    assert draft.preparers == ("maya.chen@example.com", "zoe@example.com")
    assert draft.state is DraftState.IN_REVIEW
    assert draft.review_until == datetime(2026, 12, 7, 12, tzinfo=UTC)


def test_a_client_may_skip_review_but_not_for_a_rebill() -> None:
    review = BUNDLE.policies.invoicing.entities["DE"].review
    bundle = invoicing(review=review.model_copy(update={"skip_clients": ("001",)}))
    (group,) = groups_of([hours(1, 60)], bundle)
    assert draft_of(group, 1, bundle, TODAY, NOW).state is DraftState.QUEUED
    (group,) = groups_of([hours(1, 60, cycle=2, in_review=True)], bundle)
    assert draft_of(group, 1, bundle, TODAY, NOW).state is DraftState.IN_REVIEW


def test_time_waits_for_its_cutoff_and_fees_do_not() -> None:
    # The cutoff of November is 3 December, 18:00 in Berlin: 17:00 UTC.
    before = datetime(2026, 12, 3, 16, 59, tzinfo=UTC)
    after = datetime(2026, 12, 3, 17, 0, tzinfo=UTC)
    assert not is_due(hours(1, 60), BUNDLE, before)
    assert is_due(hours(1, 60), BUNDLE, after)
    assert is_due(fee(1, "10.00"), BUNDLE, before)
    assert is_due(hours(1, 60), invoicing(time=Timing.AT_ONCE), before)


def test_a_name_that_is_no_id_still_makes_one() -> None:
    bundle = invoicing(group_by=GroupBy.CLIENT_PO)
    one, two = (
        groups_of([hours(1, 60, client_po=po)], bundle)[0].prefix for po in ("PO/7 a", "PO/7:a")
    )
    assert one != two
    assert one.startswith("invoice-draft/DE/6001/EUR/po-PO-7-a-")
