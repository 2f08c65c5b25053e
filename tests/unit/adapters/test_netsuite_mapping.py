"""Requests to NetSuite bodies and queries, and rows to customers, without I/O."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.errors import ContractBroken, MissingMapping
from adapters.netsuite import mapping
from adapters.netsuite.config import NetSuiteConfig, TokenBased
from canonical.deal import Address
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.provisioning import (
    BillingType,
    Dimensions,
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.records import RecordRef

AUTH = TokenBased(
    account="123456_SB1",
    consumer_key=SecretStr("a"),
    consumer_secret=SecretStr("b"),
    token_id=SecretStr("c"),
    token_secret=SecretStr("d"),
)
CONFIG = NetSuiteConfig(base_url="https://123456.suitetalk.api.netsuite.com", auth=AUTH)
KEY = ExternalId("dt-client-1")
CLIENT = ProvisionClient(
    connection="netsuite",
    client_key="client/crm/1",
    name="Acme Ltd",
    tax_id="GB980780684",
    billing_email="ap@acme.example",
    address=Address(
        street="1 High St", city="London", postal_code="EC1A 1AA", region="", country="GB"
    ),
    subsidiary="3",
    currency="GBP",
    payment_terms="NET45",
)
PROJECT = ProvisionErpProject(
    connection="netsuite",
    name="Rollout",
    code="P-1-DE",
    subsidiary="3",
    price=Money(amount=Decimal("250000.50"), currency="EUR"),
    billing_type=BillingType.FIXED_BID_MILESTONE,
    dimensions=Dimensions(department="10", business_class="20"),
    start=date(2026, 12, 1),
    client=RecordRef(system="netsuite", type="client", id="1001"),
)


def match(**changes: Any) -> MatchClient:
    given = {"name": "Acme Ltd", "subsidiary": "2", "currency": "USD", **changes}
    return MatchClient(connection="netsuite", client_key="client/crm/1", **given)


class TestClientBody:
    def test_every_field_is_mapped(self) -> None:
        assert mapping.client_body(CLIENT, CONFIG) == {
            "isPerson": False,
            "companyName": "Acme Ltd",
            "subsidiary": {"id": "3"},
            "currency": {"id": "3"},
            "entityStatus": {"id": "13"},
            "terms": {"id": "3"},
            "vatRegNumber": "GB980780684",
            "email": "ap@acme.example",
            "addressBook": {
                "items": [
                    {
                        "label": "Billing",
                        "defaultBilling": True,
                        "defaultShipping": True,
                        "addressBookAddress": {
                            "addressee": "Acme Ltd",
                            "addr1": "1 High St",
                            "city": "London",
                            "zip": "EC1A 1AA",
                            "country": {"id": "GB"},
                        },
                    }
                ]
            },
        }

    def test_what_the_deal_does_not_say_is_not_sent(self) -> None:
        bare = ProvisionClient(
            connection="netsuite",
            client_key="k",
            name="Acme",
            subsidiary="2",
            currency="USD",
        )

        assert set(mapping.client_body(bare, CONFIG)) == {
            "isPerson",
            "companyName",
            "subsidiary",
            "currency",
            "entityStatus",
        }

    def test_a_street_of_many_lines_fills_three(self) -> None:
        address = CLIENT.address.model_copy(update={"street": "A\r\nB\n\n C \nD"})
        body: Any = mapping.client_body(CLIENT.model_copy(update={"address": address}), CONFIG)

        sent = body["addressBook"]["items"][0]["addressBookAddress"]
        assert (sent["addr1"], sent["addr2"], sent["addr3"]) == ("A", "B", "C, D")

    @pytest.mark.parametrize(
        ("change", "field"),
        [({"currency": "CHF"}, "currency"), ({"payment_terms": "NET7"}, "payment_terms")],
    )
    def test_a_value_without_an_internal_id_names_the_setting(
        self, change: dict[str, str], field: str
    ) -> None:
        with pytest.raises(MissingMapping) as caught:
            mapping.client_body(CLIENT.model_copy(update=change), CONFIG)
        assert caught.value.field == field


class TestProjectBody:
    def test_every_field_is_mapped(self) -> None:
        assert mapping.project_body(PROJECT, CONFIG) == {
            "companyName": "P-1-DE Rollout",
            "parent": {"id": "1001"},
            "subsidiary": {"id": "3"},
            "currency": {"id": "2"},
            "jobPrice": Decimal("250000.50"),
            "jobBillingType": {"id": "3"},
            "entityStatus": {"id": "2"},
            "startDate": "2026-12-01",
            "allowTime": True,
            "allowExpenses": True,
            "department": {"id": "10"},
            "class": {"id": "20"},
        }

    def test_an_end_is_sent_where_there_is_one(self) -> None:
        ending = PROJECT.model_copy(update={"end": date(2027, 5, 31)})

        assert mapping.project_body(ending, CONFIG)["projectedEndDate"] == "2027-05-31"

    def test_a_project_needs_its_client_and_a_known_billing_type(self) -> None:
        config = CONFIG.model_copy(update={"billing_types": {}})

        with pytest.raises(ContractBroken):
            mapping.project_body(PROJECT.model_copy(update={"client": None}), CONFIG)
        with pytest.raises(MissingMapping):
            mapping.project_body(PROJECT, config)


class TestLabels:
    @pytest.mark.parametrize("name", ["Acme", "x" * 83, "שלום 🚀 Ωmega", 'O\'Brien "& Co"'])
    def test_a_name_that_fits_is_kept(self, name: str) -> None:
        assert mapping.shortened(name, 83) == name

    def test_a_longer_one_ends_in_an_ellipsis_and_white_space_is_folded(self) -> None:
        assert mapping.shortened("a" * 10_000, 83) == "a" * 82 + "…"
        assert mapping.shortened("a" * 81 + " bcd", 83) == "a" * 81 + "…"
        assert mapping.shortened(" a\n b\t", 83) == "a b"


class TestQueries:
    def test_quotes_are_doubled_and_control_characters_dropped(self) -> None:
        assert mapping.literal("O'Brien\n'--\x00") == "'O''Brien''--'"

    def test_a_search_asks_for_key_tax_id_in_both_spellings_and_first_word(self) -> None:
        query = mapping.search_query(match(tax_id="12-34"), KEY)

        assert query.partition(" WHERE ")[2] == (
            "c.externalid = 'dt-client-1' OR c.vatregnumber IN ('12-34', '1234') "
            "OR UPPER(c.companyname) LIKE 'ACME%' ORDER BY c.id"
        )

    @pytest.mark.parametrize("name", ["", "  ", "%", "_ _"])
    def test_a_name_without_a_word_is_not_searched_for(self, name: str) -> None:
        assert "LIKE" not in mapping.search_query(match(name=name), KEY)

    @pytest.mark.parametrize(
        ("name", "word"), [("O'Brien & Co", "O'Brien"), ("50% Off", "50"), ("x" * 99, "x" * 40)]
    )
    def test_the_first_word_has_no_wildcards_and_a_bound(self, name: str, word: str) -> None:
        assert mapping.first_word(name) == word


class TestClients:
    ROWS = (
        {"id": "7", "companyname": "Acme", "entityid": "C7", "vatregnumber": "T", "terms": "2"}
        | {"isinactive": "F", "currency": "1", "listed": "1", "subsidiary": "2", "country": "US"},
        {"id": "7", "companyname": "Acme", "isinactive": "F", "currency": "1", "listed": "9"}
        | {"subsidiary": "3"},
        {"id": "8", "entityid": "C8", "isinactive": "T", "externalid": "dt-1"},
    )

    def test_joined_rows_become_one_client_each(self) -> None:
        def record(id_: str) -> RecordRef:
            return RecordRef(system="netsuite", type="client", id=id_)

        assert mapping.clients_from(self.ROWS, CONFIG, "netsuite") == (
            ErpClient(
                record=record("7"),
                name="Acme",
                tax_id="T",
                country="US",
                subsidiaries=("2", "3"),
                currencies=("9", "USD"),  # an id without a mapping stays an id
                payment_terms="NET30",
            ),
            ErpClient(record=record("8"), external_id="dt-1", name="C8", active=False),
        )

    def test_the_likeliest_come_first_and_fifty_at_most(self) -> None:
        rows = [{"id": str(n), "companyname": f"Acme {n}"} for n in range(60)]
        rows += [{"id": "70", "companyname": "ACME LTD"}, {"id": "71", "vatregnumber": "T"}]
        found = mapping.clients_from(rows, CONFIG, "netsuite")

        best = mapping.likeliest(found, match(tax_id="T"))

        assert len(best) == mapping.CANDIDATES_MAX
        assert [each.record.id for each in best[:3]] == ["71", "70", "0"]

    def test_the_currencies_of_a_record_are_its_own_and_the_listed_ones(self) -> None:
        body = {
            "currency": {"id": "1", "refName": "US Dollar"},
            "currencyList": {"items": [{"currency": {"id": "1"}}, {"currency": {"id": "2"}}]},
        }

        assert mapping.primary_currency_id(body) == "1"
        assert mapping.billable_currency_ids(body) == {"1", "2"}
        assert mapping.billable_currency_ids({"currencyList": {"links": []}}) == set()


@pytest.mark.parametrize("name", ["custbody_x", "custentity_X y", "'", ""])
def test_a_custom_field_of_another_kind_is_no_configuration(name: str) -> None:
    with pytest.raises(ValidationError):
        NetSuiteConfig(base_url="https://x", auth=AUTH, psa_project_field=name)
