"""What people do about issued invoices: look, credit, dispute, explain, accept a tax.

CLI and API call it. A credit goes to its own saga, which answers at once and waits there for a
second person. What the issuing system credited by itself is explained here, straight into the
subledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.credit_desk import unexplained
from canonical.credit_invoice import (
    AskedCredit,
    CreditAnswer,
    CreditedAmount,
    CreditInput,
    CreditVerb,
    DecideCredit,
)
from canonical.ids import credit_id, invoice_id
from canonical.invoice_lifecycle import InvoiceKey, LifecycleInput, LookAgain
from canonical.invoicing import Application, CreditReason
from canonical.lifecycle import InvoiceState, LeftToCredit, TrackedInvoice
from canonical.saga import WorkItem
from operations.native_credits import explain_credit, tell_psa
from operations.people import Refused, short
from operations.sagas import SAGA_QUEUE, TAKEN_WITHIN
from operations.tax_differences import accept_tax
from policies.credits import may_ask
from policies.queue_case import Actor
from store import Store
from store.credits import CreditStanding
from store.errors import NotFound
from workflows.credit_invoice import CreditInvoice
from workflows.invoice_lifecycle import InvoiceLifecycle
from workflows.options import LIVE_PRIORITY

PREFIX: Final = "credit/"
SEE_LIST: Final = "see `starter.py invoice list`"
GONE: Final = {RPCStatusCode.NOT_FOUND}


@dataclass(frozen=True)
class InvoiceFile:
    """An invoice with all that was credited on it, and what still waits for a reason."""

    invoice: TrackedInvoice
    credits: tuple[CreditStanding, ...]
    left: tuple[LeftToCredit, ...]
    unexplained: tuple[Application, ...]
    waits: tuple[WorkItem, ...]


@dataclass(frozen=True)
class InvoiceDesk:
    """Issued invoices, for people and programs."""

    client: Client
    store: Store
    people: Mapping[str, Actor]
    """Who may act, by name."""

    # Looking.

    async def list(
        self,
        states: Sequence[InvoiceState] = (),
        *,
        client_id: str = "",
        legal_entity: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[TrackedInvoice, ...]:
        """Return invoices, oldest first."""
        return await self.store.invoices.list(
            states,
            client_id=client_id,
            legal_entity=legal_entity,
            limit=limit,
            offset=offset,
        )

    async def find(self, typed: str) -> TrackedInvoice:
        """Return the invoice that a person means: by its number, or as `<connection>/<id>`.

        Raises:
            Refused: there is none, or several have that number; names them.
        """
        connection, slash, id_ = typed.rpartition("/")
        if slash:
            try:
                return await self.store.invoices.get(connection, id_)
            except NotFound:
                raise Refused(f"There is no invoice {short(typed)}: {SEE_LIST}.") from None
        found = await self.store.invoices.by_number(typed)
        if len(found) == 1:
            return found[0]
        if not found:
            raise Refused(f"There is no invoice {short(typed)}: {SEE_LIST}.")
        names = ", ".join(f"{each.record.system}/{each.record.id}" for each in found)
        raise Refused(f"Several invoices have the number {short(typed)}; name one: {names}.")

    async def show(self, typed: str) -> InvoiceFile:
        """Return an invoice with its credits and what waits.

        Raises:
            Refused: as `find`.
        """
        invoice = await self.find(typed)
        record = invoice.record
        credits_ = await self.store.credits.of_invoice(record.system, record.id)
        items = await self.store.work_items.list(workflow_id=invoice_id(record.system, record.id))
        return InvoiceFile(
            invoice=invoice,
            credits=credits_,
            left=await self.store.credits.left(record.system, record.id),
            unexplained=await unexplained(self.store, invoice),
            waits=tuple(stored.item for stored in items),
        )

    async def find_credit(self, typed: str) -> CreditStanding:
        """Return the credit that a person means: by its id, or the one that waits on an invoice.

        Raises:
            Refused: there is none, or several wait; names them.
        """
        for candidate in (typed, f"{PREFIX}{typed}"):
            try:
                return await self.store.credits.get_credit(candidate)
            except NotFound:
                continue
        record = (await self.find(typed)).record
        of_invoice = await self.store.credits.of_invoice(record.system, record.id)
        waiting = [each for each in of_invoice if each.state == "asked"]
        if len(waiting) == 1:
            return waiting[0]
        if not waiting:
            raise Refused(f"No credit of invoice {short(typed)} waits for an approval.")
        names = ", ".join(each.credit.id for each in waiting)
        raise Refused(f"Several credits of {short(typed)} wait; name one: {names}.")

    async def find_note(self, typed: str) -> CreditStanding | None:
        """Return the credit that a person means by its id or its note's; None: no credit.

        A note is named by its number, or as `<connection>/<number or id>`.

        Raises:
            Refused: several notes have that number; names them.
        """
        if typed.startswith(PREFIX):
            return await self.find_credit(typed)
        connection, slash, name = typed.rpartition("/")
        found = [
            each
            for each in await self.store.credits.of_note(name)
            if not slash or each.credit.invoice.system == connection
        ]
        if not found or await self._is_invoice(typed):
            return None
        if len(found) > 1:
            names = ", ".join(f"{each.credit.invoice.system}/{name}" for each in found)
            raise Refused(f"Several credit notes are called {short(typed)}; name one: {names}.")
        return found[0]

    async def _is_invoice(self, typed: str) -> bool:
        connection, slash, id_ = typed.rpartition("/")
        if not slash:
            return bool(await self.store.invoices.by_number(typed))
        try:
            await self.store.invoices.get(connection, id_)
        except NotFound:
            return False
        return True

    # Crediting.

    async def credit(
        self,
        invoice: TrackedInvoice,
        lines: Sequence[CreditedAmount],
        reason: CreditReason,
        *,
        because: str,
        by: str,
        on: date | None = None,
        void: bool = False,
    ) -> CreditAnswer:
        """Ask for a credit, and return whether it waits for its approval, or why it cannot be.

        No lines: everything that is left of the invoice. With `void` the invoice is voided as of
        its own day, where the policy of its legal entity allows it, and no credit note is made.

        Raises:
            Refused: no worker answered in time; what became of it `show` says.
        """
        of = _key(invoice)
        actor = self.people.get(by)
        refused = may_ask(actor, by, because)
        if refused:
            return CreditAnswer(credit="", taken=False, reasons=refused)
        prefix = f"{PREFIX}{of.connection}/{of.invoice_id}"
        number = await self.store.drafts.next_number(prefix)
        asked = AskedCredit(
            of=of,
            number=number,
            lines=tuple(lines),
            reason=reason,
            because=because.strip(),
            asked_by=by,
            on=invoice.on if void else on,
            void=void,
        )
        id_ = credit_id(of.connection, of.invoice_id, number)
        try:
            return await self.client.execute_update_with_start_workflow(
                CreditInvoice.asked,
                id=f"{id_}#asked",
                start_workflow_operation=WithStartWorkflowOperation(
                    CreditInvoice.run,
                    CreditInput(asked=asked),
                    id=id_,
                    task_queue=SAGA_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    priority=LIVE_PRIORITY,
                    static_summary="Credit on an invoice",
                ),
                rpc_timeout=TAKEN_WITHIN,
            )
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise Refused(
                f"{id_} is asked for, and nothing answered in time: see what becomes of it with "
                f"`starter.py invoice show {of.connection}/{of.invoice_id}`."
            ) from error

    async def decide(
        self, standing: CreditStanding, verb: CreditVerb, *, by: str, because: str = ""
    ) -> CreditAnswer:
        """Approve or refuse a credit as a second person; the answer says whether it was taken.

        Raises:
            Refused: no worker answered in time.
        """
        id_ = standing.credit.id
        if standing.state != "asked":
            return _not_waiting(standing)
        decision = DecideCredit(credit=id_, verb=verb, by=by, because=because)
        try:
            return await self.client.get_workflow_handle(id_).execute_update(
                CreditInvoice.decide, decision, rpc_timeout=TAKEN_WITHIN
            )
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise Refused(
                f"No worker took it in time: start one (worker.py), then {verb} again."
            ) from error
        except RPCError as error:
            if error.status not in GONE:
                raise
            raise Refused(
                f"{id_} runs no more; if it was terminated, `starter.py sweep` takes it up."
            ) from error

    # Disputes.

    async def dispute(self, invoice: TrackedInvoice, *, because: str, by: str) -> TrackedInvoice:
        """Note that the client disputes an invoice; nothing more of theirs is billed until it ends.

        Raises:
            Refused: the person may not, or said no reason.
        """
        self._may(by, because)
        record = invoice.record
        found = await self.store.invoices.dispute(record.system, record.id, because, by=by)
        await self.look(invoice)
        return found

    async def undispute(self, invoice: TrackedInvoice, *, by: str) -> TrackedInvoice:
        """End a dispute, and the hold on the client.

        Raises:
            Refused: the person may not, or nobody disputes it.
        """
        self._may(by, "the dispute is over")
        if not invoice.disputed:
            raise Refused(f"Nobody disputes invoice {invoice.number}.")
        record = invoice.record
        found = await self.store.invoices.undispute(record.system, record.id, by=by)
        await self.look(invoice)
        return found

    def _may(self, by: str, because: str) -> None:
        refused = may_ask(self.people.get(by), by, because)
        if refused:
            raise Refused(f"{'; '.join(refused)}.")

    async def look(self, invoice: TrackedInvoice) -> None:
        """Have an invoice looked at, as poll and webhooks do."""
        of = _key(invoice)
        await self.client.start_workflow(
            InvoiceLifecycle.run,
            LifecycleInput(of=of),
            id=invoice_id(of.connection, of.invoice_id),
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="look",
            start_signal_args=[LookAgain()],
            static_summary="The life of an invoice",
        )

    # Credits of the issuing system.

    async def explain(
        self,
        invoice: TrackedInvoice,
        credit: str,
        lines: Sequence[CreditedAmount],
        reason: CreditReason,
        *,
        by: str,
        because: str = "",
    ) -> CreditStanding:
        """Say what a credit is for that somebody made in the issuing system, line by line.

        Without lines it is everything that is left of the invoice, or of its one line. The same
        again changes nothing.

        Raises:
            Refused: the person may not, there is no such credit, or the lines are not its net.
            Conflict: it was explained otherwise.
        """
        standing = await explain_credit(
            self.store, self.people.get(by), invoice, credit, lines, reason, by=by, because=because
        )
        await tell_psa(self.client, invoice, standing, reason, by)
        await self.look(invoice)
        return standing

    # Tax.

    async def accept_tax(self, invoice: TrackedInvoice, *, because: str, by: str) -> WorkItem:
        """Accept the tax that the issuing system made otherwise than expected.

        Raises:
            Refused: the person may not, said no reason, or no tax of the invoice waits.
        """
        return await accept_tax(self.store, self.people.get(by), invoice, by=by, because=because)


def _key(invoice: TrackedInvoice) -> InvoiceKey:
    return InvoiceKey(connection=invoice.record.system, invoice_id=invoice.record.id)


def _not_waiting(standing: CreditStanding) -> CreditAnswer:
    why = f"it is {standing.state}" + (f": {standing.because}" if standing.because else "")
    return CreditAnswer(
        credit=standing.credit.id,
        taken=False,
        reasons=(why,),
        state=standing.state,
        net=standing.credit.net,
    )
