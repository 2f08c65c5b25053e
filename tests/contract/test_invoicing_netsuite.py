"""NetSuite in the role `Invoicing`, with and without approval routing, and what is its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import ClassVar, cast

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import (
    ClosedPeriod,
    Invalid,
    MissingMapping,
    OutcomeUnknown,
    Rejected,
    UndoRefused,
)
from adapters.invoicing import Invoicing
from adapters.netsuite.adapter import NetSuite
from canonical.billing import Charge, ChargeBatch, ChargeStage
from canonical.engagement import BillingMethod
from canonical.ids import ExternalId, external_id
from canonical.invoicing import (
    ApplicationKind,
    Delivery,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    ProvisionInvoice,
)
from canonical.provisioning import BillingType, Dimensions, ProvisionClient, ProvisionErpProject
from canonical.records import RecordRef
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.invoicing_faults import FaultSuite
from tests.contract.invoicing_role import (
    CREDIT_KEY,
    EACH_MOVE,
    INVOICE_KEY,
    LATER,
    ON,
    POST_KEY,
    InvoicingAccount,
    Move,
    let_go,
    prepare,
)
from tests.contract.invoicing_suites import ClerkSuite, CreditSuite, InvoiceSuite, SettlementSuite
from tests.contract.suite import ADAPTER_SECONDS, IMPATIENT_SECONDS, WRITE_FAULTS, Scene, open_scene

pytestmark = pytest.mark.contract

CLIENT_KEY = external_id("client/crm/002")
OTHER_CLIENT_KEY = external_id("client/crm/003")
CHARGE_IDS = tuple(external_id(f"billing-run/psa/1/2026-11/1/1:charge/{n}") for n in range(3))
SUBSIDIARY = "3"
ACCOUNT_SETTINGS = "governance"
Body = dict[str, JsonValue]


@dataclass
class NetSuiteAccount(InvoicingAccount):
    """One NetSuite account, and its clerks."""

    routed: bool = False

    credit_type: ClassVar[str] = "creditMemo"

    @property
    def port(self) -> NetSuite:
        """The adapter, as ERP too."""
        return cast(NetSuite, self.scene.adapter)

    async def client(self) -> RecordRef:
        found = await self.port.find_client(CLIENT_KEY)
        return found or await self._new_client(CLIENT_KEY, "Hansewerk Logistik")

    async def _new_client(self, key: ExternalId, name: str) -> RecordRef:
        request = ProvisionClient(
            connection="erp",
            client_key="client/crm/002",
            name=name,
            subsidiary=SUBSIDIARY,
            currency="EUR",
            payment_terms="NET30",
        )
        return await self.port.provision_client(key, request)

    async def project(self, item: str = "DE") -> RecordRef:
        key = external_id(f"opportunity-to-project/crm/006/1:provision_erp_project:{item}")
        found = await self.port.find_project(key)
        if found is not None:
            return found
        request = ProvisionErpProject(
            connection="erp",
            item=item,
            name="Warehouse automation",
            code=f"P-{item}",
            subsidiary=SUBSIDIARY,
            price=self.money("250000"),
            billing_type=BillingType.CHARGE_BASED,
            dimensions=Dimensions(),
            start=date(2026, 11, 1),
            client=await self.client(),
        )
        return await self.port.provision_project(key, request)

    async def wish(self, **changes: object) -> ProvisionInvoice:
        return await super().wish(**{"subsidiary": SUBSIDIARY, **changes})

    async def patch(self, type_: str, id_: str, fields: Body) -> None:
        await self.scene.control.patch_record(
            self.scene.vendor, self.scene.name, type_, id_, fields
        )

    async def setting(self, **values: JsonValue) -> None:
        """Let an administrator change the account's preferences."""
        await self.patch(ACCOUNT_SETTINGS, "1", dict(values))

    async def close_period(self, on: date) -> None:
        period = await self.port.read_period(SUBSIDIARY, on)
        assert period is not None
        await self.patch("accountingPeriod", period.id, {"closed": True})

    async def pay(self, invoice: RecordRef, amount: str | None = None) -> str:
        fields = (await self.scene.record("invoice", invoice.id))["fields"]
        left = Decimal(str(fields["amountRemaining"]))
        paid = left if amount is None else Decimal(amount)
        line: Body = {"doc": invoice.id, "apply": True, "amount": float(min(left, paid))}
        return await self.scene.put(
            "customerPayment",
            {
                "customer": await self._payer(),
                "subsidiary": SUBSIDIARY,
                "currency": "2",
                "tranDate": LATER.isoformat(),
                "payment": float(paid),
                "apply": {"items": [line]},
            },
        )

    async def _payer(self) -> str:
        return await self.record_id("customer", CLIENT_KEY)

    async def unapply(self, payment: str, invoice: RecordRef) -> None:
        line: Body = {"doc": invoice.id, "apply": False}
        await self.patch("customerPayment", payment, {"apply": {"items": [line]}})

    async def delete_payment(self, payment: str) -> None:
        await self._delete("customerPayment", payment)

    async def _delete(self, type_: str, id_: str) -> None:
        await self.scene.control.delete_record(self.scene.vendor, self.scene.name, type_, id_)

    async def credit_natively(self, invoice: RecordRef, net: str, item: str = "301") -> None:
        await self.scene.put(
            "creditMemo",
            {
                "entity": await self._payer(),
                "subsidiary": SUBSIDIARY,
                "currency": "2",
                "tranDate": LATER.isoformat(),
                "item": {"items": [{"item": item, "quantity": 1, "rate": float(net)}]},
                "apply": {"items": [{"doc": invoice.id, "apply": True}]},
            },
        )

    async def edit_line(self, invoice: RecordRef, net: str) -> None:
        line: Body = {"line": "1", "rate": float(net), "quantity": 1, "amount": float(net)}
        await self.patch("invoice", invoice.id, {"item": {"items": [line]}})

    async def add_line(self, invoice: RecordRef) -> None:
        line: Body = {"item": "302", "quantity": 1, "rate": 75}
        await self.patch("invoice", invoice.id, {"item": {"items": [line]}})

    async def delete(self, invoice: RecordRef) -> None:
        await self._delete("invoice", invoice.id)

    async def refuse(self, invoice: RecordRef) -> None:
        await self.patch("invoice", invoice.id, {"approvalStatus": "3"})

    async def block_client(self, how: str) -> str:
        fields: Body = {"creditHoldOverride": "ON"} if how == "hold" else {"isInactive": True}
        await self.patch("customer", (await self.client()).id, fields)
        return "Hansewerk Logistik"

    async def voiding(self, voids: bool) -> Invoicing:
        return await self.with_settings(self.script() if voids else {})

    def script(self) -> Body:
        return {
            "void_script": {
                "base_url": self.scene.url,
                "script": "customscript_void",
                "deploy": "customdeploy_void",
            }
        }

    async def with_settings(
        self, settings: Body, *, seconds: float = ADAPTER_SECONDS, kind: str = ""
    ) -> NetSuite:
        """Return an adapter on the account that knows its routing, and more settings."""
        given: Body = {"approval_routing": self.routed, **settings}
        found = await self.scene.another(settings=given, kind=kind, seconds=seconds)
        return cast(NetSuite, found)

    async def wait_a_day(self) -> None:
        await self.scene.control.clock(
            self.scene.name, advance_seconds=timedelta(days=1).total_seconds()
        )

    # Charges.

    async def ready(self, project: RecordRef, ids: tuple[ExternalId, ...] = CHARGE_IDS) -> None:
        """Post charges of 100.00 each on a project, and make them ready."""
        await self.hold(project, ids)
        await self.port.set_charges_ready(ids, ready=True)

    async def hold(self, project: RecordRef, ids: tuple[ExternalId, ...] = CHARGE_IDS) -> None:
        charges = tuple(
            Charge(
                item=f"charge-{number}",
                quantity=Decimal("0.5"),
                rate=Decimal(200),
                amount=self.money("100"),
                on=ON,
            )
            for number in range(len(ids))
        )
        batch = ChargeBatch(project=project, subsidiary=SUBSIDIARY, charges=charges)
        await self.port.post_charges(ids, batch)

    async def foreign_charge(self, project: RecordRef) -> str:
        """Let a person make a charge ready on the project."""
        fields: Body = {"billTo": project.id, "billingItem": "301", "quantity": 1, "rate": 999}
        return await self.scene.put(
            "charge",
            {**fields, "stage": {"id": "READY_FOR_BILLING"}, "chargeDate": ON.isoformat()},
        )

    async def charged(self, **changes: object) -> ProvisionInvoice:
        """Return an invoice from charges: two lines over three of them."""
        project = await self.project()
        lines = tuple(
            InvoiceLine(
                item=f"T-{number}",
                quantity=Decimal(len(ids)),
                unit_price=Decimal(100),
                amount=self.money(str(100 * len(ids))),
                project=project,
                charges=ids,
            )
            for number, ids in enumerate((CHARGE_IDS[:2], CHARGE_IDS[2:]))
        )
        usual = await self.wish(method=BillingMethod.ERP_CHARGES, lines=lines)
        return usual.model_copy(update=changes)


@pytest_asyncio.fixture(loop_scope="session", params=["routed", "posts at once"])
async def account(
    request: pytest.FixtureRequest, control: Control
) -> AsyncIterator[NetSuiteAccount]:
    async with open_scene(control, "netsuite") as scene:
        opened = NetSuiteAccount(
            cast(Scene[Invoicing], scene),
            bad_ids=("", "eid:x", "1 OR 1=1", "../job/1"),
            absent_id="999999",
            routed=request.param == "routed",
        )
        await opened.setting(invoiceApprovalRouting=opened.routed)
        scene.adapter = await opened.with_settings({})
        yield opened


CALLS = {
    "provision_invoice": 7,
    "post_invoice": 5,
    "remove_invoice": 2,
    "provision_credit": 6,
    "remove_credit": 2,
    "void_invoice": 2,
}
"""Vendor calls of each write, as docs/connect/netsuite.md says."""


class TestInvoices(InvoiceSuite):
    @EACH_MOVE
    async def test_each_write_takes_the_calls_that_are_told(
        self, account: NetSuiteAccount, move: Move
    ) -> None:
        await prepare(account, move)
        await account.client()
        await account.scene.calls()

        await move.perform(account)

        looked_for_client = move.name in {"provision_invoice", "remove_invoice"}
        assert len(await account.scene.calls()) - looked_for_client == CALLS[move.name]


class TestClerks(ClerkSuite):
    pass


class TestSettlement(SettlementSuite):
    async def test_payments_that_do_not_touch_the_invoice_surface_it_too(
        self, account: NetSuiteAccount
    ) -> None:
        await account.setting(settlementTouchesInvoice=False)
        (settings,) = await account.scene.records(ACCOUNT_SETTINGS)
        assert settings["fields"]["settlementTouchesInvoice"] is False
        await self.test_whatever_happens_to_an_invoice_surfaces_it(account)

    async def test_items_tell_write_offs_and_withheld_tax_from_credits(
        self, account: NetSuiteAccount
    ) -> None:
        issued = await account.issued()
        for item in ("301", "303", "304"):
            await account.credit_natively(issued.record, "100", item)
        port = await account.with_settings(
            {"write_off_items": ["303"], "withholding_items": ["304"]}
        )

        kinds = [each.kind for each in (await port.read_invoice(issued.record)).applications]

        assert kinds == [
            ApplicationKind.CREDIT,
            ApplicationKind.WRITE_OFF,
            ApplicationKind.WITHHOLDING,
        ]

    @pytest.mark.parametrize(
        ("status", "delivery", "word"),
        [
            ("4", Delivery.TRANSMITTED, "Sent"),
            ("8", Delivery.REJECTED, "Sending Failed"),
            ("3", Delivery.UNKNOWN, ""),
            (None, Delivery.UNKNOWN, ""),
        ],
    )
    async def test_the_accounts_own_field_says_whether_it_reached_the_client(
        self, account: NetSuiteAccount, status: str | None, delivery: Delivery, word: str
    ) -> None:
        issued = await account.issued()
        if status is not None:
            fields: Body = {"custbody_psg_ei_status": status}
            await account.patch("invoice", issued.record.id, fields)
        by_id: Body = {"transmitted": ["4"], "rejected": ["8"]}
        for named in ({}, by_id):
            port = await account.with_settings({"delivery": named})
            read = await port.read_invoice(issued.record)
            assert (read.delivery, read.delivery_word) == (delivery, word)

    async def test_an_invoice_of_a_merged_client_names_the_other_one(
        self, account: NetSuiteAccount
    ) -> None:
        issued = await account.issued()
        other = await account._new_client(OTHER_CLIENT_KEY, "Hansewerk Group")
        await account.patch("invoice", issued.record.id, {"entity": other.id})

        assert (await account.port.read_invoice(issued.record)).client_id == other.id


class TestCredits(CreditSuite):
    async def test_a_credit_that_was_used_elsewhere_stays(self, account: NetSuiteAccount) -> None:
        issued = await account.issued()
        other = await account.port.provision_invoice(
            external_id("other"), await account.wish(client_po="")
        )
        await account.port.post_invoice(POST_KEY, other.record)
        await account.pay(issued.record)
        request = account.credit_wish(issued.record)
        credit = await account.port.provision_credit(CREDIT_KEY, request)
        line: Body = {"doc": other.record.id, "apply": True}
        await account.patch("creditMemo", credit.record.id, {"apply": {"items": [line]}})

        with pytest.raises(UndoRefused, match="was used on"):
            await account.port.remove_credit(CREDIT_KEY, request)

    async def test_what_a_person_credited_counts_too(self, account: NetSuiteAccount) -> None:
        issued = await account.issued()
        await account.credit_natively(issued.record, "20900")
        with pytest.raises(Rejected, match="more than was invoiced"):
            await account.port.provision_credit(CREDIT_KEY, account.credit_wish(issued.record))


class TestFaults(FaultSuite):
    async def impatient(self, account: InvoicingAccount) -> Invoicing:
        assert isinstance(account, NetSuiteAccount)
        return await account.with_settings(account.script(), seconds=IMPATIENT_SECONDS)

    async def test_a_create_that_lands_after_the_approval_undoes_nothing(
        self, account: NetSuiteAccount
    ) -> None:
        """An upsert would put the invoice back to pending: so it is created by POST."""
        request, patient = await account.wish(), account.port
        account.scene.adapter = await self.impatient(account)
        fault = await account.scene.fault(FaultKind.HOLD, write=True, effect="after")
        with pytest.raises(OutcomeUnknown):
            await account.provision()
        account.scene.adapter = patient
        await account.scene.control.wait_for_fault("netsuite", account.scene.name, fault)
        issued = await account.issued()

        await let_go(account.scene, fault)

        assert await patient.find_invoice(INVOICE_KEY, request) == issued
        assert len(await account.scene.records("invoice")) == 1

    async def test_an_expired_session_is_renewed_once(self, account: NetSuiteAccount) -> None:
        request = await account.wish()
        port = await account.with_settings(account.script(), kind="client_credentials")
        await port.find_invoice(INVOICE_KEY, request)  # signs in
        await account.scene.fault(FaultKind.EXPIRE_AUTH, write=True)

        made = await port.provision_invoice(INVOICE_KEY, request)
        posted = await port.post_invoice(POST_KEY, made.record)
        await account.scene.fault(FaultKind.EXPIRE_AUTH, write=True)
        await port.void_invoice(POST_KEY, posted.record)

        assert (await port.read_invoice(made.record)).status is InvoiceStatus.VOID


class TestChargesReady:
    """`Erp.set_charges_ready`."""

    async def test_charges_become_ready_and_go_back_in_one_batch(
        self, account: NetSuiteAccount
    ) -> None:
        await account.hold(await account.project())
        await account.scene.calls()

        ready = await account.port.set_charges_ready(CHARGE_IDS, ready=True)

        assert len(await account.scene.calls()) == 4  # look, batch, its job, look
        assert [each.external_id for each in ready] == list(CHARGE_IDS)
        assert {each.stage for each in ready} == {ChargeStage.READY}
        assert await account.port.set_charges_ready(CHARGE_IDS, ready=True) == ready
        assert len(await account.scene.calls()) == 1
        for is_ready in (False, True, False):
            moved = await account.port.set_charges_ready(CHARGE_IDS, ready=is_ready)
            assert {each.stage for each in moved} == {
                ChargeStage.READY if is_ready else ChargeStage.HOLD
            }
        assert await account.port.find_charges(CHARGE_IDS) == moved

    async def test_one_that_is_gone_or_billed_is_named_and_nothing_moves(
        self, account: NetSuiteAccount
    ) -> None:
        await account.hold(await account.project())
        absent = external_id("charge/none")
        with pytest.raises(Rejected, match=absent):
            await account.port.set_charges_ready((*CHARGE_IDS, absent), ready=True)
        held = await account.port.find_charges(CHARGE_IDS)
        assert {each.stage for each in held} == {ChargeStage.HOLD}
        await account.port.set_charges_ready(CHARGE_IDS, ready=True)
        made = await account.port.provision_invoice(INVOICE_KEY, await account.charged())

        with pytest.raises(Rejected, match=f"{CHARGE_IDS[0]} is on invoice {made.record.id}"):
            await account.port.set_charges_ready(CHARGE_IDS, ready=False)

    async def test_a_charge_of_a_closed_period_is_named(self, account: NetSuiteAccount) -> None:
        await account.hold(await account.project())
        await account.close_period(ON)

        with pytest.raises(ClosedPeriod, match=CHARGE_IDS[0]):
            await account.port.set_charges_ready(CHARGE_IDS, ready=True)

    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    async def test_a_failed_batch_can_be_repeated(
        self, account: NetSuiteAccount, kind: FaultKind
    ) -> None:
        await account.hold(await account.project())
        await account.scene.fault(kind, write=True)

        with pytest.raises(WRITE_FAULTS[kind]):
            await account.port.set_charges_ready(CHARGE_IDS, ready=True)

        moved = await account.port.set_charges_ready(CHARGE_IDS, ready=True)
        assert {each.stage for each in moved} == {ChargeStage.READY}

    async def test_what_cannot_be_read_back_is_unknown(self, account: NetSuiteAccount) -> None:
        await account.hold(await account.project())
        await account.scene.control.add_fault(
            "netsuite", account.scene.name, {"path": "suiteql$", "nth": 2}, FaultKind.FAIL_BEFORE
        )

        with pytest.raises(OutcomeUnknown):
            await account.port.set_charges_ready(CHARGE_IDS, ready=True)


class TestFromCharges:
    """Method `erp_charges`."""

    async def test_an_invoice_bills_exactly_its_charges(self, account: NetSuiteAccount) -> None:
        project = await account.project()
        other = external_id("billing-run/psa/1/2026-11/2/1:charge/0")
        await account.ready(project)
        await account.ready(project, (other,))
        request = await account.charged()

        made = await account.port.provision_invoice(INVOICE_KEY, request)
        posted = await account.port.post_invoice(POST_KEY, made.record)

        assert [line.charges for line in posted.lines] == [CHARGE_IDS[:2], CHARGE_IDS[2:]]
        assert (posted.net, posted.gross) == (account.money("300"), account.money("357"))
        assert request.client is not None
        assert posted.client_id == request.client.id
        billed = await account.port.find_charges((*CHARGE_IDS, other))
        assert [each.invoice_id for each in billed] == [made.record.id] * 3 + [""]
        assert await account.port.find_invoice(INVOICE_KEY, request) == posted

    async def test_a_removed_draft_frees_its_charges(self, account: NetSuiteAccount) -> None:
        if not account.drafts:
            pytest.skip("no drafts")
        await account.ready(await account.project())
        request = await account.charged()
        await account.port.provision_invoice(INVOICE_KEY, request)

        await account.port.remove_invoice(INVOICE_KEY, request)

        held = await account.port.set_charges_ready(CHARGE_IDS, ready=False)
        assert {each.invoice_id for each in held} == {""}

    async def test_a_foreign_charge_never_gets_issued(self, account: NetSuiteAccount) -> None:
        """Also where the account puts every ready charge on the project's invoice."""
        await account.setting(invoiceAddsReadyCharges=True)
        project = await account.project()
        await account.ready(project)
        foreign = await account.foreign_charge(project)
        request = await account.charged()

        with pytest.raises(Rejected, match=foreign):
            await account.port.provision_invoice(INVOICE_KEY, request)

        assert await account.port.find_invoice(INVOICE_KEY, request) is None
        invoices = await account.scene.records("invoice")
        assert len(invoices) == account.drafts
        if account.drafts:
            draft = await account.reference()
            with pytest.raises(Rejected):
                await account.port.post_invoice(POST_KEY, draft)
            # Its own line goes with the next attempt, which writes all lines anew.
            again = await account.port.provision_invoice(INVOICE_KEY, request)
            assert (again.record, again.net) == (draft, account.money("300"))

    async def test_charges_of_several_projects_are_left_to_the_grouping_policy(
        self, account: NetSuiteAccount
    ) -> None:
        await account.ready(await account.project())
        request = await account.charged()
        first, second = request.lines
        moved = second.model_copy(update={"project": await account.project("DE2")})

        with pytest.raises(Invalid, match="grouping policy") as caught:
            await account.port.provision_invoice(
                INVOICE_KEY, request.model_copy(update={"lines": (first, moved)})
            )

        assert caught.value.field == "grouping"

    @pytest.mark.parametrize("what", ["held", "billed", "gone", "sum"])
    async def test_charges_that_do_not_fit_are_named(
        self, account: NetSuiteAccount, what: str
    ) -> None:
        project = await account.project()
        await account.ready(project)
        request = await account.charged()
        (charge, *_) = await account.port.find_charges(CHARGE_IDS)
        match what:
            case "held":
                await account.port.set_charges_ready(CHARGE_IDS[:1], ready=False)
            case "billed":
                await account.scene.put("billingRun", {"job": project.id, "tranDate": "2026-11-30"})
            case "gone":
                await account._delete("charge", charge.record.id)
            case _:
                fields: Body = {"amount": 99}
                await account.patch("charge", charge.record.id, fields)

        with pytest.raises(Rejected, match="T-0" if what == "sum" else CHARGE_IDS[0]):
            await account.port.provision_invoice(INVOICE_KEY, request)

    async def test_the_charges_of_a_native_invoice_are_told(self, account: NetSuiteAccount) -> None:
        project = await account.project()
        foreign = await account.foreign_charge(project)
        id_ = await account.scene.put("billingRun", {"job": project.id, "tranDate": "2026-11-30"})

        record = RecordRef(system=account.scene.connection, type="invoice", id=id_)
        invoice: Invoice = await account.port.read_invoice(record)

        assert [(line.item, line.charges) for line in invoice.lines] == [
            ("", (f"charge/{foreign}",))
        ]
        assert invoice.client_id == (await account.client()).id


class TestOwn:
    async def test_an_account_that_routes_unexpectedly_issues_nothing(
        self, account: NetSuiteAccount
    ) -> None:
        if account.routed:
            pytest.skip("expected there")
        await account.setting(invoiceApprovalRouting=True)

        with pytest.raises(Rejected, match="approval_routing"):
            await account.provision()

        assert not (await account.port.read_invoice(await account.reference())).issued

    async def test_a_kind_without_an_item_is_a_missing_mapping(
        self, account: NetSuiteAccount
    ) -> None:
        (line, *_) = account.lines()
        for change, name in (({"kind": "royalty"}, "invoice_items"),):
            with pytest.raises(MissingMapping) as caught:
                await account.provision(lines=(line.model_copy(update=change),))
            assert caught.value.field == name

    async def test_a_tax_category_may_have_an_item_of_its_own(
        self, account: NetSuiteAccount
    ) -> None:
        (line, *_) = account.lines()
        await account.patch("serviceSaleItem", "303", {"taxCategory": "reduced"})
        items: Body = {"time": "301", "time/services-reduced": "303"}
        port = await account.with_settings({"invoice_items": items})
        reduced = line.model_copy(update={"item": "T-2", "tax_category": "services-reduced"})

        made = await port.provision_invoice(INVOICE_KEY, await account.wish(lines=(line, reduced)))

        assert [each.tax.amount for each in made.lines] == [Decimal("254.84"), Decimal("93.89")]

    async def test_the_check_says_when_the_column_is_missing(
        self, account: NetSuiteAccount
    ) -> None:
        port = await account.with_settings({"invoice_item_field": "custcol_nope"})
        check = next(check for check in port.checks() if check.name == "fields")

        with pytest.raises(Invalid, match="custcol_nope"):
            await check.run()

        assert "custcol_nope" in check.remedy
