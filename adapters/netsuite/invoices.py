"""Invoices: created whole, approved where the account routes approval, read back, removed.

Sources: vendor page 5.9, 5.6, 4.5. An invoice is created by POST with our external id, not by
`PUT eid:`: a POST that lands late, or twice, is refused as a duplicate, whereas an upsert would
write over what was approved or edited since, back to pending. A draft that is not as asked for is
changed by PATCH with `replace=item`.

REST has no lock on a record (section 1): between the look at a draft and its removal someone may
approve it. The window is one request.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import (
    ClosedPeriod,
    Duplicate,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.netsuite import invoice_mapping as mapping
from adapters.netsuite import invoice_reading as reading
from adapters.netsuite.billing_mapping import text_of
from adapters.netsuite.charges import Charges
from adapters.netsuite.client import VENDOR, HasDependents
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.invoice_checks import InvoiceChecks
from adapters.netsuite.mapping import Row, lines
from adapters.netsuite.periods import Periods
from adapters.netsuite.records import (
    ROOT,
    RecordService,
    checked_id,
    external_path,
    json_object,
    record_path,
    refused,
)
from canonical.ids import ExternalId
from canonical.invoicing import (
    Application,
    Invoice,
    InvoiceChange,
    InvoiceStatus,
    ProvisionInvoice,
)
from canonical.records import RecordRef, UndoReceipt, UndoResult

TYPE: Final = "invoice"
EXPANDED: Final = {"expandSubResources": "true"}
OVERLAP: Final = timedelta(minutes=10)
"""Before the time asked for: a transaction can be dated before it can be seen (unverified)."""
PAGE: Final = 500
GONE: Final = frozenset({InvoiceStatus.VOID, InvoiceStatus.REJECTED})


class Invoices:
    """The invoices of one account."""

    def __init__(
        self, records: RecordService, charges: Charges, periods: Periods, config: NetSuiteConfig
    ) -> None:
        """Use the account's records, charges and books."""
        self._records = records
        self._checks = InvoiceChecks(records, charges, periods, config)
        self._config = config

    async def find(self, external_id: ExternalId, request: ProvisionInvoice) -> Invoice | None:
        """Return the invoice with our external id; a draft only if it is as asked for.

        One that was issued is what it is, whatever became of its lines: the caller compares.
        """
        invoice = await self._ours(external_id)
        if invoice is None or invoice.status in GONE:
            return None
        if not invoice.issued and reading.disagreements(invoice, request):
            return None
        return invoice

    async def provision(self, external_id: ExternalId, request: ProvisionInvoice) -> Invoice:
        """Create the invoice, or make a draft of ours what was asked for.

        Raises:
            Rejected: nothing was issued; or an invoice that was voided has the external id.
        """
        standing = await self._ours(external_id)
        if standing is not None and _stands(standing, request):
            return standing
        charge_ids = await self._checks.charge_ids(request, standing)
        body = mapping.invoice_body(external_id, request, charge_ids, self._config)
        await self._checks.before(request)
        if standing is None:
            made = await self._create(external_id, request, body)
        else:
            made = await self._rewrite(standing, body)
        return self._as_asked(made, request)

    async def _create(
        self, external_id: ExternalId, request: ProvisionInvoice, body: Mapping[str, object]
    ) -> Invoice:
        act = "create the invoice"
        try:
            await self._records.http.request(
                "POST", f"{ROOT}/{TYPE}", operation=act, write=True, json=body
            )
        except Duplicate:
            # An earlier attempt landed after the look. Or it is no invoice: then it stays refused.
            late = await self._ours(external_id)
            if late is None or not _stands(late, request):
                raise
            return late
        return await self._written(external_id, act)

    async def _rewrite(self, standing: Invoice, body: Mapping[str, object]) -> Invoice:
        act = "complete the invoice"
        path = record_path(TYPE, standing.record.id)
        params = {"replace": "item"}
        await self._records.http.request(
            "PATCH", path, operation=act, write=True, json=body, params=params
        )
        return await self._written(ExternalId(standing.external_id), act)

    async def _written(self, external_id: ExternalId, act: str) -> Invoice:
        try:
            made = await self._ours(external_id)
        except (Transient, RateLimited) as error:
            text = f"It was written, but cannot be read back: {error.message}"
            raise OutcomeUnknown(text, vendor=VENDOR, operation=act) from error
        if made is None:
            text = "It was written, and is not there: somebody may have deleted it."
            raise OutcomeUnknown(text, vendor=VENDOR, operation=act)
        return made

    def _as_asked(self, made: Invoice, request: ProvisionInvoice) -> Invoice:
        """Return what was made; a draft must be as asked for, what is issued is what it is."""
        act = "read the invoice back"
        if made.issued:
            return made
        if found := reading.disagreements(made, request):
            text = f"NetSuite made something else of the draft: {'; '.join(found)}."
            raise Rejected(text, vendor=VENDOR, operation=act)
        if not self._config.approval_routing:
            text = (
                f"Invoice {made.record.id} waits for approval: this account routes approval. "
                "Set settings.approval_routing, or turn the routing off."
            )
            raise Rejected(text, vendor=VENDOR, operation=act)
        return made

    async def remove(self, external_id: ExternalId) -> UndoReceipt:
        """Delete a draft, or what an approver refused; a void one is gone already.

        Raises:
            UndoRefused: it was issued, or NetSuite does not let it go.
        """
        absent = UndoReceipt(result=UndoResult.ABSENT)
        body = await self._body(external_path(TYPE, external_id), {"fields": "id,status"})
        if body is None or reading.status_from(body) is InvoiceStatus.VOID:
            return absent
        record, status = self._records.record(TYPE, body.get("id")), reading.status_from(body)
        if status not in {InvoiceStatus.DRAFT, InvoiceStatus.REJECTED}:
            error = Rejected(f"Invoice {record.id} was issued: credit it instead.")
            raise refused(error, TYPE, record.id)
        path = record_path(TYPE, record.id)
        try:
            await self._records.http.request(
                "DELETE", path, operation="remove the draft", write=True
            )
        except NotFound:
            return absent
        except (HasDependents, Invalid, ClosedPeriod) as error:
            raise refused(error, TYPE, record.id) from error
        return UndoReceipt(result=UndoResult.REMOVED, record=record)

    async def post(self, record: RecordRef) -> Invoice:
        """Approve a draft and read it back; NetSuite posts it on that (section 5.9, from memory).

        Raises:
            Rejected: somebody added a line, an approver refused it, or it was voided; or NetSuite
                does not take the approval. It stays what it was.
        """
        act = "approve the invoice"
        body = await self._record(record)
        status = reading.status_from(body)
        if status in GONE:
            text = f"Invoice {record.id} is {status}: it cannot be issued."
            raise Rejected(text, vendor=VENDOR, operation=act)
        if status is InvoiceStatus.DRAFT:
            self._refuse_foreign_lines(body, act)
            approved: dict[str, object] = {"approvalStatus": {"id": mapping.APPROVED}}
            await self._records.change(TYPE, record.id, approved, act)
            try:
                body = await self._record(record)
            except (Transient, RateLimited) as error:
                text = f"It was approved, but cannot be read back: {error.message}"
                raise OutcomeUnknown(text, vendor=VENDOR, operation=act) from error
        invoice = await self._whole(body)
        if not invoice.issued:
            text = f"NetSuite took the approval, and invoice {record.id} is still {invoice.status}."
            raise Rejected(text, vendor=VENDOR, operation=act)
        return invoice

    def _refuse_foreign_lines(self, body: Row, act: str) -> None:
        foreign = [
            text_of(line, "line")
            for line in lines(body, "item")
            if not text_of(line, self._config.invoice_item_field)
        ]
        if foreign:
            text = (
                f"Somebody added lines to the draft ({', '.join(foreign)}). Take them off, "
                "or return the draft."
            )
            raise Rejected(text, vendor=VENDOR, operation=act)

    async def read(self, record: RecordRef) -> Invoice:
        """Return an invoice with what was applied to it and the charges that name it.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        return await self._whole(await self._record(record))

    async def changed(self, since: datetime) -> AsyncIterator[tuple[InvoiceChange, ...]]:
        """Yield the invoices that changed, oldest first; a change may come again.

        All are read before the first page is given: payments and invoices are two questions, and
        the oldest of both comes first.
        """
        latest: dict[str, InvoiceChange] = {}
        for query in mapping.changed_queries(since - OVERLAP, self._config):
            for row in await self._records.query_all(query, "look for changed invoices"):
                change = InvoiceChange(
                    record=self._records.record(TYPE, row.get("id")),
                    external_id=text_of(row, "externalid"),
                    changed_at=mapping.moment_from(row, "changed", self._config),
                )
                known = latest.get(change.record.id)
                if known is None or known.changed_at < change.changed_at:
                    latest[change.record.id] = change
        found = sorted(latest.values(), key=lambda each: (each.changed_at, int(each.record.id)))
        for start in range(0, len(found), PAGE):
            yield tuple(found[start : start + PAGE])

    async def _ours(self, external_id: ExternalId) -> Invoice | None:
        body = await self._body(external_path(TYPE, external_id), EXPANDED)
        return None if body is None else await self._whole(body)

    async def _record(self, record: RecordRef) -> Row:
        return await self._records.read(TYPE, record.id, "read the invoice", EXPANDED)

    async def _body(self, path: str, params: Mapping[str, str]) -> Row | None:
        try:
            answer = await self._records.http.request(
                "GET", path, operation="look for the invoice", write=False, params=params
            )
        except NotFound:
            return None
        return json_object(answer)

    async def _whole(self, body: Row) -> Invoice:
        """Return the record with its charges and what settles it; two further queries."""
        id_ = checked_id(text_of(body, "id"))
        billed = await self._records.query_all(mapping.billed_query(id_), "read billed charges")
        applied = await self._applications(id_, body)
        invoice = reading.invoice_from(
            body, applied, billed, self._records.connection, self._config
        )
        if not reading.is_projects(body):
            return invoice
        act = "read the project's client"
        job = await self._records.read("job", invoice.client_id, act, {"fields": "parent"})
        return invoice.model_copy(update={"client_id": reading.reference(job, "parent")})

    async def _applications(self, id_: str, body: Row) -> tuple[Application, ...]:
        rows = await self._records.query_all(
            mapping.applications_query(id_), "read what was applied"
        )
        items: dict[str, set[str]] = {}
        memos = [text_of(row, "nextdoc") for row in rows if text_of(row, "type") == "CustCred"]
        if memos and (self._config.write_off_items or self._config.withholding_items):
            query = mapping.items_query(dict.fromkeys(memos))
            for row in await self._records.query_all(query, "read the credit memos' items"):
                items.setdefault(text_of(row, "transaction"), set()).add(text_of(row, "item"))
        currency = reading.currency_of(body, self._config)
        return reading.applications_from(rows, items, currency, self._config)


def _stands(invoice: Invoice, request: ProvisionInvoice) -> bool:
    """Return whether an invoice with our external id needs no write; a draft may need one.

    Raises:
        Rejected: it was issued with other lines than asked for, or voided.
    """
    if invoice.status is InvoiceStatus.VOID:
        text = f"Invoice {invoice.record.id} has this external id and is void: bill it anew."
        raise Rejected(text, vendor=VENDOR, operation="create the invoice")
    if invoice.status is InvoiceStatus.REJECTED:
        return False
    found = reading.disagreements(invoice, request)
    if found and invoice.issued:
        text = f"Invoice {invoice.record.id} was issued, but: {'; '.join(found)}."
        raise Rejected(text, vendor=VENDOR, operation="create the invoice")
    return not found
