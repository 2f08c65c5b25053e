"""Reconcile: what the systems hold compared with what Dealthread knows, found, mended or queued.

Trigger: a Schedule every night, or a person.
Workflow id: `reconcile/<psa>/<legal entity>/<period>`, so that no two compare the same at once.

    open ── list each system, side by side ── compare in the database ── judge ── mend

Bulk stays in the store. A run that was killed resumes: what was listed whole is not listed again.
"""

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.activities import ActivityRef
    from canonical.ids import reconcile_id
    from canonical.reconciliation import (
        CheckConservation,
        CompareRows,
        ConservationChecked,
        Extracted,
        ExtractRows,
        Healed,
        HealFindings,
        JudgeCandidates,
        ListDue,
        Reconciled,
        ReconciledNightly,
        ReconcileInput,
        ReconcilePlan,
        ScopedConnection,
    )

import asyncio
from datetime import timedelta

from workflows.calls import Request, Result, StepError, call_store, failure_of
from workflows.options import BACKFILL_PRIORITY, STORE_RETRY

LIST_TIME = timedelta(hours=6)
LIST_WITHIN = timedelta(hours=8)
"""A system that can't be listed in a night is told as failed; the others are compared."""
STORE_TIME = timedelta(hours=1)
BEAT = timedelta(seconds=30)
"""A killed worker's attempt is given up after this long."""
LIST_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=5)
)
LOST_MAX = 3
"""How often everything is listed anew, where the database lost what was listed."""


@workflow.defn
class Reconcile:
    """One run over a legal entity and billing period."""

    @workflow.run
    async def run(self, wanted: ReconcileInput) -> Reconciled:
        """List, compare, judge and mend; a system that can't be listed holds up none other."""
        plan = await call_store(ref.OPEN_RECONCILIATION, wanted)
        listed, failed = await self._list(plan)
        compared = await _work(ref.COMPARE_ROWS, CompareRows(plan=plan, listed=listed), "Compare")
        for _ in range(LOST_MAX):
            if not compared.lost:
                break
            listed, failed = await self._list(plan)
            compared = await _work(
                ref.COMPARE_ROWS, CompareRows(plan=plan, listed=listed), "Compare again"
            )
        judging = JudgeCandidates(plan=plan, compared=compared.compared, failed=failed)
        judged = await _work(ref.JUDGE_CANDIDATES, judging, "Say what differs")
        healed = Healed()
        if plan.heal:
            healed = await _work(ref.HEAL_FINDINGS, HealFindings(plan=plan), "Mend what can be")
        return Reconciled(
            run=plan.run,
            findings=judged.findings,
            queued=judged.queued,
            closed=judged.closed,
            healed=healed.healed,
            refused=healed.refused,
            failed=failed,
        )

    async def _list(self, plan: ReconcilePlan) -> tuple[tuple[Extracted, ...], dict[str, str]]:
        """List every system, side by side; return what was listed, and why what was not."""
        failed: dict[str, str] = {}

        async def one(of: ScopedConnection) -> Extracted | None:
            wanted = ExtractRows(run=plan.run, of=of, since=plan.since, until=plan.until)
            try:
                found: Extracted = await workflow.execute_activity(
                    ref.EXTRACT_ROWS.name,
                    wanted,
                    result_type=ref.EXTRACT_ROWS.result,
                    task_queue=of.queue,
                    start_to_close_timeout=LIST_TIME,
                    schedule_to_close_timeout=LIST_WITHIN,
                    heartbeat_timeout=BEAT,
                    retry_policy=LIST_RETRY,
                    summary=f"List what {of.connection} holds",
                    priority=BACKFILL_PRIORITY,
                )
            except StepError as error:
                failed[of.connection] = failure_of(error).message
                return None
            return found

        found = await asyncio.gather(*(one(of) for of in plan.connections))
        return tuple(each for each in found if each is not None), dict(sorted(failed.items()))


@workflow.defn
class ReconcileNightly:
    """Every legal entity, one after another; a run that fails holds up none other."""

    @workflow.run
    async def run(self, wanted: ListDue) -> ReconciledNightly:
        """Reconcile what is due."""
        due = await call_store(ref.LIST_DUE_RECONCILIATIONS, wanted)
        failed: list[str] = []
        for each in due.runs:
            id_ = reconcile_id(each.psa, each.legal_entity, each.period)
            try:
                await workflow.execute_child_workflow(
                    Reconcile.run,
                    each,
                    id=id_,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    static_summary=f"Reconcile {each.legal_entity}, {each.period}",
                )
            except (WorkflowAlreadyStartedError, ChildWorkflowError) as error:
                workflow.logger.warning("%s is not reconciled: %s", id_, error.cause or error)
                failed.append(id_)
        return ReconciledNightly(ended=len(due.runs) - len(failed), failed=tuple(failed))


@workflow.defn
class WatchConservation:
    """One conservation check: the store compared with itself."""

    @workflow.run
    async def run(self, wanted: CheckConservation) -> ConservationChecked:
        """Check that nothing that was approved is lost, or counted twice."""
        return await _work(ref.CHECK_CONSERVATION, wanted, "Check that the sums hold")


async def _work(ref_: ActivityRef[Request, Result], request: Request, summary: str) -> Result:
    """Run a long activity of the store, retried for ever."""
    result: Result = await workflow.execute_activity(
        ref_.name,
        request,
        result_type=ref_.result,
        start_to_close_timeout=STORE_TIME,
        heartbeat_timeout=BEAT,
        retry_policy=STORE_RETRY,
        summary=summary,
    )
    return result
