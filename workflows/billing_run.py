"""BillingRun: what was approved on a project becomes costed and billable, exactly once.

Trigger: ApprovedTimeToBilling, when its debounce or cutoff falls due.
Workflow id: `billing-run/<psa>/<project>/<period>/<n>`, n from the store.

    plan ── take in what changed ── claim ── people from the HCM ──┐
                                         └── terms from each ERP ──┤
    rate ── reserve in the PSA ── read again and compare ── place ─┘
              (changed meanwhile: roll back, the next run begins with what is true)
    charges on hold ─┐
    project cost ────┴── read back, and the reservation ══ pivot: hand the lines over to drafting

Undo is in reverse: ERP first, then the places and the PSA's reservation, the claim last. What an
entry lacks (a rate, a person) holds that entry alone: it leaves the run and waits for somebody.
"""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.ids import Role, time_to_billing_id
    from canonical.records import Receipt
    from canonical.saga import Begin, SagaResult
    from canonical.time_to_billing import (
        BillingRunInput,
        BillingRunPlan,
        CheckPostings,
        CheckReservation,
        ClaimEntries,
        HandOver,
        PlaceParts,
        PlanBillingRun,
        PostBatch,
        PostingBatch,
        Postings,
        PreparePostings,
        RateEntries,
        ReadErpTerms,
        ReadPeople,
        ReserveRun,
        RunEnded,
        RunRequest,
        TakeIn,
        VerifyEntries,
    )

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from workflows.engine import Saga
from workflows.step import Step

Q = TypeVar("Q", bound=RunRequest)

PLAN = Step(ref.PLAN_BILLING_RUN, "Find the engagement", Role.PSA, own=True)
TAKE_IN = Step(ref.TAKE_IN, "Take in what changed", Role.PSA)
CLAIM_ENTRIES = Step(
    ref.CLAIM_ENTRIES, "Claim the approved entries", Role.PSA, ref.UNDO_CLAIM_ENTRIES, own=True
)
READ_PEOPLE = Step(ref.READ_PEOPLE, "Read the people", Role.HCM)
READ_ERP_TERMS = Step(ref.READ_ERP_TERMS, "Read rates and periods", Role.ERP)
RATE_ENTRIES = Step(ref.RATE_ENTRIES, "Rate the entries", Role.PSA, own=True)
RESERVE_ENTRIES = Step(
    ref.RESERVE_ENTRIES, "Reserve the entries", Role.PSA, ref.UNDO_RESERVE_ENTRIES
)
VERIFY_ENTRIES = Step(ref.VERIFY_ENTRIES, "Read the entries again", Role.PSA)
PLACE_PARTS = Step(ref.PLACE_PARTS, "Place every part", Role.PSA, ref.UNDO_PLACE_PARTS, own=True)
PREPARE_POSTINGS = Step(ref.PREPARE_POSTINGS, "Prepare the postings", Role.PSA, own=True)
POST_CHARGES = Step(ref.POST_CHARGES, "Post charges on hold", Role.ERP, ref.UNDO_POST_CHARGES)
POST_COSTS = Step(ref.POST_COSTS, "Post the cost", Role.ERP, ref.UNDO_POST_COSTS)
CHECK_POSTINGS = Step(ref.CHECK_POSTINGS, "Read the postings back", Role.ERP)
CHECK_RESERVATION = Step(ref.CHECK_RESERVATION, "Look at the reservation again", Role.PSA)
HAND_OVER = Step(
    ref.HAND_OVER,
    "Hand over to drafting",
    Role.PSA,
    irreversible="drafting takes the lines at once; return them there, or credit the invoice",
    pivot=True,
    own=True,
)

CHANGED = "entries changed while they were claimed"


@workflow.defn
class BillingRun(Saga[BillingRunPlan]):
    """Bills one project once, whole or not at all."""

    PLAN: ClassVar = PLAN
    STEPS: ClassVar = (
        PLAN,
        TAKE_IN,
        CLAIM_ENTRIES,
        READ_PEOPLE,
        READ_ERP_TERMS,
        RATE_ENTRIES,
        RESERVE_ENTRIES,
        VERIFY_ENTRIES,
        PLACE_PARTS,
        PREPARE_POSTINGS,
        POST_CHARGES,
        POST_COSTS,
        CHECK_POSTINGS,
        CHECK_RESERVATION,
        HAND_OVER,
    )

    @workflow.init
    def __init__(self, run: BillingRunInput) -> None:
        """Remember which run of which project; nothing is claimed yet."""
        super().__init__()
        self._input = run
        self._id = workflow.info().workflow_id
        self._left = 0

    @workflow.run
    async def run(self, run: BillingRunInput) -> SagaResult:
        """Bill what is approved, tell the project's period, and return what was done."""
        info = workflow.info()
        begin = Begin(
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            saga=info.workflow_type,
            business_key=run.of.project_id,
            correlation_id=run.correlation_id or info.workflow_id,
            connection=run.of.psa,
            input_json=run.model_copy(update={"sweep": None}).model_dump_json(),
            sweep=run.sweep,
        )
        result = await self.run_saga(begin)
        await self._tell_period(result)
        return result

    def plan_request(self, corrections: dict[str, str]) -> PlanBillingRun:
        """Return what finds the engagement; a project without one parks there."""
        return self._ask(PlanBillingRun, corrections=corrections)

    @classmethod
    def read_plan(cls, plan_json: str) -> BillingRunPlan:
        """Return the plan as an earlier run stored it."""
        return BillingRunPlan.model_validate_json(plan_json)

    async def flow(self) -> None:
        """Carry the approved entries from the PSA to lines that drafting may bill."""
        await self.step(TAKE_IN, lambda: self._ask(TakeIn))
        await self.step(CLAIM_ENTRIES, lambda: self._ask(ClaimEntries))
        await self.parallel(*self._reads())
        rated = await self.step(RATE_ENTRIES, lambda: self._ask(RateEntries))
        self._left = rated.left
        if rated.rated:
            await self._reserve()
            await self.step(PLACE_PARTS, lambda: self._ask(PlaceParts, on=self.plan.contract_on))
            await self._post()
        await self.step(HAND_OVER, lambda: self._ask(HandOver))

    def _ask(self, request: type[Q], connection: str = "", **more: Any) -> Q:
        """Return a request about this run, to the PSA unless another connection is named."""
        of = self._input.of
        return request(connection=connection or of.psa, run=self._id, of=of, **more)

    def _reads(self) -> list[Coroutine[Any, Any, Any]]:
        """What rating needs to know, from those who own it."""
        reads: list[Coroutine[Any, Any, Any]] = [
            self._read_terms(erp, subsidiaries) for erp, subsidiaries in self.plan.erps.items()
        ]
        if self.plan.hcm:
            reads.append(self.step(READ_PEOPLE, lambda: self._ask(ReadPeople, self.plan.hcm)))
        return reads

    def _read_terms(self, erp: str, subsidiaries: tuple[str, ...]) -> Coroutine[Any, Any, Any]:
        return self.step(
            READ_ERP_TERMS,
            lambda: self._ask(ReadErpTerms, erp, item=erp, subsidiaries=subsidiaries),
        )

    async def _reserve(self) -> None:
        """Reserve, then make sure that what is reserved is what was claimed and rated."""
        await self.step(
            RESERVE_ENTRIES,
            lambda: self._ask(
                ReserveRun,
                project=self.plan.project,
                on=self.plan.on,
                title=self.plan.title,
            ),
        )
        verified = await self.step(VERIFY_ENTRIES, lambda: self._ask(VerifyEntries))
        if verified.changed:
            self.request_stop(CHANGED)

    async def _post(self) -> None:
        postings = await self.step(PREPARE_POSTINGS, lambda: self._ask(PreparePostings))
        await self.parallel(*(self._batch(batch) for batch in postings.batches))
        erps = sorted({batch.connection for batch in postings.batches})
        await self.parallel(
            *(self._read_back(erp, postings) for erp in erps),
            self.step(CHECK_RESERVATION, lambda: self._ask(CheckReservation)),
        )

    def _read_back(self, erp: str, postings: Postings) -> Coroutine[Any, Any, Any]:
        """Nobody may have touched what was posted before it is handed over."""
        mine = tuple(batch for batch in postings.batches if batch.connection == erp)
        return self.step(
            CHECK_POSTINGS, lambda: self._ask(CheckPostings, erp, item=erp, batches=mine)
        )

    def _batch(self, batch: PostingBatch) -> Coroutine[Any, Any, Receipt]:
        step = POST_CHARGES if batch.kind == "charges" else POST_COSTS
        number = batch.number
        return self.step(
            step,
            lambda: self._ask(PostBatch, batch.connection, item=str(number), number=number),
        )

    async def _tell_period(self, result: SagaResult) -> None:
        """Signal the project's period, if one still waits for this run."""
        of = self._input.of
        period = workflow.get_external_workflow_handle(
            time_to_billing_id(of.psa, of.project_id, of.period)
        )
        ended = RunEnded(
            number=self._input.number,
            outcome=result.outcome,
            again=self._left > 0 or CHANGED in result.reason,
        )
        try:
            await period.signal("run_ended", ended)
        except ApplicationError:
            workflow.logger.info("no period waits for this run: %s", result.workflow_id)
