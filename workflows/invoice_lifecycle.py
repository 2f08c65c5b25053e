"""InvoiceLifecycle: an issued invoice until it is settled, and who is told of each change.

Trigger: its posting, a webhook, or the poll of its issuing system (signal-with-start).
Workflow id: `invoice/<connection>/<invoice id>`.

    signals ──> TellInvoice, one look at a time: read ── note what is new ──┬── payments to the PSA
                                                                            └── money to CRM and PSA
    settled, credited or voided: it ends; a later signal begins it anew (a reversed payment)

A signal says that something may have changed; what is true is read from the issuing system.
"""

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.ids import Role, look_id
    from canonical.invoice_lifecycle import (
        InvoiceKey,
        LifecycleInput,
        Look,
        LookAgain,
        Looked,
        LookEnded,
        LookInput,
        OpenLook,
        PlanLook,
        TellPayment,
        TellPlan,
    )
    from canonical.invoicing import WriteFinances, WriteProjectFinances
    from canonical.lifecycle import InvoiceState
    from canonical.records import Receipt
    from canonical.saga import Begin, SagaResult

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, ClassVar

from workflows.board import BUSINESS_KEY, SAGA_STATE
from workflows.calls import call_store
from workflows.engine import Saga
from workflows.step import Step, skipped

OVER = frozenset({InvoiceState.SETTLED, InvoiceState.CREDITED, InvoiceState.VOIDED})
LOOKS_MAX = 200
"""After so many looks the history is begun anew."""
TOLD_ANEW = "it was told; the next look tells it anew"

PLAN_LOOK = Step(ref.PLAN_LOOK, "See who has to know of it", Role.ERP, own=True)
LOOK = Step(ref.LOOK_AT_INVOICE, "Read the invoice", Role.ERP)
TELL_PAYMENT = Step(
    ref.TELL_PAYMENT,
    "Record the payment in the PSA",
    Role.PSA,
    irreversible=TOLD_ANEW,
    pivot=True,
    on_skip=skipped,
)
TELL_FINANCES = Step(
    ref.TELL_FINANCES, "Show the money in the CRM", Role.CRM, irreversible=TOLD_ANEW, pivot=True
)
TELL_PROJECT = Step(
    ref.TELL_PROJECT,
    "Show the money in the PSA",
    Role.PSA,
    irreversible=TOLD_ANEW,
    pivot=True,
    on_skip=skipped,
)


@workflow.defn
class TellInvoice(Saga[TellPlan]):
    """One look at an invoice: what is new is told, once."""

    PLAN: ClassVar = PLAN_LOOK
    STEPS: ClassVar = (PLAN_LOOK, LOOK, TELL_PAYMENT, TELL_FINANCES, TELL_PROJECT)

    @workflow.init
    def __init__(self, look: LookInput) -> None:
        """Remember which look at which invoice."""
        super().__init__()
        self._input = look
        self._looked: Looked | None = None

    @workflow.run
    async def run(self, look: LookInput) -> SagaResult:
        """Look, tell, and say to the invoice's workflow how it ended."""
        info = workflow.info()
        begin = Begin(
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            saga=info.workflow_type,
            business_key=look.of.invoice_id,
            correlation_id=info.workflow_id,
            connection=look.of.connection,
            input_json=look.model_copy(update={"sweep": None}).model_dump_json(),
            sweep=look.sweep,
        )
        result = await self.run_saga(begin)
        await self._tell_invoice(result)
        return result

    def plan_request(self, corrections: dict[str, str]) -> PlanLook:
        """Return what says who has to know of the invoice."""
        of = self._input.of
        return PlanLook(connection=of.connection, invoice_id=of.invoice_id, corrections=corrections)

    @classmethod
    def read_plan(cls, plan_json: str) -> TellPlan:
        """Return the plan as an earlier run stored it."""
        return TellPlan.model_validate_json(plan_json)

    async def flow(self) -> None:
        """Look, then tell PSA and CRM; one that cannot be reached holds up none of the others."""
        of = self._input.of
        looked = self._looked = await self.step(
            LOOK, lambda: Look(connection=of.connection, invoice_id=of.invoice_id)
        )
        await self.parallel(
            *(self._pay(each) for each in looked.payments),
            *(self._show(each) for each in looked.finances),
            *(self._show_project(each) for each in looked.projects),
        )

    def _pay(self, payment: TellPayment) -> Coroutine[Any, Any, Receipt]:
        return self.step(TELL_PAYMENT, lambda: payment)

    def _show(self, finances: WriteFinances) -> Coroutine[Any, Any, Receipt]:
        return self.step(TELL_FINANCES, lambda: finances)

    def _show_project(self, finances: WriteProjectFinances) -> Coroutine[Any, Any, Receipt]:
        return self.step(TELL_PROJECT, lambda: finances)

    async def _tell_invoice(self, result: SagaResult) -> None:
        of = self._input.of
        invoice = workflow.get_external_workflow_handle(f"invoice/{of.connection}/{of.invoice_id}")
        looked = self._looked
        ended = LookEnded(
            number=self._input.number,
            outcome=result.outcome,
            state=looked.state if looked else None,
            due=looked.due if looked else None,
        )
        try:
            await invoice.signal("look_ended", ended)
        except ApplicationError:
            workflow.logger.info("no invoice waits for this look: %s", result.workflow_id)


@workflow.defn
class InvoiceLifecycle:
    """Looks at one invoice whenever something may have changed, until it is over."""

    @workflow.init
    def __init__(self, given: LifecycleInput) -> None:
        """Take over what waited before a continue-as-new."""
        self._of = given.of
        self._asked = given.looks_asked
        self._open_look = 0
        self._looks = 0
        self._last: LookEnded | None = None

    @workflow.run
    async def run(self, given: LifecycleInput) -> LookEnded | None:
        """Look until the invoice is settled, credited or voided, and nothing waits."""
        workflow.upsert_search_attributes(
            [SAGA_STATE.value_set("waiting"), BUSINESS_KEY.value_set(self._of.invoice_id)]
        )
        while not self._is_over():
            if self._asked and not self._open_look:
                await self._look()
            await self._next_event()
            if self._looks >= LOOKS_MAX and not self._open_look:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(given.model_copy(update={"looks_asked": self._asked}))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._last

    @workflow.signal
    def look(self, _message: LookAgain) -> None:
        """Something may have changed; several signals before a look are one."""
        self._asked += 1

    @workflow.signal
    def look_ended(self, message: LookEnded) -> None:
        """A look came to its end; one that is not ours is ignored."""
        if message.number == self._open_look:
            self._open_look = 0
            self._last = message

    @workflow.query
    def view(self) -> LookEnded | None:
        """Return what the last look said."""
        return self._last

    def _is_over(self) -> bool:
        over = self._last is not None and self._last.state in OVER
        return over and not self._asked and not self._open_look

    def _due(self) -> datetime | None:
        return self._last.due if self._last is not None else None

    async def _next_event(self) -> None:
        """Wait for a signal, for the end of a look, or for the day the invoice falls due."""
        seen = (self._asked, self._open_look)
        if self._is_over() or (self._asked and not self._open_look):
            return
        due = self._due()
        timeout = None
        if due is not None and not self._open_look:
            timeout = max((due - workflow.now()).total_seconds(), 1.0)
        try:
            await workflow.wait_condition(
                lambda: (self._asked, self._open_look) != seen, timeout=timeout
            )
        except TimeoutError:
            self._asked += 1

    async def _look(self) -> None:
        asked = self._asked
        opened = await call_store(ref.OPEN_LOOK, OpenLook(of=self._of))
        # What is asked from here on may not be seen by this look.
        self._asked -= asked
        self._open_look = opened.number
        self._looks += 1
        await _start_look(self._of, opened.number)


async def _start_look(of: InvoiceKey, number: int) -> None:
    try:
        await workflow.start_child_workflow(
            TellInvoice.run,
            LookInput(of=of, number=number),
            id=look_id(of.connection, of.invoice_id, number),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=f"Look {number} at an invoice",
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("look %s runs already", number)
