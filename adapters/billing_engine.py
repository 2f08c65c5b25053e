"""The role of a billing engine beside the ERP; the rules of `adapters.ports` hold here too."""

from typing import Protocol

from adapters.ports import Connected
from canonical.engine_invoices import (
    CreditInvoice,
    DraftInvoice,
    EngineCredit,
    EngineCustomer,
    EngineInvoice,
)
from canonical.ids import ExternalId
from canonical.records import RecordRef, UndoReceipt


class BillingEngine(Connected, Protocol):
    """Where invoices are made that the ERP does not make itself."""

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer that carries this external id; record type `client`."""
        ...

    async def provision_client(self, external_id: ExternalId, request: EngineCustomer) -> RecordRef:
        """Create the customer."""
        ...

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the customer; `kept` where invoices or subscriptions hang on it."""
        ...

    async def find_draft(
        self, external_id: ExternalId, request: DraftInvoice
    ) -> EngineInvoice | None:
        """Return the invoice with this external id and all the lines asked for, issued or not.

        One that lacks lines is not found: `provision_draft` completes it. A voided one is gone.
        """
        ...

    async def provision_draft(
        self, external_id: ExternalId, request: DraftInvoice
    ) -> EngineInvoice:
        """Create the draft with its lines, or complete it; `request.client` is set.

        Where invoice and lines are two writes of the vendor, this looks by itself for what an
        attempt left that died between them.

        Raises:
            Rejected: the engine computes another amount for a line than was asked for, or the
                invoice was issued with lines missing.
        """
        ...

    async def remove_draft(self, external_id: ExternalId, request: DraftInvoice) -> UndoReceipt:
        """Delete the draft with its lines; `request` says for which client it was made.

        Raises:
            UndoRefused: it was issued.
        """
        ...

    async def finalize_invoice(self, external_id: ExternalId, invoice: RecordRef) -> EngineInvoice:
        """Issue a draft: it gets its number and is frozen. One that is issued already is as good.

        Nothing is sent to the client by this.

        Raises:
            Rejected: the engine refuses, and the draft stays one; the message says why.
        """
        ...

    async def read_invoice(self, invoice: RecordRef) -> EngineInvoice:
        """Return an invoice as it is now, with all its lines.

        Raises:
            NotFound: there is none.
        """
        ...

    async def void_invoice(self, external_id: ExternalId, invoice: RecordRef) -> UndoReceipt:
        """Void an issued invoice, for good; one that is void already is as good.

        Raises:
            UndoRefused: it is paid, or still a draft.
        """
        ...

    async def find_credit(
        self, external_id: ExternalId, request: CreditInvoice
    ) -> EngineCredit | None:
        """Return the credit note with this external id; a voided one is gone."""
        ...

    async def provision_credit(
        self, external_id: ExternalId, request: CreditInvoice
    ) -> EngineCredit:
        """Credit lines of an issued invoice; `request.invoice` is set.

        Raises:
            Rejected: more is credited than was invoiced, or the invoice is not issued.
        """
        ...

    async def void_credit(self, external_id: ExternalId, request: CreditInvoice) -> UndoReceipt:
        """Void the credit note, for good.

        Raises:
            UndoRefused: its invoice is paid.
        """
        ...
