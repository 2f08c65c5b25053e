"""PostInvoice: a released draft becomes an issued invoice, once, and every side says so.

Trigger: DraftToInvoice, when finance has released its draft.
Workflow id: `invoice-posting/<draft>/<n>`, n the draft's count of its releases.

    plan ──┬── each PSA project: still approved and reserved? ──┐
           └── the ERP: period open, client active? ────────────┤
    (something changed: stop, the draft goes back to the queue)  │
    client in the billing engine (its own only) ── charges made ready (erp_charges only) ──
        drafts there: invoice as a draft ══ pivot: issue it
        none there:                      ══ pivot: create it, which issues it
    ── read back until it agrees (tax beyond tolerance: a work item, nothing waits for it)
    ── confirm in the PSA, project by project

A refusal of the pivot that is proven to be without effect rolls back what was prepared, and the
draft is queued again. From done or unknown on there is only forward, and it cannot be given up. An
invoice that somebody deleted before it was read back waits for a person, who may go back.
"""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.draft_to_invoice import (
        INVOICE_GONE,
        CheckTerms,
        ConfirmShare,
        IssueInvoice,
        PlanPosting,
        PostDraftInvoice,
        Posted,
        PostingEnded,
        PostingInput,
        PostingRequest,
        PostInvoicePlan,
        ProjectShare,
        ReadBack,
        ReadyCharges,
        Verification,
        VerifyDraft,
    )
    from canonical.drafts import BillableRef
    from canonical.failures import FailureDetail
    from canonical.ids import Role
    from canonical.invoicing import DraftMode
    from canonical.records import Receipt, RecordRef
    from canonical.saga import Begin, Decision, OpenWorkItem, SagaResult, Verb, WorkItemKind

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from workflows.board import Row
from workflows.calls import call_store
from workflows.engine import Saga
from workflows.step import Step
from workflows.tax_difference import tax_difference

Q = TypeVar("Q", bound=PostingRequest)

ISSUED = "the invoice is issued; credit it"

PLAN_POSTING = Step(ref.PLAN_POSTING, "Read the released draft", Role.ERP, own=True)
VERIFY_DRAFT = Step(ref.VERIFY_DRAFT, "Look again at what it bills", Role.PSA)
CHECK_TERMS = Step(ref.CHECK_TERMS, "Look at period and client", Role.ERP)
PROVISION_BILLEE = Step(
    ref.PROVISION_BILLEE,
    "Have the client in the billing engine",
    Role.BILLING_ENGINE,
    ref.UNDO_PROVISION_BILLEE,
)
READY_CHARGES = Step(
    ref.READY_CHARGES, "Let the ERP bill the charges", Role.ERP, ref.UNDO_READY_CHARGES
)
DRAFT_INVOICE = Step(ref.DRAFT_INVOICE, "Draft the invoice", Role.ERP, ref.UNDO_DRAFT_INVOICE)
POST_INVOICE = Step(
    ref.POST_INVOICE,
    "Issue the invoice",
    Role.ERP,
    irreversible=ISSUED,
    pivot=True,
    refusal_stops=True,
)
ISSUE_INVOICE = Step(
    ref.ISSUE_INVOICE,
    "Create the invoice, which issues it",
    Role.ERP,
    irreversible=ISSUED,
    pivot=True,
    refusal_stops=True,
)
READ_BACK = Step(ref.READ_BACK, "Read the invoice back", Role.ERP)
CONFIRM_SHARE = Step(
    ref.CONFIRM_SHARE,
    "Confirm in the PSA",
    Role.PSA,
    irreversible="the invoice is issued; the mirror is cancelled when it is credited",
)


@workflow.defn
class PostInvoice(Saga[PostInvoicePlan]):
    """Issues one released draft, or brings it back to the queue with the reason."""

    PLAN: ClassVar = PLAN_POSTING
    STEPS: ClassVar = (
        PLAN_POSTING,
        VERIFY_DRAFT,
        CHECK_TERMS,
        PROVISION_BILLEE,
        READY_CHARGES,
        DRAFT_INVOICE,
        POST_INVOICE,
        ISSUE_INVOICE,
        READ_BACK,
        CONFIRM_SHARE,
    )

    @workflow.init
    def __init__(self, posting: PostingInput) -> None:
        """Remember which release of which draft; nothing is sent yet."""
        super().__init__()
        self._input = posting
        self._withdrawn: tuple[BillableRef, ...] = ()

    @workflow.run
    async def run(self, posting: PostingInput) -> SagaResult:
        """Post the draft, tell it how that ended, and return what was done."""
        info = workflow.info()
        begin = Begin(
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            saga=info.workflow_type,
            business_key=posting.draft,
            correlation_id=posting.correlation_id or info.workflow_id,
            connection=posting.connection,
            input_json=posting.model_copy(update={"sweep": None}).model_dump_json(),
            sweep=posting.sweep,
        )
        result = await self.run_saga(begin)
        await self._tell_draft(result)
        return result

    def plan_request(self, corrections: dict[str, str]) -> PlanPosting:
        """Return what reads the draft as it was released."""
        return self._ask(PlanPosting, corrections=corrections)

    @classmethod
    def read_plan(cls, plan_json: str) -> PostInvoicePlan:
        """Return the plan as an earlier run stored it."""
        return PostInvoicePlan.model_validate_json(plan_json)

    async def flow(self) -> None:
        """Carry the released draft to an issued invoice that all sides agree on."""
        await self._verify()
        client = await self._client()
        if self.plan.charges:
            await self.step(READY_CHARGES, lambda: self._ask(ReadyCharges, self.plan.erp))
        invoice = await self._issue(client)
        posted = await self.step(
            READ_BACK,
            lambda: self._ask(
                ReadBack, invoice=invoice, content_hash=self.plan.content_hash, client=client
            ),
        )
        if posted.expected_tax is not None:
            item = tax_difference(self.plan, posted, posted.expected_tax, workflow.now())
            await call_store(ref.OPEN_WORK_ITEM, OpenWorkItem(item=item))
        await self.parallel(*(self._confirm(share, posted) for share in self.plan.shares))

    async def park(self, row: Row, failure: FailureDetail, kind: WorkItemKind) -> Decision:
        """Wait for a decision; where the invoice proves to be gone, also for one to go back."""
        gone = failure.reason == INVOICE_GONE
        if gone:
            self._forward_only = False
        decision = await super().park(row, failure, kind)
        self._forward_only = self._forward_only or gone
        return decision

    def _verbs(self, row: Row | None, kind: WorkItemKind) -> tuple[Verb, ...]:
        """Offer all but giving up on an issued invoice: its lines would be billed once more."""
        verbs = super()._verbs(row, kind)
        return tuple(each for each in verbs if not (self._forward_only and each is Verb.ABANDON))

    def _ask(self, request: type[Q], connection: str = "", **more: Any) -> Q:
        """Return a request about this draft, to its issuing system unless another is named."""
        return request(
            connection=connection or self._input.connection,
            draft=self._input.draft,
            posting=self._input.posting,
            **more,
        )

    async def _verify(self) -> None:
        """Nothing that was released may have changed since; else the draft is queued again."""
        looks = [self._verify_share(share) for share in self.plan.shares]
        found = await self.parallel(*looks, self._check_terms())
        reasons = [reason for each in found for reason in each.reasons]
        self._withdrawn = tuple(ref for each in found for ref in each.withdrawn)
        if reasons:
            self.request_stop("; ".join(reasons))

    def _verify_share(self, share: ProjectShare) -> Coroutine[Any, Any, Verification]:
        return self.step(
            VERIFY_DRAFT,
            lambda: self._ask(
                VerifyDraft, share.psa, item=share.project_id, project_id=share.project_id
            ),
        )

    def _check_terms(self) -> Coroutine[Any, Any, Verification]:
        return self.step(
            CHECK_TERMS,
            lambda: self._ask(
                CheckTerms,
                self.plan.erp,
                subsidiary=self.plan.subsidiary,
                on=self.plan.on,
                client=self.plan.client,
            ),
        )

    async def _client(self) -> RecordRef | None:
        """Return who is billed; a billing engine has to know the client first."""
        billee = self.plan.billee
        if billee is None:
            return self.plan.client
        receipt = await self.step(PROVISION_BILLEE, lambda: billee)
        return receipt.record

    async def _issue(self, client: RecordRef | None) -> RecordRef:
        """Bring the invoice into the ledger: from here on there is only forward."""
        if self.plan.traits.draft is DraftMode.NONE:
            return (await self.step(ISSUE_INVOICE, lambda: self._invoice(client))).record
        drafted = await self.step(DRAFT_INVOICE, lambda: self._invoice(client))
        posted = await self.step(
            POST_INVOICE, lambda: self._ask(PostDraftInvoice, invoice=drafted.record)
        )
        return posted.record

    def _invoice(self, client: RecordRef | None) -> IssueInvoice:
        plan = self.plan
        return self._ask(
            IssueInvoice,
            method=plan.method,
            client=client,
            subsidiary=plan.subsidiary,
            currency=plan.currency,
            on=plan.on,
            payment_days=plan.payment_days,
            client_po=plan.client_po,
            title=plan.title,
        )

    def _confirm(self, share: ProjectShare, posted: Posted) -> Coroutine[Any, Any, Receipt]:
        return self.step(
            CONFIRM_SHARE,
            lambda: self._ask(
                ConfirmShare,
                share.psa,
                item=share.project_id,
                project_id=share.project_id,
                invoice=posted.invoice,
                number=posted.number,
                on=posted.on,
                payment_days=self.plan.payment_days,
                net=share.net,
            ),
        )

    async def _tell_draft(self, result: SagaResult) -> None:
        """Signal the draft, if its workflow still waits for this posting."""
        draft = workflow.get_external_workflow_handle(self._input.draft)
        ended = PostingEnded(
            posting=self._input.posting,
            outcome=result.outcome,
            because=result.reason,
            withdrawn=self._withdrawn,
        )
        try:
            await draft.signal("posting_ended", ended)
        except ApplicationError:
            workflow.logger.info("no draft waits for this posting: %s", result.workflow_id)
