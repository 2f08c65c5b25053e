"""Generations: who may begin, what stands, what is left open."""

import asyncio

import pytest

from canonical.records import UndoReceipt, UndoResult
from canonical.saga import Outcome, SweepMode
from store import Store
from store.errors import Conflict, NotFound
from store.ledger import AttemptOutcome
from tests.store.build import SAGA, attempt, begin, ended, receipt, record

NOT_DONE = AttemptOutcome.NOT_DONE


class TestBegin:
    async def test_never_begun_is_generation_one(self, store: Store) -> None:
        begun = await store.sagas.begin(begin())

        assert (begun.generation, begun.completed, begun.open_steps) == (1, None, ())

    @pytest.mark.parametrize(
        "outcome", [Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE], ids=str
    )
    async def test_completed_before_returns_that_result_and_writes_nothing(
        self, store: Store, outcome: Outcome
    ) -> None:
        await store.sagas.begin(begin())
        await store.sagas.finish(ended(outcome))
        before = (await store.sagas.trace(SAGA), await store.audit.trail(SAGA))

        begun = await store.sagas.begin(begin(run_id="run-2"))

        assert begun.completed == ended(outcome)
        assert (await store.sagas.trace(SAGA), await store.audit.trail(SAGA)) == before

    @pytest.mark.parametrize(
        "outcome",
        [Outcome.ROLLED_BACK, Outcome.ROLLED_BACK_WITH_RESIDUE, Outcome.ABANDONED],
        ids=str,
    )
    async def test_not_completed_before_is_the_next_generation(
        self, store: Store, outcome: Outcome
    ) -> None:
        await store.sagas.begin(begin())
        await store.sagas.finish(ended(outcome))

        begun = await store.sagas.begin(begin())

        assert (begun.generation, begun.completed) == (2, None)

    async def test_open_generation_returns_its_open_steps_in_claim_order_and_its_plan(
        self, store: Store
    ) -> None:
        await store.sagas.begin(begin())
        await store.sagas.save_plan(SAGA, 1, '{"title": "ERP rollout"}', "bundle-1")
        for step in ("second_by_name", "a_first_by_name", "undone", "failed", "unsent"):
            await store.ledger.claim(attempt(step, request_json=f'"{step}"'))
        await store.ledger.record_done(attempt("second_by_name"), receipt())
        await store.ledger.record_done(attempt("undone"), receipt())
        await store.ledger.record_undone(
            attempt("undone").key, UndoReceipt(result=UndoResult.REMOVED)
        )
        await store.ledger.record_failed(attempt("failed"), NOT_DONE, 1.0, "invalid")

        begun = await store.sagas.begin(begin(run_id="run-2"))

        assert begun.generation == 1
        assert begun.plan_json == '{"title": "ERP rollout"}'
        assert [(s.step, s.outcome_unknown) for s in begun.open_steps] == [
            ("second_by_name", False),
            ("a_first_by_name", True),
            ("unsent", True),
        ]
        assert begun.open_steps[0].receipt == receipt()
        assert begun.open_steps[1].request_json == '"a_first_by_name"'
        assert begun.open_steps[1].connection == "netsuite"
        state = await store.sagas.state(SAGA)
        assert state is not None
        assert (state.run_id, state.bundle) == ("run-2", "bundle-1")

    async def test_closed_generation_that_did_not_end_is_the_same_generation(
        self, store: Store
    ) -> None:
        await store.sagas.begin(begin())
        await store.sagas.close_generation(SAGA, 1, "cancelled")

        assert (await store.sagas.begin(begin(run_id="run-2"))).generation == 1

    async def test_sweep_after_the_end_opens_no_generation(self, store: Store) -> None:
        await store.sagas.begin(begin())
        await store.sagas.finish(ended(Outcome.ROLLED_BACK))
        sweep = begin().model_copy(update={"sweep": SweepMode.ROLL_BACK})

        begun = await store.sagas.begin(sweep)

        assert begun.completed == ended(Outcome.ROLLED_BACK)

    @pytest.mark.parametrize("rolled_back_before", [False, True])
    async def test_many_begin_at_once_all_get_the_same_single_generation(
        self, store: Store, rolled_back_before: bool
    ) -> None:
        if rolled_back_before:
            await store.sagas.begin(begin())
            await store.sagas.finish(ended(Outcome.ROLLED_BACK))

        begun = await asyncio.gather(
            *(store.sagas.begin(begin(run_id=f"run-{n}")) for n in range(8))
        )

        expected = 2 if rolled_back_before else 1
        assert {answer.generation for answer in begun} == {expected}
        assert len((await store.sagas.trace(SAGA)).generations) == expected
        began = [e for e in await store.audit.trail(SAGA) if e.act == "saga_began"]
        assert len(began) == expected


class TestFinish:
    async def test_same_result_twice_writes_once(self, store: Store) -> None:
        await store.sagas.begin(begin())

        await store.sagas.finish(ended(Outcome.COMPLETED))
        await store.sagas.finish(ended(Outcome.COMPLETED))

        acts = [entry.act for entry in await store.audit.trail(SAGA)]
        assert acts == ["saga_began", "saga_ended"]

    async def test_other_result_after_a_reset_replaces_it_and_both_are_audited(
        self, store: Store
    ) -> None:
        await store.sagas.begin(begin())
        await store.sagas.finish(ended(Outcome.COMPLETED))

        await store.sagas.finish(ended(Outcome.ROLLED_BACK))

        state = await store.sagas.state(SAGA)
        assert state is not None
        assert state.outcome is Outcome.ROLLED_BACK
        assert len(await store.audit.trail(SAGA)) == 3

    async def test_what_never_began_is_not_found(self, store: Store) -> None:
        for call in (
            store.sagas.finish(ended(Outcome.COMPLETED)),
            store.sagas.close_generation(SAGA, 1, "cancelled"),
            store.sagas.save_plan(SAGA, 1, "{}", "b"),
        ):
            with pytest.raises(NotFound, match="never begun"):
                await call


class TestCloseGeneration:
    async def test_twice_keeps_the_first_reason(self, store: Store) -> None:
        await store.sagas.begin(begin())

        await store.sagas.close_generation(SAGA, 1, "cancelled")
        await store.sagas.close_generation(SAGA, 1, "swept")

        state = await store.sagas.state(SAGA)
        assert state is not None
        assert (state.state, state.reason) == ("closed", "cancelled")

    async def test_after_the_end_it_stays_ended(self, store: Store) -> None:
        await store.sagas.begin(begin())
        await store.sagas.finish(ended(Outcome.COMPLETED))

        await store.sagas.close_generation(SAGA, 1, "late")

        state = await store.sagas.state(SAGA)
        assert state is not None
        assert state.state == "ended"


class TestUnfinished:
    async def test_what_did_not_end_page_by_page_even_if_it_touched_nothing(
        self, store: Store
    ) -> None:
        for name in ("a", "b", "c", "closed", "ended", "untouched"):
            await store.sagas.begin(begin(name))
            if name not in {"untouched", "closed"}:
                await store.ledger.claim(attempt(workflow_id=name))
        await store.sagas.finish(ended(Outcome.ROLLED_BACK, workflow_id="ended"))
        await store.sagas.close_generation("closed", 1, "cancelled")

        first = await store.sagas.unfinished(limit=2)
        rest = await store.sagas.unfinished(limit=10, after=first[-1].workflow_id)

        assert [saga.workflow_id for saga in first + rest] == ["a", "b", "c", "closed", "untouched"]

    async def test_tells_how_to_start_again_and_which_steps_are_done_or_may_be(
        self, store: Store
    ) -> None:
        given = begin().model_copy(update={"input_json": '{"deal_id": "006"}'})
        await store.sagas.begin(given)
        for step in ("done", "claimed", "unknown", "failed", "undone"):
            await store.ledger.claim(attempt(step))
        await store.ledger.record_done(attempt("done"), receipt())
        await store.ledger.record_failed(attempt("unknown"), AttemptOutcome.UNKNOWN, 1.0, "late")
        await store.ledger.record_failed(attempt("failed"), NOT_DONE, 1.0, "invalid")
        await store.ledger.record_undone(
            attempt("undone").key, UndoReceipt(result=UndoResult.ABSENT)
        )

        (saga,) = await store.sagas.unfinished()

        assert (saga.saga, saga.input_json) == ("OpportunityToProject", '{"deal_id": "006"}')
        assert saga.settled_steps == ("claimed", "done", "unknown")


class TestTrace:
    async def test_shows_attempts_and_references_of_all_generations(self, store: Store) -> None:
        for generation in (1, 2):
            await store.sagas.begin(begin())
            step = attempt(generation=generation)
            await store.ledger.claim(step)
            await store.ledger.record_done(step, receipt("501", "7", "8"))
            await store.ledger.record_undone(step.key, UndoReceipt(result=UndoResult.REMOVED))
            await store.sagas.finish(ended(Outcome.ROLLED_BACK, generation))

        trace = await store.sagas.trace(SAGA)

        assert [g.outcome for g in trace.generations] == [Outcome.ROLLED_BACK] * 2
        assert [(a.generation, a.state, a.undo_result) for a in trace.attempts] == [
            (1, "done", "removed"),
            (2, "done", "removed"),
        ]
        assert [r.record.id for r in trace.references] == ["501", "7", "8"] * 2
        assert all(r.undone_at for r in trace.references)

    async def test_record_leads_back_to_its_sagas(self, store: Store) -> None:
        await store.sagas.begin(begin())
        await store.ledger.record_done(attempt(), receipt("501"))

        found = await store.sagas.sagas_of(record("501"))

        assert [reference.workflow_id for reference in found] == [SAGA]
        assert await store.sagas.sagas_of(record("502")) == ()


async def test_value_beyond_its_limit_is_a_conflict_that_shows_no_value(store: Store) -> None:
    long = "secret" * 100

    with pytest.raises(Conflict, match="saga_generations_workflow_id_length") as raised:
        await store.sagas.begin(begin(long))

    assert "secret" not in str(raised.value)
