"""Stripe's forms and objects to canonical and back, and what each of its errors means."""

from datetime import date
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
from adapters.stripe import mapping, views
from adapters.stripe.adapter import Stripe
from adapters.stripe.client import BUSY_SECONDS, KeySpent, classify
from adapters.stripe.config import ApiKey, StripeConfig
from adapters.stripe.objects import KEYS_MAX
from adapters.wire import JsonValue, form_pairs
from canonical.engine_invoices import (
    CreditInvoice,
    CreditReason,
    DraftInvoice,
    EngineCreditLine,
    EngineCustomer,
    EngineLine,
    Settlement,
)
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.records import RecordRef

KEY = ExternalId("dt-draft-1")
URL = "https://api.stripe.example"
CLIENT = RecordRef(system="stripe", type="client", id="cus_1")


def config(**settings: Any) -> StripeConfig:
    return StripeConfig(base_url=URL, auth=ApiKey(api_key=SecretStr("sk_test_1")), **settings)


def money(amount: str, currency: str = "USD") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def wish(*lines: EngineLine, **changes: Any) -> DraftInvoice:
    request = DraftInvoice(
        connection="stripe", client=CLIENT, currency="USD", lines=lines, payment_days=14
    )
    return request.model_copy(update=changes)


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
        request = EngineCustomer(connection="stripe", client_key="k", name="  Acme \n Inc ")

        assert mapping.customer_form(KEY, request) == {
            "name": "Acme Inc",
            "metadata": {"dealthread_key": KEY},
        }

    def test_a_draft_never_advances_by_itself_nor_takes_pending_items(self) -> None:
        request = wish(on=date(2026, 11, 2), client_po="PO-1", title="November")

        form = mapping.invoice_form(KEY, request, config(time_zone="America/New_York"))

        assert form == {
            "customer": "cus_1",
            "collection_method": "send_invoice",
            "days_until_due": 14,
            "currency": "usd",
            "description": "November",
            "pending_invoice_items_behavior": "exclude",
            "auto_advance": False,
            "effective_at": 1793595600,
            "custom_fields": [{"name": "PO number", "value": "PO-1"}],
            "metadata": {"dealthread_key": KEY},
        }

    def test_a_line_is_its_amount_or_with_a_product_its_price_per_unit(self) -> None:
        line = EngineLine(
            item="T-1",
            description="Design",
            quantity=Decimal("7.250"),
            unit_amount=Decimal("185.123456"),
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
        line = EngineLine(item="a", amount=money("1"), tax_category="standard")
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
        view = views.invoice_view(invoice_row(), [line_row()], "stripe", config())

        assert (view.record.id, view.external_id, view.number) == ("in_1", KEY, "AB-0001")
        assert (view.subtotal, view.tax, view.total) == (money("100"), money("19"), money("119"))
        assert (view.paid, view.remaining) == (money("19"), money("100"))
        assert (view.issued_on, view.due) == (date(2026, 12, 17), date(2026, 12, 31))
        (line,) = view.lines
        assert (line.id, line.item, line.amount, line.tax) == (
            "il_1",
            "T-1",
            money("100"),
            money("19"),
        )

    def test_days_are_those_of_the_account_s_zone(self) -> None:
        view = views.invoice_view(invoice_row(), [], "stripe", config(time_zone="America/New_York"))

        assert (view.issued_on, view.due) == (date(2026, 12, 16), date(2026, 12, 30))

    def test_tax_within_the_amount_is_not_on_top_of_it(self) -> None:
        taxes: JsonValue = [{"amount": 500, "tax_behavior": "inclusive"}]
        view = views.invoice_view(invoice_row(), [line_row(taxes=taxes)], "stripe", config())

        assert view.lines[0].tax == money("0")

    @pytest.mark.parametrize("field", ["id", "status", "currency", "total", "amount_remaining"])
    def test_a_missing_field_breaks_the_contract(self, field: str) -> None:
        row = {name: value for name, value in invoice_row().items() if name != field}

        with pytest.raises(ContractBroken):
            views.invoice_view(row, [], "stripe", config())

    def test_a_credit_takes_its_share_of_tax_and_says_where_the_excess_goes(self) -> None:
        invoice = views.invoice_view(
            invoice_row(amount_remaining=3000), [line_row()], "stripe", config()
        )
        request = CreditInvoice(
            connection="stripe",
            invoice=invoice.record,
            lines=(EngineCreditLine(item="T-1", amount=money("50.01")),),
            reason=CreditReason.CANCELLED,
        )

        form = mapping.credit_form(KEY, request, invoice)
        elsewhere = request.model_copy(update={"settlement": Settlement.ELSEWHERE})

        # 50.01 and 9.50 of tax, less the 30.00 still to be paid
        assert form["credit_amount"] == 2951
        assert form["email_type"] == "none"
        assert form["reason"] == "order_change"
        assert mapping.credit_form(KEY, elsewhere, invoice)["out_of_band_amount"] == 2951

    def test_every_reason_has_one_of_stripe_s(self) -> None:
        assert set(mapping.REASONS) == set(CreditReason)


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


def engine(answer: Any) -> Stripe:
    http = VendorHttp(
        vendor="stripe",
        connection="stripe",
        base_url=URL,
        auth=NoAuth(),
        classify=classify,
        governor=LocalGovernor(1),
        transport=httpx.MockTransport(answer),
    )
    return Stripe("stripe", config(), http)


def listed(*rows: JsonValue, more: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"object": "list", "data": list(rows), "has_more": more})


async def test_a_create_without_an_object_is_looked_up() -> None:
    request = EngineCustomer(connection="stripe", client_key="k", name="Acme")
    for text in ("{}", "[]", '{"id": null}'):
        answer = httpx.Response(200, text=text, headers={"Content-Type": "application/json"})
        with pytest.raises(OutcomeUnknown):
            await engine(lambda _, answer=answer: answer).provision_client(KEY, request)


async def test_pages_that_never_end_break_the_contract() -> None:
    with pytest.raises(ContractBroken, match="never end"):
        await engine(lambda _: listed(invoice_row(), more=True)).find_draft(KEY, wish())


async def test_an_invoice_is_found_on_a_later_page_and_void_ones_are_gone() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        if request.url.path.endswith("/lines"):
            return listed(line_row())
        if "starting_after" not in asked[-1]:
            return listed(invoice_row(id="in_9", status="void"), more=True)
        return listed(invoice_row())

    found = await engine(answer).find_draft(KEY, wish(since=date(2026, 11, 2)))

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
            KEY, EngineCustomer(connection="stripe", client_key="k", name="Acme")
        )
    assert keys == [KEY, *(f"{KEY}.{number}" for number in range(2, KEYS_MAX + 1))]


async def test_a_draft_that_stripe_could_not_issue_is_rejected_in_its_words() -> None:
    why: JsonValue = {"message": "The customer's address is not valid."}
    row = invoice_row(status="draft", last_finalization_error=why)

    with pytest.raises(Rejected, match="address is not valid"):
        await engine(lambda _: httpx.Response(200, json=row)).finalize_invoice(
            KEY, RecordRef(system="stripe", type="invoice", id="in_1")
        )
