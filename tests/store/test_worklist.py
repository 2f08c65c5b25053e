"""The worklist: each source appears in it and leaves it by itself; owners, comments, residue."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from canonical.engagement import Engagement
from canonical.entries import EntryKind, HoldReason
from canonical.money import Money
from canonical.records import UndoReceipt, UndoResult
from canonical.saga import (
    CloseWorkItem,
    OpenWorkItem,
    Outcome,
    SagaPlan,
    SagaResult,
    StepReport,
    StepState,
    WorkItemKind,
)
from canonical.worklist import COMMENTS_MAX, Cluster, Work, WorkFilter, WorkSort
from store import Store
from store.errors import Conflict, NotFound, StoreError
from store.watching import Length
from tests.store import billing
from tests.store.build import OPENED, SAGA, begin, ended, work_item

HOLD, RESPOND = 1_000_000.0, 3_600.0
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def usd(amount: int) -> Money:
    return Money(amount=Decimal(amount).quantize(Decimal("0.01")), currency="USD")


async def listed(
    store: Store, sort: WorkSort = WorkSort.URGENCY, limit: int = 50, offset: int = 0, **wanted: Any
) -> list[Work]:
    return [
        *await store.worklist.list(
            WorkFilter(**wanted),
            hold_seconds=HOLD,
            respond_seconds=RESPOND,
            sort=sort,
            limit=limit,
            offset=offset,
        )
    ]


async def clusters(store: Store, **wanted: Any) -> tuple[Cluster, ...]:
    return await store.worklist.clusters(
        WorkFilter(**wanted), hold_seconds=HOLD, respond_seconds=RESPOND
    )


async def ids(store: Store, **wanted: Any) -> list[str]:
    return [work.id for work in await listed(store, **wanted)]


async def open_item(store: Store, item_id: str, amount: str = "", **changes: Any) -> None:
    failure = {"reason": changes.pop("reason", "invalid")}
    item = work_item(item_id, workflow_id=f"opportunity-to-project/salesforce/{item_id}")
    item = item.model_copy(
        update={"amount": amount, "failure": item.failure.model_copy(update=failure), **changes}
    )
    await store.work_items.open(OpenWorkItem(item=item))


# Sources.


async def test_a_work_item_is_listed_with_all_that_it_says_until_it_is_closed(store: Store) -> None:
    await open_item(
        store,
        "WI-1",
        "12,500.00 USD",
        connection="netsuite",
        client_id="001",
        project_code="P-7",
        legal_entities=("US", "DE"),
        title="Northwind",
    )

    (work,) = await listed(store)

    assert (work.id, work.kind, work.step) == ("WI-1", WorkItemKind.STEP, "provision_client")
    assert (work.reason, work.message, work.title) == ("invalid", "No tax id.", "Northwind")
    assert work.amount == Money(amount=Decimal("12500.00"), currency="USD")
    assert (work.client_id, work.project_code) == ("001", "P-7")
    assert work.legal_entities == ("US", "DE")
    assert work.verbs == work_item().verbs
    await store.work_items.close(CloseWorkItem(work_item_id="WI-1", park=1, how="retry"))
    assert await listed(store) == []


async def test_held_entries_are_one_line_by_project_and_reason_and_go_when_released(
    store: Store,
) -> None:
    await store.engagements.put(billing.contract())
    entries = [billing.time_entry(str(number)) for number in range(1, 5)]
    expense = billing.time_entry("9", kind=EntryKind.EXPENSE, amount=usd(80), task_id="")
    expense = expense.model_copy(update={"minutes": None})
    await store.entries.take_in([*entries, expense], billing.SEEN)
    for refs, reason in (
        ([entry.ref for entry in entries[:3]], HoldReason.NO_RATE),
        ([expense.ref], HoldReason.BY_HAND),
    ):
        await store.subledger.hold(
            billing.PSA, refs, owner="maya", reason=reason, because="who is she"
        )

    by_hand, no_rate = sorted(await listed(store), key=lambda work: work.reason)

    assert (no_rate.kind, no_rate.count, no_rate.reason) == (WorkItemKind.HELD, 3, "no_rate")
    assert (no_rate.amount, by_hand.amount) == (None, usd(80))
    assert no_rate.message == "3 entries are held for no rate: who is she"
    assert (no_rate.client_id, no_rate.project_code) == ("C1", billing.PROJECT)
    assert (no_rate.connection, no_rate.legal_entities) == (billing.PSA, ("US",))
    assert no_rate.respond_by - no_rate.opened_at == timedelta(seconds=HOLD)
    assert await ids(store, reason="no_rate", legal_entity="US") == [no_rate.id]
    assert await ids(store, legal_entity="DE") == []

    await store.subledger.unhold(billing.PSA, [entries[0].ref], by="maya")
    assert [work.count for work in await listed(store, reason="no_rate")] == [2]
    await store.subledger.unhold(billing.PSA, [entry.ref for entry in entries], by="maya")
    assert await ids(store) == [by_hand.id]


async def test_a_placed_entry_that_is_held_says_what_it_is_worth(store: Store) -> None:
    await store.engagements.put(billing.contract())
    await store.entries.take_in([billing.time_entry("1")], billing.SEEN)
    await billing.hand_over(store)
    await store.subledger.hold(billing.PSA, [billing.ref("1")], owner="maya")

    (work,) = await listed(store)

    assert work.amount == usd(120)


async def left_behind(store: Store, outcome: Outcome = Outcome.ROLLED_BACK_WITH_RESIDUE) -> None:
    await store.sagas.begin(begin())
    plan = SagaPlan(bundle="b", title="Northwind", client_id="001", amount="900.00 USD")
    await store.sagas.save_plan(SAGA, 1, plan.model_dump_json(), "b")
    undo = UndoReceipt(result=UndoResult.KEPT, residue="the project has time on it")
    step = StepReport(
        step="provision_psa_project", key="k", state=StepState.RESIDUE, system="kantata", undo=undo
    )
    await store.sagas.finish(
        SagaResult(workflow_id=SAGA, generation=1, outcome=outcome, steps=(step,))
    )


async def test_residue_waits_until_somebody_acknowledges_it_with_a_reason(store: Store) -> None:
    await left_behind(store)
    (work,) = await listed(store)
    assert (work.kind, work.workflow_id, work.title) == (WorkItemKind.RESIDUE, SAGA, "Northwind")
    assert work.message == "Left behind: provision_psa_project: the project has time on it"
    assert (work.amount, work.client_id) == (usd(900), "001")

    await store.worklist.acknowledge(work, by="olivia", because="deleted by hand")
    await store.worklist.acknowledge(work, by="fiona", because="again")

    assert await listed(store) == []
    acts = [entry for entry in await store.audit.trail(SAGA) if entry.act == "residue_acknowledged"]
    assert [(entry.actor, "deleted by hand" in entry.data_json) for entry in acts] == [
        ("olivia", True)
    ]
    assert await store.audit.verify(SAGA) is None


async def test_a_saga_that_ends_another_time_without_residue_leaves_none(store: Store) -> None:
    await left_behind(store, Outcome.COMPLETED_WITH_RESIDUE)
    assert len(await listed(store)) == 1
    await store.sagas.finish(ended(Outcome.COMPLETED))
    assert await listed(store) == []


async def test_only_residue_is_acknowledged(store: Store) -> None:
    await open_item(store, "WI-1")
    (work,) = await listed(store)
    with pytest.raises(NotFound):
        await store.worklist.acknowledge(work, by="olivia", because="no")


async def test_a_sagas_end_closes_what_it_waited_for_and_not_what_others_found(
    store: Store,
) -> None:
    await store.sagas.begin(begin())
    for item_id, kind in (
        ("WI-1", WorkItemKind.STEP),
        ("WI-2", WorkItemKind.STUCK),
        ("WI-3", WorkItemKind.FINDING),
    ):
        await open_item(store, item_id, kind=kind, workflow_id=SAGA, key=item_id)
    await store.sagas.finish(ended(Outcome.COMPLETED))
    assert await ids(store) == ["WI-3"]


# Filters and order.


async def test_filters_narrow_and_pages_follow_one_another(store: Store) -> None:
    await open_item(store, "WI-1", connection="netsuite", reason="missing_mapping")
    await open_item(store, "WI-2", connection="kantata", reason="missing_mapping", client_id="001")
    await open_item(
        store,
        "WI-3",
        kind=WorkItemKind.GATE,
        legal_entities=("DE",),
        project_code="P-1",
        respond_by=NOW + timedelta(days=9_000),
    )

    assert await ids(store, reason="missing_mapping") == ["WI-1", "WI-2"]
    assert await ids(store, reason="missing_mapping", connection="netsuite") == ["WI-1"]
    assert await ids(store, client_id="001") == ["WI-2"]
    assert await ids(store, legal_entity="DE") == ["WI-3"]
    assert await ids(store, project_code="P-1") == ["WI-3"]
    assert await ids(store, kinds=(WorkItemKind.GATE, WorkItemKind.HELD)) == ["WI-3"]
    assert await ids(store, overdue=True) == ["WI-1", "WI-2"]
    assert [work.id for work in await listed(store, limit=2)] == ["WI-1", "WI-2"]
    assert [work.id for work in await listed(store, limit=2, offset=2)] == ["WI-3"]


async def test_by_money_the_largest_of_each_currency_comes_first(store: Store) -> None:
    for item_id, amount in (
        ("WI-1", "10.00 USD"),
        ("WI-2", "9,000,000 JPY"),
        ("WI-3", "1,000.00 USD"),
        ("WI-4", ""),
        ("WI-5", "8,000,000 JPY"),
        ("WI-6", "what nobody reads as money"),
    ):
        await open_item(store, item_id, amount)

    found = [work.id for work in await listed(store, sort=WorkSort.MONEY)]

    assert found == ["WI-2", "WI-3", "WI-5", "WI-1", "WI-4", "WI-6"]


async def test_clusters_join_what_has_one_cause_with_the_money_of_each_currency(
    store: Store,
) -> None:
    mapping = {"reason": "missing_mapping", "connection": "netsuite"}
    await open_item(store, "WI-1", "10.00 USD", **mapping)
    await open_item(store, "WI-2", "20.00 USD", **mapping)
    await open_item(store, "WI-3", "500 JPY", **mapping, opened_at=OPENED - timedelta(days=1))
    await open_item(store, "WI-4", reason="duplicate", connection="netsuite")

    first, second = await clusters(store)

    assert (first.reason, first.count, first.overdue) == ("missing_mapping", 3, 3)
    assert (first.oldest, first.example) == (OPENED - timedelta(days=1), "WI-1")
    assert first.money == (Money(amount=Decimal(500), currency="JPY"), usd(30))
    assert (second.reason, second.count, second.money) == ("duplicate", 1, ())
    assert [each.reason for each in await clusters(store, kinds=("gate",))] == []


# Owners and comments.


async def test_an_owner_is_put_down_once_and_handed_on_with_a_trail(store: Store) -> None:
    await open_item(store, "WI-1")
    (work,) = await listed(store, unowned=True)
    for owner, by in (("olivia", "olivia"), ("olivia", "ada"), ("fiona", "olivia")):
        await store.worklist.assign(work, owner, by=by)

    assert [each.owner for each in await listed(store, owner="fiona")] == ["fiona"]
    assert await ids(store, unowned=True) == []
    assert await ids(store, owner="olivia") == []
    trail = await store.audit.trail(work.workflow_id)
    assert [entry.actor for entry in trail if entry.act == "work_assigned"] == ["olivia", "olivia"]


async def test_comments_stay_as_they_are_and_are_not_without_number(store: Store) -> None:
    await open_item(store, "WI-1")
    (work,) = await listed(store)
    for number in range(COMMENTS_MAX):
        await store.worklist.comment(work, f"comment {number}", by="olivia")

    with pytest.raises(Conflict, match="takes no more"):
        await store.worklist.comment(work, "one more", by="olivia")

    comments = await store.worklist.comments("WI-1")
    assert [each.text for each in comments] == [f"comment {n}" for n in range(COMMENTS_MAX)]
    assert [each.comments for each in await listed(store)] == [COMMENTS_MAX]
    for change in ("UPDATE work_comments SET comment = 'x'", "DELETE FROM work_comments"):
        with pytest.raises(StoreError):
            await store.database.run(text(change))


# The watch's memory.


async def test_the_watch_looks_first_at_what_it_has_not_seen_for_the_longest(store: Store) -> None:
    listed_ = [f"run-{number}" for number in range(6)]

    async def turn(at: datetime, limit: int = 3) -> list[str]:
        chosen = await store.watching.next(listed_, before=NOW, limit=limit)
        await store.watching.seen({each: Length("r", 5) for each in chosen}, at)
        return sorted(chosen)

    rounds = [await turn(NOW + timedelta(minutes=number)) for number in range(4)]

    assert rounds == [listed_[:3], listed_[3:], listed_[:3], listed_[3:]]


async def test_a_flood_of_one_kind_does_not_keep_the_watch_from_the_others(store: Store) -> None:
    for number in range(20):
        await open_item(
            store, f"WI-{number}", kind=WorkItemKind.STUCK, workflow_id=f"stuck-{number}"
        )
    await store.sagas.begin(begin())  # it runs nowhere
    later = datetime.now(UTC) + timedelta(hours=1)

    chosen = await store.watching.next(["run-1", "run-2"], before=later, limit=6)

    assert {SAGA, "run-1", "run-2"} < {*chosen}
    assert len(chosen) == 6


async def test_since_when_nothing_changed_is_remembered_until_it_does(store: Store) -> None:
    async def seen(run: str, length: int, minutes: int) -> datetime:
        at = NOW + timedelta(minutes=minutes)
        return (await store.watching.seen({"w": Length(run, length)}, at))["w"]

    assert await seen("r1", 5, 0) == NOW
    assert await seen("r1", 5, 1) == NOW
    assert await seen("r1", 6, 2) == NOW + timedelta(minutes=2)
    assert await seen("r2", 6, 3) == NOW + timedelta(minutes=3)


def engagement_of(project: str) -> Engagement:
    return billing.contract(project=project)


async def test_holds_of_two_projects_are_two_groups_and_age_each_for_itself(store: Store) -> None:
    for number, project in enumerate(("5001", "5002"), start=1):
        await store.engagements.put(
            engagement_of(project).model_copy(update={"id": f"salesforce/{project}"})
        )
        entry = billing.time_entry(str(number), project_id=project)
        await store.entries.take_in([entry], billing.SEEN)
        await store.subledger.hold(billing.PSA, [entry.ref], owner="maya")
    older = "UPDATE holds SET since = since - interval '30 days' WHERE entry_id = '1'"
    await store.database.run(text(older))

    (aged,) = await store.worklist.aged_holds(datetime.now(UTC) - timedelta(days=14))

    (work,) = await listed(store, project_code="5001")
    assert work.id == aged
    assert await ids(store, overdue=True) == [aged]
