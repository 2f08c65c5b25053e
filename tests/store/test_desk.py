"""Work items, their alerts, and the decisions about them."""

import asyncio
from collections.abc import Callable

import pytest

from canonical.saga import CloseWorkItem, EscalateWorkItem, OpenWorkItem, TakeDecision, Verb
from store import Store
from store.errors import Conflict, DecisionRefused, NotFound, SamePerson
from tests.store.build import SAGA, decision, take, work_item

CLOSE = CloseWorkItem(work_item_id="WI-1", park=1, how="retry", decision_id="D-1")
ESCALATE = EscalateWorkItem(work_item_id="WI-1", park=1, because="nobody answered in time")


@pytest.fixture
async def desk(store: Store) -> Store:
    """A store with one open work item."""
    await store.work_items.open(OpenWorkItem(item=work_item()))
    return store


async def acts(store: Store) -> list[str]:
    return [entry.act for entry in await store.audit.trail(SAGA)]


class TestWorkItems:
    async def test_opened_twice_is_one_item_and_one_alert(self, desk: Store) -> None:
        await desk.work_items.open(OpenWorkItem(item=work_item()))

        (stored,) = await desk.work_items.list()
        (alert,) = await desk.outbox.unsent()

        assert (stored.item, stored.open) == (work_item(), True)
        assert (alert.kind, alert.subject) == ("work_item_opened", "WI-1")
        assert alert.payload_json == work_item().model_dump_json()
        assert await acts(desk) == ["work_item_opened"]

    async def test_closed_item_leaves_the_list_and_keeps_how(self, desk: Store) -> None:
        await desk.work_items.close(CLOSE)
        await desk.work_items.close(CLOSE.model_copy(update={"how": "again"}))

        stored = await desk.work_items.get("WI-1")

        assert stored is not None
        assert (stored.open, stored.how, stored.decision_id) == (False, "retry", "D-1")
        assert await desk.work_items.list() == ()
        assert await desk.work_items.list(open_only=False) == (stored,)
        assert await acts(desk) == ["work_item_opened", "work_item_closed"]

    async def test_escalated_once_alerts_once(self, desk: Store) -> None:
        await desk.work_items.escalate(ESCALATE)
        await desk.work_items.escalate(ESCALATE)

        kinds = [message.kind for message in await desk.outbox.unsent()]
        stored = await desk.work_items.get("WI-1")

        assert kinds == ["work_item_opened", "work_item_escalated"]
        assert stored is not None
        assert stored.escalated_at is not None

    async def test_closed_item_does_not_escalate(self, desk: Store) -> None:
        await desk.work_items.close(CLOSE)
        await desk.work_items.escalate(ESCALATE)

        assert len(await desk.outbox.unsent()) == 1

    async def test_other_park_or_unknown_item_is_refused(self, desk: Store) -> None:
        with pytest.raises(Conflict, match="park 1, not 2"):
            await desk.work_items.close(CLOSE.model_copy(update={"park": 2}))
        with pytest.raises(NotFound):
            await desk.work_items.escalate(ESCALATE.model_copy(update={"work_item_id": "WI-9"}))

        assert len(await desk.work_items.list()) == 1

    async def test_list_is_filtered_by_workflow(self, desk: Store) -> None:
        await desk.work_items.open(OpenWorkItem(item=work_item("WI-2", workflow_id="other")))

        found = await desk.work_items.list(workflow_id="other")

        assert [stored.item.id for stored in found] == ["WI-2"]

    async def test_long_reason_for_closing_is_cut(self, desk: Store) -> None:
        await desk.work_items.close(CLOSE.model_copy(update={"how": "x" * 9_000}))

        stored = await desk.work_items.get("WI-1")
        assert stored is not None
        assert len(stored.how) == 2_000

    async def test_sent_alert_is_not_sent_again(self, desk: Store) -> None:
        (alert,) = await desk.outbox.unsent()

        await desk.outbox.mark_sent(alert.id)

        assert await desk.outbox.unsent() == ()


class TestPropose:
    async def test_same_twice_is_stored_once(self, desk: Store) -> None:
        await desk.decisions.propose(decision(), needs_second=False)
        await desk.decisions.propose(decision(), needs_second=False)

        (pending,) = await desk.decisions.pending()
        assert (pending.decision, pending.workflow_id) == (decision(), SAGA)
        assert (await acts(desk)).count("decision_proposed") == 1

    async def test_same_id_with_other_content_is_a_conflict(self, desk: Store) -> None:
        await desk.decisions.propose(decision(), needs_second=False)

        with pytest.raises(Conflict):
            await desk.decisions.propose(decision(verb=Verb.ROLL_BACK), needs_second=False)
        with pytest.raises(Conflict):
            await desk.decisions.propose(decision(), needs_second=True)

    async def test_unknown_closed_or_stale_item_is_refused(self, desk: Store) -> None:
        with pytest.raises(NotFound):
            await desk.decisions.propose(
                decision().model_copy(update={"work_item_id": "WI-9"}), needs_second=False
            )
        with pytest.raises(DecisionRefused, match="park 2 is over"):
            await desk.decisions.propose(decision(park=2), needs_second=False)
        await desk.work_items.close(CLOSE)
        with pytest.raises(DecisionRefused, match="closed: retry"):
            await desk.decisions.propose(decision(), needs_second=False)

    async def test_approval_smuggled_into_the_proposal_is_dropped(self, desk: Store) -> None:
        smuggled = decision().model_copy(update={"approved_by": "luca@example.com"})
        await desk.decisions.propose(smuggled, needs_second=True)

        with pytest.raises(DecisionRefused, match="second person"):
            await desk.decisions.take(take())


class TestApprove:
    @pytest.mark.parametrize("person", ["maya@example.com", " MAYA@example.com ", ""])
    async def test_proposer_in_any_spelling_cannot_approve(self, desk: Store, person: str) -> None:
        await desk.decisions.propose(decision(), needs_second=True)

        with pytest.raises(SamePerson):
            await desk.decisions.approve("D-1", person)

    async def test_second_person_is_kept_and_a_third_changes_nothing(self, desk: Store) -> None:
        await desk.decisions.propose(decision(), needs_second=True)

        await desk.decisions.approve("D-1", "luca@example.com")
        stored = await desk.decisions.approve("D-1", "third@example.com")

        assert stored.decision.approved_by == "luca@example.com"
        approvals = [e for e in await desk.audit.trail(SAGA) if e.act == "decision_approved"]
        assert [entry.actor for entry in approvals] == ["luca@example.com"]

    async def test_unknown_decision_is_not_found(self, desk: Store) -> None:
        with pytest.raises(NotFound):
            await desk.decisions.approve("D-9", "luca@example.com")


class TestTake:
    async def test_approved_decision_is_taken_with_its_approver(self, desk: Store) -> None:
        await desk.decisions.propose(decision(), needs_second=True)
        await desk.decisions.approve("D-1", "luca@example.com")

        taken = await desk.decisions.take(take())

        assert taken == decision().model_copy(update={"approved_by": "luca@example.com"})
        assert await desk.decisions.pending() == ()

    async def test_many_take_at_once_all_get_the_same_and_it_is_taken_once(
        self, desk: Store
    ) -> None:
        await desk.decisions.propose(decision(), needs_second=False)

        taken = await asyncio.gather(*(desk.decisions.take(take()) for _ in range(6)))

        assert taken == [decision()] * 6
        assert (await acts(desk)).count("decision_taken") == 1

    async def test_taken_again_after_the_item_closed_is_the_same(self, desk: Store) -> None:
        await desk.decisions.propose(decision(), needs_second=False)
        await desk.decisions.take(take())
        await desk.work_items.close(CLOSE)

        assert await desk.decisions.take(take()) == decision()

    async def test_not_taken_before_the_item_closed_is_refused(self, desk: Store) -> None:
        await desk.decisions.propose(decision(), needs_second=False)
        await desk.work_items.close(CLOSE)

        with pytest.raises(DecisionRefused, match="closed"):
            await desk.decisions.take(take())

    @pytest.mark.parametrize(
        ("request_", "because"),
        [
            (lambda: take("D-9"), "there is no decision D-9"),
            (lambda: take(verb=Verb.ROLL_BACK), "for verb retry, not roll_back"),
            (lambda: take(park=2), "for park 1, not 2"),
            (lambda: take(work_item_id="WI-2"), "for work item WI-1, not WI-2"),
            (lambda: take(workflow_id="other"), "for workflow"),
        ],
        ids=["unknown", "verb", "park", "work_item", "workflow"],
    )
    async def test_mismatch_is_refused_and_says_why(
        self, desk: Store, request_: Callable[[], TakeDecision], because: str
    ) -> None:
        await desk.decisions.propose(decision(), needs_second=False)

        with pytest.raises(DecisionRefused, match=because) as raised:
            await desk.decisions.take(request_())

        assert because in raised.value.reason
        assert len(await desk.decisions.pending()) == 1
