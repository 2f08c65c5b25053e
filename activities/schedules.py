"""What BillSchedules does in the store: find contracts with schedules, hand over what fell due."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog

from activities.registration import implements
from activities.retainers import REFUSED, local_day
from canonical import activities as ref
from canonical.bill_schedules import (
    BilledSchedules,
    BillProject,
    BillSchedulesInput,
    ScheduledLines,
)
from canonical.engagement import ContractLine, Engagement
from canonical.failures import FailureDetail, FailureKind
from canonical.fees import Fee
from canonical.saga import CloseWorkItem, OpenWorkItem, WorkItem, WorkItemKind
from policies.bundle import Bundle
from policies.schedules.due import due
from policies.schedules.known import FactsRefused
from policies.scheduling import fee_of_line
from store import Store
from store.errors import Conflict, StoreError

ANSWER_WITHIN = timedelta(days=1)
BEFORE_CONTRACT = timedelta(days=366)
"""So long before a contract begins its advance, or its first fee, may be invoiced."""

_log = structlog.get_logger("dealthread.schedules")


@dataclass(frozen=True)
class ScheduleActivities:
    """The store's side of schedules."""

    store: Store
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    now: Callable[[], datetime]

    @implements(ref.LIST_SCHEDULES)
    async def list_schedules(self, wanted: BillSchedulesInput) -> ScheduledLines:
        """Return the projects whose contracts have a schedule. Changes nothing."""
        found = await self.store.schedule_facts.projects(wanted.engagement)
        return ScheduledLines(projects=tuple(f"{psa}/{project}" for psa, project in found))

    @implements(ref.BILL_SCHEDULE)
    async def bill_schedule(self, wanted: BillProject) -> BilledSchedules:
        """Hand over what fell due on a project and was not handed over before.

        Idempotent: an occurrence has one key for good. What exceeds its contract or contradicts
        its terms is refused, and waits for a person as a work item, which the run closes that can
        bill it; the other lines go on.
        """
        psa, _, project = wanted.project.partition("/")
        versions = await self.store.engagements.of_project(psa, project)
        billed, refused = 0, []
        for line in _lines(versions):
            since = versions[0].effective_from - BEFORE_CONTRACT
            fees, problem = await self._billed(versions[-1], line, since)
            billed += fees
            await self._tell(versions[-1], line, problem)
            if problem:
                refused.append(f"{wanted.project} line {line.ref}: {problem}")
        return BilledSchedules(fees=billed, refused=tuple(refused))

    async def _billed(
        self, engagement: Engagement, line: ContractLine, since: date
    ) -> tuple[int, str]:
        """Return what `_bill` does; a line that can't be worked out holds up none other."""
        try:
            return await self._bill(engagement, line, since)
        except StoreError:
            raise
        except Exception as error:
            _log.exception("schedule_not_worked_out", engagement=engagement.id, line=line.ref)
            return 0, f"it can't be worked out ({type(error).__name__}: {error})"

    async def _tell(self, engagement: Engagement, line: ContractLine, problem: str) -> None:
        """Open the line's work item, or close it; another problem takes the place of the first."""
        item = _item(engagement, line, problem, self.now())
        stored = await self.store.work_items.list(workflow_id=item.workflow_id)
        there = [each.item for each in stored if each.item.key == item.key]
        if not problem:
            for each in there:
                close = CloseWorkItem(work_item_id=each.id, park=each.park, how="billed")
                await self.store.work_items.close(close)
        elif all(each.failure.message != item.failure.message for each in there):
            await self.store.work_items.open(OpenWorkItem(item=item))

    async def _bill(
        self, engagement: Engagement, line: ContractLine, since: date
    ) -> tuple[int, str]:
        """Return how many fees were handed over, and why the rest was not."""
        if line.schedule is None:
            return 0, ""
        terms = self.bundle(engagement.psa).policies.billing.entities[line.legal_entity]
        now = self.now()
        today = local_day(self.bundle(engagement.psa), line, now)
        facts = await self.store.schedule_facts.ask(engagement.id, line, today)
        done = await self.store.schedule_facts.done(engagement.id, line.ref)
        try:
            lines = due(line.schedule, facts, since, today.on, done, line=line.ref)
        except FactsRefused as error:
            return 0, str(error)
        count = 0
        # Of one day deductions come first: an instalment fits once its offset is taken off.
        for each in sorted(lines, key=lambda one: (one.invoice_on, one.net.amount)):
            if not each.net.amount:
                continue
            fee = fee_of_line(each, line, engagement, now, terms)
            try:
                await self._hand_over(fee, line)
            except Conflict as error:
                return count, str(error)
            count += 1
        return count, ""

    async def _hand_over(self, fee: Fee, line: ContractLine) -> None:
        run = f"schedule/{fee.item}"
        await self.store.fees.reserve(run, fee, limit=line.value)
        await self.store.fees.hand_over(run)


def _item(engagement: Engagement, line: ContractLine, problem: str, now: datetime) -> WorkItem:
    """Return the work item of a line that is refused now."""
    key = f"schedule/{engagement.id}/{line.ref}"
    digest = hashlib.sha256(f"{key} {now.isoformat()}".encode()).hexdigest()
    return WorkItem(
        id=f"WI-{digest[:12]}",
        workflow_id=f"schedule/{engagement.id}",
        generation=1,
        step="bill_schedule",
        key=key,
        park=1,
        kind=WorkItemKind.SCHEDULE,
        failure=FailureDetail(
            kind=FailureKind.REJECTED,
            reason=REFUSED,
            message=f"Line {line.ref} of contract {engagement.id} bills nothing by its schedule: "
            f"{problem}",
        ),
        title=f"Schedule of {engagement.id} {line.ref}",
        client_id=engagement.client_id,
        project_code=engagement.project_id,
        legal_entities=(line.legal_entity,),
        connection=engagement.psa,
        opened_at=now,
        respond_by=now + ANSWER_WITHIN,
    )


def _lines(versions: tuple[Engagement, ...]) -> tuple[ContractLine, ...]:
    """Return the contract lines as they are last in force, those with a schedule."""
    return tuple(line for line in versions[-1].lines if line.schedule is not None)
