"""What is wrong with a deal: told all at once, with field, reason and owner."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.deal import Address, Deal, DealClient, DealLine, DealMilestone
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.money import AMOUNT_MAX
from canonical.opportunity import OpportunityToProjectPlan
from canonical.provisioning import contract_value
from policies.bundle import DEFAULT_BUNDLE, Bundle, load_bundle
from policies.planning import plan_opportunity
from tests.support.deals import TODAY, fixed_de, seeded, tm_us, us_client

CRM_OWNER, BUNDLE_OWNER = "salesforce", "policy bundle"


def refused(deal: Deal, bundle: Bundle, today: date = TODAY) -> FailureDetail:
    """Return why a deal is not planned."""
    with pytest.raises(StepFailed) as caught:
        plan_opportunity(deal, bundle, corrections={}, today=today)
    detail = caught.value.detail
    assert detail.kind is FailureKind.REJECTED
    assert detail.system == deal.crm
    return detail


def with_line(deal: Deal, **changes: object) -> Deal:
    """Return a deal with its first line changed."""
    first = deal.lines[0].model_copy(update=changes)
    return deal.model_copy(update={"lines": (first, *deal.lines[1:])})


def with_client(deal: Deal, **changes: object) -> Deal:
    """Return a deal with its client changed."""
    assert deal.client is not None
    return deal.model_copy(update={"client": deal.client.model_copy(update=changes)})


class TestSeededDeals:
    @pytest.mark.parametrize(
        ("slug", "reason", "field", "owner", "said"),
        [
            (
                "missing-mapping",
                "missing_mapping",
                "template",
                BUNDLE_OWNER,
                (
                    "the delivery template 'quantum' has no mapping; "
                    "known: advisory, implementation, managed."
                ),
            ),
            (
                "unsigned",
                "not_signed",
                "signed_on",
                CRM_OWNER,
                "the contract is not signed and not waived.",
            ),
            (
                "change-order",
                "amendment",
                "kind",
                CRM_OWNER,
                "it is a change order: it amends its engagement, no second project.",
            ),
            (
                "incomplete",
                "incomplete",
                "start",
                CRM_OWNER,
                "the contract's start is missing; line 1 names no legal entity.",
            ),
            (
                "bad-currency",
                "unknown_currency",
                "currency",
                CRM_OWNER,
                "there is no currency 'EUX'.",
            ),
            (
                "negative-amount",
                "invalid",
                "line 1 amount",
                CRM_OWNER,
                "line 1 amount is -5000, it must be more than zero.",
            ),
            (
                "long-name",
                "invalid",
                "name",
                CRM_OWNER,
                (
                    "the name of the opportunity has 10000 characters, at most 255 go through; "
                    "the name of the account has 10000 characters, at most 255 go through."
                ),
            ),
            (
                "no-end",
                "incomplete",
                "end",
                CRM_OWNER,
                "line 1 is fixed_fee: it needs the contract's end.",
            ),
            (
                "not-won",
                "not_won",
                "stage",
                CRM_OWNER,
                "the opportunity is not won (stage 'Negotiation/Review').",
            ),
            (
                "amount-mismatch",
                "amount_mismatch",
                "contract_amount",
                CRM_OWNER,
                "the contract's amount is 100000, the lines add up to 90000.",
            ),
        ],
    )
    def test_what_is_wrong_is_told(
        self, bundle: Bundle, slug: str, reason: str, field: str, owner: str, said: str
    ) -> None:
        detail = refused(seeded(slug), bundle)
        assert (detail.reason, detail.field, detail.owner) == (reason, field, owner)
        assert detail.message == said


class TestDeal:
    @pytest.mark.parametrize(
        ("changes", "reason", "field"),
        [
            ({"kind": "renewal"}, "amendment", "kind"),
            ({"kind": "barter"}, "incomplete", "kind"),
            ({"kind": ""}, "incomplete", "kind"),
            # the waiver counts to its last day, and not beyond
            (
                {"signed_on": None, "signature_waiver_until": date(2026, 11, 20)},
                "not_signed",
                "signature_waiver_until",
            ),
            ({"id": "006/../7"}, "invalid", "id"),
            ({"id": ""}, "invalid", "id"),
            ({"name": " \t"}, "incomplete", "name"),
            ({"name": "x" * 256}, "invalid", "name"),
            ({"name": "tab\there"}, "invalid", "name"),
            ({"name": "nul\x00here"}, "invalid", "name"),
            ({"client": None}, "incomplete", "client"),
            ({"currency": ""}, "unknown_currency", "currency"),
            ({"currency": "usd"}, "unknown_currency", "currency"),
            # a real currency that the entity does not sell in
            ({"currency": "CHF"}, "missing_mapping", "currency"),
            ({"start": None}, "incomplete", "start"),
            ({"end": date(2026, 11, 30)}, "invalid", "end"),
            ({"payment_terms": " "}, "incomplete", "payment_terms"),
            ({"payment_terms": "N" * 256}, "invalid", "payment_terms"),
            ({"project_manager_email": "a\nb"}, "invalid", "project_manager_email"),
            ({"template": ""}, "incomplete", "template"),
            ({"lines": ()}, "incomplete", "lines"),
            ({"amount": None}, "incomplete", "amount"),
            ({"amount": Decimal("180000.01")}, "amount_mismatch", "amount"),
            ({"contract_amount": None}, "incomplete", "contract_amount"),
            ({"contract_amount": Decimal("179999.99")}, "amount_mismatch", "contract_amount"),
        ],
    )
    def test_a_field_that_is_wrong_is_named(
        self, bundle: Bundle, changes: dict[str, object], reason: str, field: str
    ) -> None:
        detail = refused(tm_us().model_copy(update=changes), bundle)
        assert (detail.reason, detail.field) == (reason, field)

    @pytest.mark.parametrize(
        "changes",
        [
            {"signed_on": None, "signature_waiver_until": TODAY},
            {"name": "x" * 255},
            {"end": date(2026, 12, 1)},
            {"end": None},
            {"project_manager_email": ""},
            {"client_po": ""},
            # the deal's own entity counts only for lines that name none
            {"legal_entity": ""},
        ],
    )
    def test_what_is_just_right_goes_through(
        self, bundle: Bundle, changes: dict[str, object]
    ) -> None:
        source = tm_us().model_copy(update=changes)
        plan = plan_opportunity(source, bundle, corrections={}, today=TODAY)
        assert plan.legal_entities == ("US",)

    def test_a_line_without_entity_takes_that_of_the_deal(self, bundle: Bundle) -> None:
        source = with_line(tm_us(), legal_entity="").model_copy(update={"legal_entity": "DE"})
        plan = plan_opportunity(source, bundle, corrections={}, today=TODAY)
        assert plan.legal_entities == ("DE",)

    def test_a_bundle_decides_nothing_before_its_day(self, bundle: Bundle) -> None:
        detail = refused(tm_us(), bundle, today=date(2024, 12, 31))
        assert (detail.reason, detail.field) == ("missing_mapping", "effective")
        assert detail.owner == BUNDLE_OWNER


class TestClient:
    @pytest.mark.parametrize(
        ("changes", "reason", "field"),
        [
            ({"id": "001 7"}, "invalid", "client id"),
            ({"name": ""}, "incomplete", "client name"),
            ({"name": "x" * 256}, "invalid", "client name"),
            ({"tax_id": "1\n2"}, "invalid", "tax_id"),
            ({"billing_email": "x" * 256}, "invalid", "billing_email"),
            ({"address": Address(city="x" * 256)}, "invalid", "billing city"),
            ({"address": Address(country="EU")}, "invalid", "billing country"),
            ({"address": Address(country="Germany")}, "invalid", "billing country"),
        ],
    )
    def test_a_field_that_is_wrong_is_named(
        self, bundle: Bundle, changes: dict[str, object], reason: str, field: str
    ) -> None:
        detail = refused(with_client(tm_us(), **changes), bundle)
        assert (detail.reason, detail.field, detail.owner) == (reason, field, CRM_OWNER)

    def test_a_street_may_have_several_lines(self, bundle: Bundle) -> None:
        source = with_client(tm_us(), address=Address(street="Floor 2\r\n1 Main St", country="US"))
        plan = plan_opportunity(source, bundle, corrections={}, today=TODAY)
        assert plan.clients[0].address.street == "Floor 2\r\n1 Main St"


class TestLine:
    @pytest.mark.parametrize(
        ("changes", "reason", "field", "owner"),
        [
            ({"id": ""}, "invalid", "line 1 id", CRM_OWNER),
            ({"type": ""}, "incomplete", "line 1 type", CRM_OWNER),
            ({"type": "barter"}, "missing_mapping", "line 1 type", CRM_OWNER),
            ({"legal_entity": "FR"}, "missing_mapping", "legal_entity", BUNDLE_OWNER),
            ({"tax_category": ""}, "incomplete", "tax_category", CRM_OWNER),
            (
                {"tax_category": "services-reduced"},
                "missing_mapping",
                "tax_category",
                BUNDLE_OWNER,
            ),
            ({"amount": None}, "incomplete", "line 1 amount", CRM_OWNER),
            ({"amount": Decimal(0)}, "invalid", "line 1 amount", CRM_OWNER),
            ({"amount": Decimal("0.001")}, "invalid", "line 1 amount", CRM_OWNER),
            ({"amount": AMOUNT_MAX * 2}, "invalid", "line 1 amount", CRM_OWNER),
            ({"cap": Decimal(-1)}, "invalid", "line 1 cap", CRM_OWNER),
            (
                {"milestones": (DealMilestone(id="m1", amount=Decimal(180_000)),)},
                "invalid",
                "line 1 milestones",
                CRM_OWNER,
            ),
        ],
    )
    def test_a_field_that_is_wrong_is_named(
        self, bundle: Bundle, changes: dict[str, object], reason: str, field: str, owner: str
    ) -> None:
        detail = refused(with_line(tm_us(), **changes), bundle)
        assert (detail.reason, detail.field, detail.owner) == (reason, field, owner)

    @pytest.mark.parametrize(
        ("amounts", "reason", "field"),
        [
            ((75_000, 100_000, 74_999), "amount_mismatch", "line 1 milestones"),
            ((75_000, 100_000), "amount_mismatch", "line 1 milestones"),
            ((350_000, -100_000), "invalid", "line 1 milestone 2"),
            ((250_000, None), "incomplete", "line 1 milestone 2"),
        ],
    )
    def test_milestones_add_up_to_their_line(
        self, bundle: Bundle, amounts: tuple[int | None, ...], reason: str, field: str
    ) -> None:
        milestones = tuple(
            DealMilestone(id=f"m{number}", amount=None if each is None else Decimal(each))
            for number, each in enumerate(amounts)
        )
        detail = refused(with_line(fixed_de(), milestones=milestones), bundle)
        assert (detail.reason, detail.field) == (reason, field)

    def test_yen_have_no_decimals(self, bundle: Bundle) -> None:
        detail = refused(with_line(seeded("mixed-jp"), amount=Decimal("12000000.5")), bundle)
        assert detail.message.startswith("line 1 amount is 12000000.5: JPY has 0 decimals")

    def test_one_id_stands_for_one_line(self, bundle: Bundle) -> None:
        source = seeded("two-entity")
        twice = with_line(source, id=source.lines[1].id)
        assert refused(twice, bundle).message == (
            f"the id {source.lines[1].id!r} stands for several lines."
        )

    def test_a_sum_out_of_range_is_told(self, bundle: Bundle) -> None:
        one = tm_us().lines[0].model_copy(update={"amount": AMOUNT_MAX})
        lines = (one, one.model_copy(update={"id": "other"}))
        total = AMOUNT_MAX * 2
        source = tm_us().model_copy(
            update={"lines": lines, "amount": total, "contract_amount": total}
        )
        assert refused(source, bundle).field == "amount"


class TestManyProblems:
    def test_all_are_told_and_the_first_names_the_field(self, bundle: Bundle) -> None:
        source = with_line(seeded("unsigned"), amount=None, tax_category="")
        source = with_client(source, name="").model_copy(update={"start": None})
        detail = refused(source, bundle)
        assert (detail.reason, detail.field) == ("not_signed", "signed_on")
        assert detail.message == (
            "the contract is not signed and not waived; the contract's start is missing; "
            "the account has no name; line 1 amount is missing; "
            "line 1: the tax category '' is none of US's: services-standard, services-exempt."
        )

    def test_the_message_is_bounded(self, bundle: Bundle) -> None:
        lines = tuple(DealLine(id=f"line-{number}", type="x" * 9_999) for number in range(500))
        detail = refused(tm_us().model_copy(update={"lines": lines}), bundle)
        assert len(detail.message) <= 2001
        assert "more" in detail.message


TEXTS = st.text(max_size=300)
AMOUNTS = st.none() | st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal(100))
DATES = st.none() | st.dates()


def mostly(usual: str, *others: str) -> st.SearchStrategy[str]:
    """Return texts that often are what they should be, so that deals get far."""
    expected = st.sampled_from([usual] * 8 + list(others))
    return st.integers(0, 39).flatmap(lambda dice: TEXTS if dice == 7 else expected)


MILESTONES = st.builds(DealMilestone, id=mostly("m1", "m2"), title=TEXTS, due=DATES, amount=AMOUNTS)
LINES = st.builds(
    DealLine,
    id=mostly("l1", "l2", "l3"),
    title=TEXTS,
    offering=TEXTS,
    type=mostly("time_and_materials", "managed_services", "retainer", "fixed_fee"),
    legal_entity=mostly("DE", "US", "JP", ""),
    tax_category=mostly("services-standard"),
    quantity=AMOUNTS,
    unit_price=AMOUNTS,
    amount=AMOUNTS,
    cap=AMOUNTS,
    milestones=st.lists(MILESTONES, max_size=2).map(tuple),
)
CLIENTS = st.builds(
    DealClient,
    id=mostly("c1"),
    name=mostly("A client"),
    tax_id=mostly("12-3456789", "N/A", "", "🚀"),
    billing_email=mostly("billing@example.com", ""),
    address=st.builds(
        Address,
        street=mostly("Floor 2\n1 Main Street"),
        city=mostly("Ω"),
        country=mostly("US", "DE", "JP", "CH"),
    ),
)
DEALS = st.builds(
    Deal,
    crm=st.just("salesforce"),
    id=mostly("d1"),
    version=TEXTS,
    name=mostly("A deal"),
    kind=mostly("new", "renewal"),
    stage=TEXTS,
    won=st.sampled_from([True, True, True, False]),
    signed_on=DATES,
    signature_waiver_until=DATES,
    currency=mostly("USD", "JPY", "EUR"),
    amount=AMOUNTS,
    contract_amount=AMOUNTS,
    start=DATES,
    end=DATES,
    payment_terms=mostly("NET30"),
    legal_entity=mostly("US", ""),
    template=mostly("implementation", "advisory"),
    project_manager_email=mostly("maya.chen@example.com", ""),
    client=st.integers(0, 9).flatmap(lambda dice: st.none() if dice == 7 else CLIENTS),
    lines=st.lists(LINES, min_size=1, max_size=3).map(tuple),
)
DEFAULT = load_bundle(DEFAULT_BUNDLE)


def balanced(deal: Deal) -> Deal:
    """Return a deal whose amounts and dates agree, so that the plan itself is reached."""
    lines = tuple(
        line.model_copy(
            update={"id": f"l{number}", "amount": Decimal(100), "cap": None, "milestones": ()}
        )
        for number, line in enumerate(deal.lines)
    )
    total = Decimal(100) * len(lines)
    return deal.model_copy(
        update={
            "won": True,
            "kind": "new",
            "signed_on": TODAY,
            "start": TODAY,
            "end": None,
            "lines": lines,
            "amount": total,
            "contract_amount": total,
        }
    )


def outcome(deal: Deal) -> OpportunityToProjectPlan | FailureDetail:
    """Return the plan of a deal or why there is none."""
    try:
        return plan_opportunity(deal, DEFAULT, corrections={}, today=TODAY)
    except StepFailed as failed:
        return failed.detail


@pytest.mark.property
class TestAnyDeal:
    @given(source=DEALS | DEALS.map(balanced))
    def test_is_planned_whole_or_refused_with_a_field(self, source: Deal) -> None:
        result = outcome(source)
        if isinstance(result, FailureDetail):
            assert result.field
            assert result.reason
            assert result.owner
            return
        whole = result.psa_project.price
        assert whole.amount == source.contract_amount
        prices = tuple(project.price for project in result.erp_projects)
        assert contract_value(prices, source.currency) == whole

    @given(
        units=st.lists(st.integers(1, 10**12), min_size=1, max_size=6),
        currency=st.sampled_from(["USD", "EUR", "GBP"]),
    )
    def test_that_is_ready_loses_no_cent(self, units: list[int], currency: str) -> None:
        cents = [Decimal(each).scaleb(-2) for each in units]
        lines = tuple(
            DealLine(
                id=f"l{number}",
                type="time_and_materials",
                legal_entity="DE",
                tax_category="services-standard",
                amount=each,
            )
            for number, each in enumerate(cents)
        )
        total = sum(cents, Decimal(0))
        source = tm_us().model_copy(
            update={
                "lines": lines,
                "amount": total,
                "contract_amount": total,
                "currency": currency,
                "client": us_client(1, "A client", "12-3456789"),
            }
        )
        plan = plan_opportunity(source, DEFAULT, corrections={}, today=TODAY)
        assert plan.psa_project.price.minor_units == sum(units)
        assert sum(project.price.minor_units for project in plan.erp_projects) == sum(units)
        assert [task.budget.minor_units for task in plan.tasks.tasks] == units
