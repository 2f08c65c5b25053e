"""A deal's money and billing holds: what rows mean, and what is sent."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from adapters.errors import ContractBroken, Invalid
from adapters.salesforce import finances
from adapters.salesforce.config import BillingHolds, FinanceFields
from adapters.salesforce.mapping import account_query, cases_query
from canonical.invoicing import DealFinances
from canonical.money import Money

FIELDS = FinanceFields()
CLIENT = "001DT0000000001AAA"
ROW: dict[str, Any] = {
    "CurrencyIsoCode": "EUR",
    "Dealthread_Invoiced__c": Decimal("120000.25"),
    "Dealthread_Outstanding__c": 60000,
    "Dealthread_Overdue__c": None,
    "Dealthread_Unbilled__c": Decimal("0.00"),
    "Dealthread_Margin__c": Decimal("37.5"),
    "Dealthread_Invoice_Status__c": "open",
    "Dealthread_As_Of__c": "2026-11-30",
}


def euro(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def shown(**changes: Any) -> DealFinances:
    return DealFinances(
        invoiced=euro("120000.25"),
        outstanding=euro("60000"),
        overdue=euro("0"),
        unbilled=euro("0"),
        margin_percent=Decimal("37.5"),
        status="open",
        as_of=date(2026, 11, 30),
    ).model_copy(update=changes)


class TestFinances:
    def test_a_row_is_the_money_in_the_row_s_currency(self) -> None:
        assert finances.finances_from(ROW, FIELDS) == shown()

    def test_nothing_was_shown_where_there_is_no_date(self) -> None:
        assert finances.finances_from({**ROW, "Dealthread_As_Of__c": None}, FIELDS) is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"CurrencyIsoCode": None},
            {"Dealthread_Invoiced__c": "12"},
            {"Dealthread_Invoiced__c": Decimal("0.001")},
            {"Dealthread_As_Of__c": "yesterday"},
        ],
    )
    def test_another_type_breaks_the_contract(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ContractBroken):
            finances.finances_from({**ROW, **wrong}, FIELDS)

    def test_every_field_is_sent_and_what_is_empty_clears(self) -> None:
        body = finances.finances_to(shown(margin_percent=None, status=""), FIELDS)
        assert body == {
            "Dealthread_Invoiced__c": Decimal("120000.25"),
            "Dealthread_Outstanding__c": Decimal(60000),
            "Dealthread_Overdue__c": Decimal(0),
            "Dealthread_Unbilled__c": Decimal(0),
            "Dealthread_Margin__c": None,
            "Dealthread_Invoice_Status__c": None,
            "Dealthread_As_Of__c": "2026-11-30",
        }

    def test_names_are_configuration(self) -> None:
        fields = FinanceFields(overdue="Late__c")
        assert "Late__c" in finances.columns(fields).split(",")
        assert "Late__c" in finances.finances_to(shown(), fields)

    def test_several_currencies_or_a_long_status_are_refused(self) -> None:
        usd = Money(amount=Decimal(1), currency="USD")
        with pytest.raises(Invalid):
            finances.finances_to(shown(unbilled=usd), FIELDS)
        with pytest.raises(Invalid) as caught:
            finances.finances_to(shown(status="x" * 256), FIELDS)
        assert caught.value.field == "Dealthread_Invoice_Status__c"


class TestHolds:
    def test_texts_in_queries_are_escaped(self) -> None:
        holds = BillingHolds(case_types=("It's", "back\\slash"), case_reasons=("Price",))
        query = cases_query(CLIENT, holds)
        assert "Type IN ('It\\'s', 'back\\\\slash') OR Reason IN ('Price')" in query
        assert f"AccountId = '{CLIENT}' AND IsClosed = false AND (" in query

    def test_what_is_off_is_not_asked(self) -> None:
        off = BillingHolds(case_types=(), account_field="")
        assert (cases_query(CLIENT, off), account_query(CLIENT, off)) == ("", "")

    def test_a_case_tells_its_number_kind_and_beginning(self) -> None:
        row = {
            "Id": "500x",
            "CaseNumber": "00001001",
            "Type": "Billing Dispute",
            "Reason": None,
            "Subject": "Rate",
            "CreatedDate": "2026-11-20T10:00:00.000+0000",
        }
        hold = finances.case_hold(row, CLIENT)
        assert (hold.client_id, hold.source) == (CLIENT, "Case/500x")
        assert hold.reason == "Case 00001001: Billing Dispute, Rate"
        assert hold.since == datetime(2026, 11, 20, 10, tzinfo=UTC)

    def test_a_field_that_is_no_checkbox_is_never_read_as_no_hold(self) -> None:
        holds = BillingHolds(account_field="Hold__c")
        assert finances.account_holds([{"Hold__c": False}], CLIENT, holds) == ()
        (hold,) = finances.account_holds([{"Hold__c": True}], CLIENT, holds)
        assert hold.source == f"Account/{CLIENT}"
        for strange in ("true", None, 1):
            with pytest.raises(ContractBroken):
                finances.account_holds([{"Hold__c": strange}], CLIENT, holds)
