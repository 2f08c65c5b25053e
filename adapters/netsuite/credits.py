"""Credit memos and voiding: what takes an issued invoice back.

Sources: vendor page 5.9 (ladder), 5.10 (credit memo), 7 (the RESTlet that voids; its contract is
ours). A credit memo posts as it is made. The transform applies it to what remains of the invoice;
what is left over stays open on the memo, as the client's balance, until it is applied to another
invoice or refunded by hand, which is where `Settlement.ELSEWHERE` goes.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from adapters.errors import (
    ClosedPeriod,
    ContractBroken,
    Duplicate,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.http import VendorHttp
from adapters.netsuite import credit_mapping as mapping
from adapters.netsuite.billing_mapping import text_of
from adapters.netsuite.client import RESTLET_PATH, VENDOR, HasDependents
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.invoice_mapping import applications_query
from adapters.netsuite.invoice_reading import currency_of, status_from
from adapters.netsuite.mapping import Row
from adapters.netsuite.records import (
    RecordService,
    checked_id,
    external_path,
    json_object,
    record_path,
    refused,
)
from canonical.ids import ExternalId
from canonical.invoicing import CreditNote, InvoiceStatus, ProvisionCredit
from canonical.records import RecordRef, UndoReceipt, UndoResult

TYPE: Final = "creditMemo"
EXPANDED: Final = {"expandSubResources": "true"}


class Credits:
    """The credit memos of one account, and its script that voids."""

    def __init__(
        self, records: RecordService, scripts: VendorHttp | None, config: NetSuiteConfig
    ) -> None:
        """Use the account's records, and the host of its RESTlets where one is configured."""
        self._records = records
        self._scripts = scripts
        self._config = config

    async def find(self, external_id: ExternalId) -> CreditNote | None:
        """Return the credit memo with our external id, unless it was voided."""
        body = await self._body(external_id)
        if body is None or mapping.is_void(body):
            return None
        return self._note(body)

    async def provision(self, external_id: ExternalId, request: ProvisionCredit) -> CreditNote:
        """Transform the invoice into a credit memo over the lines and amounts asked for.

        The memo comes back as it is: its net says whether NetSuite made what was asked for.

        Raises:
            ClosedPeriod: the date is in a closed period; nothing was made.
            Rejected: the invoice is not issued, or more is credited than was invoiced.
        """
        if request.invoice is None:
            raise ContractBroken("A credit was asked for before its invoice was known.")
        standing = await self._body(external_id)
        if standing is not None:
            return self._standing(standing)
        id_ = checked_id(request.invoice.id)
        invoice = await self._records.read("invoice", id_, "read the invoice", EXPANDED)
        _check_issued(id_, invoice)
        body = mapping.credit_body(external_id, request, invoice, self._config)
        credited = await self._credited(id_, invoice)
        mapping.refuse_too_much(request, invoice, credited, self._config)
        return await self._create(external_id, id_, body)

    async def _credited(self, invoice_id: str, invoice: Row) -> list[tuple[str, Decimal]]:
        ask = self._records.query_all
        applied = await ask(applications_query(invoice_id), "read what was applied")
        query = mapping.credited_query(invoice_id, applied, self._config)
        rows = await ask(query, "read earlier credits")
        currency = currency_of(invoice, self._config)
        return mapping.credited_lines(invoice_id, rows, applied, currency)

    async def _create(
        self, external_id: ExternalId, invoice_id: str, body: Mapping[str, object]
    ) -> CreditNote:
        path = f"{record_path('invoice', invoice_id)}/!transform/{TYPE}"
        params = {"replace": "item"}
        try:
            await self._records.http.request(
                "POST", path, operation=mapping.ACT, write=True, json=body, params=params
            )
        except Duplicate:
            late = await self._body(external_id)
            if late is None:
                raise
            return self._standing(late)
        try:
            made = await self._body(external_id)
        except (Transient, RateLimited) as error:
            text = f"It was written, but cannot be read back: {error.message}"
            raise OutcomeUnknown(text, vendor=VENDOR, operation=mapping.ACT) from error
        if made is None:
            text = "It was written, and is not there: somebody may have deleted it."
            raise OutcomeUnknown(text, vendor=VENDOR, operation=mapping.ACT)
        return self._note(made)

    def _standing(self, body: Row) -> CreditNote:
        if mapping.is_void(body):
            text = f"Credit memo {text_of(body, 'id')} has this external id and is void."
            raise Rejected(text, vendor=VENDOR, operation=mapping.ACT)
        return self._note(body)

    async def remove(self, external_id: ExternalId) -> UndoReceipt:
        """Delete the credit memo; its invoice is open again by as much.

        Raises:
            UndoRefused: it was applied to another invoice, or refunded, or its period is closed.
        """
        absent = UndoReceipt(result=UndoResult.ABSENT)
        body = await self._body(external_id)
        if body is None or mapping.is_void(body):
            return absent
        record = self._note(body).record
        if used := mapping.used_elsewhere(body):
            error = Rejected(f"Credit memo {record.id} was used on {', '.join(used)}.")
            raise refused(error, record.type, record.id)
        path = record_path(TYPE, record.id)
        try:
            await self._records.http.request(
                "DELETE", path, operation="remove the credit memo", write=True
            )
        except NotFound:
            return absent
        except (HasDependents, Invalid, ClosedPeriod) as error:
            raise refused(error, record.type, record.id) from error
        return UndoReceipt(result=UndoResult.REMOVED, record=record)

    async def void(self, record: RecordRef) -> UndoReceipt:
        """Let the customer's script void an invoice; one that is void already is as good.

        Raises:
            UndoRefused: there is no script, the invoice is a draft, or the script refuses.
        """
        act = "void the invoice"
        if self._config.void_script is None or self._scripts is None:
            error = Rejected(
                "NetSuite voids no invoice through REST, and settings.void_script names no "
                "script: credit the invoice instead."
            )
            raise refused(error, record.type, record.id)
        done = UndoReceipt(result=UndoResult.REVERSED, record=record)
        if await self._status(record, act) is InvoiceStatus.VOID:
            return done
        script = self._config.void_script
        try:
            answer = await self._scripts.request(
                "POST",
                RESTLET_PATH,
                operation=act,
                write=True,
                params={"script": script.script, "deploy": script.deploy},
                json={"type": "invoice", "id": checked_id(record.id)},
            )
        except (HasDependents, Invalid, ClosedPeriod) as error:
            if await self._status(record, act) is InvoiceStatus.VOID:
                return done
            raise refused(error, record.type, record.id) from error
        if not isinstance(answer.json, Mapping) or answer.json.get("voided") is not True:
            text = "The script does not say that it voided the invoice."
            raise OutcomeUnknown(text, vendor=VENDOR, operation=act)
        return done

    async def _status(self, record: RecordRef, act: str) -> InvoiceStatus:
        body = await self._records.read("invoice", record.id, act, {"fields": "status"})
        status = status_from(body)
        if status in {InvoiceStatus.DRAFT, InvoiceStatus.REJECTED}:
            error = Rejected(f"Invoice {record.id} was never issued: remove it instead.")
            raise refused(error, record.type, record.id)
        return status

    async def _body(self, external_id: ExternalId) -> Row | None:
        try:
            answer = await self._records.http.request(
                "GET",
                external_path(TYPE, external_id),
                operation="look for the credit memo",
                write=False,
                params=EXPANDED,
            )
        except NotFound:
            return None
        return json_object(answer)

    def _note(self, body: Row) -> CreditNote:
        return mapping.credit_from(body, self._records.connection, self._config)


def _check_issued(id_: str, invoice: Row) -> None:
    status = status_from(invoice)
    if status not in {InvoiceStatus.OPEN, InvoiceStatus.SETTLED}:
        text = f"Invoice {id_} is {status}: there is nothing to credit."
        raise Rejected(text, vendor=VENDOR, operation=mapping.ACT)
