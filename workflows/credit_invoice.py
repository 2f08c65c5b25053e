"""CreditInvoice: what somebody asks to credit on an issued invoice becomes a credit note, once.

Trigger: a person (update-with-start: the answer says at once whether it can be credited).
Workflow id: `credit/<connection>/<invoice id>/<n>`, n the count of credits asked for on it.

    plan ── put down, so that nothing is credited twice ──┬── ERP: period open? ──────────────┐
    (cannot be credited: stop, nothing is left)           └── issuing system: as much left? ──┤
    ── gate: somebody else approves, within the limits of a role, or refuses ── the same looks again
    ══ pivot: issue the credit note ── read it back, count it (a rebill opens the next cycle)
    ── PSA: the mirror of a share is taken back, and made anew with what is left of it
    ── look at the invoice

Where the policy of the legal entity allows it, an unpaid invoice may be voided instead: the same
saga, whose pivot voids it, and there is no credit note.

A credit that was made in the issuing system and explained begins where that is counted, its pivot,
and goes on with the PSA; its workflow id ends with `native-<its id there>`.

A refusal of the pivot that is proven to be without effect ends it: the credit is given up, and
what it would have taken back can be credited anew. From done or unknown on there is only forward.
"""

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.credit_invoice import (
        CancelMirror,
        CheckCreditable,
        CheckCreditPeriod,
        CountExplained,
        CreditAnswer,
        CreditInput,
        CreditPlan,
        CreditVerb,
        DecideCredit,
        FreedShare,
        IssueCredit,
        NoteCredit,
        OpenCredit,
        PlanCredit,
        SeeFreed,
    )
    from canonical.ids import Role, invoice_id
    from canonical.invoice_lifecycle import LifecycleInput, LookAgain
    from canonical.records import WriteOutcome
    from canonical.saga import Begin, Decision, Outcome, SagaResult, Verb, WorkItemKind

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import ClassVar

from workflows.board import Parked
from workflows.calls import call_store
from workflows.engine import Saga
from workflows.invoice_lifecycle import InvoiceLifecycle
from workflows.step import Step, skipped

APPROVAL = "credit_approval"
"""Name of the gate, as on its work item."""
REFUSED = "refused"
ISSUED = "the credit note is issued; invoice what it took back once more"

PLAN_CREDIT = Step(
    ref.PLAN_CREDIT, "Work out what is credited", Role.ERP, own=True, refusal_stops=True
)
OPEN_CREDIT = Step(
    ref.OPEN_CREDIT,
    "Put the credit down",
    Role.ERP,
    ref.UNDO_OPEN_CREDIT,
    own=True,
    refusal_stops=True,
)
CHECK_CREDIT_PERIOD = Step(ref.CHECK_CREDIT_PERIOD, "Look at the period", Role.ERP)
CHECK_CREDITABLE = Step(ref.CHECK_CREDITABLE, "Look at what is left of the invoice", Role.ERP)
ISSUE_CREDIT = Step(
    ref.ISSUE_CREDIT,
    "Issue the credit note",
    Role.ERP,
    irreversible=ISSUED,
    pivot=True,
    refusal_stops=True,
)
NOTE_CREDIT = Step(ref.NOTE_CREDIT, "Read the credit note back", Role.ERP)
CANCEL_MIRROR = Step(
    ref.CANCEL_MIRROR,
    "Take the mirror out of the PSA",
    Role.PSA,
    irreversible="the credit note is issued; what is left is mirrored anew",
    on_skip=skipped,
)
MIRROR_REST = Step(
    ref.MIRROR_REST,
    "Mirror what is left of it in the PSA",
    Role.PSA,
    irreversible="it takes the place of the mirror that was taken back; cancel it in the PSA",
    on_skip=skipped,
)
COUNT_EXPLAINED = Step(
    ref.COUNT_EXPLAINED,
    "Count the credit of the issuing system",
    Role.ERP,
    own=True,
    irreversible="the credit stands in the issuing system; what it took back is billed again",
    pivot=True,
)
SEE_FREED = Step(ref.SEE_FREED, "See which mirrors it makes wrong", Role.ERP, own=True)


@workflow.defn
class CreditInvoice(Saga[CreditPlan]):
    """Carries one credit from the person who asks for it to its credit note."""

    PLAN: ClassVar = PLAN_CREDIT
    STEPS: ClassVar = (
        PLAN_CREDIT,
        OPEN_CREDIT,
        CHECK_CREDIT_PERIOD,
        CHECK_CREDITABLE,
        ISSUE_CREDIT,
        COUNT_EXPLAINED,
        NOTE_CREDIT,
        SEE_FREED,
        CANCEL_MIRROR,
        MIRROR_REST,
    )

    @workflow.init
    def __init__(self, credit: CreditInput) -> None:
        """Remember what is asked for; nothing is put down yet."""
        super().__init__()
        self._asked = credit.asked
        self._credit = credit.asked.credit
        self._deciding = asyncio.Lock()
        self._result: SagaResult | None = None

    @workflow.run
    async def run(self, credit: CreditInput) -> SagaResult:
        """Carry the credit to its note, or give it up, and return what was done."""
        info = workflow.info()
        begin = Begin(
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            saga=info.workflow_type,
            business_key=credit.asked.of.invoice_id,
            correlation_id=credit.correlation_id or info.workflow_id,
            connection=credit.asked.of.connection,
            input_json=credit.model_copy(update={"sweep": None}).model_dump_json(),
            sweep=credit.sweep,
        )
        self._result = await self.run_saga(begin)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._result

    def plan_request(self, corrections: dict[str, str]) -> PlanCredit:
        """Return what works the credit out."""
        return PlanCredit(
            connection=self._asked.of.connection, asked=self._asked, corrections=corrections
        )

    @classmethod
    def read_plan(cls, plan_json: str) -> CreditPlan:
        """Return the plan as an earlier run stored it."""
        return CreditPlan.model_validate_json(plan_json)

    async def flow(self) -> None:
        """Carry the credit to a credit note that the subledger and all systems know of."""
        on = self._asked.on
        if self._asked.explains and on is not None:
            await self._free(await self._explained(), on)
        else:
            await self._issued()
        await self._look()

    async def _issued(self) -> None:
        await self.step(OPEN_CREDIT, self._opening)
        await self._weigh("asked")
        await self._approved()
        on = await self._weigh("approved")
        of = self._asked.of
        await self.step(
            ISSUE_CREDIT,
            lambda: IssueCredit(
                connection=of.connection,
                credit=self._credit,
                invoice=self.plan.invoice,
                on=on,
                void=self._asked.void,
            ),
        )
        noted = await self.step(
            NOTE_CREDIT,
            lambda: NoteCredit(
                connection=of.connection,
                credit=self._credit,
                invoice=self.plan.invoice,
                on=on,
                void=self._asked.void,
            ),
        )
        await self._free(noted.freed, on)

    async def _explained(self) -> Sequence[FreedShare]:
        connection = self._asked.of.connection
        await self.step(
            COUNT_EXPLAINED, lambda: CountExplained(connection=connection, credit=self._credit)
        )
        seen = await self.step(
            SEE_FREED, lambda: SeeFreed(connection=connection, invoice=self.plan.invoice)
        )
        return seen.shares

    # Messages.

    @workflow.update
    async def asked(self) -> CreditAnswer:
        """Return whether the credit waits for its approval, or why it cannot be credited."""
        await workflow.wait_condition(
            lambda: (
                bool(self.board.parked)
                or self.must_stop
                or bool(self._given_up)
                or self._forward_only
                or self._result is not None
            )
        )
        ended = self._result
        if self.must_stop or self._given_up:
            return self._answer(taken=False, state=REFUSED, reasons=(self._stop or self._given_up,))
        if ended is not None and ended.outcome is not Outcome.COMPLETED:
            return self._answer(taken=False, state=REFUSED, reasons=(ended.reason,))
        waits = tuple(parked.item.failure.message for parked in self.board.parked.values())
        return self._answer(taken=True, state="asked", reasons=waits)

    @workflow.update
    async def decide(self, decision: DecideCredit) -> CreditAnswer:
        """Take the decision of a second person, or refuse it with the reasons."""
        async with self._deciding:
            waiting = self._gate()
            if waiting is None:
                why = "it does not wait for an approval (any more)"
                return self._answer(taken=False, state="", reasons=(why,))
            answer = await call_store(ref.DECIDE_CREDIT, decision)
            if answer.taken:
                approved = decision.verb is CreditVerb.APPROVE
                waiting.decision = Decision(
                    id="",
                    work_item_id=waiting.item.id,
                    park=waiting.item.park,
                    verb=Verb.APPROVE if approved else Verb.ROLL_BACK,
                    because=decision.because,
                    decided_by=decision.by,
                )
            return answer

    @decide.validator
    def check_decide(self, decision: DecideCredit) -> None:
        """Refuse a decision about another credit; all else is judged where it is put down."""
        if decision.credit != self._credit:
            raise ValueError(f"this is {self._credit}, not {decision.credit}")

    def _gate(self) -> Parked | None:
        """Return the gate that waits for a person, undecided."""
        return next(
            (
                parked
                for parked in self.board.parked.values()
                if parked.item.kind is WorkItemKind.GATE and parked.decision is None
            ),
            None,
        )

    def _answer(self, *, taken: bool, state: str, reasons: tuple[str, ...]) -> CreditAnswer:
        net = self._plan.net if self._plan is not None else None
        return CreditAnswer(credit=self._credit, taken=taken, reasons=reasons, state=state, net=net)

    # Doing.

    def _opening(self) -> OpenCredit:
        return OpenCredit(
            connection=self._asked.of.connection,
            asked=self._asked,
            credit=self._credit,
            net=self.plan.net,
        )

    async def _weigh(self, when: str) -> date:
        """Look at period and invoice; what speaks against the credit stops it before the pivot."""
        plan = self.plan
        day, left = await self.both(
            self.step(
                CHECK_CREDIT_PERIOD,
                lambda: CheckCreditPeriod(
                    connection=plan.erp,
                    item=when,
                    legal_entity=plan.legal_entity,
                    subsidiary=plan.subsidiary,
                    on=self._asked.on,
                ),
            ),
            self.step(
                CHECK_CREDITABLE,
                lambda: CheckCreditable(
                    connection=self._asked.of.connection,
                    item=when,
                    invoice=plan.invoice,
                    net=plan.net,
                    void=self._asked.void,
                ),
            ),
        )
        reasons = (*day.reasons, *left.reasons)
        if reasons:
            self.request_stop("; ".join(reasons))
            self._stop_if_asked()
        return day.on

    async def _approved(self) -> None:
        """Wait until somebody approves who may; whoever may not is told, and it waits on."""
        what = f"{self.plan.title}, asked by {self._asked.asked_by}: {self._asked.because}"
        reasons: tuple[str, ...] = (what,)
        while not self._forward_only:
            by = await self.gate(APPROVAL, reasons, self.plan.respond_seconds)
            decision = DecideCredit(credit=self._credit, verb=CreditVerb.APPROVE, by=by)
            answer = await call_store(ref.DECIDE_CREDIT, decision)
            if answer.taken:
                return
            if answer.state == REFUSED:
                self.request_stop("; ".join(answer.reasons))
                self._stop_if_asked()
            reasons = (what, *answer.reasons)

    async def _free(self, shares: Sequence[FreedShare], on: date) -> None:
        await self.parallel(*(self._mirror_anew(share, on) for share in shares))

    async def _mirror_anew(self, share: FreedShare, on: date) -> None:
        """Take a mirror back, and mirror what is left: one that stays is left as it is."""
        rest = share.rest
        gone = await self.step(
            CANCEL_MIRROR,
            lambda: CancelMirror(
                connection=share.psa,
                item=share.project_id,
                invoice=self.plan.invoice,
                project_id=share.project_id,
                mirror=share.mirror,
                on=on,
                net=share.net,
                confirmed_as=share.confirmed_as,
            ),
        )
        if rest is not None and gone.outcome is not WriteOutcome.SKIPPED:
            await self.step(MIRROR_REST, lambda: rest)

    async def _look(self) -> None:
        """Have the invoice looked at: its workflow may run, or be over."""
        of = self._asked.of
        id_ = invoice_id(of.connection, of.invoice_id)
        try:
            await workflow.start_child_workflow(
                InvoiceLifecycle.run,
                LifecycleInput(of=of, looks_asked=1),
                id=id_,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary="The life of an invoice",
            )
        except WorkflowAlreadyStartedError:
            try:
                handle = workflow.get_external_workflow_handle(id_)
                await handle.signal("look", LookAgain(correlation_id=self._credit))
            except ApplicationError:
                workflow.logger.info("the life of %s just ended; the poll sees it", id_)
