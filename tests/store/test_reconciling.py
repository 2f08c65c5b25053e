"""The comparisons of reconciliation are sound SQL, and what they come to becomes findings."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from canonical.extracts import ExtractKind, ExtractRow, ExtractState
from canonical.failures import FailureDetail, FailureKind
from canonical.ids import Role
from canonical.money import Money
from canonical.reconciliation import (
    Candidate,
    Compared,
    Finding,
    FindingClass,
    FindingCode,
    Healing,
    ReconcilePlan,
    ScopedConnection,
)
from canonical.saga import WorkItem, WorkItemKind
from store import Store
from store.errors import Conflict
from store.reconciliation import Judgement, Scope
from store.reconciling_staging import COMPARISONS, ScratchLost

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SCOPE = Scope(psa="kantata", legal_entity="US", period="2026-11")
SYSTEMS = {
    Role.CRM: ScopedConnection(connection="salesforce", role=Role.CRM, queue="q"),
    Role.PSA: ScopedConnection(connection="kantata", role=Role.PSA, queue="q"),
    Role.ERP: ScopedConnection(connection="netsuite", role=Role.ERP, queue="q", subsidiary="2"),
    Role.BILLING_ENGINE: ScopedConnection(connection="stripe", role=Role.BILLING_ENGINE, queue="q"),
}


def plan(run: int) -> ReconcilePlan:
    return ReconcilePlan(
        run=run,
        psa="kantata",
        legal_entity="US",
        period="2026-11",
        since=date(2026, 11, 1),
        until=date(2026, 11, 30),
        connections=tuple(SYSTEMS.values()),
        tolerance_seconds=0,
    )


def row(kind: ExtractKind, id_: str = "1", **values: object) -> ExtractRow:
    return ExtractRow.model_validate(
        {"kind": kind, "id": id_, "state": ExtractState.OPEN, **values}
    )


async def opened(store: Store, now: datetime = NOW) -> int:
    run = await store.reconciliation.open(SCOPE, now=now, resume_since=now, by="", heal=False)
    return run.run


async def staged(store: Store, run: int, role: Role, kind: ExtractKind, *rows: ExtractRow) -> None:
    name = SYSTEMS[role].connection
    await store.staging.begin(run, name, kind, "a")
    await store.staging.put(run, name, kind, "a", rows)
    await store.staging.end(run, name, kind, "a", len(rows))


@pytest.mark.parametrize(
    ("role", "kind"), [(role, kind) for role, kinds in COMPARISONS.items() for kind in kinds]
)
async def test_a_comparison_is_sound_and_of_nothing_finds_nothing(
    store: Store, role: Role, kind: ExtractKind
) -> None:
    run = await opened(store)
    others = row(kind, amount=Money(amount=Decimal(1), currency="USD"), project_id="9")
    await staged(store, run, role, kind, others)
    compared = await store.staging.compare(plan(run), SYSTEMS[role], kind, 1)
    assert compared == Compared(
        connection=SYSTEMS[role].connection, kind=kind, rows=1, differences=0
    )


async def test_the_conservation_check_is_sound_and_finds_nothing(store: Store) -> None:
    run = await opened(store)
    assert await store.conserving.check(run) == 0
    assert await store.conserving.balances() == ()


# Findings.


def candidate(id_: str = "P1", **values: object) -> Candidate:
    return Candidate.model_validate(
        {
            "id": 1,
            "connection": "netsuite",
            "kind": "payment",
            "code": FindingCode.UNAPPLIED_PAYMENT,
            "record_type": "payment",
            "record_id": id_,
            "amount": Decimal("5.00"),
            "currency": "USD",
            **values,
        }
    )


def judgement(**values: object) -> Judgement:
    return Judgement.model_validate(
        {
            "class_": FindingClass.MISMATCH,
            "explanation": "5.00 USD belong to no invoice.",
            "remedy": "Apply it.",
            "healing": Healing.NONE,
            "queue": True,
            **values,
        }
    )


def item(finding: Finding) -> WorkItem:
    return WorkItem(
        id=f"{finding.name}-{finding.opens}",
        workflow_id="reconcile/kantata/US/2026-11",
        generation=1,
        step="reconcile",
        key=finding.key,
        park=1,
        kind=WorkItemKind.FINDING,
        failure=FailureDetail(
            kind=FailureKind.REJECTED, reason=finding.code, message=finding.explanation
        ),
        opened_at=NOW,
        respond_by=NOW + timedelta(days=1),
    )


async def found(
    store: Store, hours: int, *candidates: Candidate, may_queue: int = 10, **values: object
) -> tuple[int, int, int]:
    """Run once, so many hours later; return the run, what was queued, and what was closed."""
    now = NOW + timedelta(hours=hours)
    run = await opened(store, now)
    judged = [(each, judgement(**values)) for each in candidates]
    queued = await store.reconciliation.put(run, SCOPE, judged, item, now=now, may_queue=may_queue)
    compared = [Compared(connection="netsuite", kind="payment", rows=1, differences=len(judged))]
    closed = await store.reconciliation.close_gone(run, SCOPE, compared, now=now)
    await store.reconciliation.end(run, compared, {}, now=now)
    return run, queued, closed


async def test_a_finding_is_one_over_all_runs_and_closes_with_its_work_item(store: Store) -> None:
    first, queued, _ = await found(store, 0, candidate())
    assert queued == 1
    second, queued, _ = await found(store, 1, candidate())
    assert queued == 0
    (finding,) = await store.reconciliation.findings()
    assert (finding.first_run, finding.last_run, finding.opens) == (first, second, 1)
    waiting = await store.work_items.get(finding.work_item)
    assert waiting is not None
    assert waiting.open

    third, _, closed = await found(store, 2)
    assert closed == 1
    assert await store.reconciliation.findings() == ()
    done = await store.work_items.get(finding.work_item)
    assert done is not None
    assert not done.open
    assert f"R{third}" in done.how

    _, queued, _ = await found(store, 3, candidate())
    (again,) = await store.reconciliation.findings()
    assert (again.id, again.opens, queued) == (finding.id, 2, 1)
    assert again.work_item != finding.work_item


async def test_a_run_closes_only_what_it_compared(store: Store) -> None:
    await found(store, 0, candidate(kind="charge", code=FindingCode.UNKNOWN_CHARGE))
    _, _, closed = await found(store, 1)
    assert closed == 0
    assert len(await store.reconciliation.findings()) == 1


async def test_what_one_run_may_not_queue_a_later_one_does(store: Store) -> None:
    both = (candidate("P1"), candidate("P2"))
    assert (await found(store, 0, *both, may_queue=1))[1] == 1
    assert (await found(store, 1, *both, may_queue=1))[1] == 1
    assert all(each.work_item for each in await store.reconciliation.findings())


async def test_a_gap_of_timing_is_queued_once_it_is_none(store: Store) -> None:
    await found(store, 0, candidate(), class_=FindingClass.TIMING_GAP, queue=False)
    (finding,) = await store.reconciliation.findings()
    assert finding.work_item == ""
    await found(store, 1, candidate())
    (finding,) = await store.reconciliation.findings()
    assert finding.class_ is FindingClass.MISMATCH
    assert finding.work_item != ""


async def test_what_was_mended_and_is_found_again_is_not_tried_again(store: Store) -> None:
    run, _, _ = await found(store, 0, candidate(), healing=Healing.LOOK, queue=False)
    (finding,) = await store.reconciliation.healable(run, 0, 10)
    await store.reconciliation.healed(finding.id, "had it looked at")
    run, _, _ = await found(store, 1, candidate(), healing=Healing.LOOK)
    assert await store.reconciliation.healable(run, 0, 10) == ()


# Runs and their scratch.


async def test_a_run_that_did_not_end_is_resumed_or_given_up(store: Store) -> None:
    first = await opened(store)
    now = NOW + timedelta(hours=1)
    again = await store.reconciliation.open(SCOPE, now=now, resume_since=NOW, by="", heal=False)
    assert (again.run, again.resumed) == (first, True)
    late = NOW + timedelta(minutes=30)
    other = await store.reconciliation.open(SCOPE, now=now, resume_since=late, by="", heal=False)
    assert other.run != first
    assert not other.resumed
    assert (await store.reconciliation.run(first)).state == "superseded"


async def test_an_attempt_that_takes_over_begins_a_kind_anew(store: Store) -> None:
    run, kind = await opened(store), ExtractKind.PAYMENT
    page = (row(kind),)
    await store.staging.begin(run, "netsuite", kind, "a")
    await store.staging.put(run, "netsuite", kind, "a", page)
    await store.staging.begin(run, "netsuite", kind, "b")
    with pytest.raises(ScratchLost):
        await store.staging.put(run, "netsuite", kind, "a", page)
    await store.staging.put(run, "netsuite", kind, "b", page)
    assert await store.staging.listed(run, "netsuite", kind) is None
    await store.staging.end(run, "netsuite", kind, "b", 1)
    assert await store.staging.listed(run, "netsuite", kind) == 1
    with pytest.raises(Conflict):
        await store.staging.begin(run, "netsuite", kind, "c")
    count = text("SELECT count(*) FROM reconciliation_rows WHERE run = :run")
    assert (await store.database.rows(count, {"run": run}))[0][0] == 1


async def test_a_comparison_of_what_is_not_listed_any_more_says_so(store: Store) -> None:
    run, kind = await opened(store), ExtractKind.PAYMENT
    await staged(store, run, Role.ERP, kind)
    await store.database.run(text("TRUNCATE reconciliation_extracts, reconciliation_rows"))
    with pytest.raises(ScratchLost):
        await store.staging.compare(plan(run), SYSTEMS[Role.ERP], kind, 0)
