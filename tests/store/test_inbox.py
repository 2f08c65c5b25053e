"""The inbox: once per connection and id, forgotten only when well ended; marks only go forward."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from store import Store
from store.errors import Conflict
from store.inbox import EventState, NewEvent, Settled, event_of, work_item_id

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def event(event_id: str, connection: str = "stripe", **given: str) -> NewEvent:
    values = {"protocol": "stripe", "kind": "invoice.paid", "subject": ""} | given
    return NewEvent(connection=connection, event_id=event_id, body=b"{}", **values)


async def test_an_id_counts_once_per_connection_within_a_batch_and_across(store: Store) -> None:
    fresh = await store.inbox.put([event("a"), event("b"), event("a"), event("a", "kantata")])
    assert fresh == {("stripe", "a"), ("stripe", "b"), ("kantata", "a")}
    assert await store.inbox.put([event("b"), event("c")]) == {("stripe", "c")}
    assert len(await store.inbox.list()) == 4


async def test_the_same_from_many_at_once_is_new_to_one(store: Store) -> None:
    answers = await asyncio.gather(*(store.inbox.put([event("a")]) for _ in range(10)))
    assert sorted(map(len, answers)) == [0] * 9 + [1]


@pytest.mark.parametrize("wrong", [event("a\0"), event("x" * 256), event("a", subject="y" * 256)])
async def test_what_the_database_refuses_is_a_conflict_and_keeps_nothing(
    store: Store, wrong: NewEvent
) -> None:
    with pytest.raises(Conflict):
        await store.inbox.put([event("good"), wrong])
    assert await store.inbox.list() == ()


async def test_lists_by_state_and_connection_the_youngest_first(store: Store) -> None:
    await store.inbox.put([event("a"), event("b"), event("c", "kantata")])
    async with store.inbox.batch(1) as batch:
        await batch.settle([Settled(batch.taken[0].event.id, EventState.IGNORED, reason="x: y")])
    names = [each.event_id for each in await store.inbox.list()]
    assert names == ["c", "b", "a"]
    ignored = await store.inbox.list(state=EventState.IGNORED)
    assert [(each.event_id, each.reason) for each in ignored] == [("a", "x: y")]
    assert [each.event_id for each in await store.inbox.list(connection="kantata")] == ["c"]
    count, oldest = await store.inbox.waiting()
    assert count == 2
    assert oldest is not None
    assert await store.inbox.dead() == 0


async def test_a_block_that_fails_settles_nothing(store: Store) -> None:
    await store.inbox.put([event("a")])
    with pytest.raises(ZeroDivisionError):
        async with store.inbox.batch(10) as batch:
            await batch.settle([Settled(batch.taken[0].event.id, EventState.DELIVERED)])
            raise ZeroDivisionError
    (found,) = await store.inbox.list()
    assert (found.state, found.attempts) == (EventState.RECEIVED, 0)


async def test_only_what_ended_well_and_long_ago_is_forgotten(store: Store) -> None:
    await store.inbox.put([event(name) for name in ("delivered", "ignored", "dead", "received")])
    async with store.inbox.batch(3) as batch:
        await batch.settle(
            [Settled(each.event.id, EventState(each.event.event_id)) for each in batch.taken]
        )
    assert await store.inbox.forget(datetime.now(UTC) - timedelta(days=1)) == 0
    assert await store.inbox.forget(datetime.now(UTC) + timedelta(days=1)) == 2
    assert {each.event_id for each in await store.inbox.list()} == {"dead", "received"}


async def test_a_work_item_names_its_event(store: Store) -> None:
    await store.inbox.put([event("a")])
    (found,) = await store.inbox.list()
    assert event_of(work_item_id(found)) == str(found.id)


async def test_a_mark_never_goes_back(store: Store) -> None:
    assert await store.poll_marks.get("kantata") is None
    for mark in (NOW, NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW):
        await store.poll_marks.move("kantata", mark)
    assert await store.poll_marks.get("kantata") == NOW + timedelta(hours=1)
