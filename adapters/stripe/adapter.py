"""Stripe Billing in the role of a billing engine.

Scorecard: no external ids; our key is the idempotency key (remembered for a day) and stands in
the metadata. Invoices and credit notes are found in the lists of their client and invoice, which
are exact; customers by a search for the old ones and a list of those of the last two hours.
Drafts take three calls (look, invoice, all lines at once) and are deleted; issued invoices and
credit notes are voided; a customer is deleted while nothing hangs on it. What a stored answer of
an earlier call says is never believed: the record is read again. What changed is in the log of
events, which ends after 30 days; a list of invoices does not show what happened to old ones.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from adapters.auth import BearerToken
from adapters.governor import Governor
from adapters.http import VendorHttp
from adapters.ports import Check
from adapters.stripe import client as wire
from adapters.stripe.changes import Changes
from adapters.stripe.checks import ConnectionCheck
from adapters.stripe.config import StripeConfig
from adapters.stripe.credits import Credits
from adapters.stripe.customers import Customers
from adapters.stripe.extracts import Listings
from adapters.stripe.invoices import Invoices
from adapters.stripe.mapping import LINES_MAX
from adapters.stripe.objects import Objects
from canonical.ids import ExternalId
from canonical.invoicing import (
    Billee,
    CreditNote,
    DraftMode,
    Invoice,
    InvoiceChange,
    InvoicingTraits,
    PostMode,
    ProvisionCredit,
    ProvisionInvoice,
)
from canonical.records import RecordRef, UndoReceipt


class Stripe(Listings):
    """One Stripe account as a `BillingEngine`; what it holds is listed as `Extracts`."""

    def __init__(
        self,
        connection: str,
        config: StripeConfig,
        http: VendorHttp,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Use an HTTP client that carries the key."""
        self._connection = connection
        self._config = config
        self._objects = Objects(connection, http, config.api_version)
        self._customers = Customers(self._objects, config, now)
        self._invoices = Invoices(self._objects, config)
        self._credits = Credits(self._objects, config, self._invoices.view)
        self._changes = Changes(self._objects, now)

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    @property
    def invoicing(self) -> InvoicingTraits:
        """Drafts of up to 250 lines, issued by a call that says so at once (sections 5.2, 5.3)."""
        return InvoicingTraits(
            draft=DraftMode.NON_POSTING,
            post=PostMode.SYNC,
            voids=self._config.voids,
            lines_max=LINES_MAX,
        )

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return ConnectionCheck(self._objects, self._config).steps()

    async def aclose(self) -> None:
        """Close the HTTP client."""
        await self._objects.http.aclose()

    # Clients.

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer with our key (sections 4, 5.1)."""
        return await self._customers.find(external_id)

    async def provision_client(self, external_id: ExternalId, request: Billee) -> RecordRef:
        """Create the customer (section 5.1)."""
        return await self._customers.create(external_id, request)

    async def remove_client(
        self,
        external_id: ExternalId,
        record: RecordRef | None,  # noqa: ARG002 - the key finds every one
    ) -> UndoReceipt:
        """Delete the customer, unless invoices, items or subscriptions hang on it."""
        return await self._customers.remove(external_id)

    # Invoices.

    async def find_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> Invoice | None:
        """Return the invoice with our key, if it has all the lines (section 5.3)."""
        return await self._invoices.find(external_id, request)

    async def provision_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> Invoice:
        """Create the draft, then all its lines by one `add_lines` (section 5.3).

        A draft that somebody edited is made whole again; lines that he added go back to the
        client's pending items.
        """
        return await self._invoices.create(external_id, request)

    async def remove_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> UndoReceipt:
        """Delete the draft (section 5.3)."""
        return await self._invoices.remove(external_id, request)

    async def post_invoice(self, external_id: ExternalId, invoice: RecordRef) -> Invoice:
        """Finalize without advancing: Stripe sends and collects nothing by itself."""
        return await self._invoices.post(external_id, invoice)

    async def read_invoice(self, invoice: RecordRef) -> Invoice:
        """Return the invoice (section 5.3) with payments, refunds, disputes and credit notes."""
        return await self._invoices.read(invoice)

    def list_changed_invoices(self, since: datetime) -> AsyncIterator[tuple[InvoiceChange, ...]]:
        """Yield the invoices that the log of events is about (section 6); all where it ends."""
        return self._changes.since(since)

    async def void_invoice(self, external_id: ExternalId, invoice: RecordRef) -> UndoReceipt:
        """Void the invoice; its number is consumed (section 7)."""
        return await self._invoices.void(external_id, invoice)

    # Credit notes.

    async def find_credit(
        self, external_id: ExternalId, request: ProvisionCredit
    ) -> CreditNote | None:
        """Return the credit note with our key (section 5.4)."""
        return await self._credits.find(external_id, request)

    async def provision_credit(
        self, external_id: ExternalId, request: ProvisionCredit
    ) -> CreditNote:
        """Create the credit note; no mail is sent (section 5.4)."""
        return await self._credits.create(external_id, request)

    async def remove_credit(self, external_id: ExternalId, request: ProvisionCredit) -> UndoReceipt:
        """Void the credit note (section 5.4)."""
        return await self._credits.remove(external_id, request)


def build_stripe(connection: str, config: StripeConfig, governor: Governor) -> Stripe:
    """Return the adapter of one account; nothing is sent before the first call."""
    http = VendorHttp(
        vendor=wire.VENDOR,
        connection=connection,
        base_url=config.base_url,
        auth=BearerToken(config.auth.api_key),
        classify=wire.classify,
        governor=governor,
        timeouts=config.timeouts.limits(),
        verify=config.ca_file,
    )
    return Stripe(connection, config, http)
