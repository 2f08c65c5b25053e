"""Carries the golden month to its invoices, credits and rebill, and keeps what there was to see.

What decides and what counts is Dealthread's: policies, and the store on PostgreSQL. Only the ERP is
played, from the files: what it says was worked out by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from activities.drafting import DraftActivities
from activities.schedules import ScheduleActivities
from canonical.bill_schedules import BillProject
from canonical.client_pos import PoStanding
from canonical.credit_invoice import CreditedAmount
from canonical.draft_acts import (
    ActOnDraft,
    AnyAct,
    DraftAnswer,
    EditNarrative,
    HoldLines,
    Release,
    Review,
    WriteDown,
)
from canonical.draft_to_invoice import AssembleDrafts, IssueInvoice
from canonical.drafts import Billable, BillableRef, Draft, DraftState
from canonical.fees import ContractStanding
from canonical.ids import billing_run_id, credit_id
from canonical.invoicing import CreditReason, DealFinances
from canonical.lifecycle import DraftedCredit, TrackedInvoice
from policies.allocation import allocate
from policies.bundle import Bundle, load_bundle
from policies.credits import may_approve, work_out
from policies.invoice_states import settled_by, state_of
from policies.issuing import differences, items_of, provision_of
from policies.queue_case import Actor
from policies.rating import Before, MasterData, rate
from store import Store
from store.credits import CreditStanding
from store.subledger import Conservation
from tests.golden.invoice_files import (
    ERP,
    Row,
    client_pos,
    contracts,
    credit_note,
    draft_rows,
    entries,
    facts,
    invoice,
    invoice_ref,
    lines_of,
    moment,
    money,
    table,
)
from tests.golden.loading import PSA, exchange_rates, known_expenses, read, workers

PEOPLE = {
    "olivia": Actor("olivia", frozenset({"operator"}), "olivia@example.com"),
    "fiona": Actor("fiona", frozenset({"finance"}), "fiona@example.com"),
    "carl": Actor("carl", frozenset({"controller"}), "carl@example.com"),
}
FIXED_FEE, MANAGED = f"{PSA}/503", f"{PSA}/505"
_CAPS = text("SELECT engagement, cap, amount, reserved, drafted, invoiced, credited FROM caps")


@dataclass
class Seen:
    """What there was to see, by the names of the files."""

    made: dict[str, Draft] = field(default_factory=dict)
    """Drafts as they were assembled."""
    released: dict[str, Draft] = field(default_factory=dict)
    names: dict[str, dict[int, str]] = field(default_factory=dict)
    """Of each draft: the names of its lines by number."""
    bills: dict[BillableRef, str] = field(default_factory=dict)
    """Entry, or occurrence of a schedule, of what can be billed."""
    answers: list[DraftAnswer] = field(default_factory=list)
    disagreements: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Between what was released and what the ERP issued by hand."""
    credits: dict[str, CreditStanding] = field(default_factory=dict)
    opened: dict[str, tuple[Billable, ...]] = field(default_factory=dict)
    """What waits to be billed again after a credit."""
    pos: dict[tuple[str, str], PoStanding] = field(default_factory=dict)
    caps: dict[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    opening: dict[str, Decimal] = field(default_factory=dict)
    handed_over: dict[str, Decimal] = field(default_factory=dict)
    """Unbilled once November's work was handed over."""
    before_invoices: dict[str, Decimal] = field(default_factory=dict)
    """Unbilled once drafts were released, and nothing was issued yet."""
    finances: dict[str, DealFinances] = field(default_factory=dict)
    invoices: dict[str, TrackedInvoice] = field(default_factory=dict)
    lines: dict[tuple[str, str], ContractStanding] = field(default_factory=dict)
    last: dict[str, Draft] = field(default_factory=dict)
    conservation: tuple[Conservation, ...] = ()
    waits: tuple[Billable, ...] = ()
    """What can be drafted at the end."""


class Month:
    """The month on one store, step by step."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen = Seen()
        self._bundle: Bundle = load_bundle()
        self._now: datetime = moment("advance")
        self._acts = 0
        self._drafting = DraftActivities(store, self._of, PEOPLE, self._clock)
        self._schedules = ScheduleActivities(store, self._of, self._clock)

    def _of(self, _connection: str) -> Bundle:
        return self._bundle

    def _clock(self) -> datetime:
        return self._now

    async def run(self) -> Seen:
        """Go through the month, and return what there was to see."""
        await self._contracts()
        await self._work()
        await self._assemble(1)
        await self._look("drafted")
        await self._act_and_release(1)
        await self._look("released")
        self.seen.before_invoices = await self._unbilled()
        await self._post(1)
        await self._look("invoiced")
        await self._credit()
        await self._look("credited")
        await self._assemble(2)
        await self._act_and_release(2)
        await self._post(2)
        await self._look("end")
        await self._close()
        return self.seen

    # The work.

    async def _contracts(self) -> None:
        for contract in contracts():
            await self.store.engagements.put(contract)
        for po in client_pos():
            await self.store.client_pos.put(po)
        for engagement, line, fact in facts():
            await self.store.schedule_facts.record(engagement, line, fact, by="olivia")
        await self._bill(FIXED_FEE)
        self.seen.opening = await self._unbilled()

    async def _work(self) -> None:
        for project, claim in entries().items():
            await self.store.entries.take_in(claim, claim[-1].approved_at or self._now)
            await self._rated(project)
        self._now = moment("milestones")
        await self._bill(FIXED_FEE)
        self._now = moment("month_end")
        await self._bill(MANAGED)
        await self._look("handed_over")
        self.seen.handed_over = await self._unbilled()

    async def _rated(self, project: str) -> None:
        period = read("policy.yaml")["billing_period"]
        runs, key = self.store.runs, billing_run_id(PSA, project, period, 1)
        await runs.claim(key, PSA, project, period)
        versions = [each for each in contracts() if each.project_id == project]
        master = MasterData(versions, workers(), exchange_rates())
        before = Before(known_expenses=known_expenses(project))
        claim = await runs.load(key)
        await runs.store_rated(key, rate(claim, master, self._bundle.policies, period, before))
        await runs.place(key, allocate, moment("milestones").date())
        await runs.hand_over(key)

    async def _bill(self, project: str) -> None:
        billed = await self._schedules.bill_schedule(BillProject(project=project))
        assert billed.refused == ()

    # Drafts.

    async def _assemble(self, cycle: int) -> None:
        self._now = moment("drafting")
        for each in await self.store.drafts.billables():
            name = each.fee.removeprefix(f"{each.engagement}/{each.line}/")
            self.seen.bills[each.ref] = each.entry.id if each.entry else name
        made = await self._drafting.assemble_drafts(AssembleDrafts())
        for id_ in made.drafts:
            draft = await self.store.drafts.get(id_)
            name = _name_of(draft, cycle)
            assert name not in self.seen.made, f"{id_} is one draft too many"
            self.seen.made[name] = draft
            self.seen.names[name] = self._line_names(name, draft)

    def _line_names(self, name: str, draft: Draft) -> dict[int, str]:
        """Tell lines by what they bill; one that bills something else has no name."""
        by_hand = {frozenset(row["bills"].split(";")): line for line, row in lines_of(name).items()}
        return {line.number: by_hand.get(self.billed(line.bills), "?") for line in draft.lines}

    def billed(self, bills: Sequence[BillableRef]) -> frozenset[str]:
        """Return the names of what a line bills."""
        return frozenset(self.seen.bills[ref] for ref in bills)

    def _number(self, draft: str, line: str) -> int:
        numbers = {name: number for number, name in self.seen.names[draft].items()}
        return numbers[line]

    async def _act_and_release(self, cycle: int) -> None:
        drafts = [name for name, row in draft_rows().items() if row["cycle"] == str(cycle)]
        for name in drafts:
            assert (await self._act(name, Review(by="olivia"))).taken
        for row in table("acts"):
            if row["draft"] in drafts:
                self.seen.answers.append(await self._act(row["draft"], await self._wanted(row)))
        for name in drafts:
            answer = await self._act(name, await self._release(name, "carl"))
            assert answer.taken, (name, answer.reasons)
            self.seen.released[name] = await self._draft(name)

    async def _wanted(self, row: Row) -> AnyAct:
        draft, by, because = row["draft"], row["by"], row["why"]
        if row["act"] == "release":
            return await self._release(draft, by)
        number = self._number(draft, row["line"])
        if row["act"] == "hold":
            return HoldLines(by=by, because=because, lines=(number,))
        if row["act"] == "edit":
            return EditNarrative(by=by, because=because, line=number, narrative=row["says"])
        amount = money(row["amount"], draft_rows()[draft]["currency"])
        return WriteDown(by=by, because=because, line=number, amount=amount)

    async def _release(self, name: str, by: str) -> Release:
        return Release(by=by, content_hash=(await self._draft(name)).content_hash)

    async def _act(self, name: str, act: AnyAct) -> DraftAnswer:
        self._acts += 1
        id_ = self.seen.made[name].id
        return await self._drafting.act_on_draft(
            ActOnDraft(id=f"A{self._acts}", draft=id_, act=act)
        )

    async def _draft(self, name: str) -> Draft:
        return await self.store.drafts.get(self.seen.made[name].id)

    # Invoices and credits.

    async def _post(self, cycle: int) -> None:
        for name, draft in self.seen.released.items():
            if draft_rows()[name]["cycle"] != str(cycle):
                continue
            issued = invoice(name, draft.on, self._numbers(name))
            asked = provision_of(draft, _request(draft))
            self.seen.disagreements[name] = differences(asked.lines, issued)
            await self.store.invoices.posted(draft.id, draft.posting, issued, items_of(draft))

    def _numbers(self, name: str) -> dict[str, int]:
        return {line: number for number, line in self.seen.names[name].items()}

    async def _credit(self) -> None:
        for name in dict.fromkeys(row["credit"] for row in table("credits")):
            await self._one_credit(name)
        for name, row in draft_rows().items():
            if row["cycle"] == "1":
                await self._observe(name)

    async def _one_credit(self, name: str) -> None:
        rows = [row for row in table("credits") if row["credit"] == name]
        draft, reason = rows[0]["draft"], CreditReason(rows[0]["reason"])
        of = invoice_ref(draft)
        known = await self.store.invoices.get(of.system, of.id)
        left = await self.store.credits.left(of.system, of.id)
        # Nothing is named where all of it is taken back.
        wanted = [] if reason is CreditReason.REBILL else self._wanted_credit(draft, rows)
        worked = work_out(known, left, wanted, reason)
        assert not worked.refused
        invoicing = self._bundle.policies.invoicing
        assert not may_approve(PEOPLE["fiona"], "fiona", "olivia", worked.net, (), invoicing)
        number = await self.store.drafts.next_number(f"credit/{of.system}/{of.id}")
        asked = DraftedCredit(
            id=credit_id(of.system, of.id, number),
            invoice=of,
            lines=worked.lines,
            asked_by="olivia",
        )
        await self.store.credits.open_credit(asked)
        await self.store.credits.approve_credit(asked.id, by="fiona")
        counted = await self.store.credits.credited(asked.id, credit_note(name))
        self.seen.credits[name] = counted
        free = await self.store.drafts.billables()
        self.seen.opened[name] = tuple(each for each in free if each.ref in counted.opened)

    def _wanted_credit(self, draft: str, rows: Sequence[Row]) -> list[CreditedAmount]:
        currency = draft_rows()[draft]["currency"]
        sums: dict[str, Decimal] = {}
        for row in rows:
            sums[row["line"]] = sums.get(row["line"], Decimal(0)) + Decimal(row["amount"])
        return [
            CreditedAmount(line=self._number(draft, line), amount=money(str(amount), currency))
            for line, amount in sums.items()
        ]

    async def _observe(self, name: str) -> None:
        """Let the invoice's life go on: paid and credited as the files say."""
        draft = self.seen.released[name]
        seen = invoice(name, draft.on, self._numbers(name), later=True)
        state = state_of(seen, self._now.date())
        by = settled_by(seen.applications)
        await self.store.invoices.observe(ERP, seen.record.id, seen, state, by)

    # Looking.

    async def _look(self, stage: str) -> None:
        for standing in await self.store.client_pos.list():
            self.seen.pos[stage, standing.po.number] = standing
        for row in await self.store.database.rows(_CAPS):
            self.seen.caps[stage, row.engagement, row.cap] = dict(row._mapping)

    async def _unbilled(self) -> dict[str, Decimal]:
        return {
            name: (await self._finances(name)).unbilled.amount
            for name in dict.fromkeys(each.id for each in contracts())
        }

    async def _finances(self, engagement: str) -> DealFinances:
        return await self.store.finances.of_deal(engagement, self._now.date())

    async def _close(self) -> None:
        seen = self.seen
        for name in seen.opening:
            seen.finances[name] = await self._finances(name)
        for row in table("contract_lines"):
            key = (row["engagement"], row["line"])
            seen.lines[key] = await self.store.fees.standing(*key)
        for name, draft in seen.made.items():
            of = invoice_ref(name)
            seen.invoices[name] = await self.store.invoices.get(of.system, of.id)
            seen.last[name] = await self.store.drafts.get(draft.id)
            assert seen.last[name].state is DraftState.INVOICED
        seen.conservation = await self.store.subledger.conservation()
        seen.waits = await self.store.drafts.billables()


def _name_of(draft: Draft, cycle: int) -> str:
    wanted = (draft.client_id, draft.period, draft.client_po, str(cycle))
    columns = ("client", "period", "client_po", "cycle")
    found = [
        name
        for name, row in draft_rows().items()
        if tuple(row[column] for column in columns) == wanted
    ]
    assert len(found) == 1, f"no draft of the files is {wanted}"
    return found[0]


def _request(draft: Draft) -> IssueInvoice:
    return IssueInvoice(
        connection=draft.connection,
        draft=draft.id,
        posting=draft.posting,
        method=draft.method,
        currency=draft.currency,
        on=draft.on,
        payment_days=draft.payment_days,
        client_po=draft.client_po,
    )
