"""What people do to approved time, and what must be true of it afterwards, whatever they did.

The oracle looks at every entry that a person ever touched: in the PSA, in the subledger and in the
ERP. `People` act under the vendor's rules; what those refuse is one of the possible outcomes.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import JsonValue
from temporalio.client import WorkflowHandle

from canonical.entries import EntryKind, EntryRef
from canonical.ids import time_to_billing_id
from canonical.rating import Disposition
from canonical.time_to_billing import TimeToBillingView
from simulators.kit.control import ControlRefused
from store.subledger import EntryTrace
from tests.support.billing import AT_PROJECT, PERIOD, STORY, amount
from tests.support.world import World
from workflows.time_to_billing import ApprovedTimeToBilling

TRAVEL = str(STORY + 2)
"""A task of the seeded project on which nobody has booked time yet."""
STAFF = ("3", "6", "8")
DAYS = tuple(f"2026-11-{day:02}" for day in range(1, 29))
PLACES = tuple(itertools.product(DAYS, STAFF))
"""Day and person: an adjustment finds its entry by them, so each entry has one of its own."""
ADJUSTMENT_MINUTES = -6


class Act(StrEnum):
    """What somebody does to one entry."""

    UNAPPROVE = "u"
    REAPPROVE = "a"
    EDIT = "e"
    ADJUST = "j"
    DELETE = "d"


@dataclass
class Worked:
    """One time entry, with all that came of it."""

    account: str
    id: str
    user: str
    day: str
    sheet: str
    project: str = AT_PROJECT
    adjustments: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def ref(self) -> EntryRef:
        """The entry."""
        return EntryRef(kind=EntryKind.TIME, id=self.id)

    @property
    def refs(self) -> tuple[EntryRef, ...]:
        """The entry and its adjustments."""
        made = (EntryRef(kind=EntryKind.ADJUSTMENT, id=id_) for id_ in self.adjustments)
        return (self.ref, *made)


@dataclass(frozen=True)
class People:
    """The firm's people, in the PSA's own screens of one account."""

    world: World
    account: str
    project: str = AT_PROJECT
    task: str = TRAVEL

    async def work(self, place: int, *, minutes: int = 60) -> Worked:
        """Log an hour, submit it on a timesheet of its own, and approve it."""
        day, user = PLACES[place]
        fields: dict[str, JsonValue] = {
            "workspace_id": self.project,
            "user_id": user,
            "acting_user_id": "3",
            "date_performed": day,
            "time_in_minutes": minutes,
            "story_id": self.task,
        }
        made = await self.world.control.put_record("kantata", self.account, "time_entries", fields)
        entry = Worked(self.account, made["id"], user, day, "", self.project)
        await self.approve(entry)
        return entry

    async def approve(self, entry: Worked) -> None:
        """Submit and approve an entry."""
        control = self.world.control
        sheet = await control.put_record(
            "kantata",
            self.account,
            "timesheet_submissions",
            {"workspace_id": self.project, "line_item_ids": [entry.id], "acting_user_id": "3"},
        )
        entry.sheet = sheet["id"]
        await self.resolve(entry, "approved")

    async def resolve(self, entry: Worked, status: str) -> None:
        """Approve or reject the entry's timesheet."""
        await self.world.control.patch_record(
            "kantata", self.account, "timesheet_submissions", entry.sheet, {"status": status}
        )

    async def act(self, entry: Worked, act: Act) -> bool:
        """Do one act; returns whether the PSA let it happen."""
        try:
            await self._do(entry, act)
        except ControlRefused:
            entry.log.append(f"({act})")
            return False
        entry.log.append(act)
        return True

    async def _do(self, entry: Worked, act: Act) -> None:
        control = self.world.control
        match act:
            case Act.UNAPPROVE:
                await self.resolve(entry, "rejected")
            case Act.REAPPROVE:
                await self.approve(entry)
            case Act.EDIT:
                minutes = 61 + len(entry.log)
                change: dict[str, JsonValue] = {"time_in_minutes": minutes}
                await control.patch_record(
                    "kantata", self.account, "time_entries", entry.id, change
                )
            case Act.ADJUST:
                fields: dict[str, JsonValue] = {
                    "workspace_id": self.project,
                    "user_id": entry.user,
                    "acting_user_id": "3",
                    "original_date": entry.day,
                    "story_id": self.task,
                    "time": ADJUSTMENT_MINUTES,
                }
                made = await control.put_record("kantata", self.account, "time_adjustments", fields)
                entry.adjustments.append(made["id"])
            case Act.DELETE:
                await control.delete_record("kantata", self.account, "time_entries", entry.id)

    async def tell(self, refs: Iterable[EntryRef]) -> None:
        """Say that entries changed, as a poller would."""
        await self.world.billing.changed(self.project, refs, psa=f"kantata@{self.account}")

    async def ask_for_a_run(self) -> None:
        """Ask for a billing run now."""
        await self.world.billing.run(self.project, by="fiona", psa=f"kantata@{self.account}")


def period_of(
    world: World, account: str, project: str = AT_PROJECT, period: str = PERIOD
) -> WorkflowHandle[ApprovedTimeToBilling, Any]:
    """Return a handle on a project's billing period."""
    return world.env.client.get_workflow_handle_for(
        ApprovedTimeToBilling.run, time_to_billing_id(f"kantata@{account}", project, period)
    )


async def settled(
    world: World, account: str, project: str = AT_PROJECT, period: str = PERIOD
) -> None:
    """Wait until nothing waits for the project's period and no run is under way."""
    handle = period_of(world, account, project, period)
    what = f"a quiet period of {project} in {account}"
    await world.eventually(lambda: is_settled(handle), what)


async def is_settled(period: WorkflowHandle[ApprovedTimeToBilling, Any]) -> bool:
    """Return whether nothing waits for a period and no run of it is under way."""
    view: TimeToBillingView = await period.query(ApprovedTimeToBilling.view)
    return not view.waiting and not view.open_run and view.next_run_at is None


async def runs_of(world: World, account: str, project: str = AT_PROJECT) -> int:
    """Return the number of the last billing run."""
    return await world.store.runs.last_number(f"kantata@{account}", project, PERIOD)


# The oracle.


@dataclass
class Books:
    """What the systems and the subledger say of one project, read once."""

    psa: dict[EntryRef, dict[str, Any]]
    """Live entries in the PSA."""
    invoices: dict[str, set[str]]
    """Entries on the PSA's live invoices, by the invoice's id."""
    charges: dict[str, Decimal]
    """Live charges in the ERP, by external id."""
    costs: dict[str, Decimal]
    """Live time in the ERP, by external id."""
    traces: dict[EntryRef, EntryTrace]


KINDS = {
    "time_entries": EntryKind.TIME,
    "expenses": EntryKind.EXPENSE,
    "time_adjustments": EntryKind.ADJUSTMENT,
}


async def read_books(world: World, account: str, project: str = AT_PROJECT, job: str = "") -> Books:
    """Read what all systems say of a project, by entries that exist or existed."""
    psa: dict[EntryRef, dict[str, Any]] = {}
    refs: list[EntryRef] = []
    for type_, kind in KINDS.items():
        for record in await world.control.records("kantata", account, type=type_):
            if record["fields"]["workspace_id"] == project:
                ref = EntryRef(kind=kind, id=record["id"])
                refs.append(ref)
                if record["live"]:
                    psa[ref] = dict(record["fields"])
    invoices: dict[str, set[str]] = {}
    for record in await world.control.records("kantata", account, type="invoices"):
        invoice: dict[str, Any] = dict(record["fields"])
        if record["live"] and invoice["status"] != "cancelled":
            lists = ("time_entry_ids", "expense_ids", "time_adjustment_ids")
            if project in invoice["workspace_ids"]:
                invoices[record["id"]] = {id_ for each in lists for id_ in invoice[each]}
    name = f"kantata@{account}"
    traces = {ref: await world.store.subledger.trace(name, ref) for ref in refs}
    return Books(
        psa,
        invoices,
        await _posted(world, account, "charge", "amount", job),
        await _posted(world, account, "timeBill", "cost", job),
        traces,
    )


async def _posted(
    world: World, account: str, type_: str, figure: str, job: str
) -> dict[str, Decimal]:
    where = {"charge": "billTo", "timeBill": "customer"}[type_]
    found: dict[str, Decimal] = {}
    for record in await world.control.records("netsuite", account, type=type_):
        fields: dict[str, Any] = dict(record["fields"])
        if record["live"] and (not job or fields[where]["id"] == job):
            found[str(record["key"])] = amount(fields[figure])
    return found


async def assert_books(
    world: World, account: str, project: str = AT_PROJECT, *, job: str = "", what: str = ""
) -> Books:
    """Assert what issue 3 asks for of every entry version, equal to the cent in all systems."""
    books = await read_books(world, account, project, job)
    rated = await _rated(world, account, books)
    charged: dict[str, Decimal] = defaultdict(Decimal)
    costed: dict[str, Decimal] = defaultdict(Decimal)
    reserved: set[str] = set()
    for ref, trace in books.traces.items():
        where = f"{what} {ref} in {account}: {trace.versions} {trace.holds} {books.psa.get(ref)}"
        billed = [each for each in trace.versions if each.handed_over_at is not None]
        assert len(billed) <= 1, f"billed in two versions: {where}"
        _assert_stands(ref, trace, books, where)
        for version in billed:
            parts = [part for part in trace.parts if part.version == version.version]
            total = sum((part.amount.amount for part in parts), Decimal(0))
            assert rated[ref, version.version] == total, f"parts do not sum up: {where}"
            states = [cost.state for cost in trace.costs if cost.version == version.version]
            # What a run that rolled back had rated stays on the track, as reversed.
            left = [state for state in states if state != "reversed"]
            assert left == ["posted"], f"not costed once, but {states}: {where}"
            for part in parts:
                if part.disposition is Disposition.TO_BILL and part.amount.amount:
                    assert part.charge, f"no charge: {where}"
                    charged[part.charge] += part.amount.amount
            for cost in (each for each in trace.costs if each.state == "posted"):
                assert cost.external_id, f"no posting: {where}"
                if ref.kind is not EntryKind.EXPENSE:
                    costed[cost.external_id] += cost.amount.amount
            reserved.add(ref.id)
        live = {each.version for each in billed}
        strays = [part for part in trace.parts if part.version not in live]
        assert not strays, f"parts of what is not billed: {where}"
        assert all(cost.state != "posted" for cost in trace.costs if cost.version not in live), (
            f"cost of what is not billed: {where}"
        )
    assert books.charges == dict(charged), f"{what}: charges in the ERP"
    assert books.costs == dict(costed), f"{what}: time in the ERP"
    on_invoices = [id_ for ids in books.invoices.values() for id_ in ids]
    assert len(on_invoices) == len(set(on_invoices)), f"{what}: one entry on two invoices"
    return books


def _assert_stands(ref: EntryRef, trace: EntryTrace, books: Books, where: str) -> None:
    """Assert that the entry is billed, or withdrawn with a reason, or held with one."""
    held = [hold for hold in trace.holds if hold.released_at is None]
    assert all(hold.reason and hold.owner for hold in held)
    on = [number for number, ids in books.invoices.items() if ref.id in ids]
    for version in trace.versions:
        if version.handed_over_at is not None:
            assert ref in books.psa, f"billed and gone: {where}"
            assert on, f"billed and not reserved in the PSA: {where}"
        elif version.state == "withdrawn":
            assert version.because, f"withdrawn without a reason: {where}"
        else:
            assert version.state == "approved", f"left in a run: {where}"
            assert held, f"neither billed nor held: {where}"
    live = [each for each in trace.versions if each.state != "withdrawn"]
    assert len(live) <= 1, f"two live versions: {where}"
    fields = books.psa.get(ref)
    approved = fields is not None and (
        ref.kind is EntryKind.ADJUSTMENT or fields["active_submission_id"] is not None
    )
    assert bool(live) == approved, f"the PSA and the subledger disagree: {where}"
    if live and ref.kind is EntryKind.TIME and fields is not None:
        assert live[0].minutes == fields["time_in_minutes"], f"another version: {where}"


async def _rated(world: World, account: str, books: Books) -> dict[tuple[EntryRef, str], Decimal]:
    keys = {
        version.run_key
        for trace in books.traces.values()
        for version in trace.versions
        if version.run_key is not None
    }
    found: dict[tuple[EntryRef, str], Decimal] = {}
    for key in sorted(keys):
        for each in await world.store.runs.rated(key):
            assert each.amount is not None
            found[each.ref, each.version] = each.amount.amount
    return found


async def work_item_of_runs(world: World, account: str, project: str = AT_PROJECT) -> Any:
    """Return an open work item of any billing run of the project, or None."""
    prefix = f"billing-run/kantata@{account}/{project}/"
    for number in range(1, await runs_of(world, account, project) + 1):
        for stored in await world.store.work_items.list(workflow_id=f"{prefix}{PERIOD}/{number}"):
            return stored.item
    return None
