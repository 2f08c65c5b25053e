"""A bulk release answers every draft, also while Temporal can't take one of them."""

from collections import Counter
from dataclasses import dataclass, field
from unittest.mock import Mock

import pytest
from temporalio.service import RPCError, RPCStatusCode

from canonical.draft_acts import AnyAct, DraftAnswer
from canonical.drafts import Draft, DraftState
from operations import queue
from operations.queue import QueueDesk
from policies.bundle import load_bundle
from tests.support.drafts import draft, fee

BUNDLE = load_bundle(None)


@dataclass(frozen=True)
class Busy(QueueDesk):
    """A desk whose Temporal refuses one draft's update a number of times."""

    refused: str = ""
    times: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    async def act(self, draft: str, act: AnyAct, act_id: str = "") -> DraftAnswer:
        self.asked[act_id] += 1
        if draft == self.refused and self.asked[act_id] <= self.times:
            raise RPCError("Workflow Task in failed state", RPCStatusCode.FAILED_PRECONDITION, b"")
        return DraftAnswer(taken=True, state=DraftState.RELEASED, content_hash="0" * 64)


@pytest.mark.parametrize(("times", "taken"), [(1, True), (100, False)])
async def test_one_that_temporal_cannot_take_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, times: int, taken: bool
) -> None:
    monkeypatch.setattr(queue, "ASK_AGAIN_SECONDS", 0.0)
    drafts = [numbered(number) for number in range(30)]
    desk = Busy(Mock(), Mock(), refused=drafts[7].id, times=times)
    answers = {each.draft: each.answer for each in await desk.release(drafts, "fiona")}
    assert [answer.taken for id_, answer in answers.items() if id_ != drafts[7].id] == [True] * 29
    bad = answers[drafts[7].id]
    assert bad.taken is taken
    assert taken or "Temporal did not take it" in bad.reasons[0]


def numbered(number: int) -> Draft:
    made = draft(BUNDLE, fee(1, "1000.00"))
    return made.model_copy(update={"id": f"{made.id}{number}"})
