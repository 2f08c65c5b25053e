"""Accounts that hold what Dealthread makes, by vendor, and the rows that an extract has of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

from adapters.errors import AdapterError, Forbidden, Rejected
from adapters.invoicing import Invoicing
from adapters.kantata.adapter import Kantata
from adapters.netsuite.adapter import NetSuite
from adapters.ports import Crm, Erp, Extracts
from adapters.psa_port import Psa
from adapters.salesforce.adapter import Salesforce
from adapters.stripe.adapter import Stripe
from canonical.deal import DealLinks
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope, ExtractState
from canonical.ids import external_id
from canonical.invoicing import CreditLine, CreditReason
from canonical.money import Money
from simulators.kit.records import RecordState
from tests.contract import erp_role, psa_invoicing_role, psa_role
from tests.contract.engine_role import CLIENT_KEY as PAYER_KEY
from tests.contract.engine_role import StripeAccount, opened
from tests.contract.invoicing_role import CREDIT_KEY, INVOICE_KEY, LATER, ON, POST_KEY
from tests.contract.suite import Scene
from tests.contract.test_erp_billing import COST_IDS, costs
from tests.contract.test_invoicing_netsuite import CHARGE_IDS, CLIENT_KEY, NetSuiteAccount

DEAL = ExtractKind.DEAL
CLIENT, PROJECT, ENTRY = ExtractKind.CLIENT, ExtractKind.PROJECT, ExtractKind.ENTRY
CHARGE, COST, INVOICE = ExtractKind.CHARGE, ExtractKind.COST, ExtractKind.INVOICE
CREDIT, PAYMENT = ExtractKind.CREDIT, ExtractKind.PAYMENT
WAITING_IDS: Final = tuple(
    external_id(f"billing-run/psa/2/2026-11/1/1:charge/{number}") for number in range(2)
)
STARTED: Final = "2026-11-20T12:00:00+00:00"

LISTING: Final[tuple[type[Extracts], ...]] = (Kantata, NetSuite, Stripe, Salesforce)
"""They keep the port, as the type checker sees here."""

Expected = Mapping[str, object]
"""Fields of a row by name; `id` or `external_id` says which row."""


@dataclass(frozen=True)
class ListerFacts:
    """What the suite must know of a vendor."""

    open: Callable[[Scene[Extracts]], Awaitable[Mapping[ExtractKind, list[Expected]]]]
    """Makes what Dealthread makes, and says which rows must be there."""
    page: tuple[str, ...]
    """Where the adapter keeps how many rows it asks for."""
    unsupported: frozenset[ExtractKind]
    sign_ins: Mapping[str, type[AdapterError] | None]
    """By kind of sign-in: what a void session raises; None: it is renewed."""


def money(amount: str | Decimal, currency: str) -> Money:
    return Money(amount=Decimal(amount), currency=currency)


async def listed(adapter: Extracts, kind: ExtractKind, **scope: Any) -> list[ExtractRow]:
    """Return all rows of a scope, none of them twice."""
    pages = adapter.extract(ExtractScope(kind=kind, **scope))
    rows = [row async for page in pages for row in page]
    assert len({row.id for row in rows}) == len(rows)
    assert {row.kind for row in rows} <= {kind}
    return rows


def one(rows: list[ExtractRow], expected: Expected) -> ExtractRow:
    """Return the one row that is meant."""
    name = "id" if "id" in expected else "external_id"
    (row,) = [row for row in rows if getattr(row, name) == expected[name]]
    return row


# Kantata: one project's entries are confirmed, another's are free.


async def open_psa(scene: Scene[Extracts]) -> Mapping[ExtractKind, list[Expected]]:
    psa = cast(Scene[Psa], scene)
    await scene.control.seed("time-small", account=scene.name, vendor=scene.vendor, count=4)
    client, project = await psa_role.client(psa), await psa_role.project(psa)
    await psa.adapter.write_erp_link(project, psa_role.ERP_LINK)
    given = await psa_invoicing_role.billed(psa, extra="12.34")
    mirror = await psa_invoicing_role.confirm(psa, given)
    confirmed = {
        id_ for part in given.request.entries for id_ in (*part.entry_ids, *part.expense_ids)
    }
    own = await psa_invoicing_role.entries(psa)
    free = await psa_invoicing_role.entries(psa, 1)
    assert {entry.id for entry in own} - confirmed

    def row_of(entry: Any, state: ExtractState, invoice: str) -> Expected:
        return {
            "id": f"{entry.kind}/{entry.id}",
            "state": state,
            "invoice_id": invoice,
            "minutes": entry.minutes,
            "amount": entry.amount,
            "date": entry.service_date,
            "version": entry.version,
            "project_id": entry.project_id,
        }

    entries = [row_of(entry, ExtractState.OPEN, "") for entry in free]
    for entry in own:
        billed = entry.id in confirmed
        state = ExtractState.BILLED if billed else ExtractState.RESERVED
        held = mirror.record.id if billed else given.reserved.record.id
        entries.append(row_of(entry, state, held))
    net = given.request.net
    return {
        CLIENT: [
            {
                "external_id": psa_role.CLIENT_KEY,
                "id": client.id,
                "number": "Northwind Robotics",
                "state": ExtractState.OPEN,
            }
        ],
        PROJECT: [
            {
                "external_id": psa_role.PROJECT_KEY,
                "id": project.id,
                "client_id": client.id,
                "links": ("netsuite:1001", "netsuite:1002"),
                "state": ExtractState.OPEN,
            }
        ],
        ENTRY: entries,
        INVOICE: [
            {
                "external_id": psa_invoicing_role.KEY,
                "id": mirror.record.id,
                "number": given.request.number,
                "state": ExtractState.OPEN,
                "amount": net,
                "left": net,
                "date": given.request.on,
                "project_id": given.request.project.id,
            },
            {
                "external_id": psa_invoicing_role.RUN_KEY,
                "id": given.reserved.record.id,
                "state": ExtractState.DRAFT,
            },
        ],
    }


# NetSuite: charges in every stage, an invoice that is credited and paid in part, cost.


async def open_erp(scene: Scene[Extracts]) -> Mapping[ExtractKind, list[Expected]]:
    account = NetSuiteAccount(cast(Scene[Invoicing], scene))
    client, project = await account.client(), await account.project()
    await account.port.write_psa_link(project, "5001")
    waiting = await account.project("B")
    await account.hold(waiting, WAITING_IDS)
    await account.port.set_charges_ready(WAITING_IDS[1:], ready=True)
    await account.ready(project)
    invoice = await account.port.provision_invoice(INVOICE_KEY, await account.charged())
    line = CreditLine(item="T-0", amount=account.money("50"), reason=CreditReason.CONCESSION)
    request = account.credit_wish(invoice.record, lines=(line,))
    credit = await account.port.provision_credit(CREDIT_KEY, request)
    payment = await account.pay(invoice.record, "100")
    us_project = await erp_role.project(cast(Scene[Erp], scene))
    await account.port.post_costs(COST_IDS, costs(us_project))

    def charge(key: str, of: Any, state: ExtractState, on: str = "") -> Expected:
        return {
            "external_id": key,
            "state": state,
            "amount": account.money("100"),
            "client_id": client.id,
            "project_id": of.id,
            "invoice_id": on,
            "date": ON,
            "subsidiary": "3",
        }

    return {
        CLIENT: [
            {
                "external_id": CLIENT_KEY,
                "id": client.id,
                "number": "Hansewerk Logistik",
                "state": ExtractState.OPEN,
            }
        ],
        PROJECT: [
            {
                "id": project.id,
                "client_id": client.id,
                "links": ("5001",),
                "subsidiary": "3",
                "state": ExtractState.OPEN,
            },
            {"id": waiting.id, "links": ()},
        ],
        CHARGE: [
            charge(WAITING_IDS[0], waiting, ExtractState.ON_HOLD),
            charge(WAITING_IDS[1], waiting, ExtractState.READY),
            *(charge(id_, project, ExtractState.BILLED, invoice.record.id) for id_ in CHARGE_IDS),
        ],
        COST: [
            {"external_id": COST_IDS[0], "amount": money("20.58", "USD"), "minutes": 13},
            {"external_id": COST_IDS[1], "amount": money("-5.69", "USD"), "minutes": -7},
            {"external_id": COST_IDS[2], "amount": money("99.95", "USD"), "minutes": None},
        ],
        INVOICE: [
            {
                "external_id": INVOICE_KEY,
                "id": invoice.record.id,
                "number": invoice.number,
                "state": ExtractState.PART_PAID,
                "amount": account.money("300"),
                "gross": account.gross("200", "100"),
                "left": account.money(
                    account.gross("200", "100").amount - account.gross("50").amount - 100
                ),
                "client_id": client.id,
                "project_id": project.id,
                "date": ON,
            }
        ],
        CREDIT: [
            {
                "external_id": CREDIT_KEY,
                "id": credit.record.id,
                "state": ExtractState.PAID,
                "amount": account.money("50"),
                "gross": account.gross("50"),
                "left": account.money("0"),
                "invoice_id": invoice.record.id,
                "date": LATER,
            }
        ],
        PAYMENT: [
            {
                "id": payment,
                "state": ExtractState.PAID,
                "amount": account.money("100"),
                "left": account.money("0"),
                "invoice_id": invoice.record.id,
                "client_id": client.id,
                "date": LATER,
            }
        ],
    }


# Stripe: an invoice that is credited and paid in part, and an item that waits.


async def open_engine(scene: Scene[Extracts]) -> Mapping[ExtractKind, list[Expected]]:
    await scene.control.clock(scene.name, set=STARTED)
    account: StripeAccount = await opened(cast(Scene[Invoicing], scene))
    port = account.port
    client = await account.client()
    made = await port.provision_invoice(INVOICE_KEY, await account.wish())
    invoice = await port.post_invoice(POST_KEY, made.record)
    request = account.credit_wish(invoice.record)
    credit = await port.provision_credit(CREDIT_KEY, request)
    intent = await account.pay(invoice.record, "100")
    applied = (await port.read_invoice(invoice.record)).applications
    payment = next(each.id for each in applied if each.reference == intent)
    assert request.lines[0].amount == account.money("500")
    whole = account.gross("1341.25", "20000", "-341.25")
    left = account.money(whole.amount - account.gross("500").amount - 100)
    item = {"state": ExtractState.BILLED, "invoice_id": invoice.record.id, "date": ON}
    return {
        CLIENT: [
            {"external_id": PAYER_KEY, "id": client.id, "state": ExtractState.OPEN},
        ],
        CHARGE: [
            {"external_id": "T-1", "amount": account.money("1341.25"), **item},
            {"external_id": "M-1", "amount": account.money("20000"), **item},
            {"external_id": "D-1", "amount": account.money("-341.25"), **item},
        ],
        INVOICE: [
            {
                "external_id": INVOICE_KEY,
                "id": invoice.record.id,
                "number": invoice.number,
                "state": ExtractState.PART_PAID,
                "amount": account.money("21000"),
                "gross": whole,
                "left": left,
                "client_id": client.id,
                "date": ON,
            }
        ],
        CREDIT: [
            {
                "external_id": CREDIT_KEY,
                "id": credit.record.id,
                "state": ExtractState.PAID,
                "amount": account.money("500"),
                "gross": account.gross("500"),
                "invoice_id": invoice.record.id,
                "date": LATER,
            }
        ],
        PAYMENT: [
            {
                "id": payment,
                "number": intent,
                "state": ExtractState.PAID,
                "amount": account.money("100"),
                "invoice_id": invoice.record.id,
                "client_id": client.id,
            }
        ],
    }


# Salesforce: a deal of one legal entity, one of two, and one on which nothing is written.


async def open_crm(scene: Scene[Extracts]) -> Mapping[ExtractKind, list[Expected]]:
    crm = cast(Crm, scene.adapter)
    deals = {
        str(each["fields"]["Seed_Slug__c"]): each for each in await scene.records("Opportunity")
    }
    one_, two, none = (deals[slug] for slug in ("tm-us", "two-entity", "fixed-de"))
    await crm.write_links(
        one_["id"],
        DealLinks(erp_client_id="1001", erp_project_id="2001", psa_project_id="5001"),
    )
    await crm.write_links(two["id"], DealLinks(erp_project_id="US:2002;DE:2003"))

    def row(deal: RecordState, *links: str) -> Expected:
        return {
            "id": deal["id"],
            "number": deal["fields"]["Name"],
            "client_id": deal["fields"]["AccountId"],
            "state": ExtractState.OPEN,
            "links": links,
        }

    return {
        DEAL: [
            row(one_, "erp_client:1001", "erp_project:2001", "psa_project:5001"),
            row(two, "erp_project:2002", "erp_project:2003"),
            row(none),
        ]
    }


LISTERS: Final[Mapping[str, ListerFacts]] = {
    "kantata": ListerFacts(
        open=open_psa,
        page=("adapters.kantata.records.PAGE",),
        unsupported=frozenset({DEAL, CHARGE, COST, CREDIT, PAYMENT}),
        sign_ins={"": Forbidden},
    ),
    "netsuite": ListerFacts(
        open=open_erp,
        page=("adapters.netsuite.records.ROWS_MAX", "adapters.netsuite.extracts.ROWS_MAX"),
        unsupported=frozenset({DEAL, ENTRY}),
        sign_ins={"token_based": Rejected, "client_credentials": None},
    ),
    "stripe": ListerFacts(
        open=open_engine,
        page=("adapters.stripe.objects.PAGE",),
        unsupported=frozenset({DEAL, PROJECT, ENTRY, COST}),
        sign_ins={"": Forbidden},
    ),
    "salesforce": ListerFacts(
        open=open_crm,
        page=("adapters.salesforce.extracts.ROWS_MAX",),
        unsupported=frozenset(ExtractKind) - {DEAL},
        sign_ins={"client_credentials": None, "jwt_bearer": None},
    ),
}
