"""What BillSchedules does in the store: find contracts with schedules, hand over what fell due."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from activities.registration import implements
from canonical import activities as ref
from canonical.bill_schedules import (
    BilledSchedules,
    BillProject,
    BillSchedulesInput,
    ScheduledLines,
)
from canonical.engagement import ContractLine, Engagement
from canonical.fees import Fee
from policies.bundle import Bundle
from policies.schedules.due import due
from policies.schedules.known import FactsRefused
from policies.scheduling import fee_of_line
from store import Store
from store.errors import Conflict

BEFORE_CONTRACT = timedelta(days=366)
"""So long before a contract begins its advance, or its first fee, may be invoiced."""


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
        its terms is refused and named; the others go on.
        """
        psa, _, project = wanted.project.partition("/")
        versions = await self.store.engagements.of_project(psa, project)
        billed, refused = 0, []
        for line in _lines(versions):
            since = versions[0].effective_from - BEFORE_CONTRACT
            fees, problem = await self._bill(versions[-1], line, since)
            billed += fees
            if problem:
                refused.append(f"{wanted.project} line {line.ref}: {problem}")
        return BilledSchedules(fees=billed, refused=tuple(refused))

    async def _bill(
        self, engagement: Engagement, line: ContractLine, since: date
    ) -> tuple[int, str]:
        """Return how many fees were handed over, and why the rest was not."""
        if line.schedule is None:
            return 0, ""
        terms = self.bundle(engagement.psa).policies.billing.entities[line.legal_entity]
        now = self.now()
        today = now.astimezone(ZoneInfo(terms.zone)).date()
        facts = await self.store.schedule_facts.of_line(engagement.id, line.ref)
        done = await self.store.schedule_facts.done(engagement.id, line.ref)
        try:
            lines = due(line.schedule, facts, since, today, done, line=line.ref)
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


def _lines(versions: tuple[Engagement, ...]) -> tuple[ContractLine, ...]:
    """Return the contract lines as they are last in force, those with a schedule."""
    return tuple(line for line in versions[-1].lines if line.schedule is not None)
