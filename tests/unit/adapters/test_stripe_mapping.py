"""Stripe's forms and objects to canonical and back, and what each of its errors means."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from adapters.auth import NoAuth
from adapters.errors import (
    AdapterError,
    ContractBroken,
    Duplicate,
    Forbidden,
    Invalid,
    MissingMapping,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.governor import LocalGovernor
from adapters.http import VendorHttp
from adapters.statuses import Reply, default_error
from adapters.stripe import credit_mapping, mapping, views
from adapters.stripe.adapter import Stripe
from adapters.stripe.applications import Settled
from adapters.stripe.client import BUSY_SECONDS, KeySpent, classify
from adapters.stripe.config import ApiKey, StripeConfig
from adapters.stripe.objects import KEYS_MAX
from adapters.wire import JsonValue, form_pairs
from canonical.engagement import BillingMethod
from canonical.ids import ExternalId
from canonical.invoicing import (
    ApplicationKind,
    Billee,
    CreditLine,
    CreditReason,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    ProvisionCredit,
    ProvisionInvoice,
    Settlement,
)
from canonical.money import Money
from canonical.records import RecordRef

KEY = ExternalId("dt-draft-1")
URL = "https://api.stripe.example"
CLIENT = RecordRef(system="stripe", type="client", id="cus_1")


def config(**settings: Any) -> StripeConfig:
    return StripeConfig(base_url=URL, auth=ApiKey(api_key=SecretStr("sk_test_1")), **settings)


def money(amount: str, currency: str = "USD") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def wish(*lines: InvoiceLine, **changes: Any) -> ProvisionInvoice:
    request = ProvisionInvoice(
        connection="stripe",
        method=BillingMethod.BILLING_ENGINE,
        client=CLIENT,
        currency="USD",
        lines=lines,
        on=date(2026, 11, 2),
        payment_days=14,
    )
    return request.model_copy(update=changes)


NOTHING = Settled()


def view(
    row: dict[str, JsonValue],
    *lines: dict[str, JsonValue],
    settled: Settled = NOTHING,
    **more: Any,
) -> Invoice:
    return views.invoice_view(row, lines, settled, "stripe", config(**more))


def invoice_row(**changes: JsonValue) -> dict[str, JsonValue]:
    return {
        "id": "in_1",
        "object": "invoice",
        "status": "open",
        "number": "AB-0001",
        "currency": "usd",
        "subtotal": 10000,
        "total": 11900,
        "amount_paid": 1900,
        "amount_remaining": 10000,
        "total_taxes": [{"amount": 1900, "tax_behavior": "exclusive"}],
        "due_date": 1798675200,
        "effective_at": None,
        "status_transitions": {"finalized_at": 1797465600},
        "created": 1797379200,
        "customer": "cus_1",
        "custom_fields": [{"name": "PO number", "value": "PO-1"}],
        "metadata": {"dealthread_key": KEY},
        **changes,
    }


def line_row(**changes: JsonValue) -> dict[str, JsonValue]:
    return {
        "id": "il_1",
        "amount": 10000,
        "description": "Design",
        "metadata": {"dealthread_line": "T-1"},
        "taxes": [{"amount": 1900, "tax_behavior": "exclusive"}],
        **changes,
    }


class TestForms:
    def test_nested_fields_are_written_with_brackets(self) -> None:
        body: dict[str, object] = {
            "a": {"b": "x&y", "c": [1, True, {"d": Decimal("0.10")}]},
            "gone": None,
            "unset": "",
            "empty": [],
        }

        assert form_pairs(body) == [
            ("a[b]", "x&y"),
            ("a[c][0]", "1"),
            ("a[c][1]", "true"),
            ("a[c][2][d]", "0.10"),
            ("unset", ""),
        ]

    def test_a_float_is_refused(self) -> None:
        with pytest.raises(TypeError):
            form_pairs({"amount": 1.1})

    def test_a_customer_has_its_key_and_no_empty_fields(self) -> None:
        request = Billee(connection="stripe", client_key="k", name="  Acme \n Inc ")

        assert mapping.customer_form(KEY, request) == {
            "name": "Acme Inc",
            "metadata": {"dealthread_key": KEY},
        }

    def test_a_draft_never_advances_by_itself_nor_takes_pending_items(self) -> None:
        lines = tuple(
            InvoiceLine(item=item, unit_price=Decimal(units), amount=money(units))
            for item, units in (("a", "10.50"), ("b", "-0.50"))
        )
        request = wish(*lines, client_po="PO-1", title="November")

        form = mapping.invoice_form(KEY, request, config(time_zone="America/New_York"))

        assert form == {
            "customer": "cus_1",
            "collection_method": "send_invoice",
            "due_date": 1794891599,
            "currency": "usd",
            "description": "November",
            "pending_invoice_items_behavior": "exclude",
            "auto_advance": False,
            "effective_at": 1793595600,
            "custom_fields": [{"name": "PO number", "value": "PO-1"}],
            "metadata": {"dealthread_key": KEY, "dealthread_net": "1000"},
        }

    def test_a_line_is_its_amount_or_with_a_product_its_price_per_unit(self) -> None:
        line = InvoiceLine(
            item="T-1",
            description="Design",
            quantity=Decimal("7.250"),
            unit_price=Decimal("185.123456"),
            amount=money("1342.15"),
            start=date(2026, 11, 1),
            tax_category="standard",
        )
        rates = {"standard": ("txr_1",)}

        settings = config(tax_rates=rates), config(tax_rates=rates, product="prod_1")
        plain, priced = (mapping.lines_form([line], each)["lines"] for each in settings)

        period = {"start": 1793491200, "end": 1793491200}
        usual = {
            "metadata": {"dealthread_line": "T-1"},
            "description": "Design",
            "period": period,
            "tax_rates": ("txr_1",),
        }
        assert plain == [{**usual, "amount": 134215}]
        price = {"currency": "usd", "product": "prod_1", "unit_amount_decimal": "18512.3456"}
        assert priced == [{**usual, "quantity_decimal": "7.25", "price_data": price}]

    @pytest.mark.parametrize("automatic", [True, False])
    def test_a_category_without_rates_is_left_to_stripe_tax_alone(self, automatic: bool) -> None:
        line = InvoiceLine(
            item="a", unit_price=Decimal(1), amount=money("1"), tax_category="standard"
        )
        if automatic:
            assert mapping.lines_form([line], config(automatic_tax=True))
            return
        with pytest.raises(MissingMapping):
            mapping.lines_form([line], config())


class TestMoney:
    @pytest.mark.parametrize(
        ("amount", "currency", "units"),
        [
            ("10.50", "USD", 1050),
            ("-0.01", "EUR", -1),
            ("12345", "JPY", 12345),
            ("12.340", "KWD", 12340),
            # no decimals by CLDR, hundredths at Stripe
            ("100", "RSD", 10000),
            ("100", "ISK", 10000),
        ],
    )
    def test_units_are_stripe_s_both_ways(self, amount: str, currency: str, units: int) -> None:
        value = money(amount, currency)

        assert mapping.minor_units(value) == units
        assert mapping.money(units, currency) == value

    @pytest.mark.parametrize(
        ("units", "currency"), [("1", "USD"), (None, "USD"), (True, "USD"), (1, "XX"), (1, "RSD")]
    )
    def test_what_is_no_amount_breaks_the_contract(self, units: object, currency: str) -> None:
        with pytest.raises(ContractBroken):
            mapping.money(units, currency)


class TestViews:
    def test_an_invoice_is_read_whole(self) -> None:
        seen = view(invoice_row(), line_row())

        assert (seen.record.id, seen.external_id, seen.number) == ("in_1", KEY, "AB-0001")
        assert (seen.net, seen.tax, seen.gross) == (money("100"), money("19"), money("119"))
        assert (seen.status, seen.remaining) == (InvoiceStatus.OPEN, money("100"))
        assert (seen.on, seen.due) == (date(2026, 12, 17), date(2026, 12, 31))
        assert (seen.client_id, seen.client_po, seen.period) == ("cus_1", "PO-1", "")
        assert seen.changed_at == datetime(2026, 12, 17, tzinfo=UTC)
        (line,) = seen.lines
        assert (line.id, line.item, line.amount, line.tax, line.charges) == (
            "il_1",
            "T-1",
            money("100"),
            money("19"),
            (),
        )

    @pytest.mark.parametrize(
        ("said", "remaining", "status"),
        [
            ("draft", 11900, InvoiceStatus.DRAFT),
            ("open", 10000, InvoiceStatus.OPEN),
            ("paid", 0, InvoiceStatus.SETTLED),
            ("void", 10000, InvoiceStatus.VOID),
            ("uncollectible", 10000, InvoiceStatus.UNCOLLECTIBLE),
        ],
    )
    def test_every_status_has_one_of_ours(
        self, said: str, remaining: int, status: InvoiceStatus
    ) -> None:
        row = invoice_row(status=said, amount_remaining=remaining, amount_paid=11900 - remaining)

        seen = view(row)

        assert seen.status is status
        assert seen.remaining == money("0" if said == "void" else str(Decimal(remaining) / 100))

    def test_days_are_those_of_the_account_s_zone(self) -> None:
        seen = view(invoice_row(), time_zone="America/New_York")

        assert (seen.on, seen.due) == (date(2026, 12, 16), date(2026, 12, 30))

    def test_a_line_is_net_of_tax_within_it_and_of_discounts(self) -> None:
        taxes: JsonValue = [{"amount": 500, "tax_behavior": "inclusive"}]
        discounts: JsonValue = [{"amount": 1000, "discount": "di_1"}]
        seen = view(invoice_row(), line_row(taxes=taxes, discount_amounts=discounts))

        assert (seen.lines[0].amount, seen.lines[0].tax) == (money("85"), money("5"))

    @pytest.mark.parametrize(
        "field", ["id", "status", "currency", "total", "amount_remaining", "amount_paid"]
    )
    def test_a_missing_field_breaks_the_contract(self, field: str) -> None:
        row = {name: value for name, value in invoice_row().items() if name != field}

        with pytest.raises(ContractBroken):
            view(row)


class TestApplications:
    def test_what_no_payment_shows_was_paid_outside(self) -> None:
        (told,) = view(invoice_row()).applications

        assert (told.id, told.kind, told.amount) == (
            "in_1-outside",
            ApplicationKind.PAYMENT,
            money("19"),
        )

    def test_a_balance_is_used_or_owed(self) -> None:
        used = invoice_row(
            amount_paid=0, amount_remaining=11000, starting_balance=-900, ending_balance=0
        )
        owed = invoice_row(
            amount_paid=0, amount_remaining=12800, starting_balance=900, ending_balance=0
        )

        for row, amount, left in ((used, "9", "110"), (owed, "-9", "128")):
            seen = view(row)
            assert [each.amount for each in seen.applications] == [money(amount)]
            assert seen.remaining == money(left)

    def test_what_was_forgiven_is_written_off(self) -> None:
        seen = view(invoice_row(status="paid", amount_remaining=0))

        kinds = {each.kind: each.amount for each in seen.applications}
        assert kinds == {
            ApplicationKind.PAYMENT: money("19"),
            ApplicationKind.WRITE_OFF: money("100"),
        }
        assert seen.status is InvoiceStatus.SETTLED

    @pytest.mark.parametrize(
        ("status", "left"),
        [("succeeded", "19"), ("pending", "19"), ("failed", "0"), ("canceled", "0")],
    )
    def test_a_refund_counts_while_its_money_is_gone(self, status: str, left: str) -> None:
        refund: JsonValue = {
            "id": "re_1",
            "amount": 1900,
            "status": status,
            "created": 1797465700,
            "payment_intent": "pi_1",
        }
        row = invoice_row(status="paid", amount_paid=11900, amount_remaining=0)

        seen = view(row, settled=Settled(refunds=(refund,)))  # type: ignore[arg-type]

        assert seen.remaining == money(left)
        assert seen.status is (InvoiceStatus.OPEN if left != "0" else InvoiceStatus.SETTLED)

    @pytest.mark.parametrize("status", ["warning_needs_response", "warning_closed", "won"])
    def test_a_dispute_without_money_takes_nothing(self, status: str) -> None:
        dispute: JsonValue = {"id": "dp_1", "amount": 1900, "status": status, "created": 1}

        seen = view(invoice_row(), settled=Settled(disputes=(dispute,)))  # type: ignore[arg-type]

        assert seen.remaining == money("100")


class TestCredits:
    def of(self, **changes: Any) -> credit_mapping.Creditable:
        seen = view(invoice_row(amount_remaining=3000, amount_paid=8900), line_row())
        return credit_mapping.Creditable(**{"invoice": seen, "remaining": 3000, **changes})

    def wish(self, amount: str = "50.01", **changes: Any) -> ProvisionCredit:
        line = CreditLine(item="T-1", amount=money(amount), reason=CreditReason.CANCELLED)
        request = ProvisionCredit(
            connection="stripe",
            invoice=RecordRef(system="stripe", type="invoice", id="in_1"),
            lines=(line,),
            on=date(2026, 12, 20),
        )
        return request.model_copy(update=changes)

    def test_it_takes_its_share_of_tax_and_says_where_the_excess_goes(self) -> None:
        form = credit_mapping.credit_form(KEY, self.wish(), self.of(), config())
        elsewhere = self.wish(settlement=Settlement.ELSEWHERE)

        # 50.01 and 9.50 of tax, less the 30.00 still to be paid
        assert form["credit_amount"] == 2951
        assert (form["email_type"], form["reason"]) == ("none", "order_change")
        assert form["effective_at"] == 1797724800
        outside = credit_mapping.credit_form(KEY, elsewhere, self.of(), config())
        assert outside["out_of_band_amount"] == 2951

    def test_refunds_come_first(self) -> None:
        refunds = (("re_1", 1000), ("re_2", 5000))

        form = credit_mapping.credit_form(KEY, self.wish(), self.of(refunds=refunds), config())

        linked = [{"type": "refund", "refund": "re_1", "amount_refunded": 1000}]
        linked += [{"type": "refund", "refund": "re_2", "amount_refunded": 1951}]
        assert form["refunds"] == linked
        assert not {"credit_amount", "out_of_band_amount"} & set(form)

    def test_what_is_credited_already_is_not_credited_again(self) -> None:
        of = self.of(credited={"il_1": 5000})

        assert credit_mapping.credit_form(KEY, self.wish("50.00"), of, config())
        with pytest.raises(Invalid, match="a part of it is credited already"):
            credit_mapping.credit_form(KEY, self.wish("50.01"), of, config())

    def test_every_reason_has_one_of_stripe_s(self) -> None:
        assert set(credit_mapping.REASONS) == set(CreditReason)


def refusal(status: int, code: str = "", kind: str = "invalid_request_error", **more: str) -> Reply:
    error: dict[str, JsonValue] = {"type": kind, "message": "no", "param": "customer"}
    if code:
        error["code"] = code
    write = more.pop("write", "yes") == "yes"
    return Reply(
        status=status,
        headers=httpx.Headers(more),
        json={"error": error},
        text="no",
        operation="create the draft",
        method="POST" if write else "GET",
        path="/v1/invoices",
        write=write,
    )


def judged(reply: Reply) -> AdapterError:
    return classify(reply) or default_error(reply)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(400), Invalid),
        (refusal(400, "parameter_missing"), Invalid),
        (refusal(400, "invoice_not_editable"), Invalid),
        (refusal(400, "resource_missing"), Invalid),
        (refusal(400, "resource_already_exists"), Duplicate),
        (refusal(400, "rate_limit"), RateLimited),
        (refusal(400, kind="idempotency_error"), KeySpent),
        (refusal(401), Forbidden),
        (refusal(402, "card_declined", "card_error"), Rejected),
        (refusal(403), Forbidden),
        (refusal(404, "resource_missing"), NotFound),
        (refusal(409, "idempotency_key_in_use"), OutcomeUnknown),
        (refusal(409, "idempotency_key_in_use", "idempotency_error"), OutcomeUnknown),
        (refusal(409, "lock_timeout"), Transient),
        (refusal(429, "lock_timeout"), Transient),
        (refusal(409), OutcomeUnknown),
        (refusal(409, write="no"), Transient),
        (refusal(409, "idempotency_key_in_use", write="no"), Transient),
        (refusal(429, "rate_limit"), RateLimited),
        (refusal(429), RateLimited),
        (refusal(500, kind="api_error"), OutcomeUnknown),
        (refusal(503, kind="api_error", write="no"), Transient),
        (refusal(500, kind="api_error", **{"Idempotent-Replayed": "true"}), KeySpent),
        (refusal(400, **{"Idempotent-Replayed": "true"}), KeySpent),
    ],
)
def test_each_refusal_is_told_apart(reply: Reply, kind: type[AdapterError]) -> None:
    assert type(judged(reply)) is kind


def test_a_refusal_names_the_field_and_a_limit_the_wait() -> None:
    invalid, limited = judged(refusal(400)), judged(refusal(429))

    assert isinstance(invalid, Invalid)
    assert invalid.field == "customer"
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_seconds == BUSY_SECONDS


def test_a_foreign_404_is_never_an_absent_record() -> None:
    reply = Reply(
        status=404,
        headers=httpx.Headers(),
        json=None,
        text="<html>",
        operation="x",
        method="DELETE",
        path="/v1/invoices/in_1",
        write=True,
    )

    assert isinstance(judged(reply), ContractBroken)


@pytest.mark.parametrize(
    "settings", [{"time_zone": "Mars/Olympus"}, {"product": "../x"}, {"api_version": "new"}]
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        config(**settings)


# Answers that a simulator never gives.


def engine(answer: Any, now: Any = lambda: datetime.now(UTC)) -> Stripe:
    http = VendorHttp(
        vendor="stripe",
        connection="stripe",
        base_url=URL,
        auth=NoAuth(),
        classify=classify,
        governor=LocalGovernor(1),
        transport=httpx.MockTransport(answer),
    )
    return Stripe("stripe", config(), http, now)


def listed(*rows: JsonValue, more: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"object": "list", "data": list(rows), "has_more": more})


async def test_a_create_without_an_object_is_looked_up() -> None:
    request = Billee(connection="stripe", client_key="k", name="Acme")
    for text in ("{}", "[]", '{"id": null}'):
        answer = httpx.Response(200, text=text, headers={"Content-Type": "application/json"})
        with pytest.raises(OutcomeUnknown):
            await engine(lambda _, answer=answer: answer).provision_client(KEY, request)


async def test_pages_that_never_end_break_the_contract() -> None:
    with pytest.raises(ContractBroken, match="never end"):
        await engine(lambda _: listed(invoice_row(), more=True)).find_invoice(KEY, wish())


async def test_an_invoice_is_found_on_a_later_page_and_void_ones_are_gone() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        if request.url.path.endswith("/lines"):
            return listed(line_row())
        if "starting_after" not in asked[-1]:
            return listed(invoice_row(id="in_9", status="void"), more=True)
        return listed(invoice_row())

    found = await engine(answer).find_invoice(KEY, wish(since=date(2026, 11, 2)))

    assert found is not None
    assert found.record.id == "in_1"
    since = "created%5Bgte%5D=1793491200"
    assert asked[0] == f"limit=100&customer=cus_1&{since}"
    assert asked[1] == f"limit=100&customer=cus_1&{since}&starting_after=in_9"


async def test_every_key_of_a_write_may_be_spent() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return listed()
        keys.append(request.headers["Idempotency-Key"])
        error = {"error": {"type": "api_error", "message": "stored"}}
        return httpx.Response(500, json=error, headers={"Idempotent-Replayed": "true"})

    with pytest.raises(Transient):
        await engine(answer).provision_client(
            KEY, Billee(connection="stripe", client_key="k", name="Acme")
        )
    assert keys == [KEY, *(f"{KEY}.{number}" for number in range(2, KEYS_MAX + 1))]


async def test_a_draft_that_stripe_could_not_issue_is_rejected_in_its_words() -> None:
    why: JsonValue = {"message": "The customer's address is not valid."}
    lines: JsonValue = {"data": [line_row()], "has_more": False}
    row = invoice_row(status="draft", last_finalization_error=why, lines=lines)

    with pytest.raises(Rejected, match="address is not valid"):
        await engine(lambda _: httpx.Response(200, json=row)).post_invoice(
            KEY, RecordRef(system="stripe", type="invoice", id="in_1")
        )


class TestChanges:
    NOW = datetime(2026, 12, 20, 9, 30, tzinfo=UTC)

    async def changed(self, since: datetime, *events: JsonValue) -> list[tuple[str, str, datetime]]:
        """Return what is told by an account with these events, and one old invoice."""
        self.asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(request.url.path)
            match request.url.path:
                case "/v1/events":
                    return listed(*events)
                case "/v1/invoice_payments":
                    return listed({"id": "inpay_1", "invoice": "in_7"})
                case "/v1/invoices":
                    return listed(invoice_row())
                case _:
                    error = {"error": {"type": "invalid_request_error", "message": "none"}}
                    return httpx.Response(404, json=error)

        port = engine(answer, lambda: self.NOW)
        pages = [page async for page in port.list_changed_invoices(since)]
        return [(each.record.id, each.external_id, each.changed_at) for p in pages for each in p]

    async def test_before_the_log_begins_all_are_told_as_changed_by_then(self) -> None:
        begin = datetime(2026, 11, 21, 9, tzinfo=UTC)

        told = await self.changed(self.NOW - timedelta(days=40))

        assert told == [("in_1", KEY, begin)]
        # and the next look, from there, is one at the log alone
        assert await self.changed(told[0][2]) == []
        assert self.asked == ["/v1/events"]

    async def test_an_invoice_is_told_once_in_the_order_of_its_last_change(self) -> None:
        def event(type_: str, at: int, **about: JsonValue) -> JsonValue:
            return {"id": f"evt_{at}", "type": type_, "created": at, "data": {"object": about}}

        first, last = 1797379200, 1797379300
        told = await self.changed(
            datetime.fromtimestamp(first, UTC),
            # newest first, as Stripe lists them
            event("refund.created", last + 1, id="re_1", payment_intent="pi_1"),
            event("refund.created", last, id="re_2", payment_intent=None, charge="ch_1"),
            event("invoice.paid", last, **invoice_row(id="in_2")),
            event("credit_note.created", first + 1, id="cn_1", invoice="in_3"),
            event("invoice.created", first, **invoice_row(id="in_2")),
        )

        moments = [datetime.fromtimestamp(at, UTC) for at in (first + 1, last, last + 1)]
        assert told == list(zip(("in_3", "in_2", "in_7"), ("", KEY, ""), moments, strict=True))
