"""The month end of the invoicing bench is what its description says, and its desk asks again."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import cast

import pytest
from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError

from bench.invoicing_month import Flaw, bulk, month_end
from bench.invoicing_round import PatientDesk
from canonical.draft_acts import ActOnDraft, DraftAnswer, Review
from canonical.drafts import DraftState
from canonical.money import Money
from policies.bundle import load_bundle
from store import Store

POLICIES = load_bundle(None).policies


def test_one_milestone_in_twenty_is_bad_in_three_ways_in_turn() -> None:
    jobs = month_end(5_000)
    flaws = Counter(job.flaw for job in jobs)
    assert sum(job.count for job in jobs) == 5_000
    assert flaws.pop(None) == len(jobs) // 2
    assert sum(flaws.values()) == 250
    assert max(flaws.values()) - min(flaws.values()) <= 1


@pytest.mark.parametrize("flaw", [None, *Flaw])
def test_what_is_good_fits_and_only_the_named_rule_is_broken(flaw: Flaw | None) -> None:
    job = next(each for each in month_end(100) if each.flaw is flaw)
    given = list(job.milestones())
    value = {line.ref: line.value for line in job.engagement(POLICIES).lines}
    taken = {ref: Decimal(0) for ref in value}
    for ref, amount, _ in given:
        taken[ref] += amount
    left = {
        ref: most.amount - taken[ref]
        for ref, most in value.items()
        if most is not None and taken[ref]
    }
    assert any(rest < 0 for rest in left.values()) is (flaw is Flaw.VALUE)
    assert [approved for *_, approved in given].count(False) == (flaw is Flaw.SEQUENCE)
    assert given[-1][2]
    orders = {order.number: order.amount.amount for order in job.orders}
    short = [
        ref
        for ref in value
        if (order := orders.get(f"PO-{job.project.number}-{ref}")) is not None
        and order < taken[ref]
    ]
    # What breaks sequence or value never comes as far as its PO.
    assert (flaw is Flaw.ORDER) == ("L-PO" in short)


def test_one_of_the_bulk_release_is_short() -> None:
    jobs = bulk(500, 1_000)
    assert Counter(job.good for job in jobs) == {1: 999, 0: 1}
    assert len({job.project.id for job in jobs}) == 1_000


class _SlowClient:
    """Answers the second time; remembers under which ids it was asked."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def execute_update_with_start_workflow(
        self, _update: object, wanted: ActOnDraft, *, rpc_timeout: timedelta, **_: object
    ) -> DraftAnswer:
        assert rpc_timeout
        self.ids.append(wanted.id)
        if len(self.ids) == 1:
            raise WorkflowUpdateRPCTimeoutOrCancelledError
        return DraftAnswer(taken=True, state=DraftState.QUEUED, content_hash="", posting=0)


async def test_an_act_without_an_answer_is_asked_again_under_its_id() -> None:
    client = _SlowClient()
    desk = PatientDesk(cast(Client, client), cast(Store, None))
    answer = await desk.act("invoice-draft/1", Review(by="olivia"))
    assert answer.taken
    assert len(client.ids) == 2
    assert len(set(client.ids)) == 1
    assert desk.asked_again == {"review": 1}


def test_a_project_is_worth_its_good_milestones() -> None:
    for job in month_end(80):
        good = sum((amount for _, amount, _ in list(job.milestones())[: job.good]), Decimal(0))
        assert job.money(job.net) == Money(amount=good, currency=job.currency)
