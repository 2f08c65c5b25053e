"""Salesforce rows to deals and links to bodies, without I/O."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.errors import ContractBroken
from adapters.salesforce.config import ClientCredentials, OpportunityFields, SalesforceConfig
from adapters.salesforce.mapping import (
    deal_from,
    deal_query,
    has_milestones,
    links_from,
    links_to,
    milestones_query,
)
from canonical.deal import Address, Deal, DealClient, DealLine, DealLinks, DealMilestone

AUTH = ClientCredentials(client_id="id", client_secret=SecretStr("secret"))
CONFIG = SalesforceConfig(base_url="https://example.my.salesforce.com", auth=AUTH)
OWN_NAMES = SalesforceConfig(
    base_url="https://example.my.salesforce.com",
    auth=AUTH,
    opportunity=OpportunityFields(start="Go_Live__c", integration_status="Sync_State__c"),
)
ACCOUNT = {
    "attributes": {"type": "Account"},
    "Id": "001A",
    "Name": "Café Ωmega",
    "ParentId": "001P",
    "BillingStreet": "1 High St",
    "BillingCity": "London",
    "BillingPostalCode": "EC1A",
    "BillingState": "Greater London",
    "BillingStateCode": None,
    "BillingCountryCode": "GB",
    "Tax_Id__c": "GB980780684",
    "Billing_Email__c": "ap@example.com",
}
LINE = {
    "Id": "00kA",
    "Name": "Opportunity IMPL-FF",
    "Description": "Build",
    "ProductCode": "IMPL-FF",
    "Quantity": Decimal("2.5"),
    "UnitPrice": Decimal("40000.10"),
    "TotalPrice": Decimal("100000.25"),
    "HasRevenueSchedule": True,
    "Contract_Line_Type__c": "Time and Materials",
    "Legal_Entity__c": "DE",
    "Tax_Category__c": "services-standard",
    "Cap_Amount__c": 120000,
}
MILESTONE = {
    "Id": "00oA",
    "OpportunityLineItemId": "00kA",
    "ScheduleDate": "2027-01-31",
    "Revenue": Decimal("75000.5"),
    "Description": "Design approved",
}
DEAL = {
    "Id": "006A",
    "Name": "Rollout",
    "StageName": "Closed Won",
    "IsWon": True,
    "Amount": Decimal("100000.25"),
    "CurrencyIsoCode": "EUR",
    "SystemModstamp": "2026-10-20T10:00:00.000+0000",
    "Deal_Kind__c": "Change Order",
    "Contract_Signed_Date__c": "2026-10-15",
    "Signature_Waiver_Until__c": None,
    "Contract_Amount__c": 100000,
    "Contract_Start__c": "2026-12-01",
    "Contract_End__c": None,
    "Payment_Terms__c": "NET30",
    "Client_PO__c": "PO-1",
    "Legal_Entity__c": "DE",
    "Delivery_Template__c": "implementation",
    "Project_Manager_Email__c": "maya.chen@example.com",
    "Account": ACCOUNT,
}


def read(
    changes: dict[str, Any] | None = None,
    lines: tuple[dict[str, Any], ...] = (LINE,),
    milestones: tuple[dict[str, Any], ...] = (MILESTONE,),
) -> Deal:
    return deal_from({**DEAL, **(changes or {})}, lines, milestones, CONFIG, "salesforce")


def test_every_field_of_a_deal_is_mapped() -> None:
    assert read() == Deal(
        crm="salesforce",
        id="006A",
        version="2026-10-20T10:00:00.000+0000",
        name="Rollout",
        kind="change_order",
        stage="Closed Won",
        won=True,
        signed_on=date(2026, 10, 15),
        currency="EUR",
        amount=Decimal("100000.25"),
        contract_amount=Decimal(100000),
        start=date(2026, 12, 1),
        payment_terms="NET30",
        client_po="PO-1",
        legal_entity="DE",
        template="implementation",
        project_manager_email="maya.chen@example.com",
        client=DealClient(
            id="001A",
            name="Café Ωmega",
            tax_id="GB980780684",
            billing_email="ap@example.com",
            parent_id="001P",
            address=Address(
                street="1 High St",
                city="London",
                postal_code="EC1A",
                region="Greater London",
                country="GB",
            ),
        ),
        lines=(
            DealLine(
                id="00kA",
                title="Build",
                offering="IMPL-FF",
                type="time_and_materials",
                legal_entity="DE",
                tax_category="services-standard",
                quantity=Decimal("2.5"),
                unit_price=Decimal("40000.10"),
                amount=Decimal("100000.25"),
                cap=Decimal(120000),
                milestones=(
                    DealMilestone(
                        id="00oA",
                        title="Design approved",
                        due=date(2027, 1, 31),
                        amount=Decimal("75000.5"),
                    ),
                ),
            ),
        ),
    )


def test_what_is_empty_or_missing_is_empty() -> None:
    bare = deal_from({"Id": "006A", "Account": None}, [], [], CONFIG, "salesforce")

    assert bare == Deal(crm="salesforce", id="006A")


def test_a_state_code_comes_before_the_state_s_name() -> None:
    deal = read({"Account": {**ACCOUNT, "BillingStateCode": "NY"}})

    assert deal.client is not None
    assert deal.client.address.region == "NY"


def test_milestones_go_to_the_line_that_they_belong_to() -> None:
    other = {**LINE, "Id": "00kB", "HasRevenueSchedule": False}
    deal = read(lines=(LINE, other), milestones=(MILESTONE, {**MILESTONE, "Id": "00oB"}))

    assert [[each.id for each in line.milestones] for line in deal.lines] == [["00oA", "00oB"], []]


def test_a_line_without_description_is_titled_by_its_name() -> None:
    assert read(lines=({**LINE, "Description": None},)).lines[0].title == "Opportunity IMPL-FF"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Contract_Start__c": "01/12/2026"},
        {"Amount": "100000"},
        {"Amount": True},
        {"Contract_Amount__c": {"value": 1}},
    ],
)
def test_a_value_of_another_type_breaks_the_contract_and_names_the_field(
    wrong: dict[str, Any],
) -> None:
    with pytest.raises(ContractBroken, match=next(iter(wrong))):
        read(wrong)


def test_only_lines_with_a_revenue_schedule_have_milestones() -> None:
    assert has_milestones([{"HasRevenueSchedule": False}, {"HasRevenueSchedule": True}])
    assert not has_milestones([{"HasRevenueSchedule": False}, {}])
    assert not has_milestones([])


def test_links_that_are_none_are_left_out_and_empty_ones_clear() -> None:
    links = DealLinks(erp_client_id="1001", psa_project_id="")

    body = links_to(links, CONFIG)

    assert body == {"ERP_Customer_Id__c": "1001", "PSA_Project_Id__c": None}
    assert links_from(body, CONFIG) == DealLinks(
        erp_client_id="1001", erp_project_id="", psa_project_id="", integration_status=""
    )


def test_the_org_s_own_field_names_are_used_everywhere() -> None:
    query = deal_query("006A", OWN_NAMES)

    assert "Go_Live__c" in query
    assert "Contract_Start__c" not in query
    assert links_to(DealLinks(integration_status="x"), OWN_NAMES) == {"Sync_State__c": "x"}
    row = {**DEAL, "Go_Live__c": "2027-02-01"}
    assert deal_from(row, [], [], OWN_NAMES, "salesforce").start == date(2027, 2, 1)


def test_queries_name_the_deal_and_no_column_twice() -> None:
    for query in (deal_query("006A", CONFIG), milestones_query("006A")):
        assert query.count("'006A'") == 1
    outer, _, inner = deal_query("006A", CONFIG).partition("(SELECT ")
    for columns in (outer.removeprefix("SELECT "), inner.partition(" FROM ")[0]):
        names = [name for name in columns.split(", ") if name]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["Go Live", "x'; --", "1st", ""])
def test_a_field_name_that_could_break_a_query_is_no_configuration(name: str) -> None:
    with pytest.raises(ValidationError):
        OpportunityFields(start=name)
