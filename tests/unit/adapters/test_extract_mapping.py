"""Rows of an extract from each vendor's own: states, amounts and links at their edges."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.errors import ContractBroken
from adapters.kantata import extract_mapping as kantata
from adapters.kantata.client import Listing
from adapters.kantata.config import KantataConfig
from adapters.netsuite import extract_mapping as netsuite
from adapters.netsuite import extract_queries as queries
from adapters.netsuite.config import NetSuiteConfig
from adapters.stripe import extract_mapping as stripe
from adapters.stripe.config import StripeConfig
from canonical.extracts import ExtractKind, ExtractScope, ExtractState
from canonical.money import Money

KANTATA = KantataConfig.model_validate({"base_url": "http://k", "auth": {"token": "t"}})
STRIPE = StripeConfig.model_validate({"base_url": "http://s", "auth": {"api_key": "k"}})
SIGNED = ("account", "consumer_key", "consumer_secret", "token_id", "token_secret")
NETSUITE = NetSuiteConfig.model_validate(
    {
        "base_url": "http://n",
        "auth": {"kind": "token_based", **dict.fromkeys(SIGNED, "x")},
        "time_zone": "America/New_York",
    }
)
NOON = 1_795_176_000
"""2026-11-20 12:00 UTC."""


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def psa_invoice(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "55",
        "status": "new",
        "draft": False,
        "invoice_date": "2026-11-30",
        "balance_in_cents": 7_500,
        "currency": "EUR",
        "currency_base_unit": 100,
        "workspace_ids": ["10"],
    }
    return {**row, **changes}


class TestKantata:
    @pytest.mark.parametrize(
        ("changes", "paid", "state", "amount", "left"),
        [
            ({}, 0, ExtractState.OPEN, "75", "75"),
            ({}, 2_500, ExtractState.PART_PAID, "100", "75"),
            ({"draft": True}, 0, ExtractState.DRAFT, "75", "75"),
            (
                {"status": "accepted payment", "balance_in_cents": 0},
                10_000,
                ExtractState.PAID,
                "100",
                "0",
            ),
            ({"status": "cancelled"}, 0, ExtractState.VOIDED, "75", "0"),
        ],
    )
    def test_an_invoice_is_worth_what_is_left_and_what_was_paid(
        self, changes: dict[str, Any], paid: int, state: ExtractState, amount: str, left: str
    ) -> None:
        row = kantata.invoice_row(psa_invoice(**changes), paid, {}, KANTATA)
        assert (row.state, row.amount, row.left) == (state, eur(amount), eur(left))
        assert row.project_id == "10"

    def test_an_invoice_of_several_projects_names_none(self) -> None:
        row = kantata.invoice_row(psa_invoice(workspace_ids=["10", "11"]), 0, {}, KANTATA)
        assert row.project_id == ""

    def test_a_group_that_is_no_client_is_no_row(self) -> None:
        group = {"id": "9", "name": "Europe", "company": False}
        assert kantata.client_row(group, {}, KANTATA) is None

    def test_each_reference_goes_to_its_own_service(self) -> None:
        refs = [
            {"subject_id": "10", "service_name": "dealthread-saga", "service_model_ref": "key"},
            {
                "subject_id": "10",
                "service_name": "dealthread-erp",
                "service_model_ref": "US:1;DE:2",
            },
            {"subject_id": "11", "service_name": "dealthread-erp", "service_model_ref": "US:3"},
        ]
        maps = {"external_references": {str(at): ref for at, ref in enumerate(refs)}}
        found = kantata.references_in(Listing((), 0, maps))
        row = kantata.project_row({"id": "10", "title": "P", "archived": True}, found, KANTATA)
        assert (row.external_id, row.links) == ("key", ("US:1", "DE:2"))
        assert row.state is ExtractState.INACTIVE
        other = kantata.project_row({"id": "12", "title": "Q"}, found, KANTATA)
        assert (other.external_id, other.links) == ("", ())


def charge(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "501",
        "externalid": "key",
        "billto": "7001",
        "project": "7001",
        "customer": "6001",
        "subsidiary": "2",
        "chargedate": "11/10/2026",
        "amount": "40.63",
        "currency": "2",
        "stage": "HOLD_FOR_BILLING",
        "changed": "2026-11-20 07:00:00",
    }
    return {**row, **changes}


def document(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "7301",
        "tranid": "INV1",
        "entity": "6001",
        "currency": "2",
        "trandate": "11/20/2026",
        "foreigntotal": "119",
        "status": "CustInvc:A",
        "subsidiary": "3",
    }
    return {**row, **changes}


class TestNetSuite:
    @pytest.mark.parametrize(
        ("changes", "state"),
        [
            ({}, ExtractState.ON_HOLD),
            ({"stage": "READY_FOR_BILLING"}, ExtractState.READY),
            ({"stage": "NON_BILLABLE"}, ExtractState.VOIDED),
            ({"invoice": "7301", "status": "CustInvc:A"}, ExtractState.BILLED),
            ({"invoice": "7301", "status": "CustInvc:D"}, ExtractState.RESERVED),
        ],
    )
    def test_a_charge_stands_where_its_stage_or_its_invoice_says(
        self, changes: dict[str, Any], state: ExtractState
    ) -> None:
        row = netsuite.charge_row(charge(**changes), NETSUITE)
        assert (row.state, row.client_id, row.project_id) == (state, "6001", "7001")
        assert str(row.changed_at) == "2026-11-20 12:00:00+00:00"

    def test_a_charge_of_a_client_names_no_project(self) -> None:
        own = charge(billto="6002")
        del own["project"], own["customer"]
        row = netsuite.charge_row(own, NETSUITE)
        assert (row.client_id, row.project_id) == ("6002", "")

    @pytest.mark.parametrize(
        ("status", "left", "state"),
        [
            ("CustInvc:A", "119", ExtractState.OPEN),
            ("CustInvc:A", "19", ExtractState.PART_PAID),
            ("CustInvc:B", "0", ExtractState.PAID),
            ("CustInvc:D", "119", ExtractState.DRAFT),
            ("CustInvc:V", "0", ExtractState.VOIDED),
            ("B", "0", ExtractState.PAID),
        ],
    )
    def test_an_invoice_is_net_of_its_tax(
        self, status: str, left: str, state: ExtractState
    ) -> None:
        body = document(status=status, foreignamountunpaid=left)
        row = netsuite.invoice_row(body, Decimal(19), NETSUITE)
        assert (row.state, row.amount, row.gross) == (state, eur("100"), eur("119"))
        assert row.left == eur(left)

    def test_a_status_that_is_unknown_is_refused(self) -> None:
        with pytest.raises(ContractBroken):
            netsuite.invoice_row(document(status="CustInvc:Z"), Decimal(0), NETSUITE)

    def test_a_memo_is_positive_and_says_what_is_not_applied(self) -> None:
        body = document(status="CustCred:A", foreigntotal="-119", foreignpaymentamountunused="-19")
        row = netsuite.credit_row(body, Decimal(19), ["1", "2"], NETSUITE)
        assert (row.state, row.amount, row.left) == (ExtractState.UNAPPLIED, eur("100"), eur("19"))
        assert row.invoice_id == ""
        made_from = netsuite.credit_row(document(createdfrom="7"), Decimal(0), ["9"], NETSUITE)
        assert made_from.invoice_id == "7"

    def test_a_payment_of_one_invoice_names_it(self) -> None:
        body = document(status="CustPymt:C", foreignpaymentamountunused="0")
        row = netsuite.payment_row(body, ["7301"], NETSUITE)
        assert (row.state, row.invoice_id) == (ExtractState.PAID, "7301")
        void = netsuite.payment_row(document(status="CustPymt:V"), [], NETSUITE)
        assert void.state is ExtractState.VOIDED

    def test_tax_lines_add_up_whatever_their_sign(self) -> None:
        rows = [
            {"transaction": "1", "foreignamount": "-19"},
            {"transaction": "1", "foreignamount": "-1.5"},
            {"transaction": "2", "foreignamount": "7"},
        ]
        sums = netsuite.sums_by(rows, "transaction")
        assert sums == {"1": Decimal("20.5"), "2": Decimal(7)}

    def test_a_scope_becomes_conditions_and_the_page_one_more(self) -> None:
        scope = ExtractScope.model_validate(
            {
                "kind": ExtractKind.CHARGE,
                "subsidiary": "3",
                "since": "2026-11-01",
                "until": "2026-11-30",
                "changed_since": "2026-11-20T12:00:00Z",
            }
        )
        query = queries.charge_query(scope, 501, NETSUITE)
        _, _, where = query.partition("WHERE ")
        assert where == (
            "c.subsidiary = 3 AND c.chargedate >= TO_DATE('2026-11-01', 'YYYY-MM-DD') AND "
            "c.chargedate <= TO_DATE('2026-11-30', 'YYYY-MM-DD') AND c.lastmodifieddate >= "
            "TO_DATE('2026-11-20 07:00:00', 'YYYY-MM-DD HH24:MI:SS') AND c.id > 501 ORDER BY c.id"
        )


def engine_invoice(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "in_1",
        "status": "open",
        "currency": "eur",
        "total": 11_900,
        "total_taxes": [{"amount": 1_900}],
        "amount_remaining": 11_900,
        "created": NOON,
        "customer": "cus_1",
    }
    return {**row, **changes}


class TestStripe:
    @pytest.mark.parametrize(
        ("changes", "state", "left"),
        [
            ({}, ExtractState.OPEN, "119"),
            ({"amount_remaining": 1_900}, ExtractState.PART_PAID, "19"),
            ({"status": "paid", "amount_remaining": 0}, ExtractState.PAID, "0"),
            ({"status": "uncollectible"}, ExtractState.OPEN, "119"),
            ({"status": "void"}, ExtractState.VOIDED, "0"),
            ({"status": "draft"}, ExtractState.DRAFT, "119"),
        ],
    )
    def test_an_invoice_is_net_of_its_tax(
        self, changes: dict[str, Any], state: ExtractState, left: str
    ) -> None:
        row = stripe.invoice_row(engine_invoice(**changes), None, STRIPE)
        assert (row.state, row.amount, row.left) == (state, eur("100"), eur(left))

    def test_the_day_is_that_of_issue_where_one_was_given(self) -> None:
        row = stripe.invoice_row(engine_invoice(effective_at=NOON - 10 * 86_400), None, STRIPE)
        assert str(row.date) == "2026-11-10"

    def test_a_state_that_is_unknown_is_refused(self) -> None:
        with pytest.raises(ContractBroken):
            stripe.invoice_row(engine_invoice(status="frozen"), None, STRIPE)

    @pytest.mark.parametrize(
        ("invoice", "state"),
        [
            (None, ExtractState.READY),
            ({"id": "in_1", "status": "draft"}, ExtractState.RESERVED),
            ({"id": "in_1", "status": "open"}, ExtractState.BILLED),
            ({"id": "in_1", "status": "void"}, ExtractState.VOIDED),
        ],
    )
    def test_an_item_stands_where_its_invoice_does(
        self, invoice: dict[str, Any] | None, state: ExtractState
    ) -> None:
        item: dict[str, Any] = {
            "id": "ii_1",
            "currency": "eur",
            "amount": 100,
            "date": NOON,
            "invoice": invoice,
        }
        row = stripe.item_row(item, STRIPE)
        assert (row.state, row.invoice_id) == (state, "in_1" if invoice else "")
        assert row.amount == eur("1")

    def test_what_went_back_is_negative(self) -> None:
        refund: dict[str, Any] = {"id": "re_1", "currency": "eur", "amount": 250, "created": NOON}
        assert stripe.returned_row(refund, "in_1", STRIPE).amount == eur("-2.50")
