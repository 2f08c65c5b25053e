"""The plan of a deal that is ready: every request, for every seeded deal."""

from decimal import Decimal

import pytest

from canonical.deal import Address, Deal, DealLinks
from canonical.money import Money
from canonical.opportunity import OpportunityToProjectPlan
from canonical.provisioning import BillingType, contract_value
from policies.bundle import Bundle
from policies.planning import plan_opportunity
from tests.support.deals import (
    END,
    START,
    TODAY,
    deal,
    line,
    record_id,
    seeded,
    tm_us,
    us_client,
)


def planned(deal: Deal, bundle: Bundle, **corrections: str) -> OpportunityToProjectPlan:
    return plan_opportunity(deal, bundle, corrections=corrections, today=TODAY)


def dollars(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


# slug: amount, (entity, subsidiary, price, billing type)..., PSA template, rate card, milestones,
# reasons of the finance gate
READY: list[tuple[str, str, list[tuple[str, str, str, str]], str, str, int, tuple[str, ...]]] = [
    (
        "tm-us",
        "180,000.00 USD",
        [("US", "2", "180000", "time_and_materials")],
        "77",
        "5",
        0,
        (),
    ),
    (
        "fixed-de",
        "250,000.00 EUR",
        [("DE", "3", "250000", "fixed_bid_milestone")],
        "77",
        "6",
        3,
        (),
    ),
    (
        "retainer-gb",
        "60,000.00 GBP",
        [("DE", "3", "60000", "charge_based")],
        "78",
        "7",
        0,
        (),
    ),
    # three types of line in one project bill as a mix
    (
        "mixed-jp",
        "26,000,000 JPY",
        [("JP", "4", "26000000", "charge_based")],
        "77",
        "8",
        2,
        (),
    ),
    # two legal entities, one project each
    (
        "two-entity",
        "450,000.00 USD",
        [
            ("US", "2", "300000", "time_and_materials"),
            ("DE", "3", "150000", "fixed_bid_milestone"),
        ],
        "77",
        "5",
        2,
        (),
    ),
    (
        "duplicate-client",
        "90,000.00 USD",
        [("US", "2", "90000", "time_and_materials")],
        "77",
        "5",
        0,
        (),
    ),
    (
        "ambiguous-client",
        "75,000.00 USD",
        [("US", "2", "75000", "time_and_materials")],
        "77",
        "5",
        0,
        ("the client has no tax id",),
    ),
    (
        "other-subsidiary",
        "110,000.00 USD",
        [("US", "2", "110000", "time_and_materials")],
        "77",
        "5",
        0,
        (),
    ),
    (
        "terms-differ",
        "80,000.00 EUR",
        [("DE", "3", "80000", "time_and_materials")],
        "77",
        "6",
        0,
        ("terms NET60 are not DE's NET30",),
    ),
    (
        "emoji-rtl",
        "120,000.00 USD",
        [("US", "2", "120000", "time_and_materials")],
        "77",
        "5",
        0,
        (),
    ),
    (
        "waiver",
        "130,000.00 USD",
        [("US", "2", "130000", "time_and_materials")],
        "77",
        "5",
        0,
        (),
    ),
    (
        "second-deal",
        "40,000.00 USD",
        [("US", "2", "40000", "time_and_materials")],
        "77",
        "5",
        0,
        (),
    ),
    (
        "high-value",
        "2,500,000.00 USD",
        [("US", "2", "2500000", "time_and_materials")],
        "77",
        "5",
        0,
        ("value 2,500,000.00 USD is over 1,000,000 USD",),
    ),
]
READY_SLUGS = [row[0] for row in READY]


class TestSeededDeals:
    @pytest.mark.parametrize(
        ("slug", "amount", "projects", "template", "rate_card", "milestones", "reasons"), READY
    )
    def test_a_ready_deal_is_planned(
        self,
        bundle: Bundle,
        slug: str,
        amount: str,
        projects: list[tuple[str, str, str, str]],
        template: str,
        rate_card: str,
        milestones: int,
        reasons: tuple[str, ...],
    ) -> None:
        plan = planned(seeded(slug), bundle)
        assert plan.amount == amount
        assert [
            (each.item, each.subsidiary, str(each.price.amount.to_integral()), each.billing_type)
            for each in plan.erp_projects
        ] == projects
        assert (plan.psa_project.template, plan.psa_project.rate_card) == (template, rate_card)
        assert len(plan.milestones.milestones if plan.milestones else ()) == milestones
        assert plan.gate_reasons == reasons

    @pytest.mark.parametrize("slug", READY_SLUGS)
    def test_the_parts_add_up_to_the_contract(self, bundle: Bundle, slug: str) -> None:
        source, plan = seeded(slug), planned(seeded(slug), bundle)
        whole = plan.psa_project.price
        assert whole == Money(amount=source.contract_amount or Decimal(0), currency=source.currency)
        prices = tuple(project.price for project in plan.erp_projects)
        budgets = tuple(task.budget for task in plan.tasks.tasks)
        assert contract_value(prices, whole.currency) == whole
        assert contract_value(budgets, whole.currency) == whole

    @pytest.mark.parametrize("slug", READY_SLUGS)
    def test_the_plan_survives_history(self, bundle: Bundle, slug: str) -> None:
        plan = planned(seeded(slug), bundle)
        assert OpportunityToProjectPlan.model_validate_json(plan.model_dump_json()) == plan


class TestPlan:
    def test_it_tells_what_work_items_and_search_need(self, bundle: Bundle) -> None:
        plan = planned(tm_us(), bundle)
        assert plan.title == "Northwind Robotics – ERP rollout"
        assert plan.bundle == bundle.hash
        assert plan.client_id == record_id("001", 1)
        assert plan.legal_entities == ("US",)
        assert (plan.deal_id, plan.deal_version) == (tm_us().id, tm_us().version)

    def test_every_connection_in_use_has_a_route(self, bundle: Bundle) -> None:
        plan = planned(tm_us(), bundle)
        assert {name: route.queue for name, route in plan.routes.items()} == {
            "salesforce": "vendor.salesforce",
            "kantata": "vendor.kantata",
            "netsuite": "vendor.netsuite",
        }

    def test_the_client_is_matched_and_provided_alike(self, bundle: Bundle) -> None:
        plan = planned(tm_us(), bundle)
        (match,), (client,) = plan.matches, plan.clients
        assert match.item == client.item == "netsuite"
        assert match.client_key == client.client_key == plan.psa_client.client_key
        assert match.client_key == f"client/salesforce/{record_id('001', 1)}"
        assert (match.subsidiary, match.currency, match.country) == ("2", "USD", "US")
        assert (client.name, client.tax_id) == ("Northwind Robotics", "12-3456789")
        assert (client.subsidiary, client.currency, client.payment_terms) == ("2", "USD", "NET30")
        assert client.address.city == "New York"

    def test_the_client_is_made_in_the_first_entity_and_opened_to_each(
        self, bundle: Bundle
    ) -> None:
        plan = planned(seeded("two-entity"), bundle)
        assert [client.subsidiary for client in plan.clients] == ["2"]
        assert [(each.item, each.subsidiary) for each in plan.client_entities] == [
            ("US", "2"),
            ("DE", "3"),
        ]
        assert [each.currency for each in plan.client_currencies] == ["USD"]
        assert [each.item for each in plan.link_erp_projects] == ["US", "DE"]

    def test_entities_in_two_erps_have_a_client_in_each(self, bundle: Bundle) -> None:
        entities = bundle.policies.legal_entities
        german = entities["DE"].model_copy(update={"erp": "sap"})
        policies = bundle.policies.model_copy(update={"legal_entities": {**entities, "DE": german}})
        plan = planned(seeded("two-entity"), Bundle(policies, "h"))
        assert [(each.connection, each.subsidiary) for each in plan.clients] == [
            ("netsuite", "2"),
            ("sap", "3"),
        ]
        assert [each.connection for each in plan.erp_projects] == ["netsuite", "sap"]
        assert [each.item for each in plan.client_currencies] == ["netsuite", "sap"]
        assert set(plan.routes) == {"salesforce", "kantata", "netsuite", "sap"}

    def test_dimensions_follow_entity_and_template(self, bundle: Bundle) -> None:
        plan = planned(seeded("retainer-gb"), bundle)
        dimensions = plan.erp_projects[0].dimensions
        assert (dimensions.department, dimensions.business_class, dimensions.location) == (
            "10",
            "21",
            "31",
        )

    def test_each_line_is_a_task_and_each_instalment_a_milestone(self, bundle: Bundle) -> None:
        plan = planned(seeded("fixed-de"), bundle)
        (task,) = plan.tasks.tasks
        assert (task.ref, task.type, task.billable) == (record_id("00k", 21), "fixed_fee", True)
        assert (task.start, task.due) == (START, END)
        assert plan.milestones is not None
        assert [each.ref for each in plan.milestones.milestones] == [
            f"{task.ref}/{record_id('00o', number)}" for number in (211, 212, 213)
        ]
        assert [(each.line, each.title, each.due) for each in plan.tasks.milestones] == [
            (task.ref, each.title, each.due) for each in plan.milestones.milestones
        ]
        assert [int(each.amount.amount) for each in plan.milestones.milestones] == [
            75_000,
            100_000,
            75_000,
        ]

    def test_titles_are_one_line_and_bounded(self, bundle: Bundle) -> None:
        source = tm_us()
        odd = source.lines[0].model_copy(update={"title": "Design\n\x00 and  build" + "!" * 500})
        task = planned(source.model_copy(update={"lines": (odd,)}), bundle).tasks.tasks[0]
        assert task.title.startswith("Design and build!!")
        assert len(task.title) == 200

    def test_the_write_back_waits_for_ids(self, bundle: Bundle) -> None:
        plan = planned(tm_us(), bundle)
        assert plan.write_back.links == DealLinks(integration_status="Provisioned")
        assert plan.write_back.deal_id == tm_us().id

    def test_project_codes_differ_where_ids_differ_by_case_alone(self, bundle: Bundle) -> None:
        one, other = (
            tm_us().model_copy(update={"id": id_})
            for id_ in ("006DT00000000aBEAQ", "006DT00000000AbEAQ")
        )
        assert planned(one, bundle).project_code != planned(other, bundle).project_code

    def test_names_go_through_unchanged(self, bundle: Bundle) -> None:
        plan = planned(seeded("emoji-rtl"), bundle)
        assert plan.psa_project.name == "🚀 Café Ωmega – مشروع التحول 🌍"
        assert plan.clients[0].name == "שלום 🚀 Café Ωmega"


class TestBillingType:
    @pytest.mark.parametrize(
        ("types", "expected"),
        [
            (("time_and_materials",), BillingType.TIME_AND_MATERIALS),
            (("fixed_fee",), BillingType.FIXED_BID_MILESTONE),
            (("managed_services",), BillingType.FIXED_BID_INTERVAL),
            (("retainer",), BillingType.CHARGE_BASED),
            (("outcome_based",), BillingType.CHARGE_BASED),
            # two lines of one type are no mix
            (("fixed_fee", "fixed_fee"), BillingType.FIXED_BID_MILESTONE),
            (("fixed_fee", "time_and_materials"), BillingType.CHARGE_BASED),
        ],
    )
    def test_it_follows_from_the_lines(
        self, bundle: Bundle, types: tuple[str, ...], expected: BillingType
    ) -> None:
        lines = tuple(line(number, type_, 1_000) for number, type_ in enumerate(types, 1))
        source = deal(1, "A deal", us_client(1, "A client", "12-3456789"), *lines)
        assert planned(source, bundle).erp_projects[0].billing_type == expected


class TestFinanceGate:
    @pytest.mark.parametrize(
        ("amount", "over"), [("1000000", False), ("1000000.01", True), ("999999.99", False)]
    )
    def test_the_limit_itself_passes(self, bundle: Bundle, amount: str, over: bool) -> None:
        value = Decimal(amount)
        only = tm_us().lines[0].model_copy(update={"amount": value})
        source = tm_us().model_copy(
            update={"lines": (only,), "amount": value, "contract_amount": value}
        )
        assert bool(planned(source, bundle).gate_reasons) is over

    @pytest.mark.parametrize(
        ("country", "tax_id", "reason"),
        [
            ("DE", "DE129273398", ""),
            ("DE", "DE129273399", "the client's tax id cannot be one of its country"),
            ("DE", "de 129 273 398", ""),
            ("US", "12-3456789", ""),
            ("US", "1234", "the client's tax id cannot be one of its country"),
            ("GB", "GB980780684", ""),
            ("JP", "T7000012050002", ""),
            ("JP", "T7000012050003", "the client's tax id cannot be one of its country"),
            ("CH", "CHE123456788MWST", ""),
            ("EE", "EE100931558", ""),
            # a country without a rule: anything but nothing
            ("AQ", "42", ""),
            ("", "42", ""),
            ("DE", "", "the client has no tax id"),
            ("US", " - ", "the client's tax id cannot be one of its country"),
        ],
    )
    def test_a_tax_id_that_cannot_be_right_is_a_reason_and_no_refusal(
        self, bundle: Bundle, country: str, tax_id: str, reason: str
    ) -> None:
        buyer = us_client(1, "A client", tax_id).model_copy(
            update={"address": Address(country=country)}
        )
        plan = planned(tm_us().model_copy(update={"client": buyer}), bundle)
        assert plan.gate_reasons == ((reason,) if reason else ())

    def test_an_entity_that_does_not_ask_for_tax_ids_lets_a_missing_one_pass(
        self, bundle: Bundle
    ) -> None:
        american = bundle.policies.tax["US"].model_copy(update={"tax_id_required": False})
        tax = {**bundle.policies.tax, "US": american}
        policies = bundle.policies.model_copy(update={"tax": tax})
        assert planned(seeded("ambiguous-client"), Bundle(policies, "h")).gate_reasons == ()

    @pytest.mark.parametrize("wanted", [False, True])
    def test_whether_new_clients_need_it_is_policy(self, bundle: Bundle, wanted: bool) -> None:
        approvals = bundle.policies.approvals.model_copy(update={"new_client": wanted})
        policies = bundle.policies.model_copy(update={"approvals": approvals})
        assert planned(tm_us(), Bundle(policies, "h")).gate_new_client is wanted


class TestMoney:
    @pytest.mark.parametrize("written", ["180000", "180000.0", "180000.00", "1.8E+5"])
    def test_one_amount_has_one_form(self, bundle: Bundle, written: str) -> None:
        value = Decimal(written)
        only = tm_us().lines[0].model_copy(update={"amount": value})
        source = tm_us().model_copy(
            update={"lines": (only,), "amount": value, "contract_amount": value}
        )
        plan = planned(source, bundle)
        assert plan.psa_project.price == dollars("180000.00")
        assert plan.request_hashes == planned(tm_us(), bundle).request_hashes
