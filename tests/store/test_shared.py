"""Shared records: leases, uses, and who has to remove what."""

import asyncio

from canonical.records import RecordRef
from store import Store
from tests.store.build import record

CLIENT = "client/salesforce/001DT0000000001AAA"
ERP = "netsuite"


async def use(store: Store, saga: str, *, creates: bool = False) -> None:
    assert await store.shared.enter(CLIENT, ERP, saga, (saga, 1), 60) is not None
    await store.shared.record(CLIENT, ERP, record(), (saga, 1) if creates else None, owner=saga)


class TestLease:
    async def test_many_ask_at_once_one_gets_it(self, store: Store) -> None:
        granted = await asyncio.gather(
            *(store.shared.lease(CLIENT, ERP, f"saga-{n}", 60) for n in range(8))
        )

        assert sorted(granted) == [False] * 7 + [True]

    async def test_owner_gets_it_again_and_others_after_its_release(self, store: Store) -> None:
        assert await store.shared.lease(CLIENT, ERP, "one", 60)
        assert await store.shared.lease(CLIENT, ERP, "one", 60)
        await store.shared.release(CLIENT, ERP, "two")
        assert not await store.shared.lease(CLIENT, ERP, "two", 60)

        await store.shared.release(CLIENT, ERP, "one")

        assert await store.shared.lease(CLIENT, ERP, "two", 60)

    async def test_expired_lease_can_be_taken_by_one(self, store: Store) -> None:
        await store.shared.lease(CLIENT, ERP, "crashed", 0)

        granted = await asyncio.gather(
            *(store.shared.lease(CLIENT, ERP, f"saga-{n}", 60) for n in range(4))
        )

        assert granted.count(True) == 1

    async def test_leases_of_other_connections_are_free(self, store: Store) -> None:
        await store.shared.lease(CLIENT, ERP, "one", 60)

        assert await store.shared.lease(CLIENT, "kantata", "two", 60)

    async def test_who_finds_it_leased_registers_no_use(self, store: Store) -> None:
        await store.shared.lease(CLIENT, ERP, "one", 60)

        assert await store.shared.enter(CLIENT, ERP, "two", ("two", 1), 60) is None

        found = await store.shared.get(CLIENT, ERP)
        assert found is not None
        assert found.uses == 0

    async def test_entering_twice_counts_one_use_and_tells_what_is_known(
        self, store: Store
    ) -> None:
        await use(store, "one", creates=True)
        await store.shared.enter(CLIENT, ERP, "two", ("two", 1), 60)

        found = await store.shared.enter(CLIENT, ERP, "two", ("two", 1), 60)

        assert found is not None
        assert (found.record, found.uses) == (record(), 2)
        assert found.created_by is not None
        assert found.created_by.workflow_id == "one"

    async def test_recording_ends_the_own_lease_and_no_other(self, store: Store) -> None:
        await store.shared.enter(CLIENT, ERP, "one", ("one", 1), 60)

        await store.shared.record(CLIENT, ERP, record(), owner="two")
        assert not await store.shared.lease(CLIENT, ERP, "two", 60)

        await store.shared.record(CLIENT, ERP, record(), owner="one")
        assert await store.shared.lease(CLIENT, ERP, "two", 60)


class TestRecord:
    async def test_unknown_key_is_none(self, store: Store) -> None:
        assert await store.shared.get(CLIENT, ERP) is None

    async def test_leased_but_not_provisioned_has_no_record(self, store: Store) -> None:
        await store.shared.lease(CLIENT, ERP, "one", 60)

        found = await store.shared.get(CLIENT, ERP)

        assert found is not None
        assert (found.record, found.created_by, found.uses) == (None, None, 0)

    async def test_creator_stays_when_a_second_saga_finds_the_record(self, store: Store) -> None:
        await use(store, "one", creates=True)
        await use(store, "two")
        await store.shared.record(CLIENT, ERP, record(), ("two", 1))

        found = await store.shared.get(CLIENT, ERP)

        assert found is not None
        assert found.record == record()
        assert found.created_by is not None
        assert (found.created_by.workflow_id, found.uses) == ("one", 2)

    async def test_other_record_under_the_key_replaces_the_creator_too(self, store: Store) -> None:
        await use(store, "one", creates=True)
        other = RecordRef(system=ERP, type="client", id="999")

        await store.shared.record(CLIENT, ERP, other)

        found = await store.shared.get(CLIENT, ERP)
        assert found is not None
        assert (found.record, found.created_by) == (other, None)


class TestDropUse:
    async def test_only_user_that_created_it_may_remove_it(self, store: Store) -> None:
        await use(store, "one", creates=True)

        left = await store.shared.drop_use(CLIENT, ERP, "one", 1)

        assert (left.uses, left.created_by_dealthread, left.record) == (0, True, record())
        assert left.removable

    async def test_same_twice_answers_the_same_until_forgotten(self, store: Store) -> None:
        """A removal that the vendor refused is tried again."""
        await use(store, "one", creates=True)
        first = await store.shared.drop_use(CLIENT, ERP, "one", 1)

        assert await store.shared.drop_use(CLIENT, ERP, "one", 1) == first

        await store.shared.forget(CLIENT, ERP, record())
        assert not (await store.shared.drop_use(CLIENT, ERP, "one", 1)).removable

    async def test_record_that_existed_before_is_never_removable(self, store: Store) -> None:
        await use(store, "one")

        left = await store.shared.drop_use(CLIENT, ERP, "one", 1)

        assert (left.uses, left.removable) == (0, False)

    async def test_creator_passes_on_to_the_oldest_use_and_the_last_one_removes(
        self, store: Store
    ) -> None:
        await use(store, "one", creates=True)
        await use(store, "zz-second")
        await use(store, "aa-third")

        after_creator = await store.shared.drop_use(CLIENT, ERP, "one", 1)
        found = await store.shared.get(CLIENT, ERP)

        assert (after_creator.uses, after_creator.removable) == (2, False)
        assert found is not None
        assert found.created_by is not None
        assert found.created_by.workflow_id == "zz-second"
        assert not (await store.shared.drop_use(CLIENT, ERP, "zz-second", 1)).removable
        assert (await store.shared.drop_use(CLIENT, ERP, "aa-third", 1)).removable

    async def test_all_drop_at_once_exactly_one_has_to_remove(self, store: Store) -> None:
        sagas = [f"saga-{n}" for n in range(8)]
        for saga in sagas:
            await use(store, saga, creates=saga == "saga-3")

        left = await asyncio.gather(*(store.shared.drop_use(CLIENT, ERP, s, 1) for s in sagas))

        assert sorted(answer.uses for answer in left) == list(range(8))
        assert [answer.removable for answer in left].count(True) == 1

    async def test_unknown_key_has_nothing_to_remove(self, store: Store) -> None:
        assert not (await store.shared.drop_use(CLIENT, ERP, "one", 1)).removable

    async def test_use_registered_twice_counts_once(self, store: Store) -> None:
        await use(store, "one", creates=True)
        await use(store, "one", creates=True)

        assert (await store.shared.drop_use(CLIENT, ERP, "one", 1)).uses == 0
