"""What every adapter in the role `Invoicing` must do, whichever vendor issues the invoices.

A test module of a vendor subclasses the suites of `invoicing_suites` and `invoicing_faults` and
gives a fixture `account`: an `InvoicingAccount`, which knows how a person acts in that vendor's
screens. Everything else is asked through the port.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import ClassVar

import pytest

from adapters.invoicing import Invoicing
from canonical.engagement import BillingMethod
from canonical.ids import external_id
from canonical.invoicing import (
    CreditLine,
    CreditNote,
    CreditReason,
    DraftMode,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    ProvisionCredit,
    ProvisionInvoice,
)
from canonical.money import Money
from canonical.records import RecordRef
from tests.contract.suite import (
    Scene,
)

INVOICE_KEY = external_id("invoice-draft/DE/001/EUR/g/2026-11/1/1:provision_invoice")
POST_KEY = external_id("invoice-draft/DE/001/EUR/g/2026-11/1/1:post_invoice")
VOID_KEY = external_id("invoice/erp/1/1:void_invoice")
CREDIT_KEY = external_id("invoice/erp/1/1:provision_credit:1")
SECOND_CREDIT_KEY = external_id("invoice/erp/1/1:provision_credit:2")
ON = date(2026, 11, 20)
LATER = date(2026, 12, 5)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
UNDOS = frozenset({"remove_invoice", "remove_credit", "void_invoice"})
"""Acts whose refusal by the vendor is an undo refused."""
HOSTILE = {
    "quotes": 'O\'Brien "& Söhne" \\ %_[]=&',
    "rtl": "שלום 🚀 Café Ωmega",
    "long": "x" * 10_000,
    "injection": "'; DELETE FROM transaction",
}


@dataclass
class InvoicingAccount(ABC):
    """One account of a vendor: what the suite asks it for, and what people do there."""

    scene: Scene[Invoicing]
    currency: str = "EUR"
    tax_percent: Decimal = Decimal(19)
    bad_ids: tuple[str, ...] = ()
    absent_id: str = ""
    has_periods: bool = True
    """It keeps a ledger, whose periods can be closed."""
    sign_ins: tuple[str, ...] = ("",)
    extra: dict[str, str] = field(default_factory=dict)

    invoice_type: ClassVar[str] = "invoice"
    """Record type in the simulator."""
    credit_type: ClassVar[str]

    @property
    def adapter(self) -> Invoicing:
        """The adapter under test."""
        return self.scene.adapter

    @property
    def drafts(self) -> bool:
        """Whether an invoice is a draft first."""
        return self.adapter.invoicing.draft is DraftMode.NON_POSTING

    def money(self, amount: str | Decimal) -> Money:
        """Return an amount in the currency of the invoices."""
        return Money(amount=Decimal(amount), currency=self.currency)

    def gross(self, *nets: str) -> Money:
        """Return what lines are over with tax, rounded line by line."""
        taxed = [
            Decimal(net)
            + Money.rounded(Decimal(net) * self.tax_percent / 100, self.currency).amount
            for net in nets
        ]
        return self.money(sum(taxed, Decimal(0)))

    def lines(self) -> tuple[InvoiceLine, ...]:
        """Return time, a fee and a deduction."""
        return (
            InvoiceLine(
                item="T-1",
                description="Solution design, November",
                quantity=Decimal("7.25"),
                unit_price=Decimal(185),
                amount=self.money("1341.25"),
                start=date(2026, 11, 1),
                end=date(2026, 11, 30),
            ),
            InvoiceLine(
                item="M-1",
                description="Milestone: go-live 🚀",
                unit_price=Decimal(20000),
                amount=self.money("20000"),
                kind="fee",
            ),
            InvoiceLine(
                item="D-1",
                description="Retainer drawn",
                unit_price=Decimal("-341.25"),
                amount=self.money("-341.25"),
                kind="fee",
            ),
        )

    @abstractmethod
    async def client(self) -> RecordRef:
        """Return a client that can be invoiced; the same one when asked again."""

    async def wish(self, **changes: object) -> ProvisionInvoice:
        """Return the invoice that is asked for."""
        usual = ProvisionInvoice(
            connection="erp",
            method=BillingMethod.ERP_LINES,
            client=await self.client(),
            currency=self.currency,
            lines=self.lines(),
            on=ON,
            payment_days=45,
            title="Hansewerk – Warehouse automation, November",
            client_po="PO-4711",
            since=date(2026, 1, 1),
        )
        return usual.model_copy(update=changes)

    async def record_id(self, type_: str, key: str) -> str:
        """Return the id of our record, without a call to the vendor; empty where there is none."""
        found = [each["id"] for each in await self.scene.records(type_) if each["key"] == key]
        return found[0] if found else ""

    async def reference(self) -> RecordRef:
        """Return our invoice, found behind the vendor's API."""
        id_ = await self.record_id(self.invoice_type, INVOICE_KEY) or self.absent_id
        return RecordRef(system=self.scene.connection, type="invoice", id=id_)

    async def provision(self, **changes: object) -> Invoice:
        """Return our invoice as it is provisioned."""
        return await self.adapter.provision_invoice(INVOICE_KEY, await self.wish(**changes))

    async def is_begun(self) -> bool:
        """Whether our invoice is there; where it takes several writes, with or without lines."""
        return await self.adapter.find_invoice(INVOICE_KEY, await self.wish()) is not None

    async def state(self) -> list[tuple[str, str, str]]:
        """Return all that stands; not a log in which what is undone stays too."""
        return await self.scene.state()

    async def issued(self) -> Invoice:
        """Return our invoice, issued."""
        return await self.adapter.post_invoice(POST_KEY, (await self.provision()).record)

    def credit_wish(self, invoice: RecordRef, **changes: object) -> ProvisionCredit:
        """Return the credit that is asked for: a part of one line."""
        usual = ProvisionCredit(
            connection="erp",
            invoice=invoice,
            lines=(
                CreditLine(item="M-1", amount=self.money("500"), reason=CreditReason.CONCESSION),
            ),
            on=LATER,
            memo="Goodwill",
        )
        return usual.model_copy(update=changes)

    async def credited(self) -> CreditNote:
        """Return our credit note on our invoice."""
        request = self.credit_wish((await self.issued()).record)
        return await self.adapter.provision_credit(CREDIT_KEY, request)

    @abstractmethod
    async def close_period(self, on: date) -> None:
        """Let the controller close the period of a date."""

    @abstractmethod
    async def pay(self, invoice: RecordRef, amount: str | None = None) -> str:
        """Let the client pay, all of it by default; return the payment's id."""

    @abstractmethod
    async def unapply(self, payment: str, invoice: RecordRef) -> None:
        """Let accounting take a payment off the invoice."""

    @abstractmethod
    async def delete_payment(self, payment: str) -> None:
        """Let accounting delete a payment."""

    @abstractmethod
    async def credit_natively(self, invoice: RecordRef, net: str) -> None:
        """Let a person credit the invoice in the vendor's own screen."""

    @abstractmethod
    async def edit_line(self, invoice: RecordRef, net: str) -> None:
        """Let a clerk change the first line's amount."""

    @abstractmethod
    async def add_line(self, invoice: RecordRef) -> None:
        """Let a clerk add a line."""

    @abstractmethod
    async def delete(self, invoice: RecordRef) -> None:
        """Let a clerk delete the invoice."""

    @abstractmethod
    async def refuse(self, invoice: RecordRef) -> None:
        """Let an approver of the vendor's refuse a draft."""

    @abstractmethod
    async def block_client(self, how: str) -> str:
        """Put the client on hold, or make it inactive; return its name."""

    @abstractmethod
    async def voiding(self, voids: bool) -> Invoicing:
        """Return an adapter on the account that can, or cannot, void."""

    @abstractmethod
    async def wait_a_day(self) -> None:
        """Let a day pass on the account's clock."""


async def let_go(scene: Scene[Invoicing], fault: str) -> None:
    """Let a held write go on, and wait until the vendor is done with it."""
    await scene.control.release(scene.vendor, scene.name, fault)
    async with asyncio.timeout(10):
        while not all(
            call["finished"] for call in await scene.control.calls(scene.vendor, scene.name)
        ):
            pass  # each look is a round trip


# Acts: every write of the port, as the fault tests need them.


@dataclass(frozen=True)
class Move:
    """One write: what must be there before it, how it is done, and what shows that it landed."""

    name: str
    before: str
    """`client`, `draft`, `invoice` or `credit`."""
    perform: Callable[[InvoicingAccount], Awaitable[object]]
    landed: Callable[[InvoicingAccount], Awaitable[bool]]


async def is_there(account: InvoicingAccount) -> bool:
    return await account.is_begun()


async def has_status(account: InvoicingAccount, *wanted: InvoiceStatus) -> bool:
    found = await account.adapter.read_invoice(await account.reference())
    return found.status in wanted


async def is_credited(account: InvoicingAccount) -> bool:
    request = account.credit_wish(await account.reference())
    return await account.adapter.find_credit(CREDIT_KEY, request) is not None


async def provision_invoice(account: InvoicingAccount) -> object:
    return await account.adapter.provision_invoice(INVOICE_KEY, await account.wish())


async def post_invoice(account: InvoicingAccount) -> object:
    return await account.adapter.post_invoice(POST_KEY, await account.reference())


async def remove_invoice(account: InvoicingAccount) -> object:
    return await account.adapter.remove_invoice(INVOICE_KEY, await account.wish())


async def void_invoice(account: InvoicingAccount) -> object:
    return await account.adapter.void_invoice(VOID_KEY, await account.reference())


async def provision_credit(account: InvoicingAccount) -> object:
    request = account.credit_wish(await account.reference())
    return await account.adapter.provision_credit(CREDIT_KEY, request)


async def remove_credit(account: InvoicingAccount) -> object:
    request = account.credit_wish(await account.reference())
    return await account.adapter.remove_credit(CREDIT_KEY, request)


async def is_issued(account: InvoicingAccount) -> bool:
    return await has_status(account, InvoiceStatus.OPEN)


async def is_void(account: InvoicingAccount) -> bool:
    return await has_status(account, InvoiceStatus.VOID)


MOVES = (
    Move("provision_invoice", "client", provision_invoice, is_there),
    Move("post_invoice", "draft", post_invoice, is_issued),
    Move("remove_invoice", "draft", remove_invoice, is_there),
    Move("provision_credit", "invoice", provision_credit, is_credited),
    Move("remove_credit", "credit", remove_credit, is_credited),
    Move("void_invoice", "invoice", void_invoice, is_void),
)
EACH_MOVE = pytest.mark.parametrize("move", MOVES, ids=lambda move: move.name)


async def prepare(account: InvoicingAccount, move: Move) -> None:
    """Come before a move, with an adapter that can void."""
    if move.before == "draft" and not account.drafts:
        pytest.skip("this account has no drafts")
    account.scene.adapter = await account.voiding(True)
    steps: Mapping[str, Callable[[], Awaitable[object]]] = {
        "client": account.client,
        "draft": account.provision,
        "invoice": account.issued,
        "credit": account.credited,
    }
    await steps[move.before]()
