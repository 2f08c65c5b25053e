"""Stripe's account under contract as a billing engine: its people, and its writes as acts.

What every issuing system does is in `invoicing_role`; here is how it is asked of this one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar, cast

import pytest
from pydantic import JsonValue

from adapters.errors import AdapterError
from adapters.invoicing import BillingEngine, Invoicing
from canonical.deal import Address
from canonical.engagement import BillingMethod
from canonical.ids import external_id
from canonical.invoicing import Billee, Invoice, InvoiceLine, ProvisionInvoice
from canonical.records import RecordRef
from simulators.kit import FaultKind
from tests.contract.invoicing_role import (
    CREDIT_KEY,
    INVOICE_KEY,
    POST_KEY,
    VOID_KEY,
    InvoicingAccount,
)
from tests.contract.suite import ADAPTER_SECONDS, Act, Scene

Body = dict[str, JsonValue]

VENDOR = "stripe"
CLIENT_KEY = external_id("client/crm/001")
CLIENT = Billee(
    connection="engine",
    client_key="client/crm/001",
    name="Northwind Robotics",
    billing_email="billing@northwind.example",
    address=Address(
        street="200 Hudson Street\nFloor 7",
        city="New York",
        postal_code="10013",
        region="NY",
        country="US",
    ),
)
BAD_IDS = ("", "../customers", "in_1?expand[]=x", "in 1", "x" * 256)
STEPS = ["reach", "sign in", "permission", "search", "mappings"]
"""Of the connection check."""


@dataclass
class StripeAccount(InvoicingAccount):
    """One Stripe account, and who works in its Dashboard."""

    taxed: bool = True
    """Its lines have a tax category; else the adapter needs no settings."""
    german_rate: str = ""

    credit_type: ClassVar[str] = "credit_note"

    @property
    def port(self) -> BillingEngine:
        """The adapter, as a billing engine."""
        return cast(BillingEngine, self.scene.adapter)

    def lines(self) -> tuple[InvoiceLine, ...]:
        category = "standard" if self.taxed else ""
        return tuple(line.model_copy(update={"tax_category": category}) for line in super().lines())

    async def client(self) -> RecordRef:
        id_ = self.extra.get("client") or await self.record_id("customer", CLIENT_KEY)
        if id_:
            return self.reference_to("client", id_)
        return await self.port.provision_client(CLIENT_KEY, CLIENT)

    def reference_to(self, type_: str, id_: str) -> RecordRef:
        """Return the canonical name of an object."""
        return RecordRef(system=self.scene.connection, type=type_, id=id_)

    async def wish(self, **changes: object) -> ProvisionInvoice:
        return await super().wish(**{"method": BillingMethod.BILLING_ENGINE, **changes})

    async def is_begun(self) -> bool:
        return bool(await self.record_id("invoice", INVOICE_KEY))

    async def state(self) -> list[tuple[str, str, str]]:
        return [each for each in await self.scene.state() if each[0] != "event"]

    async def patch(self, type_: str, id_: str, **fields: JsonValue) -> None:
        """Let a person change something."""
        await self.scene.control.patch_record(VENDOR, self.scene.name, type_, id_, fields)

    async def remove(self, type_: str, id_: str) -> None:
        """Let a person delete something."""
        await self.scene.control.delete_record(VENDOR, self.scene.name, type_, id_)

    async def fields(self, type_: str, id_: str) -> Body:
        """Return what the simulator has of an object."""
        return (await self.scene.record(type_, id_))["fields"]

    async def item(self, of: str) -> str:
        """Return the invoice item behind a line of ours."""
        items = await self.scene.records("invoiceitem")
        return next(each["id"] for each in items if f"'{of}'" in repr(each["fields"]["metadata"]))

    async def close_period(self, on: object) -> None:
        del on
        pytest.skip("it keeps no ledger")

    async def pay(self, invoice: RecordRef, amount: str | None = None) -> str:
        """Let the client pay by card; return the payment intent."""
        fields = await self.fields("invoice", invoice.id)
        units = fields["amount_remaining"] if amount is None else int(Decimal(amount) * 100)
        payment: Body = {
            "amount": units,
            "currency": fields["currency"],
            "customer": fields["customer"],
            "confirm": True,
            "payment_method": "pm_card_visa",
        }
        intent = await self.scene.put("payment_intent", payment)
        await self.patch("invoice", invoice.id, payment_intent=intent)
        return intent

    async def pay_outside(self, invoice: RecordRef) -> None:
        """Let accounting say that it was paid outside of Stripe."""
        await self.patch("invoice", invoice.id, status="paid")

    async def unapply(self, payment: str, invoice: RecordRef) -> None:
        del invoice
        await self.refund(payment)

    async def delete_payment(self, payment: str) -> None:
        await self.refund(payment)

    async def refund(self, payment: str, amount: str | None = None) -> str:
        """Let a person pay it back, all of it by default."""
        fields: Body = {"payment_intent": payment}
        if amount is not None:
            fields["amount"] = int(Decimal(amount) * 100)
        return await self.scene.put("refund", fields)

    async def credit_natively(self, invoice: RecordRef, net: str) -> None:
        total = int(self.gross(net).amount * 100)
        left = int(str((await self.fields("invoice", invoice.id))["amount_remaining"]))
        back = max(total - left, 0)
        await self.scene.put(
            "credit_note", {"invoice": invoice.id, "amount": total, "out_of_band_amount": back}
        )

    async def edit_line(self, invoice: RecordRef, net: str) -> None:
        if (await self.fields("invoice", invoice.id))["status"] != "draft":
            pytest.skip("an issued invoice cannot be edited there")
        await self.patch("invoiceitem", await self.item("T-1"), amount=int(Decimal(net) * 100))

    async def add_line(self, invoice: RecordRef) -> None:
        fields: Body = {"amount": 7500, "currency": "eur", "description": "Extra"}
        fields |= {"customer": (await self.client()).id, "invoice": invoice.id}
        await self.scene.put("invoiceitem", fields)

    async def delete(self, invoice: RecordRef) -> None:
        if (await self.fields("invoice", invoice.id))["status"] != "draft":
            pytest.skip("an issued invoice cannot be deleted there")
        await self.remove("invoice", invoice.id)

    async def refuse(self, invoice: RecordRef) -> None:
        del invoice
        pytest.skip("nobody approves invoices there")

    async def block_client(self, how: str) -> str:
        if how == "hold":
            pytest.skip("nobody is put on hold there")
        self.extra["client"] = (await self.client()).id
        await self.remove("customer", self.extra["client"])
        return self.extra["client"]

    async def voiding(self, voids: bool) -> Invoicing:
        return await self.with_settings({"voids": voids})

    async def with_settings(
        self, settings: Body, *, seconds: float = ADAPTER_SECONDS
    ) -> BillingEngine:
        """Return an adapter on the account that knows its tax rates, and more settings."""
        rates: Body = {"tax_rates": {"standard": [self.german_rate], "exempt": []}}
        given = {**(rates if self.taxed else {}), **settings}
        return cast(BillingEngine, await self.scene.another(settings=given, seconds=seconds))

    async def wait_a_day(self) -> None:
        await self.scene.control.clock(
            self.scene.name, advance_seconds=timedelta(days=1).total_seconds()
        )

    async def with_empty_draft(self) -> None:
        """Let an attempt die between the invoice and its lines."""
        request, match = await self.wish(), {"path": "/add_lines$"}
        await self.scene.control.add_fault(
            VENDOR, self.scene.name, cast(Body, match), FaultKind.DROP_BEFORE
        )
        with pytest.raises(AdapterError):
            await self.port.provision_invoice(INVOICE_KEY, request)


async def opened(scene: Scene[Invoicing], *, taxed: bool = True) -> StripeAccount:
    """Return the account of a fresh scene, with an adapter that knows it."""
    rates = await scene.records("tax_rate")
    german = next(each["id"] for each in rates if each["fields"]["country"] == "DE")
    account = StripeAccount(
        scene,
        tax_percent=Decimal(19 if taxed else 0),
        bad_ids=BAD_IDS,
        absent_id="in_0000000000",
        has_periods=False,
        sign_ins=("", "restricted"),
        taxed=taxed,
        german_rate=german,
    )
    scene.adapter = await account.with_settings({})
    return account


# Acts: every write of the port as the fault tables need them, on an adapter without settings.


def at(scene: Scene[BillingEngine]) -> StripeAccount:
    """Return the account of a scene, untaxed."""
    return StripeAccount(
        cast(Scene[Invoicing], scene), tax_percent=Decimal(0), absent_id="in_0", taxed=False
    )


Deed = Callable[[StripeAccount], Awaitable[object]]


def act(
    name: str, perform: Deed, landed: Deed, prepare: Deed, calls: int = 1, *, undo: bool = False
) -> Act[BillingEngine]:
    """Return an act on the account of a scene."""

    async def done(scene: Scene[BillingEngine]) -> object:
        return await perform(at(scene))

    async def seen(scene: Scene[BillingEngine]) -> bool:
        return bool(await landed(at(scene)))

    async def before(scene: Scene[BillingEngine]) -> None:
        await prepare(at(scene))

    return Act(name, done, seen, before, calls, undo)


async def nothing(account: StripeAccount) -> None:
    del account


async def has_client(account: StripeAccount) -> object:
    return await account.port.find_client(CLIENT_KEY)


async def is_whole(account: StripeAccount) -> object:
    return await account.port.find_invoice(INVOICE_KEY, await account.wish())


async def is_open(account: StripeAccount) -> bool:
    invoice: Invoice = await account.port.read_invoice(await account.reference())
    return bool(invoice.number) and invoice.status == "open"


async def has_credit(account: StripeAccount) -> object:
    request = account.credit_wish(await account.reference())
    return await account.port.find_credit(CREDIT_KEY, request)


async def provision_client(account: StripeAccount) -> object:
    return await account.port.provision_client(CLIENT_KEY, CLIENT)


async def remove_client(account: StripeAccount) -> object:
    return await account.port.remove_client(CLIENT_KEY, None)


async def provision(account: StripeAccount) -> object:
    return await account.port.provision_invoice(INVOICE_KEY, await account.wish())


async def remove(account: StripeAccount) -> object:
    return await account.port.remove_invoice(INVOICE_KEY, await account.wish())


async def post(account: StripeAccount) -> object:
    return await account.port.post_invoice(POST_KEY, await account.reference())


async def void(account: StripeAccount) -> object:
    return await account.port.void_invoice(VOID_KEY, await account.reference())


async def credit(account: StripeAccount) -> object:
    request = account.credit_wish(await account.reference())
    return await account.port.provision_credit(CREDIT_KEY, request)


async def remove_credit(account: StripeAccount) -> object:
    request = account.credit_wish(await account.reference())
    return await account.port.remove_credit(CREDIT_KEY, request)


CLIENT_THERE = StripeAccount.client
BEGUN = StripeAccount.is_begun
OWN_ACTS: tuple[Act[BillingEngine], ...] = (
    act("provision_client", provision_client, has_client, nothing),
    # found and read, the list of the latest, three looks at what hangs on it, and the delete
    act("remove_client", remove_client, has_client, CLIENT_THERE, 7),
    act("add_lines", provision, is_whole, StripeAccount.with_empty_draft, 2),
)
SHARED_ACTS: tuple[Act[BillingEngine], ...] = (
    act("provision_invoice", provision, BEGUN, CLIENT_THERE, 3),
    act("remove_invoice", remove, BEGUN, StripeAccount.provision, 2, undo=True),
    act("post_invoice", post, is_open, StripeAccount.provision, 2),
    act("void_invoice", void, is_open, StripeAccount.issued, undo=True),
    act("provision_credit", credit, has_credit, StripeAccount.issued, 2),
    act("remove_credit", remove_credit, has_credit, StripeAccount.credited, 2, undo=True),
)
"""The moves of `invoicing_role`, as acts."""
