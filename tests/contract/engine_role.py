"""The billing engines under contract, what they are asked for, and their writes as acts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest

from adapters.billing_engine import BillingEngine
from adapters.errors import AdapterError, UndoRefused
from canonical.deal import Address
from canonical.engine_invoices import (
    CreditInvoice,
    CreditReason,
    DraftInvoice,
    EngineCreditLine,
    EngineCustomer,
    EngineInvoice,
    EngineLine,
    Settlement,
)
from canonical.ids import ExternalId, external_id
from canonical.money import Money
from canonical.records import RecordRef
from simulators.kit import FaultKind
from tests.contract.suite import Act, Scene


@dataclass(frozen=True)
class EngineFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    client: str
    """Record type of customers; likewise the others."""
    invoice: str
    item: str
    credit: str
    event: str
    absent_id: str
    bad_ids: tuple[str, ...]
    second_write: str
    """Path of the call that adds lines to a draft."""
    steps: list[str]
    """Of the connection check."""
    sign_ins: tuple[str, ...] = ("",)
    write_faults: Mapping[FaultKind, type[AdapterError]] = field(default_factory=dict)


ENGINES: dict[str, EngineFacts] = {
    "stripe": EngineFacts(
        client="customer",
        invoice="invoice",
        item="invoiceitem",
        credit="credit_note",
        event="event",
        absent_id="in_0000000000",
        bad_ids=("", "../customers", "in_1?expand[]=x", "in 1", "x" * 256),
        second_write="/add_lines$",
        steps=["reach", "sign in", "permission", "search", "mappings"],
        sign_ins=("", "restricted"),
    ),
}

UNDOS = frozenset({"remove_draft", "void_invoice", "void_credit"})
"""Undos whose refusal by the vendor is one."""

CLIENT_KEY = external_id("client/crm/001")
DRAFT_KEY = external_id("invoice-draft/US/001/USD/g/2026-11/1/1:provision_draft")
ISSUE_KEY = external_id("invoice-draft/US/001/USD/g/2026-11/1/1:finalize")
CREDIT_KEY = external_id("credit/1/1:credit")
CLIENT = EngineCustomer(
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
HOSTILE = {
    "quotes": 'O\'Brien "& Söhne" \\ %_[]=&',
    "rtl": "שלום 🚀 Café Ωmega",
    "long": "x" * 10_000,
    "injection": "'] OR metadata['a']:'b",
}
EACH_NAME = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


LINES = (
    EngineLine(
        item="T-1",
        description="Solution design, November",
        quantity=Decimal("7.25"),
        unit_amount=Decimal("185"),
        amount=usd("1341.25"),
        start=date(2026, 11, 1),
        end=date(2026, 11, 30),
    ),
    EngineLine(item="M-1", description="Milestone: go-live 🚀", amount=usd("20000")),
    EngineLine(item="D-1", description="Retainer drawn", amount=usd("-341.25")),
)
NET = usd("21000")


def facts(scene: Scene[BillingEngine]) -> EngineFacts:
    return ENGINES[scene.vendor]


def reference(scene: Scene[BillingEngine], kind: str, id_: str) -> RecordRef:
    return RecordRef(system=scene.connection, type=kind, id=id_)


async def id_behind(scene: Scene[BillingEngine], type_: str, key: ExternalId) -> str:
    """Return the id of our record, without a call to the vendor."""
    found = [each["id"] for each in await scene.records(type_) if each["key"] == key]
    return found[0] if found else ""


async def client(scene: Scene[BillingEngine]) -> RecordRef:
    """Return our customer; the same one when asked again."""
    id_ = await id_behind(scene, facts(scene).client, CLIENT_KEY)
    if id_:
        return reference(scene, "client", id_)
    return await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def wish(scene: Scene[BillingEngine], **changes: object) -> DraftInvoice:
    """Return the draft that is asked for."""
    usual = DraftInvoice(
        connection="engine",
        client=await client(scene),
        currency="USD",
        lines=LINES,
        payment_days=30,
        title="Northwind – ERP rollout, November",
        client_po="PO-4711",
        since=date(2026, 1, 1),
    )
    return usual.model_copy(update=changes)


async def draft(scene: Scene[BillingEngine]) -> EngineInvoice:
    """Return our draft, or the invoice that it became."""
    request = await wish(scene)
    found = await scene.adapter.find_draft(DRAFT_KEY, request)
    return found or await scene.adapter.provision_draft(DRAFT_KEY, request)


async def issued(scene: Scene[BillingEngine]) -> EngineInvoice:
    """Return our invoice, issued."""
    return await scene.adapter.finalize_invoice(ISSUE_KEY, (await draft(scene)).record)


async def pay(scene: Scene[BillingEngine], invoice: RecordRef) -> None:
    """Let a person settle the invoice outside the engine."""
    await scene.control.patch_record(
        scene.vendor, scene.name, facts(scene).invoice, invoice.id, {"status": "paid"}
    )


async def credit_wish(scene: Scene[BillingEngine], **changes: object) -> CreditInvoice:
    """Return the credit that is asked for: a part of one line."""
    id_ = await id_behind(scene, facts(scene).invoice, DRAFT_KEY)
    usual = CreditInvoice(
        connection="engine",
        invoice=reference(scene, "invoice", id_ or facts(scene).absent_id),
        lines=(EngineCreditLine(item="M-1", amount=usd("500")),),
        reason=CreditReason.CONCESSION,
        memo="Goodwill",
        settlement=Settlement.BALANCE,
    )
    return usual.model_copy(update=changes)


# Acts: every write of the port, as the fault tests need them.


async def nothing(scene: Scene[BillingEngine]) -> None:
    del scene


async def with_client(scene: Scene[BillingEngine]) -> None:
    await client(scene)


async def with_draft(scene: Scene[BillingEngine]) -> None:
    await draft(scene)


async def with_empty_draft(scene: Scene[BillingEngine]) -> None:
    """Let an attempt die between the invoice and its lines."""
    request = await wish(scene)
    path = facts(scene).second_write
    match: dict[str, object] = {"path": path}
    await scene.control.add_fault(
        scene.vendor,
        scene.name,
        match,  # type: ignore[arg-type]
        FaultKind.DROP_BEFORE,
    )
    with pytest.raises(AdapterError):
        await scene.adapter.provision_draft(DRAFT_KEY, request)


async def with_invoice(scene: Scene[BillingEngine]) -> None:
    await issued(scene)


async def with_credit(scene: Scene[BillingEngine]) -> None:
    await issued(scene)
    await scene.adapter.provision_credit(CREDIT_KEY, await credit_wish(scene))


async def has_client(scene: Scene[BillingEngine]) -> bool:
    return await scene.adapter.find_client(CLIENT_KEY) is not None


async def has_invoice(scene: Scene[BillingEngine]) -> bool:
    """Whether there is an invoice of ours, with its lines or without."""
    return bool(await id_behind(scene, facts(scene).invoice, DRAFT_KEY))


async def has_draft(scene: Scene[BillingEngine]) -> bool:
    return await scene.adapter.find_draft(DRAFT_KEY, await wish(scene)) is not None


async def is_issued(scene: Scene[BillingEngine]) -> bool:
    id_ = await id_behind(scene, facts(scene).invoice, DRAFT_KEY)
    invoice = await scene.adapter.read_invoice(reference(scene, "invoice", id_))
    return bool(invoice.number) and invoice.status == "open"


async def has_credit(scene: Scene[BillingEngine]) -> bool:
    found = await scene.adapter.find_credit(CREDIT_KEY, await credit_wish(scene))
    return found is not None


async def provision_client(scene: Scene[BillingEngine]) -> object:
    return await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def remove_client(scene: Scene[BillingEngine]) -> object:
    return await scene.adapter.remove_client(CLIENT_KEY, None)


async def provision_draft(scene: Scene[BillingEngine]) -> object:
    return await scene.adapter.provision_draft(DRAFT_KEY, await wish(scene))


async def remove_draft(scene: Scene[BillingEngine]) -> object:
    return await scene.adapter.remove_draft(DRAFT_KEY, await wish(scene))


async def finalize(scene: Scene[BillingEngine]) -> object:
    id_ = await id_behind(scene, facts(scene).invoice, DRAFT_KEY)
    return await scene.adapter.finalize_invoice(ISSUE_KEY, reference(scene, "invoice", id_))


async def void(scene: Scene[BillingEngine]) -> object:
    id_ = await id_behind(scene, facts(scene).invoice, DRAFT_KEY)
    return await scene.adapter.void_invoice(ISSUE_KEY, reference(scene, "invoice", id_))


async def provision_credit(scene: Scene[BillingEngine]) -> object:
    return await scene.adapter.provision_credit(CREDIT_KEY, await credit_wish(scene))


async def void_credit(scene: Scene[BillingEngine]) -> object:
    return await scene.adapter.void_credit(CREDIT_KEY, await credit_wish(scene))


ACTS: tuple[Act[BillingEngine], ...] = (
    Act("provision_client", provision_client, has_client, nothing),
    # found and read, the list of the latest, three looks at what hangs on it, and the delete
    Act("remove_client", remove_client, has_client, with_client, calls=7),
    Act("provision_draft", provision_draft, has_invoice, with_client, calls=3),
    Act("add_lines", provision_draft, has_draft, with_empty_draft, calls=2),
    Act("remove_draft", remove_draft, has_draft, with_draft, calls=2),
    Act("finalize_invoice", finalize, is_issued, with_draft),
    Act("void_invoice", void, is_issued, with_invoice),
    Act("provision_credit", provision_credit, has_credit, with_invoice, calls=2),
    Act("void_credit", void_credit, has_credit, with_credit, calls=2),
)
EACH_ACT = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)


def expected(scene: Scene[BillingEngine], act: Act[BillingEngine], kind: FaultKind) -> object:
    """Return what a vendor says of a fault on this act where it says more than the usual."""
    if kind is FaultKind.REJECT and act.name in UNDOS:
        return UndoRefused
    return facts(scene).write_faults.get(kind)
