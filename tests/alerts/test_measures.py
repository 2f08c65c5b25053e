"""What each service level counts, on the real database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from canonical.alerts import Measure, Waiting
from canonical.drafts import DraftState
from canonical.saga import CloseWorkItem, OpenWorkItem, Outcome, WorkItemKind
from store import Store
from store.inbox import NewEvent
from tests.store import billing, invoicing
from tests.store.build import OPENED, SAGA, begin, ended, work_item

LATER = datetime(2027, 6, 1, tzinfo=UTC)


async def found(store: Store, measure: Measure, before: datetime = LATER) -> list[Waiting]:
    return [*await store.alert_measures.waiting(measure, before)]


@pytest.mark.parametrize("measure", Measure)
async def test_nothing_waits_in_an_empty_store(store: Store, measure: Measure) -> None:
    assert await found(store, measure) == []


async def test_a_deal_waits_until_its_saga_ends(store: Store) -> None:
    await store.sagas.begin(begin())
    plan = '{"title": "Acme", "legal_entities": ["US", "DE"]}'
    planned = text("UPDATE saga_generations SET plan_json = :plan, opened_at = :at")
    await store.database.run(planned, {"plan": plan, "at": OPENED})

    deals = await found(store, Measure.TIME_TO_PROJECT)
    assert {(each.subject, each.entity, each.title, each.since) for each in deals} == {
        (SAGA, entity, "Acme", OPENED) for entity in ("US", "DE")
    }
    assert await found(store, Measure.TIME_TO_PROJECT, OPENED) == []

    await store.sagas.finish(ended(Outcome.COMPLETED))
    assert await found(store, Measure.TIME_TO_PROJECT) == []


async def test_time_waits_from_its_approval_until_it_is_invoiced(store: Store) -> None:
    await store.engagements.put(invoicing.billed_contract(title="Acme rollout"))
    await store.entries.take_in([billing.time_entry("1")], billing.SEEN)

    async def waits() -> list[tuple[str, str, str, str]]:
        return [
            (each.subject, each.entity, each.title, str(each.amount))
            for each in await found(store, Measure.APPROVED_TIME_UNBILLED)
        ]

    project = f"{billing.PSA}/{billing.PROJECT}"
    assert await waits() == [(project, "US", "Acme rollout", "None")]

    await billing.hand_over(store)
    free = await store.drafts.billables(project_id=billing.PROJECT, on=invoicing.ON)
    assert await waits() == [(project, "US", "Acme rollout", "120.00 USD")]

    draft = await invoicing.opened(store, free)
    assert len(await waits()) == 1
    await invoicing.release(store, draft.id)
    assert len(await waits()) == 1
    await store.database.run(text("ALTER TABLE parts DISABLE TRIGGER USER"))
    await store.database.run(text("UPDATE parts SET state = 'invoiced'"))
    assert await waits() == []


async def test_time_that_is_not_billable_waits_for_nobody(store: Store) -> None:
    await store.engagements.put(invoicing.billed_contract())
    await store.entries.take_in([billing.time_entry("1", billable=False)], billing.SEEN)
    assert await found(store, Measure.APPROVED_TIME_UNBILLED) == []


async def test_a_draft_in_review_waits_from_its_deadline(store: Store) -> None:
    await store.engagements.put(invoicing.billed_contract())
    free = await invoicing.billed(store, "1")
    draft = await invoicing.opened(store, free, state=DraftState.IN_REVIEW)

    (late,) = await found(store, Measure.DRAFT_IN_REVIEW)
    assert (late.workflow_id, late.entity) == (draft.id, "US")
    assert late.since == draft.review_until
    assert await found(store, Measure.DRAFT_IN_REVIEW, invoicing.NOW) == []


async def test_open_work_is_counted_by_deadline_and_kind(store: Store) -> None:
    item = work_item().model_copy(update={"legal_entities": ("US", "DE")})
    stuck = work_item("WI-2", workflow_id="other").model_copy(
        update={"kind": WorkItemKind.STUCK, "key": "other"}
    )
    dead = work_item("WI-3", workflow_id="third").model_copy(
        update={"kind": WorkItemKind.DEAD_LETTER, "key": "third"}
    )
    for each in (item, stuck, dead):
        await store.work_items.open(OpenWorkItem(item=each))

    late = await found(store, Measure.WORK_OVERDUE)
    assert {(each.subject, each.entity) for each in late} == {
        *(("WI-1", "US"), ("WI-1", "DE"), ("WI-2", ""), ("WI-3", ""))
    }
    assert await found(store, Measure.WORK_OVERDUE, item.respond_by) == []
    assert [each.subject for each in await found(store, Measure.STUCK_RUN)] == ["WI-2"]
    assert [each.subject for each in await found(store, Measure.DEAD_LETTER)] == ["WI-3"]

    await store.work_items.close(CloseWorkItem(work_item_id="WI-2", park=1, how="gone"))
    assert await found(store, Measure.STUCK_RUN) == []


async def test_events_that_were_not_handed_on_count_by_connection(store: Store) -> None:
    for name in ("a", "b"):
        event = NewEvent(
            connection="stripe", event_id=name, protocol="stripe", kind="x", subject="", body=b"{}"
        )
        await store.inbox.put([event])

    (late,) = await found(store, Measure.INBOX_WAITING)
    assert (late.subject, late.title) == ("stripe", "2 events")
    assert await found(store, Measure.INBOX_WAITING, late.since - timedelta(hours=1)) == []


async def test_a_sum_that_does_not_hold_counts_until_it_holds(store: Store) -> None:
    insert = text("""
        INSERT INTO reconciliation_findings (key, comparison, code, class, system, record_type,
            record_id, explanation, rows, first_run, last_run, first_seen_at, last_seen_at,
            legal_entity, amount, currency)
        VALUES ('k', 'conservation', 'part_astray', 'mismatch', 'dealthread', 'part', '1', 'why',
            '[]', 1, 1, :at, :at, 'US', 5, 'USD')
    """)
    await store.database.run(insert, {"at": OPENED})
    (broken,) = await found(store, Measure.CONSERVATION_BREAK)
    assert (broken.entity, broken.since, str(broken.amount)) == ("US", OPENED, "5.00 USD")
    await store.database.run(text("UPDATE reconciliation_findings SET closed_at = now()"))
    assert await found(store, Measure.CONSERVATION_BREAK) == []
