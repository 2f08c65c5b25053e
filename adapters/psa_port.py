"""The role of a PSA; the rules of `adapters.ports` hold here too."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from adapters.ports import Source
from canonical.billing import PsaChange, Reservation, ReserveEntries
from canonical.entries import Entry, EntryRef
from canonical.ids import ExternalId
from canonical.invoicing import (
    ConfirmInvoice,
    DealFinances,
    PsaInvoice,
    PsaMilestone,
    RecordPayment,
)
from canonical.provisioning import (
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import Receipt, RecordRef, UndoReceipt


class Psa(Source, Protocol):
    """Where the work is delivered."""

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the client that carries this external id; record type `client`."""
        ...

    async def provision_client(
        self, external_id: ExternalId, request: ProvisionPsaClient
    ) -> RecordRef:
        """Create the client."""
        ...

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the client; `kept` where projects that are not ours belong to it."""
        ...

    async def find_project(self, external_id: ExternalId) -> RecordRef | None:
        """Return the project that carries this external id, archived ones too."""
        ...

    async def provision_project(
        self, external_id: ExternalId, request: ProvisionPsaProject
    ) -> RecordRef:
        """Create the project from its template, closed for time; `request.client` is set."""
        ...

    async def remove_project(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the project.

        Raises:
            UndoRefused: time, expenses or invoices are on it.
        """
        ...

    async def find_tasks(self, external_id: ExternalId, project: RecordRef) -> Receipt | None:
        """Return the task list with this external id; record type `task_list`, parts `task`."""
        ...

    async def provision_tasks(self, external_id: ExternalId, request: ProvisionTasks) -> Receipt:
        """Create one parent task with one task per contract line, in one call."""
        ...

    async def remove_tasks(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the task list.

        Raises:
            UndoRefused: time was logged on one of the tasks.
        """
        ...

    async def find_milestones(self, external_id: ExternalId, project: RecordRef) -> Receipt | None:
        """Return the billing milestones; record type `milestone_list`, parts `milestone`."""
        ...

    async def provision_milestones(
        self, external_id: ExternalId, request: ProvisionMilestones
    ) -> Receipt:
        """Create all billing milestones in one bulk call, in the order of the request."""
        ...

    async def remove_milestones(
        self, external_id: ExternalId, project: RecordRef | None
    ) -> UndoReceipt:
        """Delete the billing milestones.

        Raises:
            UndoRefused: one of them is on an invoice.
        """
        ...

    async def read_erp_link(self, project: RecordRef) -> str:
        """Return the ERP project ids noted on the project, or an empty string."""
        ...

    async def write_erp_link(self, project: RecordRef, erp_project_ids: str) -> RecordRef:
        """Note the ERP project ids on the project; an empty string removes the note."""
        ...

    async def is_open_for_time(self, project: RecordRef) -> bool:
        """Return whether people can log time on the project."""
        ...

    async def open_for_time(self, project: RecordRef) -> RecordRef:
        """Let people log time on the project. There is no way back once they did."""
        ...

    # Approved time and expenses.

    async def read_entries(self, refs: tuple[EntryRef, ...]) -> tuple[Entry, ...]:
        """Return the entries that exist, approved or not; those deleted are simply absent."""
        ...

    def list_entries(
        self, project_id: str, updated_since: datetime | None = None
    ) -> AsyncIterator[tuple[Entry, ...]]:
        """Yield pages of a project's entries of every kind, changed since a time or all."""
        ...

    async def entries_of_submission(self, subject_type: str, subject_id: str) -> tuple[Entry, ...]:
        """Return the entries of a timesheet or expense report; empty where it is gone."""
        ...

    def read_changes(self, since: datetime, until: datetime) -> AsyncIterator[PsaChange]:
        """Yield the rows of the change feed in a window: unordered, perhaps twice.

        Raises:
            Unsupported: the account has no feed; changed entries are listed instead.
        """
        ...

    async def find_reservation(self, external_id: ExternalId) -> Reservation | None:
        """Return the reservation that carries this external id; record type `reservation`."""
        ...

    async def reserve_entries(
        self, external_id: ExternalId, request: ReserveEntries
    ) -> Reservation:
        """Reserve the entries of a billing run, all or none, in one call.

        Raises:
            Invalid: an entry is reserved elsewhere already; the message names it.
        """
        ...

    async def remove_reservation(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Free the reserved entries.

        Raises:
            UndoRefused: it was issued and paid.
        """
        ...

    # Milestones and invoices.

    async def read_lead(self, project_id: str) -> str:
        """Return the e-mail address of who leads a project, in small letters; empty: nobody.

        Raises:
            NotFound: there is no such project.
        """
        ...

    async def read_milestones(self, project_id: str) -> tuple[PsaMilestone, ...]:
        """Return every billing milestone of a project, in the PSA's own order.

        Whether one is approved follows the evidence rule of the connection. By whom and when is
        left out where the PSA would have to be asked for each: `read_milestone` says it.
        """
        ...

    async def read_milestone(self, milestone_id: str) -> PsaMilestone:
        """Return one billing milestone.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        ...

    async def read_eligibility(self, milestone: RecordRef) -> str:
        """Return what Dealthread noted on the milestone, or an empty string."""
        ...

    async def write_eligibility(self, milestone: RecordRef, note: str) -> RecordRef:
        """Note on the milestone that it is being billed; an empty string removes the note."""
        ...

    async def find_confirmation(
        self, external_id: ExternalId, request: ConfirmInvoice
    ) -> PsaInvoice | None:
        """Return the issued mirror of an invoice that carries this external id."""
        ...

    async def confirm_invoice(self, external_id: ExternalId, request: ConfirmInvoice) -> PsaInvoice:
        """Mirror an issued invoice: its entries and milestones are invoiced, at its net.

        Entries leave their reservation for it. Several writes of the vendor; this looks by itself
        for what an attempt left between them.

        Raises:
            Rejected: an entry is on another invoice; the message names it.
        """
        ...

    async def cancel_confirmation(
        self, external_id: ExternalId, request: ConfirmInvoice
    ) -> UndoReceipt:
        """Take the mirror back, after a credit that re-opens what it bills.

        Raises:
            UndoRefused: it is paid in the PSA.
        """
        ...

    async def find_payment(self, request: RecordPayment) -> RecordRef | None:
        """Return the payment recorded under this reference; record type `payment`."""
        ...

    async def record_payment(self, request: RecordPayment) -> RecordRef:
        """Record a payment on the mirror of an invoice.

        Raises:
            Unsupported: the PSA cannot record this one, a reversal for example.
        """
        ...

    # The deal's money.

    @property
    def shows_finances(self) -> bool:
        """Whether the account shows on a project what its deal came to."""
        ...

    async def find_finances(self, project: RecordRef, finances: DealFinances) -> RecordRef | None:
        """Return the project where it shows exactly this money."""
        ...

    async def write_finances(self, project: RecordRef, finances: DealFinances) -> RecordRef:
        """Show what the project's deal came to; what was shown before is replaced.

        Raises:
            MissingMapping: the account has no place for it, see `shows_finances`.
        """
        ...
