"""The role of a system that issues invoices: an ERP, or a billing engine beside it.

The rules of `adapters.ports` hold here too: `find_*` looks, `provision_*` writes once and never
looks first, `remove_*` works from the external id.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from adapters.ports import Connected, Erp
from canonical.ids import ExternalId
from canonical.invoicing import (
    Billee,
    CreditNote,
    Invoice,
    InvoiceChange,
    InvoicingTraits,
    ProvisionCredit,
    ProvisionInvoice,
)
from canonical.records import RecordRef, UndoReceipt


class Invoicing(Connected, Protocol):
    """Where invoices are issued, paid and credited."""

    @property
    def invoicing(self) -> InvoicingTraits:
        """What this account can do."""
        ...

    async def find_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> Invoice | None:
        """Return the invoice with this external id and all the lines asked for, issued or not.

        One that lacks lines is not found: `provision_invoice` completes it. A voided or rejected
        one is gone.
        """
        ...

    async def provision_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> Invoice:
        """Create the invoice with its lines, or complete it; `request.client` is set.

        A draft where the account has drafts, otherwise issued at once. Where invoice and lines are
        several writes of the vendor, this looks by itself for what an attempt left between them.

        Raises:
            ClosedPeriod: `request.on` is in a closed period; nothing was created.
            Rejected: nothing was issued; also when the system computes another net for a line
                than was asked for, which a draft shows before it is issued.
        """
        ...

    async def remove_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> UndoReceipt:
        """Delete the draft with its lines; charges on it are free again.

        Raises:
            UndoRefused: it was issued.
        """
        ...

    async def post_invoice(self, external_id: ExternalId, invoice: RecordRef) -> Invoice:
        """Issue a draft: approve or finalize it. One that is issued already is as good.

        Nothing is sent to the client by this.

        Raises:
            Rejected: the system refuses, and the draft stays one; the message says why.
        """
        ...

    async def read_invoice(self, invoice: RecordRef) -> Invoice:
        """Return an invoice as it is now, with all its lines and what was applied to it.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        ...

    def list_changed_invoices(self, since: datetime) -> AsyncIterator[tuple[InvoiceChange, ...]]:
        """Yield pages of the invoices that changed since a time, oldest first, perhaps twice.

        A payment, a credit or a reversal changes the invoice that it is applied to.
        """
        ...

    async def void_invoice(self, external_id: ExternalId, invoice: RecordRef) -> UndoReceipt:
        """Void an issued invoice, for good; one that is void already is as good.

        Raises:
            UndoRefused: the account or the vendor does not void; credit it instead.
        """
        ...

    async def find_credit(
        self, external_id: ExternalId, request: ProvisionCredit
    ) -> CreditNote | None:
        """Return the credit note with this external id; a voided one is gone."""
        ...

    async def provision_credit(
        self, external_id: ExternalId, request: ProvisionCredit
    ) -> CreditNote:
        """Credit lines of an issued invoice; `request.invoice` is set.

        Raises:
            ClosedPeriod: `request.on` is in a closed period.
            Rejected: more is credited than was invoiced, or the invoice is not issued.
        """
        ...

    async def remove_credit(self, external_id: ExternalId, request: ProvisionCredit) -> UndoReceipt:
        """Take the credit note back: deleted or voided, as the vendor allows.

        Raises:
            UndoRefused: it was used up, or its period is closed.
        """
        ...


class BillingEngine(Invoicing, Protocol):
    """An issuing system beside the ERP, which has to know the client first."""

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer that carries this external id; record type `client`."""
        ...

    async def provision_client(self, external_id: ExternalId, request: Billee) -> RecordRef:
        """Create the customer."""
        ...

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the customer; `kept` where invoices or subscriptions hang on it."""
        ...


class Ledger(Erp, Invoicing, Protocol):
    """An ERP: it keeps the books, and issues invoices from them."""
