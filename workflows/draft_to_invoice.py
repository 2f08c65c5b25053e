"""DraftToInvoice: one draft, from its assembly through review and billing queue to its invoice.

Trigger: AssembleDrafts, or an act of a person (update-with-start).
Workflow id: the draft's own, `invoice-draft/<entity>/<bill-to>/<currency>/<group>/<period>/<n>`.

    in review ──(reviewed, or skipped for the client)──> queued ──(finance releases)──> released
       deadline: delegate and finance are told             ^                               │
                                                           └─(refused, proven)─ PostInvoice, a child
    or rejected, merged, empty                                                             │
                                                                                       invoiced
Acts arrive as the update `act`: the answer says at once whether it was taken, and why not. What is
true of a draft is in the store, under lock; the workflow waits, escalates and starts what follows.
"""

import contextlib

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.draft_acts import ENGINE_ACTS, ActOnDraft, DraftAnswer, Returned
    from canonical.draft_to_invoice import (
        DraftInput,
        DraftResult,
        DraftStanding,
        EscalateReview,
        PostingEnded,
        PostingInput,
    )
    from canonical.drafts import LIVE_STATES, DraftState
    from canonical.ids import invoice_id, posting_id
    from canonical.invoice_lifecycle import InvoiceKey, LifecycleInput, LookAgain
    from canonical.saga import Outcome

from workflows.board import BUSINESS_KEY, CLIENT_ID, LEGAL_ENTITY, PROJECT_CODE, SAGA_STATE
from workflows.calls import call_store
from workflows.invoice_lifecycle import InvoiceLifecycle
from workflows.post_invoice import PostInvoice

ACTS_MAX = 500
"""After so many acts the history is begun anew."""
COMPLETED = frozenset({Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE})
ENGINE = "dealthread"


@workflow.defn
class DraftToInvoice:
    """Looks after one draft until it is invoiced, rejected, merged or empty."""

    @workflow.init
    def __init__(self, given: DraftInput) -> None:
        """Remember which draft; where it stands is read first."""
        self._draft = given.draft
        self._standing: DraftStanding | None = None
        self._posted = 0
        self._acts = 0
        self._changed = False

    @workflow.run
    async def run(self, given: DraftInput) -> DraftResult:
        """Wait for people, escalate what is late, and post what is released."""
        standing = await self._read()
        while standing.state in LIVE_STATES:
            if standing.state is DraftState.RELEASED:
                await self._post(standing)
            await self._next_event(standing)
            standing = await self._read()
            if self._acts >= ACTS_MAX and standing.state is not DraftState.RELEASED:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(given)
        if standing.invoice is not None:
            await self._follow(standing.invoice)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return DraftResult(draft=self._draft, state=standing.state)

    # Messages.

    @workflow.update
    async def act(self, act: ActOnDraft) -> DraftAnswer:
        """Take an act, or refuse it with the reasons; either is in the audit trail."""
        self._acts += 1
        answer = await call_store(ref.ACT_ON_DRAFT, act)
        for made in answer.made:
            await look_after(made)
        for ended in answer.ended:
            with contextlib.suppress(ApplicationError):  # it has come to its end already
                await workflow.get_external_workflow_handle(ended).signal("look")
        self._changed = True
        return answer

    @act.validator
    def check_act(self, act: ActOnDraft) -> None:
        """Refuse an act on another draft, or of the posting; the store judges all else."""
        if act.draft != self._draft:
            raise ValueError(f"this is draft {self._draft}, not {act.draft}")
        if act.act.act in ENGINE_ACTS:
            raise ValueError(f"no person takes the act {act.act.act}: Dealthread itself does")

    @workflow.signal
    def look(self) -> None:
        """Read where the draft stands: an act on another draft changed this one."""
        self._changed = True

    @workflow.signal
    async def posting_ended(self, message: PostingEnded) -> None:
        """The posting came to its end: invoiced, or back to the queue with the reason."""
        if message.outcome not in COMPLETED:
            returned = Returned(
                by=ENGINE,
                because=message.because or f"the posting was {message.outcome}",
                posting=message.posting,
                withdrawn=message.withdrawn,
            )
            key = f"{posting_id(self._draft, message.posting)}/returned"
            await call_store(ref.ACT_ON_DRAFT, ActOnDraft(id=key, draft=self._draft, act=returned))
        self._posted = max(self._posted, message.posting)
        self._changed = True

    @workflow.query
    def view(self) -> DraftStanding | None:
        """Return where the draft stood when it was last read."""
        return self._standing

    # Doing.

    async def _read(self) -> DraftStanding:
        self._changed = False
        standing = await call_store(ref.READ_DRAFT, DraftInput(draft=self._draft))
        if standing != self._standing:
            self._show(standing)
        self._standing = standing
        return standing

    def _show(self, standing: DraftStanding) -> None:
        state = "waiting" if standing.state in LIVE_STATES else "completed"
        workflow.upsert_search_attributes(
            [
                SAGA_STATE.value_set(state),
                BUSINESS_KEY.value_set(self._draft),
                CLIENT_ID.value_set(standing.client_id),
                PROJECT_CODE.value_set(list(standing.project_codes)),
                LEGAL_ENTITY.value_set([standing.legal_entity]),
            ]
        )
        workflow.set_current_details(standing.summary)

    async def _next_event(self, standing: DraftStanding) -> None:
        """Wait until the draft changes, or its review is late."""
        timeout = None
        if standing.state is DraftState.IN_REVIEW and standing.review_until is not None:
            left = (standing.review_until - workflow.now()).total_seconds()
            timeout = max(left, 0.0)
        try:
            await workflow.wait_condition(lambda: self._changed, timeout=timeout)
        except TimeoutError:
            late = EscalateReview(draft=self._draft, version=standing.version)
            await call_store(ref.ESCALATE_REVIEW, late)

    async def _post(self, standing: DraftStanding) -> None:
        """Start the posting of this release, unless it runs already, and wait for its end."""
        number = standing.posting
        try:
            await workflow.start_child_workflow(
                PostInvoice.run,
                PostingInput(draft=self._draft, connection=standing.connection, posting=number),
                id=posting_id(self._draft, number),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"Post release {number}",
            )
        except WorkflowAlreadyStartedError:
            # The sweep was faster: that run ends with the same signal.
            workflow.logger.info("posting %s runs already", number)
        await workflow.wait_condition(lambda: self._posted >= number)

    async def _follow(self, invoice: InvoiceKey) -> None:
        """Begin to follow the life of the issued invoice.

        Where a poll or webhook began it, it looks once more: the PSA had no mirror then, and
        nobody there was told of a payment.
        """
        id_ = invoice_id(invoice.connection, invoice.invoice_id)
        while True:
            with contextlib.suppress(WorkflowAlreadyStartedError):
                await workflow.start_child_workflow(
                    InvoiceLifecycle.run,
                    LifecycleInput(of=invoice, looks_asked=1),
                    id=id_,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    static_summary="The life of an invoice",
                )
                return
            with contextlib.suppress(ApplicationError):  # it has come to its end just now
                await workflow.get_external_workflow_handle(id_).signal("look", LookAgain())
                return


async def look_after(draft: str) -> None:
    """Start the workflow of a draft, unless it runs already; it outlives the one that starts it."""
    try:
        await workflow.start_child_workflow(
            DraftToInvoice.run,
            DraftInput(draft=draft),
            id=draft,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary="Invoice draft",
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("draft %s is looked after already", draft)
