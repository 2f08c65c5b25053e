"""The subledger under acts in any order: whatever happens, its invariants hold.

A state machine takes entries in, changes and un-approves them, holds, claims, rates, places, posts,
undoes and hands over, in runs that overlap; after each act every sum and every rule is looked at in
the database. The look has to see red: `test_broken_rule_is_seen` breaks each.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from sqlalchemy import text

from canonical.entries import Entry, EntryKind, EntryRef
from canonical.rating import Disposition
from store import Store
from store.database import Database
from tests.store.billing import (
    DAY,
    PERIOD,
    PROJECT,
    PSA,
    SEEN,
    allocate,
    contract,
    place,
    rate,
    ref,
    run_key,
    time_entry,
)

pytestmark = pytest.mark.property

T = TypeVar("T")
IDS = ("1", "2", "3", "4")
RUNS = (1, 2, 3)
STAGES = ("claimed", "rated", "placed", "handed over")
_PROJECTS = itertools.count(1)
BROKEN = {
    "an entry has more than one live version": """
        SELECT entry_id FROM entry_versions
        WHERE project_id = :project AND state NOT IN ('waiting', 'withdrawn')
        GROUP BY entry_id, kind HAVING count(*) > 1
    """,
    "parts do not sum to the rated amount": """
        SELECT version.id FROM entry_versions AS version
        LEFT JOIN ratings AS rating ON rating.entry = version.id
        WHERE version.project_id = :project AND version.state = 'placed'
            AND rating.amount IS DISTINCT FROM (
                SELECT sum(amount) FROM parts WHERE parts.entry = version.id)
    """,
    "parts of what is not placed": """
        SELECT part.id FROM parts AS part JOIN entry_versions AS version ON version.id = part.entry
        WHERE version.project_id = :project AND version.state <> 'placed'
    """,
    "an entry in no run that holds it": """
        SELECT version.id FROM entry_versions AS version
        WHERE version.project_id = :project
            AND (version.state IN ('claimed', 'rated', 'placed')) <> EXISTS (
            SELECT FROM run_entries AS claim WHERE claim.entry = version.id
                AND claim.run_key = version.run_key AND claim.state IN ('claimed', 'handed_over'))
    """,
    "something waits for no run": """
        SELECT waiting.id FROM entry_versions AS waiting
        WHERE waiting.project_id = :project AND waiting.state = 'waiting'
            AND NOT EXISTS (SELECT FROM entry_versions AS live WHERE live.kind = waiting.kind
                AND live.entry_id = waiting.entry_id AND live.handed_over_at IS NULL
                AND live.state IN ('claimed', 'rated', 'placed'))
    """,
    "a cap's consumption is not its parts'": """
        SELECT cap.id FROM caps AS cap
        LEFT JOIN LATERAL (
            SELECT sum(net) FILTER (WHERE settled OR net > 0) AS reserved,
                sum(net) FILTER (WHERE NOT settled AND net > 0) AS pending,
                -sum(net) FILTER (WHERE NOT settled AND net < 0) AS relieving
            FROM (SELECT sum(used.amount) AS net, bool_or(run.state = 'handed_over') AS settled
                FROM cap_uses AS used JOIN parts AS part ON part.id = used.part
                JOIN billing_runs AS run USING (run_key)
                WHERE used.cap = cap.id GROUP BY run_key) AS by_run
        ) AS used ON true
        WHERE cap.engagement = 'crm/' || :project AND (cap.reserved > cap.amount
            OR (cap.reserved, cap.pending, cap.relieving) IS DISTINCT FROM (coalesce(
                used.reserved, 0), coalesce(used.pending, 0), coalesce(used.relieving, 0)))
    """,
    "a cap misses parts that count": """
        SELECT part.id FROM parts AS part JOIN ratings AS rating USING (entry, cycle)
        JOIN entry_versions AS version ON version.id = part.entry
        WHERE version.project_id = :project AND part.disposition = 'to_bill' AND rating.line = 'TM'
            AND (SELECT count(*) FROM cap_uses WHERE cap_uses.part = part.id) <> 2
    """,
    "a retainer's balance is not its movements'": """
        SELECT retainer.id FROM retainers AS retainer
        WHERE engagement = 'crm/' || :project AND (prepaid < drawn OR prepaid - drawn <> (
            SELECT sum(amount) FROM retainer_movements AS movement
            WHERE movement.retainer = retainer.id))
    """,
    "a placed entry has not one cost": """
        SELECT version.id FROM entry_versions AS version
        WHERE version.project_id = :project AND version.state IN ('rated', 'placed')
            AND (SELECT count(*) FROM cost_track AS cost WHERE cost.entry = version.id
                AND cost.state <> 'reversed' AND cost.run_key = version.run_key) <> 1
    """,
    "a cost of what no run holds": """
        SELECT cost.id FROM cost_track AS cost JOIN entry_versions AS version
            ON version.id = cost.entry
        WHERE version.project_id = :project AND cost.state <> 'reversed'
            AND version.state NOT IN ('rated', 'placed')
    """,
    "the trail does not end where the entry is": """
        SELECT version.id FROM entry_versions AS version
        WHERE version.project_id = :project AND version.state IS DISTINCT FROM (
            SELECT to_state FROM moves WHERE track = 'entry' AND moves.entry = version.id
            ORDER BY id DESC LIMIT 1)
    """,
}


WAITING = "UPDATE entry_versions SET state = 'waiting', run_key = NULL"
WITHDRAWN = "UPDATE entry_versions SET state = 'withdrawn', run_key = NULL"


class SubledgerMachine(RuleBasedStateMachine):
    """Acts on one project; `psa` is what the PSA has, the database what the subledger makes of it.

    `loop` and `store` are given by the test; `placed` counts what runs came to, so that the test
    can tell whether anything happened at all.
    """

    loop: asyncio.AbstractEventLoop
    store: Store
    placed: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        # The tables keep what they have: each example has a project and an engagement of its own.
        self.project = f"P{next(_PROJECTS)}"
        self.psa: dict[str, Entry] = {}
        self.stage = dict.fromkeys(RUNS, "new")
        self.number = dict.fromkeys(RUNS, 0)

    def do(self, act: Awaitable[T]) -> T:
        return self.loop.run_until_complete(_awaited(act))

    def key(self, run: int) -> str:
        return run_key(self.number[run], self.project)

    def ref(self, id_: str) -> EntryRef:
        return ref(f"{self.project}-{id_}")

    @initialize(cap=st.integers(0, 300), prepaid=st.integers(0, 200))
    def begin(self, cap: int, prepaid: int) -> None:
        name = f"crm/{self.project}"
        engagement = contract(cap, 500, prepaid, self.project, id=name)
        self.do(self.store.engagements.put(engagement))
        # Something is billed for good, which adjustments can give back.
        self.approve("4", 30, "100", adjustment=False)
        self.approve("3", 30, "101", adjustment=False)
        self.go_on(1, "handed over", 1)

    @rule(
        id_=st.sampled_from(IDS),
        minutes=st.integers(1, 200),
        task=st.sampled_from(["100", "101", "102"]),
        adjustment=st.booleans(),
    )
    def approve(self, id_: str, minutes: int, task: str, adjustment: bool) -> None:
        """The PSA approves an entry, or another version of it, or an adjustment."""
        of: dict[str, object] = {"project_id": self.project, "task_id": task}
        name = f"{self.project}-{id_}"
        if adjustment:
            of |= {"kind": EntryKind.ADJUSTMENT, "adjusts": name}
            name, minutes = f"{name}-adjusted", -minutes
        entry = time_entry(name, minutes, **of)
        self.psa[entry.id] = entry
        self.do(self.store.entries.take_in([entry], SEEN))

    @rule(
        run=st.sampled_from(RUNS),
        minutes=st.integers(1, 60),
        adjustment=st.booleans(),
        task=st.sampled_from(["100", "101"]),
        undone=st.booleans(),
    )
    def approve_and_place(
        self, run: int, minutes: int, adjustment: bool, task: str, undone: bool
    ) -> None:
        """An approval, billed at once as far as it can still be undone; undone at once, perhaps."""
        self.approve("1", minutes, task, adjustment)
        if self.stage[run] != "placed":
            self.go_on(run, "placed", 1)
        if undone:
            self.undo(run, 1)

    @rule(minutes=st.lists(st.integers(1, 200), min_size=2, max_size=4))
    def approve_several(self, minutes: list[int]) -> None:
        """A timesheet of hours on several lines is approved."""
        for n, each in enumerate(minutes):
            self.approve(IDS[n], each, ("100", "101", "102")[n % 3], n == 3)

    @precondition(lambda self: self.psa)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same message once more, also after an un-approval."""
        entry = self.psa[data.draw(st.sampled_from(sorted(self.psa)))]
        self.do(self.store.entries.take_in([entry, entry], SEEN))

    @precondition(lambda self: self.psa)
    @rule(data=st.data(), gone=st.booleans())
    def unapprove(self, data: st.DataObject, gone: bool) -> None:
        entry = self.psa[data.draw(st.sampled_from(sorted(self.psa)))]
        if gone:
            self.do(self.store.entries.vanished(PSA, [entry.ref], SEEN))
        else:
            open_again = entry.model_copy(update={"approved": False})
            self.do(self.store.entries.take_in([open_again], SEEN))

    @rule(id_=st.sampled_from(IDS), on=st.booleans())
    def hold(self, id_: str, on: bool) -> None:
        if on:
            self.do(self.store.subledger.hold(PSA, [self.ref(id_)], owner="maya@example.com"))
        else:
            self.do(self.store.subledger.unhold(PSA, [self.ref(id_)], by="maya@example.com"))

    @rule(run=st.sampled_from(RUNS), times=st.integers(1, 2))
    def claim(self, run: int, times: int) -> None:
        if self.stage[run] not in {"new", "claimed"}:
            return
        if self.stage[run] == "new":
            self.number[run] = self.do(
                self.store.runs.open(PSA, self.project, PERIOD, max(self.number.values()))
            )
        answers = [
            self.do(self.store.runs.claim(self.key(run), PSA, self.project, PERIOD))
            for _ in range(times)
        ]
        assert len({(answer.count, answer.content_hash) for answer in answers}) == 1
        self.stage[run] = "claimed"

    @rule(run=st.sampled_from(RUNS), to=st.sampled_from(STAGES), times=st.integers(1, 2))
    def go_on(self, run: int, to: str, times: int) -> None:
        """The next steps of a run, up to one of them, each once or twice."""
        if self.stage[run] == "new":
            self.claim(run, times)
        while STAGES.index(self.stage[run]) < STAGES.index(to):
            for _ in range(times):
                self.do(self.step(run))
            self.stage[run] = STAGES[STAGES.index(self.stage[run]) + 1]
        if self.stage[run] == "handed over":
            self.stage[run] = "new"

    async def step(self, run: int) -> None:
        runs, key = self.store.runs, self.key(run)
        if self.stage[run] == "claimed":
            await runs.store_rated(key, rate(await runs.load(key)))
        elif self.stage[run] == "rated":
            placed = await runs.place(key, allocate, DAY)
            self.placed.update(each.disposition.value for each in placed.amounts)
            self.placed["given back"] += any(
                each.amount.amount < 0 and each.disposition is not Disposition.OVER_CAP
                for each in placed.amounts
            )
        else:
            await runs.hand_over(key)

    @rule(run=st.sampled_from(RUNS), times=st.integers(1, 2))
    def undo(self, run: int, times: int) -> None:
        """Roll a run back, from wherever it is."""
        if self.stage[run] == "new":
            return
        self.placed["undone"] += self.stage[run] == "placed"
        for _ in range(times):
            self.do(self.store.runs.unplace(self.key(run)))
            self.do(self.store.runs.release(self.key(run)))
        self.stage[run] = "new"

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.do(_look(self.store.database, self.project)) == []

    @invariant()
    def sums_are_conserved(self) -> None:
        for row in self.do(self.store.subledger.conservation(self.project)):
            assert row.difference == 0, row


async def _awaited(act: Awaitable[T]) -> T:
    return await act


async def _look(database: Database, project: str) -> list[object]:
    """Return the names of the rules that are broken."""
    checks = " UNION ALL ".join(
        f"SELECT '{name.replace(chr(39), chr(39) * 2)}' FROM ({query}) AS found"
        for name, query in BROKEN.items()
    )
    return [row[0] for row in await database.rows(text(checks), {"project": project})]


async def _forced(database: Database, table: str, statement: str) -> None:
    """Do what triggers refuse, as somebody who owns the table could."""
    async with database.transaction() as session:
        await session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        await session.execute(text(statement))
        await session.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def test_acts_in_any_order_keep_every_invariant(database_url: SecretStr) -> None:
    loop = asyncio.new_event_loop()
    database = Database(database_url, pool_size=2)
    placed: Counter[str] = Counter()
    given = {"loop": loop, "store": Store(database), "placed": placed}
    machine = type("Machine", (SubledgerMachine,), given)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(database.aclose())
        loop.close()
    # A machine that never gets there proves nothing.
    assert min(placed[each] for each in ("to_bill", "over_cap", "given back", "undone")) >= 5, (
        placed
    )


@pytest.mark.parametrize(
    ("sees", "table", "statement"),
    [
        ("rated amount", "parts", "UPDATE parts SET amount = amount + 1"),
        ("not placed", "entry_versions", "UPDATE entry_versions SET state = 'rated'"),
        ("in no run", "run_entries", "UPDATE run_entries SET state = 'released'"),
        ("waits", "entry_versions", WAITING),
        ("consumption", "caps", "UPDATE caps SET reserved = reserved + 1, amount = amount + 1"),
        ("misses", "cap_uses", "DELETE FROM cap_uses"),
        ("balance", "retainers", "UPDATE retainers SET drawn = drawn + 1"),
        ("not one cost", "cost_track", "UPDATE cost_track SET state = 'reversed'"),
        ("no run holds", "entry_versions", WITHDRAWN),
        ("trail", "entry_versions", WITHDRAWN),
    ],
)
async def test_broken_rule_is_seen(store: Store, sees: str, table: str, statement: str) -> None:
    await store.engagements.put(contract(900, 900, id=f"crm/{PROJECT}"))
    entries = [time_entry("1"), time_entry("2", task_id="101")]
    await store.entries.take_in(entries, SEEN)
    await place(store)
    assert await _look(store.database, PROJECT) == []

    await _forced(store.database, table, statement)

    assert any(sees in str(name) for name in await _look(store.database, PROJECT))
