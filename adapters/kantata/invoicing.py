"""Milestones, mirrors, payments and money of Kantata: the role's later half, beside `adapter`."""

from adapters.kantata.confirmations import Confirmations
from adapters.kantata.finances import ProjectFinances
from adapters.kantata.milestones import Milestones
from adapters.kantata.payments import Payments
from canonical.ids import ExternalId
from canonical.invoicing import (
    ConfirmInvoice,
    DealFinances,
    PsaInvoice,
    PsaMilestone,
    RecordPayment,
)
from canonical.records import RecordRef, UndoReceipt


class MilestonesAndInvoices:
    """The part of a `Psa` that follows invoices; the adapter sets what it works with."""

    _milestones: Milestones
    _confirmations: Confirmations
    _payments: Payments
    _finances: ProjectFinances

    async def read_milestones(self, project_id: str) -> tuple[PsaMilestone, ...]:
        """Return a project's billing milestones by the connection's rule (section 10.1)."""
        return await self._milestones.of_project(project_id)

    async def read_milestone(self, milestone_id: str) -> PsaMilestone:
        """Return one billing milestone.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        return await self._milestones.read(milestone_id)

    async def read_lead(self, project_id: str) -> str:
        """Return the e-mail address of the project's `primary_maven` (sections 3, 6.3).

        Raises:
            NotFound: there is no such project.
        """
        return await self._milestones.lead_of(project_id)

    async def read_eligibility(self, milestone: RecordRef) -> str:
        """Return what our reference of the billing service says (section 5)."""
        return await self._milestones.read_note(milestone)

    async def write_eligibility(self, milestone: RecordRef, note: str) -> RecordRef:
        """Upsert that reference; an empty note deletes it."""
        return await self._milestones.write_note(milestone, note)

    async def find_confirmation(
        self, external_id: ExternalId, request: ConfirmInvoice
    ) -> PsaInvoice | None:
        """Return the issued invoice with our reference (section 10.2)."""
        del request
        return await self._confirmations.find(external_id)

    async def confirm_invoice(self, external_id: ExternalId, request: ConfirmInvoice) -> PsaInvoice:
        """Move entries and milestones onto an invoice of their own, and issue it unseen.

        Raises:
            Rejected: see `Confirmations.confirm`.
        """
        return await self._confirmations.confirm(external_id, request)

    async def cancel_confirmation(
        self, external_id: ExternalId, request: ConfirmInvoice
    ) -> UndoReceipt:
        """Cancel that invoice; what was on it can be billed again (section 10.2).

        Parts of it that were noted as paid go first: Kantata keeps them on the project, where they
        would outlive it.

        Raises:
            UndoRefused: it is paid in Kantata.
        """
        del request
        mirror = await self._confirmations.find(external_id)
        if mirror is not None:
            await self._payments.forget(mirror.record.id)
        return await self._confirmations.cancel(external_id)

    async def find_payment(self, request: RecordPayment) -> RecordRef | None:
        """Return the payment whose message has the reference."""
        return await self._payments.find(request)

    async def record_payment(self, request: RecordPayment) -> RecordRef:
        """Record a payment on the mirror; a part of it on the project.

        Raises:
            Unsupported: it is a reversal.
        """
        return await self._payments.record(request)

    @property
    def shows_finances(self) -> bool:
        """Whether the configuration names a field of projects for it."""
        return self._finances.shown

    async def find_finances(self, project: RecordRef, finances: DealFinances) -> RecordRef | None:
        """Return the project whose field has exactly this text (section 13)."""
        return await self._finances.find(project, finances)

    async def write_finances(self, project: RecordRef, finances: DealFinances) -> RecordRef:
        """Set the text of that field, in one write.

        Raises:
            MissingMapping: the configuration names no field.
        """
        return await self._finances.write(project, finances)
