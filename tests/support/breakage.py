"""What clerks and outages do to a healthy account: each act breaks one thing that stands there.

Every act is done in the vendor's own screen, behind Dealthread's back, and returns what it broke,
named as an extract names it: `system` is the connection, `type` the kind of the row, `id` its id.

    broken = await Clerk(world.control, account).delete_charge(charge_id)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from canonical.extracts import ExtractKind
from canonical.records import RecordRef
from simulators.kit.control import Control
from simulators.kit.records import RecordState

Fields = dict[str, JsonValue]

READY: Final = "READY_FOR_BILLING"
ERP, PSA, CRM, ENGINE = "netsuite", "kantata", "salesforce", "stripe"
CRM_LINKS: Final = ("ERP_Project_Id__c", "PSA_Project_Id__c")
PSA_NOTE: Final = "custentity_dealthread_psa_project"
ERP_NOTE: Final = "dealthread-erp"
ITEM: Final = "301"
COPIED: Final = ("companyName", "parent", "subsidiary", "currency", "jobBillingType")
"""What a clerk enters anew who does not see that the project is there."""


@dataclass(frozen=True)
class Clerk:
    """Somebody who works in the screens of one account at every vendor."""

    control: Control
    account: str
    on: date = date(2026, 11, 20)
    """Date of the documents that he enters."""

    # The ERP's charges.

    async def delete_charge(self, charge_id: str) -> RecordRef:
        """Delete a charge that waits to be billed."""
        await self._delete(ERP, "charge", charge_id)
        return self._broken(ERP, ExtractKind.CHARGE, charge_id)

    async def delete_cost(self, cost_id: str) -> RecordRef:
        """Take back the approval of time that is project cost, and delete it."""
        await self._patch(ERP, "timeBill", cost_id, {"approvalStatus": {"id": "1"}})
        await self._delete(ERP, "timeBill", cost_id)
        return self._broken(ERP, ExtractKind.COST, cost_id)

    async def bill_natively(self, charge_id: str) -> RecordRef:
        """Let NetSuite's own job put a charge of ours on an invoice; what was ready goes along."""
        charge = await self._record(ERP, "charge", charge_id)
        await self._patch(ERP, "charge", charge_id, {"stage": {"id": READY}})
        await self._put(ERP, "billingRun", {"job": _ref(charge, "billTo")})
        return self._broken(ERP, ExtractKind.CHARGE, charge_id)

    async def make_charge(self, project_id: str, amount: str = "99.00") -> RecordRef:
        """Let a native job make a charge of its own on a project, ready to be billed."""
        fields: Fields = {"billTo": project_id, "billingItem": ITEM, "quantity": 1}
        fields |= {"rate": float(amount), "stage": {"id": READY}, "chargeDate": self.on.isoformat()}
        made = await self._put(ERP, "charge", fields)
        return self._broken(ERP, ExtractKind.CHARGE, made)

    # The ERP's documents.

    async def credit_natively(self, invoice_id: str, net: str = "100.00") -> RecordRef:
        """Credit an invoice by a memo of the ERP's own, without a word why."""
        invoice = await self._record(ERP, "invoice", invoice_id)
        fields = await self._head(invoice, "entity")
        fields["item"] = {"items": [{"item": ITEM, "quantity": 1, "rate": float(net)}]}
        fields["apply"] = {"items": [{"doc": invoice_id, "apply": True}]}
        made = await self._put(ERP, "creditMemo", fields)
        return self._broken(ERP, ExtractKind.CREDIT, made)

    async def receive(self, invoice_id: str, amount: str = "500.00") -> RecordRef:
        """Enter a payment of the invoice's client, and apply it to nothing."""
        invoice = await self._record(ERP, "invoice", invoice_id)
        fields = await self._head(invoice, "customer")
        made = await self._put(ERP, "customerPayment", {**fields, "payment": float(amount)})
        return self._broken(ERP, ExtractKind.PAYMENT, made)

    async def pay(self, invoice_id: str) -> RecordRef:
        """Enter that an invoice was paid in full; the PSA's mirror stays open."""
        invoice = await self._record(ERP, "invoice", invoice_id)
        left = invoice["fields"]["amountRemaining"]
        fields = await self._head(invoice, "customer")
        fields["payment"] = left
        fields["apply"] = {"items": [{"doc": invoice_id, "apply": True, "amount": left}]}
        await self._put(ERP, "customerPayment", fields)
        return self._broken(ERP, ExtractKind.INVOICE, invoice_id)

    async def void(self, invoice_id: str) -> RecordRef:
        """Void an invoice in the ERP; the PSA's mirror stays open."""
        await self._put(ERP, "void", {"invoice": invoice_id})
        return self._broken(ERP, ExtractKind.INVOICE, invoice_id)

    async def edit_line(self, invoice_id: str, by: str = "0.01") -> RecordRef:
        """Change the amount of an invoice's first line by a cent."""
        invoice = await self._record(ERP, "invoice", invoice_id)
        line = _lines(invoice, "item")[0]
        amount = float(Decimal(str(line["amount"])) + Decimal(by))
        changed: Fields = {"line": line["line"], "quantity": 1, "rate": amount, "amount": amount}
        await self._patch(ERP, "invoice", invoice_id, {"item": {"items": [changed]}})
        return self._broken(ERP, ExtractKind.INVOICE, invoice_id)

    async def delete_invoice(self, invoice_id: str) -> RecordRef:
        """Delete an issued invoice; its charges are ready to be billed again."""
        await self._delete(ERP, "invoice", invoice_id)
        return self._broken(ERP, ExtractKind.INVOICE, invoice_id)

    async def take_off_invoice(self, invoice_id: str) -> RecordRef:
        """Take a charge off an invoice's line; the line stays as it is, as if typed by hand."""
        invoice = await self._record(ERP, "invoice", invoice_id)
        line = next(each for each in _lines(invoice, "item") if each.get("charges"))
        charge, _, others = str(line["charges"]).partition(",")
        typed: Fields = {"line": line["line"], "charges": others or None}
        await self._patch(ERP, "invoice", invoice_id, {"item": {"items": [typed]}})
        return self._broken(ERP, ExtractKind.CHARGE, charge)

    # The ERP's clients and projects.

    async def merge_client(self, client_id: str) -> RecordRef:
        """Merge a client into another one, which is made for it; return the one that is gone."""
        fields = (await self._record(ERP, "customer", client_id))["fields"]
        other: Fields = {"companyName": f"{fields.get('companyName')} (master)", "isPerson": False}
        for name in ("subsidiary", "currency", "vatRegNumber"):
            if fields.get(name) is not None:
                other[name] = fields[name]
        into = await self._put(ERP, "customer", other)
        await self._put(ERP, "merge", {"customer": client_id, "into": into})
        return self._broken(ERP, ExtractKind.CLIENT, client_id)

    async def duplicate_project(self, project_id: str, *, noted: bool = True) -> RecordRef:
        """Enter a project a second time; `noted`: with the PSA's project noted on it too."""
        fields = (await self._record(ERP, "job", project_id))["fields"]
        names = (*COPIED, PSA_NOTE) if noted else COPIED
        copy = {name: fields[name] for name in names if fields.get(name) is not None}
        return self._broken(ERP, ExtractKind.PROJECT, await self._put(ERP, "job", copy))

    # What was written back.

    async def forget_psa_project(self, project_id: str) -> RecordRef:
        """Empty the field of an ERP project that names the PSA's."""
        await self._patch(ERP, "job", project_id, {PSA_NOTE: None})
        return self._broken(ERP, ExtractKind.PROJECT, project_id)

    async def forget_erp_project(self, project_id: str) -> RecordRef:
        """Delete the reference of a PSA project that names the ERP's."""
        for row in await self._live(PSA, "external_references"):
            fields = row["fields"]
            if fields["service_name"] == ERP_NOTE and fields["subject_id"] == project_id:
                await self._delete(PSA, "external_references", row["id"])
        return self._broken(PSA, ExtractKind.PROJECT, project_id)

    async def forget_deal(self, deal_id: str) -> RecordRef:
        """Empty the fields of a deal that name its projects."""
        await self._patch(CRM, "Opportunity", deal_id, dict.fromkeys(CRM_LINKS))
        return RecordRef(system=f"{CRM}@{self.account}", type="deal", id=deal_id)

    # The PSA.

    async def invoice_entry(self, entry_id: str) -> RecordRef:
        """Bill a time entry by an invoice of the PSA's own; it leaves its reservation for it."""
        entry = (await self._record(PSA, "time_entries", entry_id))["fields"]
        if entry.get("invoice_id") is not None:
            await self._take_off(str(entry["invoice_id"]), entry_id)
        fields: Fields = {"workspace_id": entry["workspace_id"], "payment_schedule": 30}
        fields |= {"time_entry_ids": [entry_id], "invoice_date": self.on.isoformat()}
        await self._put(PSA, "invoices", {**fields, "suppress_emails": True})
        return self._broken(PSA, ExtractKind.ENTRY, f"time/{entry_id}")

    async def approve_unheard(self, entry_id: str, minutes: int = 90) -> RecordRef:
        """Record time like an entry's and have it approved, while the feed tells nothing of it."""
        like = (await self._record(PSA, "time_entries", entry_id))["fields"]
        fields: Fields = {"date_performed": self.on.isoformat(), "time_in_minutes": minutes}
        fields |= {name: like[name] for name in ("workspace_id", "user_id", "story_id", "role_id")}
        await self.control.emit(PSA, self.account, {"what": "feed", "lost": True})
        try:
            made = await self._put(PSA, "time_entries", {**fields, "billable": True})
            sheet: Fields = {"title": "Late", "line_item_ids": [made]}
            sheet |= {name: fields[name] for name in ("workspace_id", "user_id")}
            submitted = await self._put(PSA, "timesheet_submissions", sheet)
            approved: Fields = {"status": "approved"}
            await self._patch(PSA, "timesheet_submissions", submitted, approved)
        finally:
            await self.control.emit(PSA, self.account, {"what": "feed"})
        return self._broken(PSA, ExtractKind.ENTRY, f"time/{made}")

    async def cancel_mirror(self, invoice_id: str) -> RecordRef:
        """Cancel an invoice in the PSA that stays open in the ERP."""
        await self._patch(PSA, "invoices", invoice_id, {"status": "cancelled"})
        return self._broken(PSA, ExtractKind.INVOICE, invoice_id)

    async def pay_mirror(self, invoice_id: str) -> RecordRef:
        """Enter in the PSA that an invoice was paid which is open in the ERP."""
        await self._put(PSA, "external_payments", {"invoice_id": invoice_id})
        return self._broken(PSA, ExtractKind.INVOICE, invoice_id)

    # The billing engine.

    async def pay_in_engine(self, invoice_id: str) -> RecordRef:
        """Mark an invoice of the billing engine as paid outside of it."""
        await self._patch(ENGINE, "invoice", invoice_id, {"status": "paid"})
        return self._broken(ENGINE, ExtractKind.INVOICE, invoice_id)

    async def void_in_engine(self, invoice_id: str) -> RecordRef:
        """Void an invoice of the billing engine."""
        await self._patch(ENGINE, "invoice", invoice_id, {"status": "void"})
        return self._broken(ENGINE, ExtractKind.INVOICE, invoice_id)

    async def credit_in_engine(self, invoice_id: str, cents: int = 10_000) -> RecordRef:
        """Credit an open invoice of the billing engine in its Dashboard."""
        fields: Fields = {"invoice": invoice_id, "amount": cents}
        return self._broken(
            ENGINE, ExtractKind.CREDIT, await self._put(ENGINE, "credit_note", fields)
        )

    async def receive_in_engine(self, invoice_id: str, cents: int = 50_000) -> RecordRef:
        """Let the client of an invoice pay by card, on no invoice."""
        invoice = (await self._record(ENGINE, "invoice", invoice_id))["fields"]
        fields: Fields = {name: invoice[name] for name in ("customer", "currency")}
        fields |= {"amount": cents, "confirm": True, "payment_method": "pm_card_visa"}
        made = await self._put(ENGINE, "payment_intent", fields)
        return self._broken(ENGINE, ExtractKind.PAYMENT, made)

    async def copy_in_engine(self, invoice_id: str) -> RecordRef:
        """Copy the first line of an invoice, with our mark on it, as an item that waits."""
        invoice = (await self._record(ENGINE, "invoice", invoice_id))["fields"]
        items = await self._live(ENGINE, "invoiceitem")
        like = next(each["fields"] for each in items if each["fields"]["invoice"] == invoice_id)
        fields: Fields = {name: invoice[name] for name in ("customer", "currency")}
        fields |= {name: like[name] for name in ("amount", "metadata")}
        made = await self._put(ENGINE, "invoiceitem", fields)
        return self._broken(ENGINE, ExtractKind.CHARGE, made)

    # How it is done.

    async def _head(self, invoice: RecordState, whom: str) -> Fields:
        """Return the head of a document that settles an invoice, of the same client."""
        fields = invoice["fields"]
        head: Fields = {name: fields[name] for name in ("subsidiary", "currency")}
        return {**head, "tranDate": self.on.isoformat(), whom: await self._client_of(invoice)}

    async def _client_of(self, invoice: RecordState) -> str:
        entity = _ref(invoice, "entity")
        projects = {row["id"]: row for row in await self._live(ERP, "job")}
        return _ref(projects[entity], "parent") if entity in projects else entity

    async def _take_off(self, invoice_id: str, entry_id: str) -> None:
        fields = (await self._record(PSA, "invoices", invoice_id))["fields"]
        held = fields["time_entry_ids"]
        left: list[JsonValue] = [
            id_ for id_ in (held if isinstance(held, list) else []) if id_ != entry_id
        ]
        await self._patch(PSA, "invoices", invoice_id, {"time_entry_ids": left})

    def _broken(self, vendor: str, kind: ExtractKind, id_: str) -> RecordRef:
        return RecordRef(system=f"{vendor}@{self.account}", type=kind, id=id_)

    async def _live(self, vendor: str, type_: str) -> list[RecordState]:
        found = await self.control.records(vendor, self.account, type=type_)
        return [row for row in found if row["live"]]

    async def _record(self, vendor: str, type_: str, id_: str) -> RecordState:
        return next(row for row in await self._live(vendor, type_) if row["id"] == id_)

    async def _put(self, vendor: str, type_: str, fields: Fields) -> str:
        return (await self.control.put_record(vendor, self.account, type_, fields))["id"]

    async def _patch(self, vendor: str, type_: str, id_: str, fields: Fields) -> None:
        await self.control.patch_record(vendor, self.account, type_, id_, fields)

    async def _delete(self, vendor: str, type_: str, id_: str) -> None:
        await self.control.delete_record(vendor, self.account, type_, id_)


def _ref(record: RecordState, name: str) -> str:
    """Return the id in a reference of the ERP's."""
    value = record["fields"].get(name)
    return str(value["id"]) if isinstance(value, dict) else ""


def _lines(record: RecordState, name: str) -> list[Mapping[str, JsonValue]]:
    value = record["fields"].get(name)
    items = value.get("items") if isinstance(value, dict) else None
    return [line for line in items if isinstance(line, dict)] if isinstance(items, list) else []
