"""Invoices and credits to NetSuite JSON and back, without a network."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError

from adapters.errors import (
    AdapterError,
    ClosedPeriod,
    ContractBroken,
    Invalid,
    MissingMapping,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from adapters.netsuite import credit_mapping, invoice_mapping, invoice_reading
from adapters.netsuite.client import RESTLET_PATH, classify
from adapters.netsuite.config import NetSuiteConfig, TokenBased, VoidScript
from adapters.wire import dump_json
from canonical.engagement import BillingMethod
from canonical.ids import ExternalId
from canonical.invoicing import (
    ApplicationKind,
    CreditLine,
    CreditReason,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    ProvisionCredit,
    ProvisionInvoice,
)
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.records import RecordRef
from tests.unit.adapters.test_netsuite_errors import reply

KEY = ExternalId("dt-1")
ON = date(2026, 11, 20)
Body = dict[str, object]


def config(**changes: object) -> NetSuiteConfig:
    secret = SecretStr("s")
    auth = TokenBased(
        account="1",
        consumer_key=secret,
        consumer_secret=secret,
        token_id=secret,
        token_secret=secret,
    )
    usual = {"base_url": "https://1.example", "auth": auth}
    return NetSuiteConfig.model_validate({**usual, **changes})


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def ref(id_: str, kind: str = "client") -> RecordRef:
    return RecordRef(system="erp", type=kind, id=id_)


def line(item: str = "T-1", amount: str = "40.63", **changes: object) -> InvoiceLine:
    usual = InvoiceLine(
        item=item,
        description="Workshop",
        quantity=Decimal("0.21666667"),
        unit_price=Decimal("187.5"),
        amount=eur(amount),
        project=ref("7002", "project"),
    )
    return usual.model_copy(update=changes)


def wish(*lines: InvoiceLine, **changes: object) -> ProvisionInvoice:
    usual = ProvisionInvoice(
        connection="erp",
        method=BillingMethod.ERP_LINES,
        client=ref("6002"),
        subsidiary="3",
        currency="EUR",
        lines=lines or (line(),),
        on=ON,
        payment_days=30,
        title="November",
    )
    return usual.model_copy(update=changes)


def row(amount: str | int = "40.63", number: int = 1, item: str | None = "T-1") -> Body:
    own: Body = {"line": number, "amount": Decimal(amount), "tax1Amt": Decimal("7.72")}
    return own if item is None else {**own, "custcol_dealthread_item": item}


def body(*rows: Body, **changes: object) -> Body:
    return {
        "id": "77",
        "externalId": KEY,
        "entity": {"id": "6002", "links": [{"rel": "self", "href": "https://x/customer/6002"}]},
        "currency": {"id": "2"},
        "status": {"id": "A", "refName": "Open"},
        "tranId": "INV00001",
        "tranDate": "2026-11-20",
        "dueDate": "2026-12-20",
        "postingPeriod": {"id": "210", "refName": "Nov 2026"},
        "subtotal": Decimal("40.63"),
        "taxTotal": Decimal("7.72"),
        "total": Decimal("48.35"),
        "amountRemaining": Decimal("48.35"),
        "lastModifiedDate": "2026-11-20T10:00:00Z",
        "item": {"items": list(rows or (row(),))},
        **changes,
    }


def read(found: Body, billed: tuple[Body, ...] = ()) -> Invoice:
    return invoice_reading.invoice_from(found, (), billed, "erp", config())


class TestSent:
    def test_an_invoice_carries_exact_amounts_and_our_name_of_each_line(self) -> None:
        request = wish(line(dimensions=Dimensions(department="10")), client_po="PO-1")

        made = invoice_mapping.invoice_body(KEY, request, {}, config())

        assert '"quantity":0.21666667,"rate":187.5,"amount":40.63' in dump_json(made)
        assert made["entity"] == {"id": "6002"}
        assert (made["tranDate"], made["dueDate"]) == ("2026-11-20", "2026-12-20")
        assert (made["externalId"], made["otherRefNum"]) == (KEY, "PO-1")
        assert "approvalStatus" not in made
        assert made["item"] == {
            "items": [
                {
                    "item": {"id": "301"},
                    "price": {"id": "-1"},
                    "quantity": Decimal("0.21666667"),
                    "rate": Decimal("187.5"),
                    "amount": Decimal("40.63"),
                    "description": "Workshop",
                    "custcol_dealthread_item": "T-1",
                    "department": {"id": "10"},
                    "job": {"id": "7002"},
                }
            ]
        }

    def test_where_approval_is_routed_it_waits_for_it(self) -> None:
        made = invoice_mapping.invoice_body(KEY, wish(), {}, config(approval_routing=True))
        assert made["approvalStatus"] == {"id": "1"}

    def test_charges_are_named_and_make_it_the_project_s(self) -> None:
        charged = line(charges=("dt-a", "dt-b"))
        request = wish(charged, method=BillingMethod.ERP_CHARGES)

        made = invoice_mapping.invoice_body(KEY, request, {"dt-a": "501", "dt-b": "502"}, config())

        assert made["entity"] == {"id": "7002"}
        assert "whichChargesToAdd" not in made
        assert '"charges":"501,502"' in dump_json(made)

    @pytest.mark.parametrize(
        ("lines", "field"),
        [
            ((line(), line("T-2", project=ref("7003", "project"))), "grouping"),
            ((line(project=None),), "grouping"),
            ((line(charges=("dt-a",)), line("T-2", charges=("dt-a",))), "lines"),
        ],
    )
    def test_what_cannot_be_one_invoice_from_charges_is_invalid(
        self, lines: tuple[InvoiceLine, ...], field: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            invoice_mapping.charged_project(wish(*lines, method=BillingMethod.ERP_CHARGES))
        assert caught.value.field == field
        assert invoice_mapping.charged_project(wish(*lines)) == ""

    def test_what_netsuite_could_not_keep_is_refused_and_not_cut(self) -> None:
        for request, field in (
            (wish(client_po="x" * 46), "client_po"),
            (wish(line("x" * 301)), "lines"),
            (wish(line("")), "lines"),
        ):
            with pytest.raises(Invalid) as caught:
                invoice_mapping.invoice_body(KEY, request, {}, config())
            assert caught.value.field == field
        with pytest.raises(ContractBroken):
            invoice_mapping.invoice_body(KEY, wish(client=None), {}, config())
        with pytest.raises(MissingMapping):
            invoice_mapping.invoice_body(KEY, wish(line(kind="royalty")), {}, config())

    def test_ids_cannot_carry_a_query(self) -> None:
        for ask in (
            invoice_mapping.applications_query,
            invoice_mapping.billed_query,
            invoice_mapping.ready_query,
        ):
            with pytest.raises(Invalid):
                ask("1 OR 1=1")

    def test_times_are_asked_and_read_in_the_account_s_zone(self) -> None:
        there = config(time_zone="America/New_York")
        since = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
        for query in invoice_mapping.changed_queries(since, there):
            assert "TO_DATE('2026-11-20 10:30:00', 'YYYY-MM-DD HH24:MI:SS')" in query
        changed = {"changed": "2026-11-20 10:30:00"}
        assert invoice_mapping.moment_from(changed, "changed", there) == since
        with pytest.raises(ContractBroken):
            invoice_mapping.moment_from({"changed": "11/20/2026"}, "changed", there)


class TestRead:
    def test_an_invoice_is_read_exactly(self) -> None:
        invoice = read(body(), ({"id": "501", "externalid": "dt-a", "invoiceline": "1"},))

        assert (invoice.net, invoice.tax) == (eur("40.63"), eur("7.72"))
        assert (invoice.gross, invoice.remaining) == (eur("48.35"), eur("48.35"))
        assert (invoice.status, invoice.period) == (InvoiceStatus.OPEN, "Nov 2026")
        assert invoice.changed_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
        (found,) = invoice.lines
        assert (found.id, found.item, found.charges) == ("1", "T-1", ("dt-a",))

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("A", InvoiceStatus.OPEN),
            ("B", InvoiceStatus.SETTLED),
            ("D", InvoiceStatus.DRAFT),
            ("E", InvoiceStatus.REJECTED),
            ("V", InvoiceStatus.VOID),
            ("Paid In Full", InvoiceStatus.SETTLED),
        ],
    )
    def test_every_status_has_its_meaning(self, code: str, status: InvoiceStatus) -> None:
        invoice = read(body(status={"id": code}))
        assert invoice.status is status
        assert bool(invoice.number) is bool(invoice.period) is invoice.issued

    def test_an_unknown_status_is_none_of_these(self) -> None:
        with pytest.raises(ContractBroken):
            read(body(status={"id": "Q"}))

    def test_tax_is_read_however_the_account_computes_it(self) -> None:
        bare: Body = {"line": 1, "amount": Decimal(100)}
        details = {
            "items": [
                {"taxDetailsReference": "7", "taxAmount": Decimal("10.5")},
                {"taxDetailsReference": "7", "taxAmount": Decimal("8.5")},
                {"taxDetailsReference": "8", "taxAmount": Decimal(99)},
            ]
        }
        for own, expected in (
            ({**bare, "tax1Amt": Decimal(19)}, "19"),
            ({**bare, "grossAmt": Decimal(119)}, "19"),
            ({**bare, "taxDetailsReference": "7"}, "19"),
            (bare, "0"),
        ):
            assert read(body(own, taxDetails=details)).lines[0].tax == eur(expected)
        both = read(body(taxTotal=Decimal(4), tax2Total=Decimal("3.72")))
        assert (both.tax, both.net) == (eur("7.72"), eur("40.63"))

    def test_an_amount_finer_than_its_currency_is_told(self) -> None:
        with pytest.raises(ContractBroken):
            read(body(amountRemaining=Decimal("1.001")))

    def test_a_project_s_invoice_is_known_by_its_link(self) -> None:
        assert not invoice_reading.is_projects(body())
        entity = {"id": "7002", "links": [{"rel": "self", "href": "https://x/v1/job/7002"}]}
        assert invoice_reading.is_projects(body(entity=entity))

    def test_rows_of_one_payment_are_one_application(self) -> None:
        payment: Body = {
            "nextdoc": "90",
            "type": "CustPymt",
            "tranid": "P1",
            "trandate": "12/5/2026",
        }
        memo = {**payment, "nextdoc": "91", "type": "CustCred", "externalid": "dt-c"}
        rows = [{**each, "foreignamount": "10.5"} for each in (payment, payment, memo)]
        first, second = invoice_reading.applications_from(rows, {}, "EUR", config())
        assert (first.kind, first.amount) == (ApplicationKind.PAYMENT, eur("21"))
        assert (second.kind, second.external_id) == (ApplicationKind.CREDIT, "dt-c")
        assert (first.on, first.reference) == (date(2026, 12, 5), "P1")

    @pytest.mark.parametrize(
        ("items", "kind"),
        [
            ({"900"}, ApplicationKind.WRITE_OFF),
            ({"901"}, ApplicationKind.WITHHOLDING),
            ({"900", "301"}, ApplicationKind.CREDIT),
            (set(), ApplicationKind.CREDIT),
        ],
    )
    def test_items_tell_what_a_credit_memo_is_for(
        self, items: set[str], kind: ApplicationKind
    ) -> None:
        told = config(write_off_items=["900"], withholding_items=["901"])
        memo: Body = {"nextdoc": "91", "type": "CustCred", "trandate": "12/5/2026"}
        rows = [{**memo, "foreignamount": "10"}]
        (found,) = invoice_reading.applications_from(rows, {"91": items}, "EUR", told)
        assert found.kind is kind


class TestAgreement:
    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ((row(),), ""),
            ((row(), row("999", 2, None)), "not on the draft"),
            ((row("40.62"),), "not 40.63"),
            ((row(item="T-9"),), "T-1 is missing"),
            ((row(), row(number=2)), "not on the draft"),
        ],
    )
    def test_every_difference_is_told(self, rows: tuple[Body, ...], says: str) -> None:
        found = "; ".join(invoice_reading.disagreements(read(body(*rows)), wish()))
        assert says in found
        assert bool(found) is bool(says)

    def test_charges_must_be_those_asked_for(self) -> None:
        billed: tuple[Body, ...] = ({"id": "501", "externalid": "dt-a", "invoiceline": "1"},)
        invoice = read(body(), billed)
        assert invoice_reading.disagreements(invoice, wish(line(charges=("dt-a",)))) == []
        assert "dt-b" in invoice_reading.disagreements(invoice, wish(line(charges=("dt-b",))))[0]
        foreign = read(body(), ({"id": "501", "invoiceline": "1"},))
        assert "charge/501" in invoice_reading.disagreements(foreign, wish())[0]


def credit(item: str = "T-1", amount: str = "10") -> ProvisionCredit:
    one = CreditLine(item=item, amount=eur(amount), reason=CreditReason.CONCESSION)
    return ProvisionCredit(
        connection="erp", invoice=ref("77", "invoice"), lines=(one,), on=date(2026, 12, 5)
    )


class TestCredits:
    def test_only_what_is_credited_is_sent_with_the_line_s_own_tax_inputs(self) -> None:
        own = {**row(), "item": {"id": "301", "refName": "Time"}, "taxCode": {"id": "22"}}

        made = credit_mapping.credit_body(KEY, credit(), body(own, row("1", 2, "T-2")), config())

        assert made["tranDate"] == "2026-12-05"
        assert made["item"] == {
            "items": [
                {
                    "quantity": 1,
                    "rate": Decimal(10),
                    "amount": Decimal(10),
                    "price": {"id": "-1"},
                    "custcol_dealthread_item": "T-1",
                    "item": {"id": "301"},
                    "taxCode": {"id": "22"},
                }
            ]
        }

    @pytest.mark.parametrize("request_", [credit("T-9"), credit(""), credit(amount="-1")])
    def test_what_is_not_on_the_invoice_is_invalid(self, request_: ProvisionCredit) -> None:
        with pytest.raises(Invalid):
            credit_mapping.credit_body(KEY, request_, body(row(), row("5", 2, None)), config())

    def test_earlier_credits_count_on_their_line_or_on_the_whole(self) -> None:
        for earlier, says in (
            ([], None),
            ([("T-1", Decimal("30.63"))], None),
            ([("T-1", Decimal("30.64"))], "T-1"),
            ([("", Decimal("30.64"))], "more than was invoiced"),
        ):
            if says is None:
                credit_mapping.refuse_too_much(credit(), body(), earlier, config())
                continue
            with pytest.raises(Rejected, match=says):
                credit_mapping.refuse_too_much(credit(), body(), earlier, config())

    def test_a_memo_made_elsewhere_counts_by_what_is_applied_here(self) -> None:
        applied: list[Body] = [
            {"nextdoc": "91", "type": "CustCred", "foreignamount": "59.5", "foreigntotal": "-119"},
            {"nextdoc": "92", "type": "CustPymt", "foreignamount": "1", "foreigntotal": "1"},
        ]
        rows: list[Body] = [
            {"id": "90", "createdfrom": "77", "item": "T-1", "foreignamount": "10"},
            {"id": "91", "createdfrom": "12", "item": "T-1", "foreignamount": "100"},
        ]
        found = credit_mapping.credited_lines("77", rows, applied, "EUR")
        assert found == [("T-1", Decimal(10)), ("", Decimal(50))]
        assert "t.id IN ('91')" in credit_mapping.credited_query("77", applied, config())

    def test_use_on_another_document_is_seen(self) -> None:
        lines = [
            {"apply": True, "doc": {"id": "77"}},
            {"apply": True, "doc": {"id": "78"}},
            {"apply": False, "doc": {"id": "79"}},
        ]
        memo: Body = {"createdFrom": {"id": "77"}, "apply": {"items": lines}}
        assert credit_mapping.used_elsewhere(memo) == ["78"]


class TestScript:
    @pytest.mark.parametrize(
        ("status", "code", "message", "error"),
        [
            (400, "SSS_REQUEST_LIMIT_EXCEEDED", "busy", RateLimited),
            (400, "USER_ERROR", "This transaction has payments or credits applied.", Invalid),
            (400, "USER_ERROR", "not within an open accounting period", ClosedPeriod),
            (400, "UNEXPECTED_ERROR", "An unexpected error occurred", OutcomeUnknown),
            (500, "", "", OutcomeUnknown),
        ],
    )
    def test_its_errors_have_a_form_of_their_own(
        self, status: int, code: str, message: str, error: type[AdapterError]
    ) -> None:
        answer = reply(status, {"error": {"code": code, "message": message}}, path=RESTLET_PATH)
        assert isinstance(classify(answer), error)

    def test_its_address_is_checked(self) -> None:
        with pytest.raises(ValidationError):
            VoidScript(base_url="https://x", script="a&deploy=b", deploy="c")
        with pytest.raises(ValidationError, match="time zone"):
            config(time_zone="Mars/Olympus")
