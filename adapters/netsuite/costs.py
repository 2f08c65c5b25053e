"""Project cost: hours as time that is not billable, expenses as reports of one line.

Sources: vendor page sections 5.5 (time), 5.7 (expenses). Time is upserted by external id. A report
is created: a repeated upsert would append its line again (section 4), a repeated create is refused.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from adapters.errors import ClosedPeriod, Rejected
from adapters.netsuite import cost_mapping as mapping
from adapters.netsuite.batch import Batches
from adapters.netsuite.billing_mapping import day_from, money_from
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.mapping import Row
from adapters.netsuite.periods import Periods
from adapters.netsuite.posting import Post, chunks, post_all, refuse_too_many
from adapters.netsuite.records import RecordService, checked_external_id, refused
from canonical.billing import CostBatch, CostItem, PostedCost
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.records import UndoReceipt, UndoResult

TIME: Final = "timeBill"
REPORT: Final = "expenseReport"
Find = Callable[[Sequence[ExternalId]], Awaitable[tuple[PostedCost, ...]]]

LOOK_MAX: Final = 250
"""External ids of one look: with those of reversals twice as many."""


class Costs:
    """The cost postings of one account."""

    def __init__(
        self, records: RecordService, batches: Batches, periods: Periods, config: NetSuiteConfig
    ) -> None:
        """Use the account's records, batches and books."""
        self._records = records
        self._batches = batches
        self._periods = periods
        self._config = config

    async def find(self, external_ids: Sequence[ExternalId]) -> tuple[PostedCost, ...]:
        """Return those that exist and are not reversed, in the order asked for.

        One query of time; a second one, of expense reports, for what the first did not find.
        """
        time = await self._find_time(external_ids)
        there = {each.external_id for each in time}
        rest = [each for each in external_ids if each not in there]
        found = {each.external_id: each for each in (*time, *await self._find_reports(rest))}
        return tuple(found[each] for each in external_ids if each in found)

    async def _find_time(self, external_ids: Sequence[ExternalId]) -> tuple[PostedCost, ...]:
        rows = await self._time(external_ids)
        return tuple(
            self._posted(row, money_from(row, "cost", "costcurrency", self._config)) for row in rows
        )

    async def _find_reports(self, external_ids: Sequence[ExternalId]) -> tuple[PostedCost, ...]:
        rows = await self._reports(external_ids)
        return tuple(
            self._posted(row, money_from(row, "foreigntotal", "currency", self._config))
            for row in rows
        )

    async def post(
        self, external_ids: Sequence[ExternalId], batch: CostBatch
    ) -> tuple[PostedCost, ...]:
        """Post hours and expenses, each kind by itself, 100 a batch.

        Employees and periods are looked at once.
        """
        act = "post project cost"
        refuse_too_many(external_ids, act)
        if not batch.items:
            return ()
        pairs = list(zip(external_ids, batch.items, strict=True))
        employees = await self._employees(batch.items)
        time: dict[ExternalId, Mapping[str, object]] = {}
        reports: dict[ExternalId, Mapping[str, object]] = {}
        for id_, item in pairs:
            who = employees[item.person_email.lower()]
            if item.amount is None:
                time[id_] = mapping.time_body(id_, item, batch, who, self._config)
            else:
                body = mapping.expense_body(id_, item, item.amount, batch, who, self._config)
                reports[id_] = body
        await self._periods.refuse_closed((item.on for item in batch.items), act)
        names = {id_: item.item for id_, item in pairs}
        posted = [
            *await self._write(Post("PUT", TIME, act, time, names), self._find_time),
            *await self._write(Post("POST", REPORT, act, reports, names), self._find_reports),
        ]
        by_id = {each.external_id: each for each in posted}
        return tuple(by_id[each] for each in external_ids)

    async def _write(self, post: Post, find: Find) -> tuple[PostedCost, ...]:
        if not post.bodies:
            return ()
        return await post_all(self._batches, post, find)

    async def remove(self, external_ids: Sequence[ExternalId]) -> UndoReceipt:
        """Delete what is not posted yet; reverse posted time.

        Raises:
            UndoRefused: an expense report cannot be deleted any more. A person reverses it by a
                journal; Dealthread writes none.
        """
        time, reversed_ids = await self._all_time(external_ids)
        reports = await self._reports(external_ids)
        if not time and not reports:
            return UndoReceipt(result=UndoResult.ABSENT)
        posted = [row for row in time if row.get("posted") == "T"]
        await self._reverse([row for row in posted if row["externalid"] not in reversed_ids])
        free = [row for row in time if row.get("posted") != "T"]
        await self._unapprove(free)
        await self._delete(TIME, free)
        await self._delete(REPORT, reports)
        await self._see_gone([str(row["externalid"]) for row in (*free, *reports)])
        result = UndoResult.REVERSED if posted else UndoResult.REMOVED
        first = (*time, *reports)[0]
        return UndoReceipt(result=result, record=self._records.record("cost", first.get("id")))

    async def _employees(self, items: Sequence[CostItem]) -> dict[str, str]:
        emails = {item.person_email.lower(): item.item for item in reversed(items)}
        query = mapping.employee_query(emails)
        rows = await self._records.query(query, "look for employees")
        return mapping.employees_by_email(rows, emails)

    async def _time(self, external_ids: Sequence[str]) -> list[Row]:
        rows, reversed_ids = await self._all_time(external_ids)
        return [row for row in rows if row["externalid"] not in reversed_ids]

    async def _all_time(self, external_ids: Sequence[str]) -> tuple[list[Row], set[str]]:
        """Return the time that carries our external ids, and which of it is reversed."""
        rows: list[Row] = []
        for chunk in chunks([checked_external_id(each) for each in external_ids], LOOK_MAX):
            ids = [*chunk, *map(mapping.reversal_id, chunk)]
            rows += await self._records.query(mapping.time_query(ids), "look for cost of time")
        by_id = {str(row.get("externalid")): row for row in rows}
        ours = [by_id[each] for each in external_ids if each in by_id]
        return ours, {each for each in external_ids if mapping.reversal_id(each) in by_id}

    async def _reports(self, external_ids: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        for chunk in chunks([checked_external_id(each) for each in external_ids]):
            rows += await self._records.query(mapping.expense_query(chunk), "look for expenses")
        return [row for row in rows if str(row.get("recordtype")).lower() == REPORT.lower()]

    def _posted(self, row: Row, cost: Money) -> PostedCost:
        return PostedCost(
            record=self._records.record("cost", row.get("id")),
            external_id=str(row["externalid"]),
            cost=cost,
        )

    async def _reverse(self, rows: Sequence[Row]) -> None:
        """Post the same hours negative, in the period of the original or the next open one."""
        bodies: list[Mapping[str, object]] = []
        for row in rows:
            day = day_from(row, "trandate", self._config)
            period = await self._periods.next_open(day)
            if period is None:
                raise ClosedPeriod("No accounting period is open for a reversal.")
            bodies.append(mapping.reversal_body(row, max(day, period.start)))
        act = "reverse cost of time"
        for chunk in chunks(bodies, 100):
            job = await self._batches.write("PUT", TIME, chunk, act, anew=True)
            for refusal in await self._batches.refusals(job, act) if job.failed else ():
                raise refused(refusal.error, "cost", str(rows[refusal.place].get("id")))

    async def _unapprove(self, rows: Sequence[Row]) -> None:
        """Reject approved time, since only then it can be deleted (section 5.5)."""
        approved = [row for row in rows if str(row.get("approvalstatus")) == mapping.APPROVED]
        items = [
            {"id": str(row.get("id")), "approvalStatus": {"id": mapping.REJECTED}}
            for row in approved
        ]
        for chunk in chunks(items, 100):
            await self._batches.write("PATCH", TIME, chunk, "reject cost of time", anew=True)

    async def _delete(self, type_: str, rows: Sequence[Row]) -> None:
        for chunk in chunks([str(row.get("id")) for row in rows], 100):
            await self._batches.delete(type_, chunk, "remove project cost")

    async def _see_gone(self, external_ids: Sequence[str]) -> None:
        left = await self.find([ExternalId(each) for each in external_ids])
        if left:
            error = Rejected(f"{len(left)} cost postings are locked or in use.")
            raise refused(error, "cost", left[0].record.id)
