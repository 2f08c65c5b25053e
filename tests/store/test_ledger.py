"""The step ledger: claims against closing, what is recalled, what is never forgotten."""

import asyncio

import pytest

from canonical.records import UndoReceipt, UndoResult
from canonical.saga import Outcome
from store import Store
from store.errors import GenerationClosed
from store.ledger import AttemptOutcome, Recalled
from tests.store.build import SAGA, attempt, begin, ended, receipt

NOT_DONE, UNKNOWN = AttemptOutcome.NOT_DONE, AttemptOutcome.UNKNOWN
KEY = attempt().key


@pytest.fixture
async def saga(store: Store) -> Store:
    """A store in which generation 1 of the saga is open."""
    await store.sagas.begin(begin())
    return store


async def recalled(store: Store, round_: int = 0) -> Recalled:
    found = await store.ledger.recall(KEY, round_)
    assert found is not None
    return found


class TestClaim:
    async def test_nothing_recorded_recalls_nothing(self, saga: Store) -> None:
        assert await saga.ledger.recall(KEY) is None

    async def test_claimed_step_may_have_written(self, saga: Store) -> None:
        await saga.ledger.claim(attempt())

        found = await recalled(saga)

        assert (found.attempts, found.outcome_unknown, found.done) == (1, True, None)

    async def test_closed_generation_refuses(self, saga: Store) -> None:
        await saga.sagas.close_generation(SAGA, 1, "cancelled")

        with pytest.raises(GenerationClosed):
            await saga.ledger.claim(attempt())

        assert await saga.ledger.recall(KEY) is None

    async def test_ended_generation_refuses(self, saga: Store) -> None:
        await saga.sagas.finish(ended(Outcome.COMPLETED))

        with pytest.raises(GenerationClosed):
            await saga.ledger.claim(attempt())

    async def test_unknown_generation_refuses(self, saga: Store) -> None:
        with pytest.raises(GenerationClosed):
            await saga.ledger.claim(attempt(generation=2))

    async def test_closed_generation_refuses_a_repeated_claim_too(self, saga: Store) -> None:
        await saga.ledger.claim(attempt())
        await saga.sagas.close_generation(SAGA, 1, "cancelled")

        with pytest.raises(GenerationClosed):
            await saga.ledger.claim(attempt())

    async def test_claims_race_with_close_none_appears_after_it(self, saga: Store) -> None:
        """What `close_generation` leaves behind is all there will ever be."""

        async def close_and_look() -> set[str]:
            await asyncio.sleep(0.01)  # some claims first: both sides must win some
            await saga.sagas.close_generation(SAGA, 1, "cancelled")
            return {entry.step for entry in await saga.ledger.entries(SAGA, 1)}

        async def claim(step: str) -> str | None:
            for number in range(1, 40):
                try:
                    await saga.ledger.claim(attempt(f"{step}_{number}"))
                except GenerationClosed:
                    return None
            return step

        seen, *claims = await asyncio.gather(close_and_look(), *(claim(f"s{n}") for n in range(6)))

        assert seen
        assert None in claims
        assert {e.step for e in await saga.ledger.entries(SAGA, 1)} == seen

    async def test_claim_in_flight_makes_close_wait_for_it(self, saga: Store) -> None:
        from sqlalchemy import text

        from store.ledger import _CLAIM, _values

        values = _values(attempt()) | {"before_image": None}
        async with saga.database.transaction() as session:
            await session.execute(_CLAIM, values)
            closing = asyncio.create_task(saga.sagas.close_generation(SAGA, 1, "cancelled"))
            waiting = text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            async with asyncio.timeout(10):
                while (await saga.database.rows(waiting))[0][0] == 0:
                    assert not closing.done(), "the generation closed beside a claim in flight"
        await closing

        assert [entry.step for entry in await saga.ledger.entries(SAGA, 1)] == ["provision_client"]


class TestBeforeImage:
    async def test_image_of_the_first_attempt_that_may_have_written_stays(
        self, saga: Store
    ) -> None:
        await saga.ledger.claim(attempt(number=1), before_image="before")
        await saga.ledger.record_failed(attempt(number=1), UNKNOWN, 1.0, "timeout")
        await saga.ledger.claim(attempt(number=2), before_image="our own write")

        assert (await recalled(saga)).before_image == "before"

    async def test_repeated_claim_of_the_same_attempt_keeps_the_image(self, saga: Store) -> None:
        await saga.ledger.claim(attempt(), before_image="before")
        await saga.ledger.claim(attempt(), before_image="our own write")

        assert (await recalled(saga)).before_image == "before"

    async def test_attempt_without_effect_gives_way_to_the_image_of_the_next(
        self, saga: Store
    ) -> None:
        await saga.ledger.claim(attempt(number=1), before_image="of a record never written")
        await saga.ledger.record_failed(attempt(number=1), NOT_DONE, 1.0, "invalid")
        await saga.ledger.claim(attempt(number=2), before_image="before")

        assert (await recalled(saga)).before_image == "before"


class TestOutcomes:
    async def test_done_is_recalled_with_its_receipt(self, saga: Store) -> None:
        await saga.ledger.claim(attempt())
        await saga.ledger.record_done(attempt(), receipt("501", "7"), seconds=0.5)

        found = await recalled(saga)

        assert found.done == receipt("501", "7")
        assert (found.outcome_unknown, found.spent_seconds) == (False, 0.5)

    async def test_done_without_a_claim_is_recorded_even_when_closed(self, saga: Store) -> None:
        await saga.sagas.close_generation(SAGA, 1, "cancelled")

        await saga.ledger.record_done(attempt(), receipt())

        assert (await recalled(saga)).done == receipt()
        assert len(await saga.ledger.entries(SAGA, 1)) == 1

    async def test_done_twice_writes_one_audit_entry(self, saga: Store) -> None:
        await asyncio.gather(
            *(saga.ledger.record_done(attempt(), receipt("501", "7")) for _ in range(4))
        )

        acts = [entry.act for entry in await saga.audit.trail(SAGA)]
        assert acts == ["saga_began", "step_done"]
        assert len((await saga.sagas.trace(SAGA)).references) == 2

    async def test_failed_attempt_after_done_takes_nothing_back(self, saga: Store) -> None:
        await saga.ledger.record_done(attempt(number=1), receipt())
        await saga.ledger.record_failed(attempt(number=1), UNKNOWN, 1.0, "late answer")
        await saga.ledger.record_failed(attempt(number=2), UNKNOWN, 1.0, "timeout")

        found = await recalled(saga)

        assert (found.done, found.outcome_unknown) == (receipt(), False)

    async def test_later_failure_is_no_proof_about_an_unknown_attempt(self, saga: Store) -> None:
        """Its write may land late, after the later attempt looked (DESIGN 3.4)."""
        await saga.ledger.claim(attempt(number=1))
        await saga.ledger.record_failed(attempt(number=1), UNKNOWN, 1.0, "timeout")
        await saga.ledger.claim(attempt(number=2))
        await saga.ledger.record_failed(attempt(number=2), NOT_DONE, 1.0, "invalid")

        assert (await recalled(saga)).outcome_unknown

        await saga.ledger.record_absent(KEY, "looked again after settling")

        assert not (await recalled(saga)).outcome_unknown

    async def test_rejected_attempt_is_proven_without_effect(self, saga: Store) -> None:
        await saga.ledger.claim(attempt())
        await saga.ledger.record_failed(attempt(), NOT_DONE, 1.0, "invalid")

        assert not (await recalled(saga)).outcome_unknown
        assert await saga.ledger.entries(SAGA, 1) == ()

    @pytest.mark.parametrize("first", [None, UNKNOWN])
    async def test_attempt_number_used_again_keeps_the_earlier_doubt(
        self, saga: Store, first: AttemptOutcome | None
    ) -> None:
        """A new round, or a reset, counts attempts from 1 again."""
        await saga.ledger.claim(attempt())
        if first:
            await saga.ledger.record_failed(attempt(), first, 1.0, "timeout")
        await saga.ledger.claim(attempt(round_=1))
        await saga.ledger.record_failed(attempt(round_=1), NOT_DONE, 1.0, "invalid")

        assert (await recalled(saga)).outcome_unknown


class TestBudget:
    async def test_seconds_of_a_round_add_up(self, saga: Store) -> None:
        spent = [
            await saga.ledger.record_failed(attempt(number=n), NOT_DONE, seconds, "busy")
            for n, seconds in ((1, 2.5), (2, 0.0), (3, 4.0))
        ]

        assert spent == [2.5, 2.5, 6.5]
        assert (await recalled(saga)).spent_seconds == 6.5

    async def test_new_round_starts_at_zero(self, saga: Store) -> None:
        await saga.ledger.record_failed(attempt(number=1), NOT_DONE, 5.0, "busy")
        await saga.ledger.record_failed(attempt(number=2), NOT_DONE, 5.0, "busy")

        await saga.ledger.claim(attempt(number=1, round_=1))
        spent = await saga.ledger.record_failed(attempt(number=1, round_=1), NOT_DONE, 1.0, "busy")

        assert spent == 1.0
        assert (await recalled(saga, round_=1)).spent_seconds == 1.0


class TestUndo:
    async def test_undone_twice_is_undone_once(self, saga: Store) -> None:
        await saga.ledger.record_done(attempt(), receipt("501", "7"))

        await saga.ledger.record_undone(KEY, UndoReceipt(result=UndoResult.REMOVED))
        await saga.ledger.record_undone(KEY, UndoReceipt(result=UndoResult.ABSENT))

        found = await recalled(saga)
        assert found.undone == UndoReceipt(result=UndoResult.REMOVED)
        assert await saga.ledger.entries(SAGA, 1) == ()
        acts = [entry.act for entry in await saga.audit.trail(SAGA)]
        assert acts.count("step_undone") == 1

    async def test_what_was_kept_may_be_removed_by_a_later_undo(self, saga: Store) -> None:
        await saga.ledger.record_done(attempt(), receipt())

        await saga.ledger.record_undone(
            KEY, UndoReceipt(result=UndoResult.KEPT, residue="time was logged")
        )
        await saga.ledger.record_undone(KEY, UndoReceipt(result=UndoResult.REMOVED))

        assert (await recalled(saga)).undone == UndoReceipt(result=UndoResult.REMOVED)

    async def test_undo_that_must_look_again_leaves_the_step_open(self, saga: Store) -> None:
        await saga.ledger.claim(attempt())

        await saga.ledger.record_undone(KEY, UndoReceipt(result=UndoResult.ABSENT, look_again=True))

        assert len(await saga.ledger.entries(SAGA, 1)) == 1
        assert (await recalled(saga)).undone is None

    async def test_record_found_after_the_undo_is_open_again(self, saga: Store) -> None:
        await saga.ledger.claim(attempt())
        await saga.ledger.record_undone(KEY, UndoReceipt(result=UndoResult.ABSENT))

        await saga.ledger.record_done(attempt(), receipt())

        assert [entry.receipt for entry in await saga.ledger.entries(SAGA, 1)] == [receipt()]
        assert (await recalled(saga)).undone is None

    async def test_undo_of_a_step_that_was_never_claimed_writes_nothing(self, saga: Store) -> None:
        await saga.ledger.record_undone(KEY, UndoReceipt(result=UndoResult.ABSENT))

        assert await saga.ledger.recall(KEY) is None
        assert len(await saga.audit.trail(SAGA)) == 1


async def test_steps_of_one_saga_done_at_once_keep_the_audit_chain_whole(saga: Store) -> None:
    steps = [attempt(f"step_{n}") for n in range(12)]

    await asyncio.gather(*(saga.ledger.claim(step) for step in steps))
    await asyncio.gather(*(saga.ledger.record_done(step, receipt()) for step in steps))

    assert len(await saga.audit.trail(SAGA)) == 13
    assert await saga.audit.verify(SAGA) is None
