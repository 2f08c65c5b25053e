"""Invoicing under acts in any order: whatever happens, its invariants hold.

A state machine hands hours and milestones over, opens drafts, acts on them (also twice), posts and
credits; after each act every sum and every rule is looked at in the database. The look has to see
red: `test_broken_rule_is_seen` breaks each.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from sqlalchemy import text

from canonical.drafts import Billable, Draft, DraftState, LineState
from canonical.entries import EntryRef
from canonical.invoicing import CreditNote, CreditReason
from canonical.lifecycle import CreditPart, DraftedCredit, DraftedCreditLine
from canonical.records import RecordRef
from store import Store
from store.database import Database
from store.draft_change import Decide
from store.errors import Conflict
from tests.store.billing import PSA, SEEN, hand_over, time_entry, usd
from tests.store.invoicing import (
    LUCA,
    MAYA,
    ON,
    billed_contract,
    deciding,
    draft_of,
    fee,
    invoice_of,
    item,
    items_of,
    merge,
    off,
    po,
    refusing,
    released,
    returned,
    split_off,
    written_down,
)

pytestmark = pytest.mark.property

T = TypeVar("T")
VALUE = 500
ORDERED = 250
_PROJECTS = itertools.count(1)
BROKEN = {
    "something is on two live drafts": """
        SELECT member.part, member.fee FROM draft_members AS member
        JOIN drafts ON drafts.id = member.draft
        WHERE drafts.client_id = :client AND member.live
        GROUP BY member.part, member.fee HAVING count(*) > 1
    """,
    "a line is not the sum of what it bills": """
        SELECT line.draft FROM draft_lines AS line JOIN drafts ON drafts.id = line.draft
        WHERE drafts.client_id = :client AND line.state = 'in'
            AND drafts.state IN ('in_review', 'queued', 'released', 'invoiced')
            AND line.amount IS DISTINCT FROM (
                SELECT sum(amount - written_down) FROM draft_members AS member
                WHERE member.draft = line.draft AND member.number = line.number AND member.live)
    """,
    "a draft is not the sum of its lines": """
        SELECT id FROM drafts WHERE client_id = :client AND net IS DISTINCT FROM (
            SELECT coalesce(sum(amount), 0) FROM draft_lines AS line
            WHERE line.draft = drafts.id AND line.state = 'in')
    """,
    "a part does not stand where its draft stands": """
        SELECT part.id FROM parts AS part JOIN billing_runs AS run USING (run_key)
        LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
        LEFT JOIN drafts ON drafts.id = member.draft
        WHERE run.client_id = :client AND CASE part.state WHEN 'credited' THEN 'invoiced'
                WHEN 'placed' THEN 'free' ELSE part.state END
            <> CASE WHEN drafts.state IN ('in_review', 'queued') THEN 'drafted'
                ELSE coalesce(drafts.state, 'free') END
    """,
    "a fee does not stand where its draft stands": """
        SELECT fee.id FROM fees AS fee
        LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
        LEFT JOIN drafts ON drafts.id = member.draft
        WHERE fee.client_id = :client AND CASE fee.state WHEN 'credited' THEN 'invoiced'
                WHEN 'reserved' THEN 'free' WHEN 'handed_over' THEN 'free'
                WHEN 'returned' THEN 'free' ELSE fee.state END
            <> CASE WHEN drafts.state IN ('in_review', 'queued') THEN 'drafted'
                ELSE coalesce(drafts.state, 'free') END
    """,
    "a cap's columns are not its parts'": """
        SELECT cap.id FROM caps AS cap LEFT JOIN LATERAL (
            SELECT sum(used.amount) FILTER (WHERE part.state = 'placed') AS reserved,
                sum(used.amount) FILTER (WHERE part.state IN ('drafted', 'released')) AS drafted,
                sum(used.amount) FILTER (WHERE part.state IN ('invoiced', 'credited')) AS invoiced,
                sum(member.credited) AS credited
            FROM cap_uses AS used JOIN parts AS part ON part.id = used.part
            LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
            WHERE used.cap = cap.id) AS used ON true
        WHERE cap.engagement = 'crm/' || :client
            AND (cap.reserved, cap.drafted, cap.invoiced, cap.credited) IS DISTINCT FROM (
                coalesce(used.reserved, 0), coalesce(used.drafted, 0), coalesce(used.invoiced, 0),
                coalesce(used.credited, 0))
    """,
    "a cap is exceeded": """
        SELECT id FROM caps WHERE engagement = 'crm/' || :client
            AND reserved + drafted + invoiced - credited > 400
    """,
    "a client PO is not what was billed on it": """
        SELECT number FROM client_pos AS po WHERE client_id = :client
            AND (drafted, released, invoiced, credited) IS DISTINCT FROM (
                (SELECT coalesce(sum(net), 0) FROM drafts WHERE client_id = :client
                    AND client_po = po.number AND state IN ('in_review', 'queued')),
                (SELECT coalesce(sum(net), 0) FROM drafts WHERE client_id = :client
                    AND client_po = po.number AND state = 'released'),
                (SELECT coalesce(sum(net), 0) FROM drafts WHERE client_id = :client
                    AND client_po = po.number AND state = 'invoiced'),
                (SELECT coalesce(sum(credits.net), 0) FROM credits JOIN invoices
                    ON invoices.connection = credits.connection AND invoices.id = credits.invoice
                    WHERE invoices.client_id = :client AND client_po = po.number
                        AND credits.state = 'credited'))
    """,
    "a client PO is exceeded": f"""
        SELECT number FROM client_pos WHERE client_id = :client
            AND released + invoiced - credited > {ORDERED}
    """,
    "more than the contract is taken": f"""
        SELECT 1 FROM fees LEFT JOIN draft_members AS member ON member.fee = fees.id
            AND member.live WHERE client_id = :client AND state <> 'returned'
        HAVING sum(fees.amount - coalesce(member.credited, 0)) > {VALUE}
    """,
    "more is credited than was billed": """
        SELECT member.id FROM draft_members AS member JOIN drafts ON drafts.id = member.draft
        WHERE drafts.client_id = :client AND (member.credited > member.amount - member.written_down
            OR member.credited <> (SELECT coalesce(sum(part.amount), 0) FROM credit_parts AS part
                JOIN credits ON credits.id = part.credit AND credits.state = 'credited'
                WHERE part.member = member.id))
    """,
    "what was billed again is not what was credited for it": """
        SELECT asked.id FROM credit_parts AS asked
        JOIN credits ON credits.id = asked.credit AND credits.state = 'credited'
        JOIN invoices ON invoices.connection = credits.connection
            AND invoices.id = credits.invoice
        LEFT JOIN parts AS part ON part.id = asked.opened_part
        LEFT JOIN fees AS fee ON fee.id = asked.opened_fee
        WHERE invoices.client_id = :client AND asked.reason = 'rebill'
            AND asked.amount IS DISTINCT FROM coalesce(part.amount, fee.amount)
    """,
    "the trail of a draft does not end where it is": """
        SELECT id FROM drafts WHERE client_id = :client AND state IS DISTINCT FROM (
            SELECT to_state FROM billing_moves WHERE track = 'draft' AND subject = drafts.id
            ORDER BY id DESC LIMIT 1)
    """,
    "the trail of a fee does not end where it is": """
        SELECT id FROM fees WHERE client_id = :client AND state IS DISTINCT FROM (
            SELECT to_state FROM billing_moves WHERE track = 'fee' AND subject = fees.id::text
            ORDER BY billing_moves.id DESC LIMIT 1)
    """,
    "the trail of a part does not end where it is": """
        SELECT part.id FROM parts AS part JOIN billing_runs AS run USING (run_key)
        WHERE run.client_id = :client AND part.state IS DISTINCT FROM (
            SELECT to_state FROM moves WHERE track = 'part' AND moves.entry = part.entry
                AND moves.cycle = part.cycle AND moves.part = part.number
            ORDER BY moves.id DESC LIMIT 1)
    """,
    "a trail has a gap": """
        SELECT subject FROM (
            SELECT subject, from_state, lag(to_state, 1, '') OVER (
                PARTITION BY track, subject ORDER BY id) AS before
            FROM billing_moves WHERE track = 'draft' AND subject LIKE '%project-' || :client || '/%'
        ) AS moved WHERE from_state <> before
    """,
}


class InvoicingMachine(RuleBasedStateMachine):
    """Acts on one client's drafts; `done` counts what happened at all."""

    loop: asyncio.AbstractEventLoop
    store: Store
    done: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        # The tables keep what they have: each example has a client and a project of its own.
        self.name = f"Q{next(_PROJECTS)}"
        self.entries = 0
        self.runs = 0
        self.acts = 0
        self.milestones = 0

    def do(self, act: Awaitable[T]) -> T:
        return self.loop.run_until_complete(_awaited(act))

    def drafts(self, *states: DraftState) -> tuple[Draft, ...]:
        return self.do(self.store.drafts.list(states, client_id=self.name))

    def pick(self, data: st.DataObject, *states: DraftState) -> Draft | None:
        """Choose a draft that waits; where there is none, one is made."""
        if not self.drafts(*states):
            free = self.free() or self.work([60, 30])
            if free:
                self.draft(free)
        known = self.drafts(*states)
        return data.draw(st.sampled_from(known)) if known else None

    def free(self) -> tuple[Billable, ...]:
        return self.do(self.store.drafts.billables(project_id=self.name, on=ON))

    def draft(
        self,
        chosen: Sequence[Billable],
        times: int = 1,
        state: DraftState = DraftState.QUEUED,
    ) -> None:
        """Open a draft, or several of the same at once: one of them gets it."""
        drafts = []
        for _ in range(times):
            number = self.do(self.store.drafts.next_number(self.prefix))
            drafts.append(draft_of(*([each] for each in chosen), number=number, state=state))
        made = self.do(self.store.drafts.open(drafts))
        assert len(made) == 1
        self.done["opened"] += 1

    @initialize()
    def begin(self) -> None:
        contract = billed_contract(
            400, self.name, "PO-1", id=f"crm/{self.name}", client_id=self.name
        )
        self.do(self.store.engagements.put(contract))
        self.do(self.store.client_pos.put(po(ORDERED, client_id=self.name)))
        self.work([60, 30])

    @rule(minutes=st.lists(st.integers(1, 90), min_size=1, max_size=3))
    def worked(self, minutes: list[int]) -> None:
        """Hours are approved and handed over."""
        self.work(minutes)

    def work(self, minutes: list[int]) -> tuple[Billable, ...]:
        for each in minutes:
            self.entries += 1
            id_ = f"{self.name}-{self.entries}"
            entry = time_entry(id_, each, project_id=self.name)
            self.do(self.store.entries.take_in([entry], SEEN))
        self.runs += 1
        self.do(hand_over(self.store, self.runs, self.name))
        # Beyond its cap a contract bills nothing more: then a milestone is due.
        return self.free() or self.due(1)

    @rule(amount=st.integers(1, 500) | st.just(VALUE + 1), give_up=st.booleans())
    def milestone(self, amount: int, give_up: bool) -> None:
        """A milestone is approved; perhaps its saga is rolled back."""
        self.due(amount, give_up)

    def due(self, amount: int, give_up: bool = False) -> tuple[Billable, ...]:
        self.milestones += 1
        run = f"run/{self.name}/{self.milestones}"
        due = fee(
            f"kantata/{self.name}-{self.milestones}",
            amount,
            engagement=f"crm/{self.name}",
            project_id=self.name,
            client_id=self.name,
        )
        try:
            self.do(self.store.fees.reserve(run, due, limit=usd(VALUE)))
        except Conflict:
            self.done["contract refused"] += 1
            return ()
        if give_up:
            self.do(self.store.fees.release(run))
        else:
            self.do(self.store.fees.hand_over(run))
        return self.free()

    @rule(data=st.data(), times=st.integers(1, 2), reviewed=st.booleans())
    def open(self, data: st.DataObject, times: int, reviewed: bool) -> None:
        """What is free is drafted, also the same by two drafts at once."""
        for id_ in range(1, self.entries + 1):
            ref = EntryRef.model_validate({"kind": "time", "id": f"{self.name}-{id_}"})
            self.do(self.store.subledger.unhold(PSA, [ref], by=MAYA))
        day = ON + timedelta(days=data.draw(st.integers(0, 40)))
        free = self.do(self.store.drafts.billables(project_id=self.name, on=day))
        if free:
            some = st.lists(st.sampled_from(free), min_size=1, unique_by=lambda b: b.ref.id)
            state = DraftState.QUEUED if reviewed else DraftState.IN_REVIEW
            self.draft(data.draw(some), times, state)

    @property
    def prefix(self) -> str:
        return f"invoice-draft/US/501/USD/project-{self.name}/2026-11"

    def act(self, draft: Draft, decide: Decide, *more: str) -> bool:
        """Act twice under one id: the second time changes nothing."""
        self.acts += 1
        name = f"{self.name}-{self.acts}"
        try:
            first = self.do(self.store.drafts.change([draft.id, *more], decide, act_id=name))
        except Conflict:
            self.done["limit refused"] += 1
            return False
        assert self.do(self.store.drafts.change([draft.id, *more], refusing, act_id=name)) == first
        return True

    @rule(
        data=st.data(),
        state=st.sampled_from([LineState.HELD, LineState.DEFERRED, LineState.WRITTEN_OFF]),
        days=st.integers(1, 30),
    )
    def take_off(self, data: st.DataObject, state: LineState, days: int) -> None:
        draft = self.pick(data, DraftState.IN_REVIEW, DraftState.QUEUED)
        if draft is None:
            return
        numbers = [line.number for line in draft.live_lines]
        chosen = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
        until = ON + timedelta(days=days) if state is LineState.DEFERRED else None
        self.done["taken off"] += self.act(
            draft, deciding("take_off", off(state, *chosen, until=until))
        )

    @rule(data=st.data(), cents=st.integers(1, 150))
    def write_down(self, data: st.DataObject, cents: int) -> None:
        draft = self.pick(data, DraftState.QUEUED)
        if draft is None:
            return
        whole = [x for x in draft.live_lines if not x.written_down and x.amount.amount > 2]
        if not whole:
            return
        line = data.draw(st.sampled_from(whole))
        amount = Decimal(cents) / 100
        self.done["written down"] += self.act(
            draft, deciding("write_down", written_down(line.number, amount))
        )

    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        draft = self.pick(data, DraftState.IN_REVIEW, DraftState.QUEUED)
        if draft is None or len(draft.live_lines) < 2:
            return
        self.done["split"] += self.act(draft, split_off(draft.live_lines[-1].number))

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        known = self.drafts(DraftState.QUEUED)
        if len(known) < 2:
            self.pick(data, DraftState.QUEUED)
            if free := self.work([20]):
                self.draft(free)
            known = self.drafts(DraftState.QUEUED)
        if len(known) < 2:
            return
        one, other = data.draw(st.permutations(known))[:2]
        self.done["merged"] += self.act(one, merge, other.id)

    @rule(data=st.data(), back=st.booleans())
    def release(self, data: st.DataObject, back: bool) -> None:
        """Reviewed and released; perhaps the issuing system refuses."""
        draft = self.pick(data, DraftState.IN_REVIEW, DraftState.QUEUED)
        if draft is None:
            return
        if draft.state is DraftState.IN_REVIEW:
            queue = {"state": DraftState.QUEUED, "review_until": None}
            self.act(draft, deciding("review", lambda each: each.model_copy(update=queue)))
        taken = self.act(draft, deciding("release", released))
        if taken and back:
            self.done["returned"] += self.act(draft, deciding("returned", returned))
        elif taken:
            self.post(draft.id)

    def post(self, id_: str) -> None:
        draft = self.do(self.store.drafts.get(id_))
        number = f"{self.name}-{draft.id.rpartition('/')[2]}"
        for _ in range(2):
            self.do(
                self.store.invoices.posted(
                    id_, draft.posting, invoice_of(draft, number), items_of(draft)
                )
            )
        self.done["posted"] += 1

    @rule(
        data=st.data(),
        reason=st.sampled_from([CreditReason.REBILL, CreditReason.CONCESSION]),
        part=st.sampled_from([Decimal(1), Decimal("0.5")]),
    )
    def credit(self, data: st.DataObject, reason: CreditReason, part: Decimal) -> None:
        if not self.drafts(DraftState.INVOICED):
            self.release(data, back=False)
        known = self.drafts(DraftState.INVOICED)
        if not known:
            return
        draft = data.draw(st.sampled_from(known))
        (invoice,) = (
            each
            for each in self.do(self.store.invoices.list(client_id=self.name, limit=999))
            if each.draft == draft.id
        )
        line = data.draw(st.sampled_from(draft.live_lines))
        amount = usd((line.amount.amount * part).quantize(Decimal("0.01")))
        self.acts += 1
        asked = _credit(invoice.record, self.acts, line.number, amount, line.bills[0], reason)
        try:
            self.do(self.store.credits.open_credit(asked))
        except Conflict:
            self.done["credit refused"] += 1
            return
        self.do(self.store.credits.approve_credit(asked.id, by=LUCA))
        for _ in range(2):
            self.do(self.store.credits.credited(asked.id, _note(asked)))
        self.done[reason] += 1

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.do(_look(self.store.database, self.name)) == []

    @invariant()
    def sums_are_conserved(self) -> None:
        for row in self.do(self.store.subledger.conservation(self.name)):
            assert row.difference == 0, row


def _credit(
    invoice: RecordRef, number: int, line: int, amount: object, bills: object, reason: object
) -> DraftedCredit:
    parts = (CreditPart.model_validate({"bills": bills, "amount": amount}),)
    drafted = DraftedCreditLine.model_validate(
        {"line": line, "item": item(line), "amount": amount, "reason": reason, "parts": parts}
    )
    id_ = f"credit/netsuite/{invoice.id}/{number}"
    return DraftedCredit(id=id_, invoice=invoice, lines=(drafted,), asked_by=MAYA)


def _note(asked: DraftedCredit) -> CreditNote:
    return CreditNote(
        record=RecordRef(system="netsuite", type="credit_note", id=f"N-{asked.id}"),
        invoice=asked.invoice,
        net=asked.net,
        tax=usd(0),
        gross=asked.net,
    )


async def _awaited(act: Awaitable[T]) -> T:
    return await act


async def _look(database: Database, client: str) -> list[object]:
    """Return the names of the rules that are broken."""
    checks = " UNION ALL ".join(
        f"SELECT '{name.replace(chr(39), chr(39) * 2)}' FROM ({query}) AS found"
        for name, query in BROKEN.items()
    )
    return [row[0] for row in await database.rows(text(checks), {"client": client})]


async def _forced(database: Database, table: str, statement: str) -> None:
    """Do what triggers refuse, as somebody who owns the table could."""
    async with database.transaction() as session:
        await session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        await session.execute(text(statement))
        await session.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def test_acts_in_any_order_keep_every_invariant(database_url: SecretStr) -> None:
    loop = asyncio.new_event_loop()
    database = Database(database_url, pool_size=2)
    done: Counter[str] = Counter()
    given = {"loop": loop, "store": Store(database), "done": done}
    machine = type("Machine", (InvoicingMachine,), given)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(database.aclose())
        loop.close()
    # A machine that never gets there proves nothing.
    seen: Sequence[str] = (
        *("opened", "posted", "returned", "taken off", "written down", "split", "merged"),
        *("rebill", "concession", "limit refused", "contract refused", "credit refused"),
    )
    assert all(done[each] for each in seen), done


@pytest.mark.parametrize(
    ("sees", "table", "statement"),
    [
        ("two live drafts", "draft_members", "SELECT_TWO"),
        ("a line is not", "draft_lines", "UPDATE draft_lines SET amount = amount + 1"),
        ("a draft is not", "drafts", "UPDATE drafts SET net = net + 1"),
        ("a part does not stand", "parts", "UPDATE parts SET state = 'placed'"),
        ("a fee does not stand", "fees", "UPDATE fees SET state = 'handed_over'"),
        ("a cap's columns", "caps", "UPDATE caps SET drafted = drafted + 1"),
        ("a cap is exceeded", "caps", "UPDATE caps SET amount = 999, invoiced = invoiced + 500"),
        ("not what was billed", "client_pos", "UPDATE client_pos SET released = 1"),
        ("PO is exceeded", "client_pos", "UPDATE client_pos SET amount = 2000, invoiced = 2000"),
        ("than the contract", "fees", "UPDATE fees SET amount = 1001"),
        ("more is credited", "draft_members", "UPDATE draft_members SET credited = 1"),
        ("billed again", "credit_parts", "UPDATE credit_parts SET opened_part = NULL"),
        ("trail of a draft", "drafts", "UPDATE drafts SET state = 'queued'"),
        ("trail of a fee", "fees", "UPDATE fees SET state = 'credited'"),
        ("trail of a part", "parts", "UPDATE parts SET state = 'released'"),
        ("has a gap", "billing_moves", "UPDATE billing_moves SET from_state = 'released'"),
    ],
)
async def test_broken_rule_is_seen(store: Store, sees: str, table: str, statement: str) -> None:
    contract = billed_contract(400, "Q", "PO-1", id="crm/Q", client_id="Q")
    await store.engagements.put(contract)
    await store.client_pos.put(po(ORDERED, client_id="Q"))
    due = fee("kantata/M1", 100, engagement="crm/Q", project_id="Q", client_id="Q")
    await store.fees.reserve("run", due)
    await store.fees.hand_over("run")
    await store.entries.take_in([time_entry("1", project_id="Q")], SEEN)
    await hand_over(store, 1, "Q")
    free = await store.drafts.billables(project_id="Q")
    draft = draft_of(*([each] for each in free))
    await store.drafts.open([draft])
    await store.drafts.change([draft.id], deciding("release", released), act_id="A")
    out = await store.drafts.get(draft.id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    record = RecordRef(system="netsuite", type="invoice", id="9001")
    line = out.lines[1]
    asked = _credit(record, 1, line.number, line.amount, line.bills[0], CreditReason.REBILL)
    await store.credits.open_credit(asked)
    await store.credits.approve_credit(asked.id, by=LUCA)
    await store.credits.credited(asked.id, _note(asked))
    assert await _look(store.database, "Q") == []

    if statement == "SELECT_TWO":
        await store.database.run(text("DROP INDEX uq_draft_members_part"))
        statement = (
            "INSERT INTO draft_members (draft, number, part, amount, live) SELECT draft, 1, part,"
            " amount, true FROM draft_members WHERE part IS NOT NULL"
        )
    await _forced(store.database, table, statement)

    assert any(sees in str(name) for name in await _look(store.database, "Q"))
